"""Statistics of a state, and the candidates of an explanation.

Both are made from one immutable state, under no lock. Counters and loads are read while requests may change them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from types import MappingProxyType

from balancekit.engine.guard import Guard
from balancekit.engine.member import Member
from balancekit.engine.state import PoolState
from balancekit.explanation import Candidate
from balancekit.statistics_view import BalancerStats, EndpointStats
from balancekit.stats import summary

__all__ = ["candidates_of", "stats_of"]


def stats_of(state: PoolState, *, now: float, refused: Mapping[str, int]) -> BalancerStats:
    """Return the statistics of a pool. O(n), plus the sorting of all latencies in the windows."""
    members = [*state.members.values(), *state.leaving.values()]
    outcomes = dict(state.retired)
    for member in members:
        for outcome, count in member.node.tally().items():
            outcomes[outcome] += count
    windows = [member.node.latency for member in members if member.node.latency is not None]
    return BalancerStats(
        at=now,
        endpoints=tuple([_endpoint(member) for member in members]),
        outcomes=MappingProxyType(outcomes),
        latency=summary([value for window in windows for value in window.values()]),
        version=state.snapshot.version,
        panic=state.snapshot.panic,
        refused=refused,
    )


def candidates_of(
    state: PoolState, guard: Guard, *, picked: str | None, tried: Collection[str], now: float
) -> tuple[Candidate, ...]:
    """Return a candidate for every endpoint of the pool, for an explanation of one pick. O(n)."""
    return tuple(
        [
            Candidate(
                id=member.endpoint.id,
                status=_status(member, picked, tried),
                state=member.state,
                weight=member.endpoint.weight,
                inflight=member.node.inflight,
                load=guard.call("load", member.node.load.value, default=math.nan, now=now),
            )
            for member in state.members.values()
        ]
    )


def _endpoint(member: Member) -> EndpointStats:
    node = member.node
    answers = node.answers
    return EndpointStats(
        id=node.id,
        state=member.state,
        weight=member.endpoint.weight,
        inflight=node.inflight,
        outcomes=MappingProxyType(node.tally()),
        latency=None if node.latency is None else node.latency.read(),
        first_byte=None if answers is None else answers.first_byte.read(),
        tokens=0 if answers is None else answers.tokens,
        tokens_per_second=None if answers is None else answers.speed.read(),
    )


def _status(member: Member, picked: str | None, tried: Collection[str]) -> str:
    id, reason = member.endpoint.id, member.reason
    if id == picked:
        return "picked"
    if id in tried:
        return "already tried"
    return "eligible" if reason is None else reason.value
