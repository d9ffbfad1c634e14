"""Changes of an object that are made whole or not at all.

A change of several attributes by a method that returns what is to be done is lost for ever if an interrupt comes between:
the object has changed, and the caller does not know. :func:`whole` puts the attributes back then, so calling again heals.

Cost: one copy of what :meth:`Restorable._saved` names, for each call. :func:`whole_graph` needs no such method, and copies all
that an object refers to: for rare changes of machines of many parts.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from types import FunctionType, MethodType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["Restorable", "begin_all", "put_back", "whole", "whole_graph"]


class Restorable(Protocol):
    """An object that can be put back."""

    def _saved(self) -> tuple[Any, ...]:
        """Return the state, in copies of what methods change in place."""
        ...

    def _restore(self, saved: tuple[Any, ...]) -> None:
        """Be as :meth:`_saved` said."""
        ...


P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S", bound=Restorable)


def whole(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Decorate a method: whatever it raises, an interrupt included, leaves its object as it was.

    Example
    -------
    >>> class Pair:
    ...     left = right = 0
    ...     def _saved(self):
    ...         return self.left, self.right
    ...     def _restore(self, saved):
    ...         self.left, self.right = saved
    ...     @whole
    ...     def set(self, left, right):
    ...         self.left = left
    ...         self.right = int(right)
    >>> pair = Pair()
    >>> try:
    ...     pair.set(1, "x")
    ... except ValueError:
    ...     pair.left
    0
    """

    @functools.wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        saved = self._saved()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            self._restore(saved)
            raise

    return call


def whole_graph(method: Callable[Concatenate[T, P], R]) -> Callable[Concatenate[T, P], R]:
    """Decorate a method: whatever it raises leaves its object as it was, and all that it refers to.

    That is objects of the library, containers, generators of random numbers, and what functions have closed over; not what
    users wrote, nor arrays and iterators. Cost: O(all of it), so about what building it costs.

    Example
    -------
    >>> class Lists:
    ...     def __init__(self):
    ...         self.names = [["a"]]
    ...     @whole_graph
    ...     def add(self, name):
    ...         self.names[0].append(name)
    ...         name.encode()
    >>> Lists.__module__ = "balancekit.example"
    >>> lists = Lists()
    >>> try:
    ...     lists.add(1)
    ... except AttributeError:
    ...     lists.names
    [['a']]
    """

    @functools.wraps(method)
    def call(self: T, /, *args: P.args, **kwargs: P.kwargs) -> R:
        restores = _graph(self)
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            for restore in restores:
                restore()
            raise

    return call


def _graph(root: object) -> list[Callable[[], None]]:
    """Return functions that make all that can be reached from an object be as it is now."""
    restores: list[Callable[[], None]] = []
    seen: set[int] = set()
    todo: list[Any] = [root]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        restore, parts = _parts(one)
        if restore is not None:
            restores.append(restore)
        todo += parts
    return restores


def _parts(one: Any) -> tuple[Callable[[], None] | None, Iterable[Any]]:
    """Return what makes one object be as it is now, if it can change, and what it refers to."""
    match one:
        case dict() | set():
            known = one.copy()
            return functools.partial(_refill, one, known), (
                *known,
                *(known.values() if isinstance(known, dict) else ()),
            )
        case list() | deque():
            items = list(one)
            return functools.partial(_extend, one, items), items
        case tuple() | frozenset():
            return None, one
        case Random():
            return functools.partial(one.setstate, one.getstate()), ()
        case MethodType():
            return None, (one.__self__,)
        case FunctionType():
            return None, [cell.cell_contents for cell in one.__closure__ or ()]
        case _ if type(one).__module__.startswith("balancekit.") and not isinstance(one, type):
            slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
            values = {
                name: getattr(one, name)
                for name in (*slots, *getattr(one, "__dict__", ()))
                if name != "__weakref__" and hasattr(one, name)
            }
            return functools.partial(_set, one, values), values.values()
    return None, ()


def _refill(one: Any, known: Any) -> None:
    one.clear()
    one.update(known)


def _extend(one: Any, items: list[Any]) -> None:
    one.clear()
    one.extend(items)


def _set(one: object, values: dict[str, Any]) -> None:
    for name, value in values.items():
        object.__setattr__(one, name, value)


def put_back(other: object) -> Callable[[], None]:
    """Return what makes an object be as it is now, for a call that changes several.

    Nothing happens to one that cannot be put back.
    """
    save: Callable[[], tuple[Any, ...]] | None = getattr(other, "_saved", None)
    if save is None:
        return _nothing
    saved = save()
    restore: Callable[[tuple[Any, ...]], None] = other._restore  # type: ignore[attr-defined]  # noqa: SLF001 - as `whole` does
    return lambda: restore(saved)


def begin_all(*begins: Callable[[], Callable[[], None]]) -> list[Callable[[], None]]:
    """Call functions that each begin something and return what ends it; return what ends all.

    If one raises, what the others have begun is ended: their ends would be lost.

    Example
    -------
    >>> open_ones = []
    >>> def begin(name):
    ...     open_ones.append(name)
    ...     return lambda: open_ones.remove(name)
    >>> ends = begin_all(lambda: begin("a"), lambda: begin("b"))
    >>> open_ones
    ['a', 'b']
    """
    ends: list[Callable[[], None]] = []
    try:
        _begin_all(begins, ends)  # a call: since 3.12 an interrupt at a jump may pass the block around it
    except BaseException:
        for end in ends:
            end()
        raise
    return ends


def _begin_all(begins: Iterable[Callable[[], Callable[[], None]]], ends: list[Callable[[], None]]) -> None:
    for begin in begins:
        ends.append(begin())  # noqa: PERF401 - a comprehension would lose those that have begun


def _nothing() -> None:
    """Stand for an object that cannot be put back."""
