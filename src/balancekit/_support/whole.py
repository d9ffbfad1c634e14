"""Changes of an object that are made whole or not at all.

A change of several attributes by a method that returns what is to be done is lost for ever if an interrupt comes between:
the object has changed, and the caller does not know. :func:`whole` puts the attributes back then, so calling again heals.

Cost: one copy of what :meth:`Restorable._saved` names, for each call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["Restorable", "begin_all", "put_back", "whole"]


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
        for begin in begins:
            ends.append(begin())  # noqa: PERF401 - a comprehension would lose those that have begun
    except BaseException:
        for end in ends:
            end()
        raise
    return ends


def _nothing() -> None:
    """Stand for an object that cannot be put back."""
