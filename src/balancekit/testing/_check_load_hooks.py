"""Laws 12 to 17 of loads: what they state of themselves, their optional hooks, and their memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Final

from balancekit.node import Load, Node
from balancekit.outcome import Completion, Outcome
from balancekit.protocols import (
    LoadPolicy,
    SupportsComparer,
    SupportsFastSuccess,
    SupportsForget,
    SupportsPoolLoad,
    SupportsReset,
    SupportsTiming,
)
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_nodes
from balancekit.testing._memory import MIN_BYTES, held_bytes, reachable

__all__ = ["check_load_hooks"]

REQUESTS: Final = 60
LONG: Final = 3_000
"""Number of requests in half of a history in which memory may grow: more than a window of recent requests has."""
MAX_RELATIVE_ERROR: Final = 1e-9
START_S: Final = 100.0
FAILURES: Final = 5
RECOVERY_REQUESTS: Final = 3_000
"""Number of requests in five minutes: long enough that no window of a minute holds the failures at its beginning."""
MAX_EXCESS: Final = 4.0
"""Maximum relative excess of the value of an endpoint that has failed five minutes before (law 17)."""
PAUSE_S: Final = 0.1
"""Time between two requests."""
DOUBLINGS: Final = 20
"""Times that the pause doubles for a load that remembers failures for longer (law 17), to a day. Together they take a year."""
DOUBLED_REQUESTS: Final = 150
"""Number of requests between two doublings."""


def check_load_hooks(make: Callable[[], LoadPolicy]) -> None:
    """Check laws 12 to 17.

    Raises
    ------
    LawBroken
        If a law is broken.
    """
    _check_statements(make)
    _check_comparer(make)
    _check_forget(make)
    _check_reset(make)
    _check_recovery(make)
    _check_memory(make)


def _load_of(policy: LoadPolicy, node: Node) -> Load:
    """Return the load of a node, by a policy of a pool that has been made."""
    return policy(node)


def _pool(policy: LoadPolicy) -> LoadPolicy:
    given: object = policy
    return given.for_pool() if isinstance(given, SupportsPoolLoad) else policy


def _request(
    node: Node, now: float, outcome: Outcome, *, start: bool = True, end: bool = True, timed: bool = True
) -> None:
    """Send one request of 50 ms to a node, or leave out what the load states that it does not need."""
    if start:
        node.load.started(now=now if timed else math.nan, cost=1.0)
    node.inflight += 1
    node.inflight -= 1
    if end:
        began, ended = (now, now + 0.05) if timed else (math.nan, now + 0.05)
        node.load.finished(Completion(outcome, started_at=began, ended_at=ended))


def _values(
    policy: LoadPolicy, *, start: bool = True, success: bool = True, timed: bool = True, pace: float = 1.0
) -> list[float]:
    """Return values of three nodes in a history, in which the parts that are not needed can be left out."""
    nodes = make_nodes({"a": 1.0, "b": 2.0, "c": 0.5}, load=policy)
    rng, now, values = Random(51), START_S, []
    for number in range(REQUESTS):
        now += PAUSE_S * pace
        node = rng.choice(nodes)
        outcome = Outcome.SUCCESS if number % 4 else rng.choice(list(Outcome))
        plain = outcome is Outcome.SUCCESS
        _request(node, now, outcome, start=start, end=success or not plain, timed=timed)
        values += [one.load.value(now=now) for one in nodes]
    return values


def _check_statements(make: Callable[[], LoadPolicy]) -> None:
    policy = make()
    whole = _values(policy)
    given: object = policy
    if isinstance(given, SupportsTiming) and not given.timed:
        law = "12, timed = False is true"
        _differ(law, whole, _values(make(), timed=False), "without times")
        _differ(law, whole, _values(make(), pace=7.0), "at another pace")
    (node,) = make_nodes({"a": 1.0}, load=make())
    if not getattr(node.load, "needs_start", True):
        _differ("12, needs_start = False is true", whole, _values(make(), start=False), "without started()")
    if not getattr(node.load, "needs_end", True):
        _differ("12, needs_end = False is true", whole, _values(make(), success=False), "without successes")


def _differ(law: str, one: list[float], other: list[float], how: str) -> None:
    for before, after in zip(one, other, strict=True):
        if before != after:
            raise LawBroken(law, f"{before!r} became {after!r} {how}")


def _check_comparer(make: Callable[[], LoadPolicy]) -> None:
    pool: object = _pool(make())
    if not isinstance(pool, SupportsComparer) or not callable(pool):
        return
    for weights in ({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "b": 4.0, "c": 0.5}):
        loads: LoadPolicy = pool
        nodes = make_nodes(weights, load=partial(_load_of, loads))
        compare = pool.comparer(weighted=len({*weights.values()}) > 1)
        rng, now = Random(52), START_S
        for _ in range(REQUESTS):
            now += PAUSE_S
            node = rng.choice(nodes)
            _request(node, now, rng.choice([Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE]))
            busy = rng.choice(nodes)
            busy.load.started(now=now, cost=1.0)
            busy.inflight += 1
            for one, other in itertools.permutations(nodes, 2):
                values = one.load.value(now=now), other.load.value(now=now)
                alike = math.isclose(*values, rel_tol=MAX_RELATIVE_ERROR)
                lighter = compare(one, other, now)
                if lighter is not (one if values[0] <= values[1] else other) and not alike:
                    raise LawBroken(
                        "13, the comparer returns the lower value",
                        f"it returned {lighter!r} of {one!r} with {values[0]!r} and {other!r} with {values[1]!r}",
                    )


def _check_forget(make: Callable[[], LoadPolicy]) -> None:
    pool: object = _pool(make())
    if not isinstance(pool, SupportsForget) or not callable(pool):
        return
    loads: LoadPolicy = pool
    nodes = make_nodes({"a": 1.0, "b": 1.0, "c": 1.0}, load=partial(_load_of, loads))
    for number in range(REQUESTS):
        _request(nodes[number % 3], START_S + number * PAUSE_S, Outcome.SUCCESS)
    for node in nodes[1:]:
        pool.forget(node)
    held = [one.id for one in reachable([pool]) if isinstance(one, Node) and one is not nodes[0]]
    if held:
        raise LawBroken(
            "14, forget drops the node", f"the pool still refers to {sorted(held)} after forget()"
        )


def _check_reset(make: Callable[[], LoadPolicy]) -> None:
    (trial,) = make_nodes({"a": 1.0}, load=make())
    if not isinstance(trial.load, SupportsReset):
        return
    shared = _pool(make())
    old, peer = make_nodes({"a": 1.0, "b": 1.0}, load=partial(_load_of, shared))
    now = START_S
    for _ in range(REQUESTS):
        now += PAUSE_S
        _request(old, now, Outcome.FAILURE)
        _request(peer, now, Outcome.SUCCESS)
    old.load.started(now=now, cost=1.0)
    old.inflight += 1
    _reset(old.load)
    (new,) = make_nodes({"c": 1.0}, load=partial(_load_of, shared))
    new.load.started(now=now, cost=1.0)
    new.inflight += 1
    _check_like_new(old, new, now, "with one request in flight")
    for node in (old, new):
        node.inflight -= 1
        node.load.finished(Completion(Outcome.IGNORED, started_at=now, ended_at=now + 0.05))
    _check_like_new(old, new, now + 0.05, "after its end")


def _reset(load: object) -> None:
    if isinstance(load, SupportsReset):
        load.reset()


def _check_like_new(old: Node, new: Node, now: float, how: str) -> None:
    values = old.load.value(now=now), new.load.value(now=now)
    if not math.isclose(*values, rel_tol=MAX_RELATIVE_ERROR, abs_tol=MAX_RELATIVE_ERROR):
        raise LawBroken(
            "15, an endpoint after reset is like a new one",
            f"{values[0]!r} after failures and reset(), {values[1]!r} of an endpoint that has just joined, {how}",
        )


def _check_recovery(make: Callable[[], LoadPolicy]) -> None:
    nodes = make_nodes({"a": 1.0, "b": 1.0, "c": 1.0}, load=partial(_load_of, _pool(make())))
    now = _succeed(nodes, START_S, FAILURES, PAUSE_S, first=Outcome.FAILURE)
    successes = RECOVERY_REQUESTS - FAILURES
    now = _succeed(nodes, now, successes, PAUSE_S)
    failed, *peers = _values_in_flight(nodes, now)
    for doubling in range(1, DOUBLINGS + 1):
        if failed <= max(peers) + MAX_EXCESS * abs(max(peers)):
            return
        now = _succeed(nodes, now, DOUBLED_REQUESTS, PAUSE_S * 2.0**doubling)
        successes += DOUBLED_REQUESTS
        failed, *peers = _values_in_flight(nodes, now)
    raise LawBroken(
        "17, failures are forgotten",
        f"{failed!r} after {FAILURES} failures and {successes:,} successes, {max(peers)!r} where all succeeded",
    )


def _succeed(
    nodes: Sequence[Node], now: float, count: int, pause: float, first: Outcome = Outcome.SUCCESS
) -> float:
    """Send requests to all nodes; return the time of the last ones. All succeed, but those of the first node may not."""
    for _ in range(count):
        now += pause
        for node in nodes:
            _request(node, now, first if node is nodes[0] else Outcome.SUCCESS)
    return now


def _values_in_flight(nodes: Sequence[Node], now: float) -> list[float]:
    """Return the values of nodes while each has one request in flight, which is ignored then."""
    for node in nodes:
        node.load.started(now=now, cost=1.0)
        node.inflight += 1
    values = [node.load.value(now=now) for node in nodes]
    for node in nodes:
        node.inflight -= 1
        node.load.finished(Completion(Outcome.IGNORED, started_at=now, ended_at=now))
    return values


def _check_memory(make: Callable[[], LoadPolicy]) -> None:
    shared = _pool(make())
    (node,) = make_nodes({"a": 1.0}, load=partial(_load_of, shared))
    load: Load = node.load
    fast = load.succeeded if isinstance(load, SupportsFastSuccess) else None
    sizes: list[int] = []
    now = START_S
    for _ in range(2):
        for number in range(LONG):
            now += PAUSE_S
            _request(
                node,
                now,
                Outcome.FAILURE if not number % 10 else Outcome.SUCCESS,
                end=fast is None or not number % 10,
            )
            if fast is not None and number % 10:
                fast(0.05, now + 0.05)
        sizes.append(held_bytes([load, shared]))
    if sizes[1] - sizes[0] >= MIN_BYTES * LONG:
        raise LawBroken(
            "16, memory does not grow with requests",
            f"the load held {sizes[0]:,} bytes, and {sizes[1]:,} after another {LONG:,} requests",
        )
