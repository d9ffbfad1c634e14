"""References that keep nothing alive."""

from __future__ import annotations

import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["weakly"]


def weakly(thing: T) -> Callable[[], T | None]:
    """Return a function that returns a thing, ``None`` once it is gone; a thing without weak references stays."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing
