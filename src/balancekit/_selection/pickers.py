"""Fast paths of a selector for requests with and without a key.

A selector has one picker, for requests without a key or for those with one (:class:`~balancekit.protocols.SupportsPicker`),
or one for each (:class:`~balancekit.protocols.SupportsPickers`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, TypeAlias

from balancekit.protocols import SupportsPicker, SupportsPickers
from balancekit.snapshot import Node, Snapshot

__all__ = ["NO_KEY", "NO_PICKERS", "Pick", "Pickers", "keyless", "pickers_of"]

Pick: TypeAlias = Callable[..., Node | None]
"""Picks for a plain request: ``pick(now)`` or, by key, ``pick(key, now)``; ``None`` has the selector called."""

Pickers: TypeAlias = tuple[Pick | None, Pick | None]
"""The pick without a key and the one by key. Without the second, keys do not matter; without the first, requests
without a key call the selector."""

NO_PICKERS: Final[Pickers] = (None, None)

NO_KEY: Final = "no key: any endpoint, at random"
"""The note in an explanation of a pick by key for a request without a key. Another request may get another endpoint."""


def pickers_of(selector: object, snapshot: Snapshot, rng: Random) -> Pickers:
    """Return the fast paths that a selector has for a snapshot with eligible nodes."""
    if isinstance(selector, SupportsPickers):
        return selector.pickers(snapshot, rng=rng)
    if not isinstance(selector, SupportsPicker):
        return NO_PICKERS
    pick = selector.picker(snapshot, rng=rng)
    return (None, pick) if selector.keyed else (pick, None)


def keyless(pick_by_key: Pick, rng: Random) -> Pick:
    """Return a fast path for requests without a key: that of a key drawn at random."""
    bits = rng.getrandbits

    def pick(now: float = 0.0, /) -> Node | None:
        return pick_by_key(bits(64), now)

    return pick
