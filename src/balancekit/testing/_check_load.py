"""Check of a load policy against the laws that a balancer relies on, in one call.

===  ===========================================================================
 1   reading the value twice gives the same number and changes nothing
 2   values of two loads can be compared: numbers, not NaN, at any time
 3   a request that has started and ended, however it ended, raises nothing
 4   if ``succeeded`` is there, a plain success by it and by ``finished`` weigh alike
 5   ``reset`` and ``forget``, if they are there, may be called at any time, and twice
 6   what loads of one pool share is due later after ``advance`` than before
 7   requests that end ignored, cancelled or failed at once do not make an endpoint
     better than its peers that answer, with as many requests in flight, whether it
     has answered before or not
 8   (``counts_failures``) requests that fail at once make it ten times worse than them
 9   what has ended does not add up: ten times as many requests, with the same endings,
     do not make the value five times as large
10   values depend on the calls of the load alone: not on a clock, not on module-level
     randomness
===  ===========================================================================
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Final

from balancekit._support import validation as valid
from balancekit.balancer import LoadBalancer
from balancekit.errors import ConfigurationError
from balancekit.node import Node
from balancekit.outcome import Completion, Outcome
from balancekit.protocols import (
    LoadPolicy,
    SupportsAnswering,
    SupportsFastSuccess,
    SupportsForget,
    SupportsPoolLoad,
    SupportsReset,
    Sweep,
)
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_nodes
from balancekit.testing._worlds import another_world

__all__ = ["check_load"]

MAX_RELATIVE_ERROR: Final = 1e-9
"""Between a success by ``succeeded`` and by ``finished``."""
HISTORY_REQUESTS: Final = 60
"""Requests of each endpoint before loads are compared."""
MAX_BETTER: Final = 0.02
"""Share by which loads may differ for answers that came at other times."""
MIN_WORSE: Final = 10.0
"""Factor on the load of peers (law 8)."""
LONGER: Final = 10
"""How many times as many requests the longer history of law 9 has."""
MAX_GROWTH: Final = 5.0
"""Factor on the value after the shorter one: half of what a count that never goes down gains."""
YEAR_S: Final = 3e7
"""An endpoint may be without requests for that long."""


def check_load(
    make: Callable[[], LoadPolicy], *, steps: int = 300, seed: int = 0, counts_failures: bool = False
) -> None:
    """Try a load policy on every law; raise at the first that it breaks.

    Parameters
    ----------
    make
        Makes a fresh policy: its class, or ``lambda: MyLoad(...)``.
    steps
        How many requests start and end, >= 1.
    seed
        Of the history of these requests.
    counts_failures
        Whether the policy is to steer away from endpoints that fail: law 8 is tried too.

    Raises
    ------
    LawBroken
        Naming the law and what was seen.
    ConfigurationError
        If ``make`` makes no policy.

    Example
    -------
    >>> from balancekit.loads import InFlight
    >>> check_load(InFlight)
    """
    if isinstance(make, type):
        _refuse_load(make)
    if not callable(make) or not callable(make()):
        raise ConfigurationError("make", make, "a function that makes a load policy: a callable of a node")
    LoadBalancer(["a"], load=make())  # refuses one that lacks a method
    count = valid.integer("steps", steps, minimum=1)
    harder = valid.flag("counts_failures", counts_failures)
    seen: list[list[float]] = []
    for world in (1, 2):
        with another_world(world):
            seen.append(_history(make(), count, seed))
    for one, other in zip(*seen, strict=True):
        if one != other:
            raise LawBroken(
                "10, values depend on its calls alone", f"{one!r} became {other!r} at another time"
            )
    _check_successes(make)
    _check_bad_endings(make, counts_failures=harder)
    _check_growth(make)


def _refuse_load(kind: type) -> None:
    """Refuse the class of a load, which makes a load of a node and is a policy itself."""
    try:
        kind()
    except TypeError as error:
        wanted = f"a function that makes a policy: `lambda: {kind.__name__}` ({error})"
        raise ConfigurationError("make", kind, wanted) from None


def _history(policy: LoadPolicy, count: int, seed: int) -> list[float]:
    """Play requests that overlap, then a year without any, then two at one moment; return all values that were seen."""
    given: object = policy
    shared: LoadPolicy = given.for_pool() if isinstance(given, SupportsPoolLoad) else policy
    nodes = make_nodes({"a": 1.0, "b": 2.0, "c": 0.5}, load=lambda node: shared(node))
    rng, now = Random(seed), 100.0
    open_requests: list[tuple[Node, float, float]] = []
    seen: list[float] = []
    for _ in range(count):
        now += rng.expovariate(10.0)
        node = rng.choice(nodes)
        cost = rng.choice([1.0, 1.0, 7.5])
        _start(node, now, cost)
        open_requests.append((node, now, cost))
        if rng.random() < 0.7:
            _end(rng, open_requests, now)
        seen += [_value(one, now) for one in nodes]
    while open_requests:
        _end(rng, open_requests, now)
    pool: object = shared
    if isinstance(pool, Sweep):
        _try("6", "advance", partial(pool.advance, now=now))
        if not pool.deadline > now:
            raise LawBroken("6, is due later", f"due at {pool.deadline!r} after advance(now={now!r})")
    for node in nodes:
        load: object = node.load
        for _ in range(2):
            if isinstance(load, SupportsReset):
                _try("5", "reset", load.reset)
            if isinstance(pool, SupportsForget):
                _try("5", "forget", partial(pool.forget, node))
        seen.append(_value(node, now))
    now += YEAR_S
    for node in nodes:
        seen.append(_value(node, now))
        for _ in range(2):  # at one moment
            _start(node, now, 1.0)
        seen += [_value(node, now), _value(node, now + YEAR_S)]
        for _ in range(2):
            _finish(node, Completion(Outcome.SUCCESS, started_at=now, ended_at=now))
        seen.append(_value(node, now))
    return seen


def _start(node: Node, now: float, cost: float) -> None:
    _try("3", "started", partial(node.load.started, now=now, cost=cost))
    node.inflight += 1


def _finish(node: Node, done: Completion) -> None:
    load: object = node.load
    if done.first_byte_at is not None and isinstance(load, SupportsAnswering):
        _try("3", "answering", partial(load.answering, now=done.first_byte_at, cost=done.cost))
    node.inflight -= 1
    _try("3", f"finished({done.outcome.name})", partial(node.load.finished, done))


def _end(rng: Random, open_requests: list[tuple[Node, float, float]], now: float) -> None:
    node, started_at, cost = open_requests.pop(rng.randrange(len(open_requests)))
    outcome = rng.choice([Outcome.SUCCESS] * 5 + list(Outcome))
    first = rng.choice([None, started_at + (now - started_at) / 2])
    _finish(node, Completion(outcome, started_at=started_at, ended_at=now, cost=cost, first_byte_at=first))


def _value(node: Node, now: float) -> float:
    values: list[float] = []
    for _ in range(2):
        _try("2", "value", lambda: values.append(node.load.value(now=now)))
    if not isinstance(values[0], float | int) or math.isnan(values[0]):
        raise LawBroken("2, values compare", f"{node.id!r} answered {values[0]!r} at {now!r}")
    if values[0] != values[1]:
        raise LawBroken(
            "1, the value is pure", f"{node.id!r} answered {values[0]!r} and then {values[1]!r} at {now!r}"
        )
    return values[0]


def _check_successes(make: Callable[[], LoadPolicy]) -> None:
    found: list[list[float]] = []
    for short in (True, False):
        (node,) = make_nodes({"a": 1.0}, load=make())
        load: object = node.load
        if not isinstance(load, SupportsFastSuccess):
            return
        now, values = 100.0, []
        for latency in (0.05, 0.2, 0.01, 0.1):
            _start(node, now, 1.0)
            if short:
                node.inflight -= 1
                _try("3", "succeeded", partial(load.succeeded, latency, now + latency))
            else:
                _finish(node, Completion(Outcome.SUCCESS, started_at=now, ended_at=now + latency))
            now += 1.0
            values.append(_value(node, now))
        found.append(values)
    for one, other in zip(*found, strict=True):
        if not math.isclose(one, other, rel_tol=MAX_RELATIVE_ERROR, abs_tol=MAX_RELATIVE_ERROR):
            raise LawBroken("4, successes weigh alike", f"{one!r} by succeeded(), {other!r} by finished()")


def _check_bad_endings(make: Callable[[], LoadPolicy], *, counts_failures: bool) -> None:
    for outcome in (Outcome.IGNORED, Outcome.CANCELLED, Outcome.FAILURE):
        for answers in (HISTORY_REQUESTS // 2, 0):
            endings = [Outcome.SUCCESS] * answers + [outcome] * (HISTORY_REQUESTS - answers)
            *peers, value = _values_after(make, endings)
            before = "after it had answered" if answers else "without an answer"
            if value < min(peers) * (1.0 - MAX_BETTER):
                raise LawBroken(
                    "7, bad endings do not make better",
                    f"{value!r} where all ended {outcome.name} {before}, {min(peers)!r} where all were answered",
                )
            if counts_failures and outcome is Outcome.FAILURE and not value >= MIN_WORSE * max(peers):
                raise LawBroken(
                    "8, failures make worse",
                    f"{value!r} where all failed {before}, {max(peers)!r} where all were answered",
                )


def _check_growth(make: Callable[[], LoadPolicy]) -> None:
    for outcome, cost in itertools.product(Outcome, (1.0, 7.5)):
        endings = [outcome, Outcome.SUCCESS] * (HISTORY_REQUESTS // 2)
        before = _values_after(make, endings, cost)[-1]
        after = _values_after(make, endings * LONGER, cost)[-1]
        if after > MAX_GROWTH * before > 0.0:
            raise LawBroken(
                "9, what has ended does not add up",
                f"{before!r} after {len(endings)} requests of cost {cost}, half of which ended {outcome.name}, "
                f"{after!r} after {LONGER * len(endings)}: one in flight each time",
            )


def _values_after(
    make: Callable[[], LoadPolicy], endings: Sequence[Outcome], cost: float = 1.0
) -> list[float]:
    """Return the loads of three nodes with one request in flight each: two that answer, and one whose requests end so."""
    nodes, now = make_nodes({"a": 1.0, "b": 1.0, "c": 1.0}, load=make()), 100.0
    for ending in endings:
        for node in nodes:
            outcome = ending if node is nodes[-1] else Outcome.SUCCESS
            took = 0.05 if outcome is Outcome.SUCCESS else 0.001
            _start(node, now, cost)
            _finish(node, Completion(outcome, started_at=now, ended_at=now + took, cost=cost))
            now += 0.06
    for node in nodes:
        _start(node, now, 1.0)
    return [_value(node, now) for node in nodes]


def _try(law: str, what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:
        raise LawBroken(f"{law}, {what} raises nothing", f"{type(error).__name__}: {error}") from error
