"""Consistent hashing: pure structures over ids, usable without a balancer.

=========================  ==================================================================
:class:`HashRing`          nodes come and go one by one; nothing else moves; weights
:class:`MaglevTable`       the fastest and most even; a change moves a few keys more; weights
:class:`RendezvousHash`    exact weights, a ranking of all nodes per key; O(n)
:class:`AnchorHash`        even, any node may leave; owners depend on the history of changes
:class:`JumpHash`          even, no memory; only the end of the list may change
:class:`MultiProbeHash`    a bounded peak with one point per node
:class:`BoundedPlacement`  no node holds more than a factor of its share; over any of them
=========================  ==================================================================

All of them answer ``lookup(key)``, ``lookup_many(keys)``, ``candidates(key)`` and ``shares()``. Keys are str,
bytes and int, encoded in one way (:func:`hash32`); for keys that others choose see :func:`keyed`.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.hashing._anchor import AnchorHash
    from balancekit.hashing._jump import JumpHash, jump
    from balancekit.hashing._keys import HashFunction, hash32, hash64, hash_function, keyed
    from balancekit.hashing._maglev import MaglevTable
    from balancekit.hashing._multiprobe import MultiProbeHash
    from balancekit.hashing._placement import BoundedPlacement, HashStructure, load_bound
    from balancekit.hashing._rendezvous import RendezvousHash
    from balancekit.hashing._ring import HashRing
    from balancekit.hashing._sizing import expected_peak, table_size_for, vnodes_for

__all__ = [
    "AnchorHash",
    "BoundedPlacement",
    "HashFunction",
    "HashRing",
    "HashStructure",
    "JumpHash",
    "MaglevTable",
    "MultiProbeHash",
    "RendezvousHash",
    "expected_peak",
    "hash32",
    "hash64",
    "hash_function",
    "jump",
    "keyed",
    "load_bound",
    "table_size_for",
    "vnodes_for",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_anchor": ("AnchorHash",),
            "_jump": ("JumpHash", "jump"),
            "_keys": ("HashFunction", "hash32", "hash64", "hash_function", "keyed"),
            "_maglev": ("MaglevTable",),
            "_multiprobe": ("MultiProbeHash",),
            "_placement": ("BoundedPlacement", "HashStructure", "load_bound"),
            "_rendezvous": ("RendezvousHash",),
            "_ring": ("HashRing",),
            "_sizing": ("expected_peak", "table_size_for", "vnodes_for"),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
