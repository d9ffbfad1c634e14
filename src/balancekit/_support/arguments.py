"""Errors that name the wrong argument, for constructors and for functions that are not called once per request.

Before the call, :func:`checked_arguments` reads iterators into lists of limited length, and converts numbers and
strings of other classes to plain ones (``plain.py``). If the function raises an error that is not one of this library,
the arguments are compared with their annotations. The first that does not match is named in a ``ConfigurationError``.
If all arguments match, the error is raised unchanged.

Cost: one call, and one test per argument; several tests if one is a container. If the function raises, also O(items) of
the arguments.
"""

from __future__ import annotations

import enum
import functools
import inspect
import math
import sys
import types
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import (
    Any,
    Final,
    Literal,
    NoReturn,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    is_typeddict,
)

from balancekit._support import validation as valid
from balancekit._support.calls import explain_call
from balancekit._support.containers import text_check
from balancekit._support.functions import is_coroutine_function
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.plain import PLAIN, converter
from balancekit._support.text import encodable
from balancekit.errors import BalancekitError, ConfigurationError

__all__ = ["MAX_TIME_S", "blame", "checked_arguments", "checked_stream", "fits", "refuse"]

P = ParamSpec("P")
R = TypeVar("R")

MAX_COMPARED_ITEMS: Final = 10_000
"""Items of a container that are compared with its annotation. Later items are not."""
MAX_DEPTH: Final = 4
"""Levels of nested containers that are compared."""
MAX_SETTLED: Final = 1000
"""Classes of arguments that are remembered."""
PLAIN_NUMBERS: Final = frozenset({int, float})
MAX_TIME_S: Final = 1e15
"""The largest time, in seconds: 30 million years. Up to it, a float resolves an eighth of a second."""
DERIVED_FROM: Final = (str, bytes, int, float, list, tuple, abc.Set, Mapping)
"""Classes whose subclasses may have methods that raise. A value of such a subclass is refused if its method has raised."""
MAX_BITS: Final = 1023
"""Bits of an integer up to which a float can always hold it."""


def checked_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function or an ``__init__`` so that a wrong argument raises a ``ConfigurationError`` that names it.

    Iterators are read into lists before the call. An iterator of more than a million items is refused. An argument
    ``now`` must be a finite number. Values of other classes (``Decimal``, numpy, subclasses of ``str``) are converted
    to the class of the annotation. A string is refused if the annotation is a container.

    Raises
    ------
    ConfigurationError
        If the function raises an error and an argument does not match its annotation.

    Example
    -------
    >>> @checked_arguments
    ... def total(prices: list[float]) -> float:
    ...     return sum(prices)
    >>> total(["a"])
    Traceback (most recent call last):
        ...
    balancekit.errors.ConfigurationError: prices=['a'] is not allowed: expected list[float]
    """
    return _decorated(function, reads=True)


def checked_stream(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that reads an iterator item by item. Like :func:`checked_arguments`, but iterators stay unread."""
    return _decorated(function, reads=False)


