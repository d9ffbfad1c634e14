"""Detection of the optional hooks that an object has.

An object of the user is compared with a protocol each time, because an instance may have attributes that its class lacks.
An object of this library has the attributes of its class. So the answer for its class is computed once per process. This
saves a third of the time that it takes to create a pool of 20,000 endpoints.
"""

from __future__ import annotations

from typing import Final

from balancekit._support.interrupts import raise_interrupt

__all__ = ["is_shipped", "supports"]

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
