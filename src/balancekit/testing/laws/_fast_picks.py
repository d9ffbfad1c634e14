"""Fast paths of the selector under test, for requests with and without a key."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import NamedTuple

from balancekit._selection.pickers import pickers_of
from balancekit.protocols import Selector, SupportsPickers
from balancekit.snapshot import Key, Node, Snapshot

__all__ = ["FastPick", "fast_picks"]


class FastPick(NamedTuple):
    """A fast path of a selector for one snapshot, with or without a key."""

    name: str
    keyed: bool
    optional: bool
    """Whether it may return ``None`` to have ``select`` called."""
    call: Callable[..., Node | None]

    def bind(self, key: Key, now: float = 0.0) -> Callable[[], Node | None]:
        """Return a function that picks; ``key`` is for a keyed path."""
        return partial(self.call, key, now) if self.keyed else partial(self.call, now)


def fast_picks(selector: Selector, snapshot: Snapshot, rng: Random) -> list[FastPick]:
    """Return the fast paths that a balancer would use for a snapshot; none if no endpoint is eligible."""
    if not snapshot.eligible:
        return []
    optional = isinstance(selector, SupportsPickers)
    name = "the picker of pickers()" if optional else "the picker"
    return [
        FastPick(f"{name} by key" if optional and keyed else name, bool(keyed), optional, call)
        for keyed, call in enumerate(pickers_of(selector, snapshot, rng))
        if call is not None
    ]