def _decorated(function: Callable[P, R], *, reads: bool) -> Callable[P, R]:
    slots = _slots(function)
    times = [(index, "None" in str(annotation)) for index, name, annotation in slots if name == "now"]
    place, optional = times[0] if times else (-1, False)
    converters = [(index, name, converter(annotation)) for index, name, annotation in slots]
    conversions = [(index, name, convert) for index, name, convert in converters if convert is not None]
    checks = [(index, name, text_check(annotation)) for index, name, annotation in slots]
    text_checks = [(index, name, check) for index, name, check in checks if check is not None]

    settled = _SETTLED_IF_CONTAINERS if text_checks else _SETTLED

    def prepared(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if place >= 0:  # otherwise a wrong time may be stored and raise in a later call
            value = args[place] if place < len(args) else kwargs.get("now", 0.0)
            if not _is_time(value) and not (value is None and optional):
                number = valid.number("now", value, minimum=-MAX_TIME_S, maximum=MAX_TIME_S)
                args, kwargs = _with(args, kwargs, place, "now", number)
        for index, name, refuse_text in text_checks:
            refuse_text(name, args[index] if index < len(args) else kwargs.get(name))
        for value in (*args, *kwargs.values()) if reads else ():
            if hasattr(value, "__next__") or (type(value) is range and value[valid.MAX_ITEMS :]):
                args, kwargs = _read(function, args, kwargs)
                break
        for index, name, convert in conversions:
            value = args[index] if index < len(args) else kwargs.get(name)
            if value.__class__ not in PLAIN:
                args, kwargs = _with(args, kwargs, index, name, convert(value))
        return args, kwargs

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        try:
            plain = True
            for value in args:
                if value.__class__ not in settled:
                    plain = _settles(value.__class__, settled)
            for value in kwargs.values():
                if value.__class__ not in settled:
                    plain = _settles(value.__class__, settled)
            if plain and place >= 0:
                now: float = args[place] if place < len(args) else kwargs.get("now", 0.0)
                plain = now.__class__ in PLAIN_NUMBERS and -MAX_TIME_S <= now <= MAX_TIME_S
            if not plain:
                args, kwargs = prepared(args, kwargs)
            return function(*args, **kwargs)
        except BalancekitError:
            raise
        except Exception as error:
            explain_call(error, function, args, kwargs)
            blame(_given(function, args, kwargs), error)
            raise

    return call


_SETTLED: Final[set[type]] = {int, float, bool, str, bytes, type(None)}
"""Classes of arguments that are passed as they are. Those of containers are never among them."""
_SETTLED_IF_CONTAINERS: Final[set[type]] = {int, float, bool, type(None)}
"""The same for functions that want a container, where a string is refused."""


def _settles(kind: type, settled: set[type]) -> bool:
    """Return False, and remember a class of which all values can be passed as they are."""
    read = hasattr(kind, "__next__") or hasattr(kind, "__iter__")
    converted = kind in PLAIN or hasattr(kind, "__float__") or hasattr(kind, "__index__")
    if not read and not converted and len(settled) < MAX_SETTLED:
        settled.add(kind)
    return False


def _slots(function: Callable[..., object]) -> list[tuple[int, str, object]]:
    """Return index, name and annotation of each parameter but ``*args`` and ``**kwargs``.

    The index of a keyword-only parameter is ``sys.maxsize``.
    """
    parameters = inspect.signature(function).parameters.values()
    return [
        (sys.maxsize if one.kind is one.KEYWORD_ONLY else index, one.name, one.annotation)
        for index, one in enumerate(parameters)
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]


def _is_time(value: Any) -> bool:
    return type(value) in PLAIN_NUMBERS and -MAX_TIME_S <= value <= MAX_TIME_S


def _with(
    args: tuple[Any, ...], kwargs: dict[str, Any], index: int, name: str, value: object
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call with one of them replaced."""
    if index < len(args):
        return (*args[:index], value, *args[index + 1 :]), kwargs
    return args, {**kwargs, name: value}


def refuse(error: Exception, function: Callable[..., object], /, *args: object, **kwargs: object) -> NoReturn:
    """Raise a ``ConfigurationError`` for the first argument that does not match its annotation, or the error if all match.

    For the ``except`` clause of methods that are called once per request. It costs nothing until something raises.
    """
    if not isinstance(error, BalancekitError):
        blame(_given(function, args, kwargs), error)
    raise error


def blame(given: Iterable[tuple[str, object, object, dict[str, Any]]], error: Exception) -> None:
    """Raise a ``ConfigurationError`` for the first value that does not match its annotation; return if all match.

    Parameters
    ----------
    given
        For each argument: its name, its value, its annotation as text, and the namespace of the annotation.
    error
        The error that the function has raised.
    """
    missing = error.args[0] if isinstance(error, KeyError) and error.args else None
    for name, value, text, names in given:
        if isinstance(missing, str) and "Mapping[str, Any]" in str(text):
            if isinstance(value, Mapping):
                raise ConfigurationError(name, value, f"a document with {missing!r}") from error
            if isinstance(value, list | tuple) and value:
                raise ConfigurationError(name, value, f"documents with {missing!r}") from error
        if ("Path" in str(text) or name == "path") and isinstance(value, str) and "\0" in value:
            raise ConfigurationError(name, value, "a path, which has no NUL") from error
        if isinstance(error, UnicodeEncodeError) and isinstance(value, str) and not encodable(value):
            raise ConfigurationError(name, value, "text without lone surrogates") from error
        if not fits(value, text, names) or (
            isinstance(value, DERIVED_FROM) and _raised_in_method_of(value, error)
        ):
            raise ConfigurationError(name, value, _wanted(str(text), names)) from error


def _wanted(annotation: str, names: dict[str, Any]) -> str:
    """Return the text of an annotation, in which each enumeration is replaced by its members."""
    parts = [part.strip() for part in annotation.split("|")]
    kinds = [names.get(part) for part in parts]
    return " | ".join(
        valid.members(kind) if isinstance(kind, type) and issubclass(kind, enum.Enum) else part
        for part, kind in zip(parts, kinds, strict=True)
    )


def _raised_in_method_of(value: object, error: BaseException) -> bool:
    """Return whether the traceback of an error passes through a method of the value's class."""
    methods = [method for base in type(value).__mro__ for method in vars(base).values()]
    codes = [getattr(method, "__code__", None) for method in methods]
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code in codes:
            return True
        step = step.tb_next
    return False


def fits(value: object, annotation: object, names: dict[str, Any]) -> bool:
    """Return whether a value matches an annotation that is given as text.

    True if this cannot be decided; false if reading the value raises.
    """
    try:
        kind = eval(str(annotation), names)  # noqa: S307 - the text of our own source
    except Exception:  # a name that only type checkers import
        raise_interrupt()
        return not hasattr(value, "__next__")
    try:
        return _fits(value, kind, MAX_DEPTH)
    except (RecursionError, MemoryError):  # nothing can be decided
        return True
    except Exception:  # from a method of the value's class
        raise_interrupt()
        return False


def _bound(function: Callable[..., object], args: Any, kwargs: Any) -> inspect.BoundArguments | None:
    try:
        return inspect.signature(function).bind(*args, **kwargs)
    except TypeError:  # a missing or unknown argument: Python's own error says so
        return None


def _read(function: Callable[..., object], args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Replace iterators by lists of their items."""
    bound = _bound(function, args, kwargs)
    if bound is None:
        return args, kwargs
    for name, value in bound.arguments.items():
        if hasattr(value, "__next__") or (type(value) is range and value[valid.MAX_ITEMS :]):
            bound.arguments[name] = valid.items(name, value)
    return bound.args, bound.kwargs


def _given(
    function: Callable[..., object], args: Any, kwargs: Any
) -> Iterator[tuple[str, object, object, dict[str, Any]]]:
    bound = _bound(function, args, kwargs)
    parameters = inspect.signature(function).parameters
    for name, value in bound.arguments.items() if bound is not None else ():
        parameter = parameters[name]
        many = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for one in (value.values() if isinstance(value, dict) else value) if many else [value]:
            yield name, one, parameter.annotation, function.__globals__


def _fits(value: Any, annotation: Any, depth: int) -> bool:
    """Return whether a value matches an annotation; true if this cannot be decided."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is None:
        return value is None
    if annotation is Any or is_typeddict(annotation):
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, one, depth) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if annotation is float:
        return _is_number(value) and isinstance(value, int | float)
    if annotation is int:
        return _is_number(value) and isinstance(value, int)
    if origin is abc.Callable or annotation is abc.Callable:
        return callable(value) and (_may_be_awaited(inner) or not is_coroutine_function(value))
    kind = origin or annotation
    if not isinstance(kind, type):
        return True
    if getattr(kind, "_is_protocol", False):
        return not isinstance(value, type) and all(
            name in dir(type(value)) or name in getattr(value, "__dict__", ())
            for name in dir(kind)
            if not name.startswith("_")
        )
    if kind is str and type(value).__hash__ is None:
        return False
    if not isinstance(value, kind) or (kind in TEXT_MAY_BE and isinstance(value, str | bytes)):
        return False
    return depth == 0 or not inner or _items_fit(value, kind, inner, depth - 1)


def _may_be_awaited(signature: tuple[Any, ...]) -> bool:
    """Return whether the return type of a callable may be awaitable."""
    result = signature[-1] if signature else Any
    results = get_args(result) if get_origin(result) in (Union, types.UnionType) else (result,)
    kinds: list[Any] = [get_origin(one) or one for one in results]
    return any(kind is Any or not isinstance(kind, type) or issubclass(kind, abc.Awaitable) for kind in kinds)


TEXT_MAY_BE: Final = frozenset({abc.Iterable, abc.Sequence, abc.Collection})
"""Container types of which ``str`` and ``bytes`` are instances too. A string is never a valid value for them."""


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return (
        math.isfinite(value) if isinstance(value, float) else getattr(value, "bit_length", int)() <= MAX_BITS
    )


def _items_fit(value: Any, kind: type, inner: tuple[Any, ...], depth: int) -> bool:
    if issubclass(kind, Mapping):
        found = islice(value.items(), MAX_COMPARED_ITEMS)
        return all(_fits(key, inner[0], depth) and _fits(one, inner[-1], depth) for key, one in found)
    if kind is tuple and inner[-1] is not ...:
        return len(value) == len(inner) and all(map(_fits, value, inner, [depth] * len(inner)))
    if issubclass(kind, abc.Iterable) and not issubclass(kind, str | bytes):
        return all(_fits(one, inner[0], depth) for one in islice(value, MAX_COMPARED_ITEMS))
    return True
