"""Sizes of what objects hold, to check that they do not grow for good."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from random import Random
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Final

from balancekit.node import Node
from balancekit.snapshot import Members, Snapshot

__all__ = ["MIN_BYTES", "held_bytes", "reachable"]

MIN_BYTES: Final = 4.0
"""Bytes for each pick, request or endpoint, from which memory is taken to grow: half of a reference."""
UNCOUNTED_TYPES: Final = (type, ModuleType, Random)
OPAQUE_TYPES: Final = (Node, Snapshot, Members, BuiltinFunctionType)
"""Objects of which no part is counted: they belong to the balancer, or are of a module."""


def held_bytes(roots: Iterable[object]) -> int:
    """Return the bytes of all that can be reached from some objects, without nodes, snapshots, classes and modules."""
    return sum(sys.getsizeof(one) for one in reachable(roots) if not isinstance(one, OPAQUE_TYPES))


def reachable(roots: Iterable[object]) -> Iterator[object]:
    """Yield all objects that can be reached from some objects. Nodes and snapshots are yielded, and not what they hold."""
    seen: dict[int, object] = {}
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, UNCOUNTED_TYPES):
            continue
        seen[id(one)] = one
        yield one
        waiting += _referents(one)


def _referents(one: object) -> list[object]:
    """Return what an object refers to; of a function only what it has of its own."""
    if isinstance(one, FunctionType):
        return [*gc.get_referents(*(one.__closure__ or ())), *(one.__defaults__ or ())]
    if isinstance(one, MethodType):
        return [one.__self__]
    return [] if isinstance(one, OPAQUE_TYPES) else list(gc.get_referents(one))
