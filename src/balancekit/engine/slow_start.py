"""Slow start for every selector, by rejection sampling.

A request that an algorithm gives to an endpoint that is warming or on trial is let through with the
probability ``node.ramp``, or while fewer than ``node.trial`` requests are on it; otherwise it is given again,
to another endpoint. No algorithm knows of it, so it is the same for all, and no schedule is disturbed: round
robin skips a turn, hashing goes to the key's next owner, least loads to the next least.

With a key the answer does not depend on chance but on the key, so that a key moves over once, when its time
has come, and stays. If all that are left are held back too, the first choice stands: no request is refused.

*Not exact:* threads that pick at the same instant may each see a free place on an endpoint that is on trial.

Cost: one comparison of a float for a request on an endpoint that is not held back; a second pick by the
slow path for one that is turned away. Pools without ramping endpoints never come here.

Source: probability thinning; the remedy for Envoy issues 19526, 19712 and 29259, where schedulers with
lowered weights let newcomers starve.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from balancekit._selection.pickers import Pick, Pickers
from balancekit.hashing import hash32
from balancekit.snapshot import Key, Node, PickContext, Snapshot

__all__ = ["slow_start_pickers", "with_slow_start"]

Select = Callable[[Snapshot, PickContext], Node | None]
Again = Callable[[Node, Key | None, float], Node]
"""Lets a pick stand, or makes another in its place."""

MAX_REDIRECTS: Final = 8
"""So many are turned away for one request before the first choice stands."""


def with_slow_start(select: Select, snapshot: Snapshot, ctx: PickContext) -> Node | None:
    """Pick with ``select``, and pick again while the pick is one that is held back."""
    node = select(snapshot, ctx)
    if node is None or _admitted(node, ctx.key, ctx.rng):
        return node
    return _redirect(node, select, snapshot, ctx)


def slow_start_pickers(
    pickers: Pickers,
    select: Select,
    snapshot: Snapshot,
    rng: Random,
) -> Pickers:
    """Return fast paths around others."""

    def again(node: Node, key: Key | None, now: float) -> Node:
        if _admitted(node, key, rng):
            return node
        return _redirect(node, select, snapshot, PickContext(rng=rng, now=now, key=key))

    first, first_by_key = pickers
    return (
        None if first is None else _with_second_pick(first, again),
        None if first_by_key is None else _with_second_pick_by_key(first_by_key, again),
    )


def _with_second_pick(first: Pick, again: Again) -> Pick:
    def pick(now: float = 0.0, /) -> Node | None:
        node = first(now)
        return node if node is None or node.ramp >= 1.0 else again(node, None, now)

    return pick


def _with_second_pick_by_key(first: Pick, again: Again) -> Pick:
    def pick_by_key(key: Key, now: float = 0.0, /) -> Node | None:
        node = first(key, now)
        return node if node is None or node.ramp >= 1.0 else again(node, key, now)

    return pick_by_key


def _admitted(node: Node, key: Key | None, rng: Random) -> bool:
    if node.ramp >= 1.0 or node.inflight < node.trial:
        return True
    if node.ramp <= 0.0:
        return False
    return (rng.random() if key is None else hash32(key) / 2.0**32) < node.ramp


def _redirect(first: Node, select: Select, snapshot: Snapshot, ctx: PickContext) -> Node:
    """Give a request that ``first`` turned away to another node, or back to ``first``."""
    away = {first.id}
    while len(away) <= MAX_REDIRECTS:
        node = select(snapshot, ctx.excluding(away))
        if node is None:
            break
        if _admitted(node, ctx.key, ctx.rng):
            if ctx.trace is not None:
                ctx.trace.note(f"held back {', '.join(sorted(away))}")
            return node
        away.add(node.id)
    return first
