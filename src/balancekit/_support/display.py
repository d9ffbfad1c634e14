"""Base classes whose instances print as the constructor call that makes them, or with their state.

:class:`ConstructorRepr` keeps the arguments of ``__init__`` and prints those that differ from their defaults. Records
print with the same function, :func:`call`. :class:`StateRepr` prints attributes. It is for objects with state, and for
objects that are created too often to keep their arguments.

A value whose class defines no ``__repr__`` prints as its type. So no memory address is printed, and equal configurations
print the same in two processes. A text above :data:`MAX_TEXT_CHARS` is shortened.

Cost: one tuple per object, and O(size of the text) when it is printed.
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
"""Characters of one argument that are printed."""
MAX_SHOWN_ITEMS: Final = 20
"""Items of one container that are printed."""
_FUNCTIONS: Final = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class ConstructorRepr:
    """A base class whose instances print as the constructor call that made them.

    An instance keeps its arguments alive. Use :class:`StateRepr` if it must not.

    The class argument ``makers`` names parameters that are functions without arguments which create a child. Such a
    function is called when the instance is printed, and prints as a ``lambda`` that returns the child.

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
            # An assignment to cls.__init__ would remove its type for type checkers.
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
    """A base class whose instances print their public attributes, or those that the class argument ``prints`` names.

    An instance with a length prints it too. The class costs nothing until an instance is printed.

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
    """Return the names of an object's slots and instance attributes that do not begin with an underscore."""
    names: list[str] = []
    for kind in reversed(type(given).__mro__):
        slots = kind.__dict__.get("__slots__", ())
        names += (slots,) if isinstance(slots, str) else slots
    return [name for name in [*names, *getattr(given, "__dict__", ())] if not name.startswith("_")]


def _remembering(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that keeps its arguments. An iterator is not kept but prints as ``...``."""

    @functools.wraps(init)
    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        if not hasattr(self, "_given"):  # otherwise the constructor of a subclass has kept its arguments
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
    """Return the text of a call.

    Example
    -------
    >>> call("Window", [5.0], {"buckets": 20, "clock": print})
    'Window(5.0, buckets=20, clock=print)'
    """
    texts = [*map(_cut, positional), *[f"{key}={_cut(value)}" for key, value in named.items()]]
    return f"{name}({', '.join(texts)})"


def same(value: object, default: object) -> bool:
    """Return whether a value equals a default and has the same type; false if the comparison raises."""
    try:
        return value is default or (type(value) is type(default) and bool(value == default))
    except Exception:  # for example an array, which has no truth value
        raise_interrupt()
        return False


def shown(value: object) -> str:
    """Return the text of a value: the name of a type or function, else its ``repr``, else the name of its type.

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
    except Exception:  # from __repr__ of a class of the user
        raise_interrupt()
        return f"<{kind.__qualname__}>"


def _cut(value: object) -> str:
    text = "..." if value is ... else shown(value)
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 3] + "..."


class _Made:
    """A wrapper of a function that creates a child. It prints as a ``lambda`` that returns the child."""

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
