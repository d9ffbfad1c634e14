"""Values printed as the call of the constructor that makes them, without what is at its default.

:class:`ConstructorRepr` keeps the arguments of ``__init__`` and prints them; :func:`call` is what it and records print with.
:class:`StateRepr` is for objects that are known by their state, or made too often to keep arguments.
Values without a text of their own are printed by their type, so that no address appears and equal configurations of two
processes print alike. A text above :data:`MAX_TEXT_CHARS` is cut.

Cost: one tuple an object; nothing else before it is printed.
"""

from __future__ import annotations

import enum
import functools
import reprlib
import types
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any, ClassVar, Final, cast

from balancekit._support.interrupts import raise_interrupt

__all__ = ["ConstructorRepr", "StateRepr", "call", "same", "shown"]

MAX_TEXT_CHARS: Final = 200
"""Of one argument."""
MAX_SHOWN_ITEMS: Final = 20
"""Of one container."""
_FUNCTIONS: Final = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class ConstructorRepr:
    """A base class whose instances print as the call that made them.

    An instance keeps its arguments: one that must not keep an argument alive is a :class:`StateRepr`.

    A class names in ``makers`` its parameters that take a function that makes children: it prints as a ``lambda`` of the child
    that it makes, for which it is called.

    Example
    -------
    >>> class Window(ConstructorRepr):
    ...     def __init__(self, seconds: float, *, buckets: int = 10) -> None: ...
    >>> Window(5.0), Window(seconds=5.0, buckets=20)
    (Window(5.0), Window(5.0, buckets=20))
    >>> class Windows(ConstructorRepr, makers=("make",)):
    ...     def __init__(self, make) -> None: ...
    >>> Windows(lambda: Window(5.0))
    Windows(lambda: Window(5.0))
    """

    __slots__ = ("_given",)
    _makers: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, makers: tuple[str, ...] = ()) -> None:
        super().__init_subclass__()
        if makers:
            type.__setattr__(cls, "_makers", makers)
        if "__init__" in cls.__dict__:
            # An assignment would declare it again, without a type.
            type.__setattr__(cls, "__init__", _remembering(cls.__init__))

    def __repr__(self) -> str:
        import inspect  # noqa: PLC0415 - takes 7 ms

        args, kwargs = getattr(self, "_given", ((), {}))
        parameters = inspect.signature(type(self).__init__).parameters
        given = inspect.signature(type(self).__init__).bind_partial(self, *args, **kwargs).arguments
        positional: list[object] = []
        named: dict[str, object] = {}
        for name, parameter in list(parameters.items())[1:]:
            if name not in given:
                continue
            if name in self._makers and isinstance(given[name], types.FunctionType):
                given[name] = _Made(given[name])
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional += given[name]
            elif parameter.kind is parameter.VAR_KEYWORD:
                named |= given[name]
            elif parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY:
                positional.append(given[name])
            elif not same(given[name], parameter.default):
                named[name] = given[name]
        return call(type(self).__name__, positional, named)


class StateRepr:
    """A base class whose instances print what can be read of them.

    Their public attributes, or those named in ``prints``.

    One that has a length prints it. Costs nothing before it is printed.

    Example
    -------
    >>> class Window(StateRepr, prints=("count",)):
    ...     seconds = 5.0
    ...     count = 3
    >>> Window()
    <Window count=3>
    """

    __slots__ = ()
    _prints: ClassVar[tuple[str, ...] | None] = None

    def __init_subclass__(cls, *, prints: tuple[str, ...] | None = None) -> None:
        super().__init_subclass__()
        if prints is not None:
            type.__setattr__(cls, "_prints", prints)

    @reprlib.recursive_repr("<...>")
    def __repr__(self) -> str:
        names = _public_attributes(self) if self._prints is None else self._prints
        size = f" of {len(self)}" if isinstance(self, Sized) else ""
        values = [f" {name}={_cut(getattr(self, name))}" for name in names if hasattr(self, name)]
        return f"<{type(self).__name__}{size}{''.join(values)}>"


