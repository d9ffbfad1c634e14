"""Detection of the optional hooks and attributes that an object has.

An object of the user is compared with a protocol each time, because an instance may have attributes that its class lacks.
An object of this library has the attributes of its class. So the answer for its class is computed once per process. This
saves a third of the time that it takes to create a pool of 20,000 endpoints.
"""

from __future__ import annotations

from typing import Final

from balancekit._support.interrupts import raise_interrupt
from balancekit.node import Load

__all__ = ["is_shipped", "needs_end", "needs_start", "start_compared", "supports"]

_known: Final[dict[tuple[type, type], bool]] = {}
"""The answers by class and protocol. Only classes of this library are kept, so its size is bounded."""


def is_shipped(given: object) -> bool:
    """Return whether the class of an object is defined in this library."""
    return type(given).__module__.startswith("balancekit.")


def supports(given: object, protocol: type) -> bool:
    """Return whether an object has the members of a protocol. A property that raises counts as present."""
    pair = type(given), protocol
    known = _known.get(pair)
    if known is not None:
        return known
    try:
        found = isinstance(given, protocol)
    except Exception:
        raise_interrupt()
        return True
    if is_shipped(given):
        _known[pair] = found
    return found


def needs_start(load: Load) -> bool:
    """Return whether ``started`` of a load must be called. Without the attribute ``needs_start``, it must."""
    return bool(getattr(load, "needs_start", True))


def needs_end(load: Load) -> bool:
    """Return whether a load must receive plain successes. Without the attribute ``needs_end``, it must."""
    return bool(getattr(load, "needs_end", True))


def start_compared(load: Load) -> bool:
    """Return whether the picks of a load's own pool notify the load, so that plain requests need no call of ``started``."""
    return bool(getattr(load, "start_compared", False))
