"""Atomic methods: if such a method raises, its object is restored to the state before the call.

A method may change several attributes and return actions for the caller. If an interrupt occurs after the change and
before the return, the caller never receives the actions. :func:`whole` then restores the attributes, so that the method
can be called again.

Cost: one copy of the state that :meth:`Restorable._saved` returns, for each call. :func:`whole_graph` needs no such
method. It copies all objects that can be reached, so it is for rare changes of objects with many parts.
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
    """An object whose state can be saved and restored."""

    def _saved(self) -> tuple[Any, ...]:
        """Return the state. Containers that methods change in place are copied."""
        ...

    def _restore(self, saved: tuple[Any, ...]) -> None:
        """Restore a state that :meth:`_saved` has returned."""
        ...


P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S", bound=Restorable)


def whole(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Decorate a method so that any exception, also an interrupt, leaves its object unchanged.

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
    """Decorate a method so that any exception leaves its object, and all objects that it refers to, unchanged.

    These objects are those of the library, containers, random generators, and the variables of closures. Objects of user
    classes, arrays and iterators are not restored. Cost: O(number of objects), about as much as creating them.

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
    """Return functions that restore every object that can be reached from ``root`` to its present state."""
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
    """Return a function that restores one object to its present state (``None`` if it is immutable), and its parts."""
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
    """Return a function that restores an object to its present state. For a method that changes several objects.

    For an object without ``_saved``, the function does nothing.
    """
    save: Callable[[], tuple[Any, ...]] | None = getattr(other, "_saved", None)
    if save is None:
        return _nothing
    saved = save()
    restore: Callable[[tuple[Any, ...]], None] = other._restore  # type: ignore[attr-defined]  # noqa: SLF001 - as `whole` does
    return lambda: restore(saved)


def begin_all(*begins: Callable[[], Callable[[], None]]) -> list[Callable[[], None]]:
    """Call functions that each begin something and return a function that ends it. Return those functions.

    If one of the calls raises, everything that was begun is ended.

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
        _begin_all(begins, ends)  # on 3.12+, an interrupt in a loop may skip `except`
    except BaseException:
        for end in ends:
            end()
        raise
    return ends


def _begin_all(begins: Iterable[Callable[[], Callable[[], None]]], ends: list[Callable[[], None]]) -> None:
    for begin in begins:
        ends.append(begin())  # noqa: PERF401 - if one raises, a comprehension would lose the others


def _nothing() -> None:
    """Do nothing."""