def _public_attributes(given: object) -> list[str]:
    """Return the names of an object's own attributes without those that begin with an underscore."""
    names: list[str] = []
    for kind in reversed(type(given).__mro__):
        slots = kind.__dict__.get("__slots__", ())
        names += (slots,) if isinstance(slots, str) else slots
    return [name for name in [*names, *getattr(given, "__dict__", ())] if not name.startswith("_")]


def _remembering(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that keeps its arguments; of an iterator, which it may use up, only that there was one."""

    @functools.wraps(init)
    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        if not hasattr(self, "_given"):  # else a subclass has kept its own
            self._given = (
                tuple([... if hasattr(value, "__next__") else value for value in args]),
                {name: ... if hasattr(value, "__next__") else value for name, value in kwargs.items()},
            )
        try:
            init(self, *args, **kwargs)
        except TypeError as error:
            from balancekit._support.calls import explain_call  # noqa: PLC0415 - imports inspect

            explain_call(error, init, (self, *args), kwargs)
            raise

    return remember


def call(name: str, positional: Iterable[object], named: Mapping[str, object]) -> str:
    """Return a call as text.

    Example
    -------
    >>> call("Window", [5.0], {"buckets": 20, "clock": print})
    'Window(5.0, buckets=20, clock=print)'
    """
    texts = [*map(_cut, positional), *[f"{key}={_cut(value)}" for key, value in named.items()]]
    return f"{name}({', '.join(texts)})"


def same(value: object, default: object) -> bool:
    """Return whether a value is its default: equal, and of the same type."""
    try:
        return value is default or (type(value) is type(default) and bool(value == default))
    except Exception:  # an array has no truth
        raise_interrupt()
        return False


def shown(value: object) -> str:
    """Return a value as text: types and functions by name, what has no text of its own by its type.

    Example
    -------
    >>> shown([print, dict, object(), "a"])
    "[print, dict, <object>, 'a']"
    """
    kind = type(value)
    try:
        if isinstance(value, type):
            return value.__qualname__.rpartition("<locals>.")[2]
        if isinstance(value, enum.Enum):
            return f"{kind.__qualname__}.{value.name}"
        if isinstance(value, functools.partial):
            return call("partial", [value.func, *value.args], value.keywords)
        if isinstance(value, _FUNCTIONS):
            return str(value.__qualname__).rpartition("<locals>.")[2]
        if kind in {list, tuple, set, frozenset, dict} and value:
            return _container(cast("Any", value))
        return f"<{kind.__qualname__}>" if kind.__repr__ is object.__repr__ else repr(value)
    except Exception:  # a text of the user's
        raise_interrupt()
        return f"<{kind.__qualname__}>"


def _cut(value: object) -> str:
    text = "..." if value is ... else shown(value)
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 3] + "..."


class _Made:
    """A function that makes selectors, printed as what it makes."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make

    def __repr__(self) -> str:
        made = self._make()
        return f"lambda: {made!r}" if isinstance(made, ConstructorRepr) else shown(self._make)


def _container(values: Any) -> str:
    first = [value for value, _ in zip(values, range(MAX_SHOWN_ITEMS), strict=False)]
    if isinstance(values, (set, frozenset)):
        first = sorted(first, key=repr)
    texts = (
        [f"{shown(key)}: {shown(values[key])}" for key in first]
        if isinstance(values, dict)
        else list(map(shown, first))
    )
    if len(values) > MAX_SHOWN_ITEMS:
        texts.append("...")
    inner = ", ".join(texts)
    match values:
        case list():
            return f"[{inner}]"
        case tuple():
            return f"({inner},)" if len(values) == 1 else f"({inner})"
        case frozenset():
            return f"frozenset({{{inner}}})"
        case _:
            return f"{{{inner}}}"
