"""Weak references to objects and methods."""

from __future__ import annotations

import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["observe_weakly", "weakly"]


def weakly(thing: T) -> Callable[[], T | None]:
    """Return a function that returns an object, or ``None`` after the object was garbage-collected.

    An object that does not support weak references is kept alive.
    """
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing


def observe_weakly(
    subscribe: Callable[[Callable[..., None]], Callable[[], None]], method: Callable[..., object]
) -> Callable[[], None]:
    """Subscribe a method without keeping its object alive. Return a function that ends the subscription.

    After the object was garbage-collected, the next notification ends the subscription. A normal subscription would
    keep the object alive as long as the object that it observes.
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
