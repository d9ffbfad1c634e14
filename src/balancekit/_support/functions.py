"""Functions of the application that are called without ``await``: a coroutine function there would never run."""

from __future__ import annotations

from functools import partial
from types import AsyncGeneratorType, CoroutineType

from balancekit.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeVar

    F = TypeVar("F")

__all__ = ["is_coroutine_function", "plain_function", "refuse_coroutine", "require_arguments"]

_ASYNCHRONOUS: Final = 0x80 | 0x200
"""``inspect.CO_COROUTINE`` and ``CO_ASYNC_GENERATOR``: the import takes 7 ms."""


def is_coroutine_function(function: object) -> bool:
    """Return whether a call of this returns a coroutine or an asynchronous generator, as far as it says so.

    A lambda that calls a coroutine function does not say so.

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
    """Return a function that can be called without ``await``, with ``takes`` arguments by position if that is given.

    Raises
    ------
    ConfigurationError
        For what cannot be called, for a coroutine function, and for a function of another number of arguments.
    """
    if not callable(value):
        raise ConfigurationError(parameter, value, allowed)
    if is_coroutine_function(value):
        raise ConfigurationError(parameter, value, f"{allowed}; no coroutine function, for nothing awaits it")
    if takes is not None:
        require_arguments(parameter, value, takes, allowed)
    return value


def require_arguments(parameter: str, value: Any, count: int, allowed: str) -> None:
    """Refuse a callable that does not take this number of arguments by position; one without a signature is accepted.

    Raises
    ------
    ConfigurationError
        Naming the parameter.
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


def refuse_coroutine(result: object) -> None:
    """Refuse a coroutine that a function has returned: nothing awaits it, so what it is to do would not be done.

    For results that nothing looks at, and those of which only the truth counts. ``plain_function`` refuses functions that are
    known to return one; a lambda is not.

    Raises
    ------
    TypeError
        For a coroutine, which is closed, or an asynchronous generator.

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
            result.close()  # or Python warns as well, at some later time
        raise TypeError(
            f"it returned a coroutine of {result.__name__}(), and nothing awaits it; give a plain function"
        )
