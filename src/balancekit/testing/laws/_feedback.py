"""Laws 13 to 16: effects of responses on picks, checked with a balancer and simulated servers in virtual time."""

from __future__ import annotations

import heapq
import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, NamedTuple

from balancekit.balancer import LoadBalancer
from balancekit.outcome import Outcome
from balancekit.testing._broken import LawBroken
from balancekit.testing._clock import ManualClock
from balancekit.testing._statistics import Z
from balancekit.testing.laws._subject import Subject

__all__ = ["avoids_failing", "keeps_queues_finite", "learns_nothing_from_ignored", "starves_none"]

MEAN_S: Final = 0.010
"""Mean service time."""
COLD_S: Final = 0.5
"""Service time of the one slow response of law 13."""
MAX_GAP_S: Final = 30.0
"""Maximum time between two picks of an endpoint, unless ``MAX_GAP_ROUNDS`` allows more."""
MAX_GAP_ROUNDS: Final = 20
"""Maximum number of requests between two picks of an endpoint, per endpoint, unless ``MAX_GAP_S`` allows more."""
STARVATION_LOADS: Final = (0.01, 0.3, 0.8)
STARVATION_PICKS: Final = 3_000
SPEEDS: Final = (1.5,) * 6 + (0.3,) * 6
"""Speeds of the servers of law 14. The slow half has a sixth of the capacity. Of the 66 pairs of servers, 15 have only
slow ones; so power of two choices sends it at least 15 of 66 requests."""
QUEUE_LOAD: Final = 0.90
QUEUE_PICKS: Final = 12_000
BATCHES: Final = 10
"""Number of batches in half a run. Their means are nearly independent."""
FAILING_FROM_S, FAILING_UNTIL_S, FAILING_END_S = 4.0, 14.0, 34.0
FAILING_RATE: Final = 400.0
MAX_FAILING_SHARE: Final = 0.02
"""Maximum share of the requests that the failing one of ten endpoints gets while it fails."""
MIN_RECOVERED_SHARE: Final = 0.05
"""Minimum share that it gets in the 20 s after that: half of a fair share, without a health policy."""
IGNORED_PICKS: Final = 3_000
MAX_IGNORED_SHARE: Final = 1.2
"""Maximum share of an endpoint whose requests are ignored, relative to a fair share."""


class Pick(NamedTuple):
    """One request: its arrival, its server, and its end. Times in seconds."""

    at: float
    server: int
    ended: float


Answer = Callable[[int, float, int], tuple[float, Outcome]]
"""Function of the server, the time, and the number of earlier requests at it. Returns service time and outcome."""


def starves_none(subject: Subject) -> None:
    """Law 13. No endpoint starves if all endpoints are equal.

    None goes without a pick for more than 30 s or 20 requests per endpoint, whichever is longer. This is checked for two
    and five endpoints, at 1, 30 and 80 % load. The first response of one endpoint takes 50 times the mean.
    """
    for number, load in itertools.product((2, 5), STARVATION_LOADS):
        rng = Random(31)

        def answer(server: int, _now: float, before: int, rng: Random = rng, cold: int = number - 1) -> Any:
            service = COLD_S if server == cold and not before else rng.expovariate(1.0 / MEAN_S)
            return service, Outcome.SUCCESS

        picks = _run(subject, number, load * number / MEAN_S, answer, STARVATION_PICKS)
        last = [(0.0, 0)] * number
        for count, pick in enumerate(picks, 1):
            last[pick.server] = pick.at, count
            seconds, rank = min(last)
            if pick.at - seconds > MAX_GAP_S and count - rank > MAX_GAP_ROUNDS * number:
                raise LawBroken(
                    "13, starves_none",
                    f"of {number} endpoints at {load:.0%} load, one had no pick for {pick.at - seconds:.0f} s and "
                    f"{count - rank} requests, after one response that took {COLD_S} s",
                )


