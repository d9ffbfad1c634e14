"""References that keep nothing alive."""

from __future__ import annotations

import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["observe_weakly", "weakly"]


def weakly(thing: T) -> Callable[[], T | None]:
    """Return a function that returns a thing, ``None`` once it is gone; a thing without weak references stays."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing


def observe_weakly(
    subscribe: Callable[[Callable[..., None]], Callable[[], None]], method: Callable[..., object]
) -> Callable[[], None]:
    """Subscribe a method whose object may go; the first call after it has gone ends that. Return a function that ends it.

    An observer that is dropped without a word would be called, and kept, as long as what it observes.
    """
    living = weakref.WeakMethod(method)

    def notify(*arguments: object) -> None:
        live = living()
        if live is None:
            stop()
        else:
            live(*arguments)

    stop = subscribe(notify)
    return stop
