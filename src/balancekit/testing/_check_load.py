"""Check of a load policy against the laws that a balancer relies on, in one call.

===  ===============================================================================
 1   reading the value twice gives the same number and changes nothing
 2   values of two loads can be compared: they are numbers and not NaN, at any time
 3   the start and the end of a request raise nothing, whatever the outcome
 4   if there is a method ``succeeded``, it has the same effect as ``finished`` with
     a success
 5   ``reset`` and ``forget``, if there, may be called at any time, and twice
 6   if the pool shares a load, its next deadline is later after ``advance``
 7   requests that end at once as ignored, cancelled or failed do not give an endpoint
     a lower value than peers that answer and have as many requests in flight. This
     holds whether or not the endpoint has answered before
 8   (``counts_failures``) requests that fail at once give an endpoint at least ten
     times the value of these peers, at a pace that suits the memory of the load
 9   the value does not grow with the number of requests that have ended: ten times
     as many requests with the same outcomes do not give five times the value
10   values depend on the calls of the load only: not on a clock, not on module-level
     randomness
11   requests of another endpoint do not change the value, unless the policy has
     ``for_pool``
12   what the policy and its loads state is true: with ``timed = False`` values do not
     depend on times, with ``needs_start = False`` not on ``started``, and with
     ``needs_end = False`` not on plain successes
13   ``comparer``, if there, returns the node with the lower value; the first on a tie
14   ``forget``, if there, drops the node: the pool does not refer to it any more
15   after ``reset``, if there, the value is that of an endpoint that has just joined, as
     long as both have as many requests in flight
16   the memory of a load does not grow with the number of requests that have ended
17   failures do not raise the value for good: five minutes of successes after five
     failures, or later if the load remembers for longer, it is at most five times that
     of peers
===  ===============================================================================
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
from balancekit.testing._check_load_hooks import check_load_hooks
from balancekit.testing._environments import module_of, patched_environment
from balancekit.testing._factories import make_nodes
from balancekit.testing._made import made

__all__ = ["check_load"]

POLICY: Final = "a load policy: a callable of a node"
MIN_SEED: Final = -(2**64)
MAX_RELATIVE_ERROR: Final = 1e-9
"""Allowed relative difference between a success by ``succeeded`` and by ``finished`` (law 4)."""
HISTORY_REQUESTS: Final = 60
"""Number of requests of each endpoint before values are compared."""
MAX_BETTER: Final = 0.02
"""Allowed relative difference of values whose answers came at slightly different times (law 7)."""
MIN_WORSE: Final = 10.0
"""Minimum factor between the value of an endpoint that fails and those of its peers (law 8)."""
PACES: Final = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 0.1, 0.01)
"""Factors of all times, one of which must suffice for law 8: a load may remember for milliseconds or for weeks."""
LONGER: Final = 10
"""Number of requests in the longer history of law 9, divided by that in the shorter one."""
MAX_GROWTH: Final = 5.0
"""Maximum factor between the values after these histories. A count that never decreases would grow by 10."""
YEAR_S: Final = 3e7
"""About a year, in seconds: a time without requests after which values must still be valid."""


def check_load(
    make: Callable[[], LoadPolicy], *, steps: int = 300, seed: int = 0, counts_failures: bool = False
) -> None:
    """Check a load policy against the laws of loads. The first broken law raises.

    Parameters
    ----------
    make
        Function that returns a new policy: its class, or ``lambda: MyLoad(...)``.
    steps
        Number of requests that start and end, >= 1.
    seed
        Seed of these requests.
    counts_failures
        Whether the policy should send fewer requests to endpoints that fail. If so, law 8 is checked as well.

    Raises
    ------
    LawBroken
        If a law is broken. The error names the law and the observation. Equal calls give equal results.
    ConfigurationError
        If ``make`` does not return a load policy, ``steps`` is not a whole number >= 1, ``seed`` is not a whole number, or
        ``counts_failures`` is no bool.

    Example
    -------
    >>> from balancekit.loads import InFlight
    >>> from balancekit.testing import check_load
    >>> check_load(InFlight)
    """
    if not callable(made(make, POLICY, example="lambda: {}")):
        raise ConfigurationError("make", make, f"a function without parameters that makes {POLICY}")
    LoadBalancer(["a"], load=make())  # refuses one that lacks a method
    count = valid.integer("steps", steps, minimum=1)
    valid.integer("seed", seed, minimum=MIN_SEED)
    harder = valid.flag("counts_failures", counts_failures)
    values: list[list[float]] = []
    module = module_of(make())
    for environment in (1, 2):
        with patched_environment(environment, module):
            values.append(_history(make(), count, seed))
    for one, other in zip(*values, strict=True):
        if one != other:
            raise LawBroken(
                "10, values depend on its calls only", f"{one!r} became {other!r} at another time"
            )
    _check_apart(make)
    _check_successes(make)
    _check_bad_endings(make, counts_failures=harder)
    _check_growth(make)
    check_load_hooks(make)


def _history(policy: LoadPolicy, count: int, seed: int) -> list[float]:
    """Return all values of a load in a history: overlapping requests, a year without any, then two at one time."""
    given: object = policy
    shared: LoadPolicy = given.for_pool() if isinstance(given, SupportsPoolLoad) else policy
    nodes = make_nodes({"a": 1.0, "b": 2.0, "c": 0.5, "d": 0.0}, load=lambda node: shared(node))
    rng, now = Random(seed), 100.0
    open_requests: list[tuple[Node, float, float]] = []
    values: list[float] = []
    for _ in range(count):
        now += rng.expovariate(10.0)
        node = rng.choice(nodes)
        cost = rng.choice([1.0, 1.0, 7.5])
        _start(node, now, cost)
        open_requests.append((node, now, cost))
        if rng.random() < 0.7:
            _end(rng, open_requests, now)
        values += [_value(one, now) for one in nodes]
    while open_requests:
        _end(rng, open_requests, now)
    pool: object = shared
    if isinstance(pool, Sweep):
        _try("6", "advance", partial(pool.advance, now=now))
        if not pool.deadline > now:
            raise LawBroken(
                "6, the deadline is later", f"deadline {pool.deadline!r} after advance(now={now!r})"
            )
    for node in nodes:
        load: object = node.load
        for _ in range(2):
            if isinstance(load, SupportsReset):
                _try("5", "reset", load.reset)
            if isinstance(pool, SupportsForget):
                _try("5", "forget", partial(pool.forget, node))
        values.append(_value(node, now))
    now += YEAR_S
    for node in nodes:
        values.append(_value(node, now))
        for _ in range(2):  # at one moment
            _start(node, now, 1.0)
        values += [_value(node, now), _value(node, now + YEAR_S)]
        for _ in range(2):
            _finish(node, Completion(Outcome.SUCCESS, started_at=now, ended_at=now))
        values.append(_value(node, now))
    return values


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
        raise LawBroken("2, values can be compared", f"{node.id!r} returned {values[0]!r} at {now!r}")
    if values[0] != values[1]:
        raise LawBroken(
            "1, reading changes nothing",
            f"{node.id!r} returned {values[0]!r} and then {values[1]!r} at {now!r}",
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
            raise LawBroken(
                "4, successes have the same effect", f"{one!r} by succeeded(), {other!r} by finished()"
            )


def _check_apart(make: Callable[[], LoadPolicy]) -> None:
    values = [_beside(make(), requests) for requests in (0, HISTORY_REQUESTS)]
    for alone, beside in zip(*values, strict=True):
        if alone != beside:
            raise LawBroken(
                "11, loads are independent",
                f"{alone!r} became {beside!r} after requests of another endpoint: each endpoint needs its own load",
            )


def _beside(policy: LoadPolicy, requests: int) -> list[float]:
    """Return the values of a load while another endpoint has ``requests`` requests, some of which fail or stay open."""
    given: object = policy
    if isinstance(given, SupportsPoolLoad):
        return []
    node, other = make_nodes({"a": 1.0, "b": 1.0}, load=policy)
    now, values, still = 100.0, [], []
    for number in range(HISTORY_REQUESTS):
        now += 0.1
        outcome = Outcome.FAILURE if number % 3 else Outcome.SUCCESS
        ended = Completion(outcome, started_at=now, ended_at=now + 0.05)
        if number < requests:
            _start(other, now, 1.0)
            _finish(other, ended) if number % 2 else still.append(ended)
        if not number % 5:
            _start(node, now, 1.0)
            values.append(_value(node, now))
            _finish(node, Completion(Outcome.SUCCESS, started_at=now, ended_at=now + 0.05))
        values.append(_value(node, now + 0.05))
    for ended in still:
        _finish(other, ended)
    return values


def _changed(value: float, share: float) -> float:
    """Return a value that is higher by this share of its magnitude. A load may be negative."""
    return value + share * abs(value)


def _check_bad_endings(make: Callable[[], LoadPolicy], *, counts_failures: bool) -> None:
    for outcome in (Outcome.IGNORED, Outcome.CANCELLED, Outcome.FAILURE):
        for answers in (HISTORY_REQUESTS // 2, 0):
            endings = [Outcome.SUCCESS] * answers + [outcome] * (HISTORY_REQUESTS - answers)
            *peers, value = _values_after(make, endings)
            before = "after it had answered" if answers else "without an answer"
            if value < _changed(min(peers), -MAX_BETTER):
                raise LawBroken(
                    "7, unanswered requests do not lower the value",
                    f"{value!r} where all ended {outcome.name} {before}, {min(peers)!r} where all were answered",
                )
            if counts_failures and outcome is Outcome.FAILURE:
                _check_failures(make, endings, before)


def _check_failures(make: Callable[[], LoadPolicy], endings: Sequence[Outcome], before: str) -> None:
    """Check law 8, at several paces of the requests."""
    found: list[str] = []
    for pace in PACES:
        *peers, value = _values_after(make, endings, pace=pace)
        if value >= _changed(max(peers), MIN_WORSE - 1.0):
            return
        found.append(f"{value!r} where all failed {before}, {max(peers)!r} where all were answered")
    raise LawBroken("8, failures raise the value", found[0])


def _check_growth(make: Callable[[], LoadPolicy]) -> None:
    for outcome, cost in itertools.product(Outcome, (1.0, 7.5)):
        endings = [outcome, Outcome.SUCCESS] * (HISTORY_REQUESTS // 2)
        before = _values_after(make, endings, cost)[-1]
        after = _values_after(make, endings * LONGER, cost)[-1]
        if abs(after) > MAX_GROWTH * abs(before) > 0.0:
            raise LawBroken(
                "9, ended requests do not accumulate",
                f"{before!r} after {len(endings)} requests of cost {cost}, half of which ended {outcome.name}, "
                f"{after!r} after {LONGER * len(endings)}, with one request in flight each time",
            )


def _values_after(
    make: Callable[[], LoadPolicy], endings: Sequence[Outcome], cost: float = 1.0, *, pace: float = 1.0
) -> list[float]:
    """Return the values of three nodes with one request in flight each. ``endings`` are the outcomes of the third node.

    All requests of the first two nodes succeed. All times are multiplied by ``pace``.
    """
    nodes, now = make_nodes({"a": 1.0, "b": 1.0, "c": 1.0}, load=make()), 100.0
    for ending in endings:
        for node in nodes:
            outcome = ending if node is nodes[-1] else Outcome.SUCCESS
            took = (0.05 if outcome is Outcome.SUCCESS else 0.001) * pace
            _start(node, now, cost)
            _finish(node, Completion(outcome, started_at=now, ended_at=now + took, cost=cost))
            now += 0.06 * pace
    for node in nodes:
        _start(node, now, 1.0)
    return [_value(node, now) for node in nodes]


def _try(law: str, what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:
        raise LawBroken(f"{law}, {what} raises nothing", f"{type(error).__name__}: {error}") from error