def keeps_queues_finite(subject: Subject) -> None:
    """Law 14. Queues of unequal servers do not grow as long as the load is below their total capacity.

    This is checked with 6 fast and 6 slow servers at 90 % of their capacity. The mean time of a request in the second half
    of the run must not exceed that in the first half by more than 4.5 standard errors, which are estimated from ten batches
    each.
    """
    rng = Random(32)
    rate = QUEUE_LOAD * sum(SPEEDS) / MEAN_S

    def answer(server: int, _now: float, _before: int) -> tuple[float, Outcome]:
        return rng.expovariate(SPEEDS[server] / MEAN_S), Outcome.SUCCESS

    picks = _run(subject, len(SPEEDS), rate, answer, QUEUE_PICKS)[QUEUE_PICKS // 6 :]
    times = [pick.ended - pick.at for pick in picks]
    halves = [_means(times[: len(times) // 2]), _means(times[len(times) // 2 :])]
    first, second = map(statistics.fmean, halves)
    error = math.sqrt(sum(statistics.variance(half) / BATCHES for half in halves))
    if second - first > Z * error:
        raise LawBroken(
            "14, keeps_queues_finite",
            f"at {QUEUE_LOAD:.0%} of the capacity the mean time rose from {first:.3f} to {second:.3f} s, "
            f"{(second - first) / error:.1f} standard errors (at most {Z})",
        )


def avoids_failing(subject: Subject) -> None:
    """Law 15. An endpoint that fails fast attracts no requests, and gets requests again after it has recovered.

    This is checked with ten endpoints, without a health policy. The failing one gets at most 2 % of the requests while it
    fails, and at least 5 % in the 20 s after that.
    """
    rng = Random(33)

    def answer(server: int, now: float, _before: int) -> tuple[float, Outcome]:
        if server == 0 and FAILING_FROM_S <= now < FAILING_UNTIL_S:
            return MEAN_S / 10.0, Outcome.FAILURE
        return rng.expovariate(1.0 / MEAN_S), Outcome.SUCCESS

    picks = _run(subject, 10, FAILING_RATE, answer, int(FAILING_RATE * FAILING_END_S))
    failing = [pick.server == 0 for pick in picks if FAILING_FROM_S <= pick.at < FAILING_UNTIL_S]
    after = [pick.server == 0 for pick in picks if pick.at >= FAILING_UNTIL_S]
    while_failing, recovered = sum(failing) / len(failing), sum(after) / len(after)
    if while_failing > MAX_FAILING_SHARE or recovered < MIN_RECOVERED_SHARE:
        raise LawBroken(
            "15, avoids_failing",
            f"share {while_failing:.3f} while failing (at most {MAX_FAILING_SHARE}), "
            f"{recovered:.3f} after (at least {MIN_RECOVERED_SHARE})",
        )


def learns_nothing_from_ignored(subject: Subject) -> None:
    """Law 16. An endpoint does not attract requests because its requests end ignored or cancelled.

    This is checked with four endpoints. One whose requests all end at once as ignored, or as cancelled, gets at most 1.2
    times a fair share.
    """
    for outcome in (Outcome.IGNORED, Outcome.CANCELLED):
        rng, clock = Random(34), ManualClock()
        balancer = _balancer(subject, 4, clock)
        count = 0
        for _ in range(IGNORED_PICKS):
            lease = balancer.acquire()
            if lease.target == "0":
                count += 1
                lease.release(outcome)
            else:
                clock.advance(rng.expovariate(1.0 / MEAN_S))
                lease.release()
        if count > MAX_IGNORED_SHARE * IGNORED_PICKS / 4:
            raise LawBroken(
                "16, learns_nothing_from_ignored",
                f"an endpoint whose requests all ended {outcome.name} got {count} of {IGNORED_PICKS}; "
                "a fair share is a quarter",
            )


def _balancer(subject: Subject, number: int, clock: ManualClock) -> LoadBalancer[str]:
    options: dict[str, Any] = {} if subject.load is None else {"load": subject.load}
    ids = [str(server) for server in range(number)]
    return LoadBalancer(ids, selector=subject.make(), clock=clock, rng=Random(35), health=None, **options)


def _run(subject: Subject, number: int, rate: float, answer: Answer, requests: int) -> list[Pick]:
    """Send Poisson arrivals through a balancer to servers that serve one request at a time, first in, first out."""
    clock, rng, serial = ManualClock(), Random(36), itertools.count()
    balancer = _balancer(subject, number, clock)
    free, had = [0.0] * number, [0] * number
    open_leases: list[tuple[float, int, Any, Outcome]] = []
    found: list[Pick] = []
    now = 0.0
    while len(found) < requests:
        now += rng.expovariate(rate)
        while open_leases and open_leases[0][0] <= now:
            ended, _, lease, outcome = heapq.heappop(open_leases)
            clock.advance(ended - clock.now)
            lease.release(outcome)
        clock.advance(now - clock.now)
        lease = balancer.acquire(f"key:{len(found)}")
        server = int(lease.target)
        service, outcome = answer(server, now, had[server])
        free[server] = ended = max(free[server], now) + service
        had[server] += 1
        found.append(Pick(now, server, ended))
        heapq.heappush(open_leases, (ended, next(serial), lease, outcome))
    for *_, lease, _ in open_leases:
        lease.release()
    return found


def _means(values: Sequence[float]) -> list[float]:
    size = len(values) // BATCHES
    return [statistics.fmean(values[batch * size : (batch + 1) * size]) for batch in range(BATCHES)]
