"""Slow start for every selector, by rejection sampling.

When a selector picks an endpoint that is warming up or on trial, the pick is accepted with probability ``node.ramp``. It is
always accepted while the endpoint has fewer than ``node.trial`` requests. Otherwise the selector is called again, and the
endpoint is excluded. The method is the same for every selector, and no schedule is disturbed: round robin skips a turn,
a hash selector uses the key's next owner, and a least-load selector uses the next one by load.

For a request with a key, the hash of the key replaces the random number. So each key moves to the endpoint once, at a
fixed value of the ramp, and stays there. If the other endpoints are rejected too, the first pick is used: slow start
refuses no request.

*Not exact:* threads that pick at the same time may each see that the endpoint may take one more request on trial.

Cost: one comparison of floats if the endpoint is not ramping; a second pick on the slow path if the first is rejected.
No cost in a pool without ramping endpoints.

Source: probability thinning. It avoids the starvation of new endpoints in schedulers that lower their weights (Envoy
issues 19526, 19712 and 29259).
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
"""Returns the given pick if slow start accepts it, else another one."""

MAX_REDIRECTS: Final = 8
"""Picks that are rejected for one request. After so many, the first pick is used."""


def with_slow_start(select: Select, snapshot: Snapshot, ctx: PickContext) -> Node | None:
    """Return a pick of ``select`` that slow start accepts; the first pick if it accepts none."""
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
    """Return pickers that call the given ones and apply slow start to their picks."""

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
    """Return another node for a request, after slow start has rejected ``first``; ``first`` if there is none."""
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
