"""Checks of functions of the application that are called without ``await``. A coroutine function would never run there."""

from __future__ import annotations

from functools import partial
from types import AsyncGeneratorType, CoroutineType

from balancekit.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeVar

    F = TypeVar("F")

__all__ = [
    "has_methods",
    "is_coroutine_function",
    "plain_function",
    "refuse_coroutine",
    "require_arguments",
]

_ASYNCHRONOUS: Final = 0x80 | 0x200
"""``inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR``. The import of ``inspect`` takes 7 ms."""


def is_coroutine_function(function: object) -> bool:
    """Return whether a function is declared as a coroutine function or an asynchronous generator.

    A lambda that calls a coroutine function is not recognised; see :func:`refuse_coroutine`.

    Example
    -------
    >>> async def fetch(): ...
    >>> is_coroutine_function(fetch), is_coroutine_function(partial(fetch)), is_coroutine_function(print)
    (True, True, False)
    """
    while isinstance(function, partial):
        function = function.func
    for called in (function, getattr(type(function), "__call__", None)):  # noqa: B004 - inspected, not called
        code = getattr(getattr(called, "__func__", called), "__code__", None)
        flags = getattr(code, "co_flags", 0)
        if isinstance(flags, int) and flags & _ASYNCHRONOUS:
            return True
    return bool(getattr(function, "_is_coroutine_mark", None))  # of inspect.markcoroutinefunction


def plain_function(parameter: str, value: F, allowed: str, *, takes: int | None = None) -> F:
    """Return a function after checking that it is no coroutine function and accepts ``takes`` positional arguments.

    Raises
    ------
    ConfigurationError
        If the value cannot be called, is a coroutine function, or takes another number of arguments than ``takes``.
    """
    if not callable(value):
        raise ConfigurationError(parameter, value, allowed)
    if is_coroutine_function(value):
        raise ConfigurationError(
            parameter, value, f"{allowed}; no coroutine function, because it is not awaited"
        )
    if takes is not None:
        require_arguments(parameter, value, takes, allowed)
    return value


def require_arguments(parameter: str, value: Any, count: int, allowed: str) -> None:
    """Check that a callable accepts ``count`` positional arguments. One without a signature is accepted.

    Raises
    ------
    ConfigurationError
        If the callable does not accept ``count`` positional arguments.
    """
    import inspect  # noqa: PLC0415 - takes 7 ms

    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        raise ConfigurationError(parameter, value, f"{allowed}; {error}") from None


def has_methods(value: object, *names: str) -> bool:
    """Return whether a value is an object that has these methods. A class is none: it was to be called.

    Example
    -------
    >>> has_methods([], "append", "pop"), has_methods(list, "append")
    (True, False)
    """
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in names)


def refuse_coroutine(result: object) -> None:
    """Raise an error if the result of a function is a coroutine. The library does not await it, so it would not run.

    For results that are ignored, or of which only the truth value is used. ``plain_function`` refuses declared coroutine
    functions, but not a lambda that returns a coroutine.

    Raises
    ------
    TypeError
        If the result is a coroutine or an asynchronous generator. A coroutine is closed.

    Example
    -------
    >>> async def fetch(): ...
    >>> refuse_coroutine((lambda: fetch())())
    Traceback (most recent call last):
        ...
    TypeError: it returned a coroutine of fetch(), and nothing awaits it; give a plain function
    """
    if isinstance(result, CoroutineType | AsyncGeneratorType):
        if isinstance(result, CoroutineType):
            result.close()  # otherwise Python also warns when it is garbage-collected
        raise TypeError(
            f"it returned a coroutine of {result.__name__}(), and nothing awaits it; give a plain function"
        )
