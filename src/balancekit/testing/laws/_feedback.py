"""Laws 13 to 16: what a selector makes of the answers, over a balancer and servers with queues, in virtual time."""

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
"""What one first answer takes."""
MAX_GAP_S: Final = 30.0
MAX_GAP_ROUNDS: Final = 20
"""Requests per endpoint. An endpoint may go without a pick for this or the time above, whichever is longer."""
STARVATION_LOADS: Final = (0.01, 0.3, 0.8)
STARVATION_PICKS: Final = 3_000
SPEEDS: Final = (1.5,) * 6 + (0.3,) * 6
"""Two draws at random send 15 of 66 requests to the slow half, which has a sixth of the capacity."""
QUEUE_LOAD: Final = 0.90
QUEUE_PICKS: Final = 12_000
BATCHES: Final = 10
"""Of half a run: their means are nearly independent."""
FAILING_FROM_S, FAILING_UNTIL_S, FAILING_END_S = 4.0, 14.0, 34.0
FAILING_RATE: Final = 400.0
MAX_FAILING_SHARE: Final = 0.02
MIN_RECOVERED_SHARE: Final = 0.05
"""Of ten endpoints, in the 20 s after: half of what is fair, without any health policy."""
IGNORED_PICKS: Final = 3_000
MAX_IGNORED_SHARE: Final = 1.2
"""Times what is fair."""


class Pick(NamedTuple):
    """One request: when it came, to which server, and when it ended, in seconds."""

    at: float
    server: int
    ended: float


Answer = Callable[[int, float, int], tuple[float, Outcome]]
"""From server, time and the number of requests it had: seconds of service, and how they end."""


def starves_none(subject: Subject) -> None:
    """Law 13. Of equal endpoints none starves.

    None goes without a pick for longer than 30 s or 20 requests per endpoint, whichever is longer.

    At 1, 30 and 80 % load, two and five endpoints; the first answer of one endpoint takes 50 times the mean.
    """
    for number, load in itertools.product((2, 5), STARVATION_LOADS):
        chance = Random(31)

        def answer(
            server: int, _now: float, before: int, chance: Random = chance, cold: int = number - 1
        ) -> Any:
            service = COLD_S if server == cold and not before else chance.expovariate(1.0 / MEAN_S)
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
                    f"{count - rank} requests; one answer had taken {COLD_S} s",
                )


def keeps_queues_finite(subject: Subject) -> None:
    """Law 14. Queues that another selector keeps finite do not grow.

    6 fast and 6 slow servers are at 90 % of their capacity.

    The mean time of the second half of the run is compared with that of the first, by ten batches each, at 4.5 standard errors.
    """
    chance = Random(32)
    rate = QUEUE_LOAD * sum(SPEEDS) / MEAN_S

    def answer(server: int, _now: float, _before: int) -> tuple[float, Outcome]:
        return chance.expovariate(SPEEDS[server] / MEAN_S), Outcome.SUCCESS

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
    """Law 15. An endpoint that fails fast attracts no requests.

    Of ten endpoints, it gets at most 2 % of the requests, and at least 5 % in the 20 s after.

    Without a health policy: the selector and its loads alone.
    """
    chance = Random(33)

    def answer(server: int, now: float, _before: int) -> tuple[float, Outcome]:
        if server == 0 and FAILING_FROM_S <= now < FAILING_UNTIL_S:
            return MEAN_S / 10.0, Outcome.FAILURE
        return chance.expovariate(1.0 / MEAN_S), Outcome.SUCCESS

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
    """Law 16. An endpoint whose requests end ignored does not look idle.

    Of four endpoints, one whose requests all end ignored, or cancelled, at once gets at most 1.2 of what is fair.
    """
    for outcome in (Outcome.IGNORED, Outcome.CANCELLED):
        chance, clock = Random(34), ManualClock()
        balancer = _balancer(subject, 4, clock)
        count = 0
        for _ in range(IGNORED_PICKS):
            lease = balancer.acquire()
            if lease.target == "0":
                count += 1
                lease.release(outcome)
            else:
                clock.advance(chance.expovariate(1.0 / MEAN_S))
                lease.release()
        if count > MAX_IGNORED_SHARE * IGNORED_PICKS / 4:
            raise LawBroken(
                "16, learns_nothing_from_ignored",
                f"an endpoint whose requests all ended {outcome.name} got {count} of {IGNORED_PICKS}, fair is a quarter",
            )


def _balancer(subject: Subject, number: int, clock: ManualClock) -> LoadBalancer[str]:
    options: dict[str, Any] = {} if subject.load is None else {"load": subject.load}
    ids = [str(server) for server in range(number)]
    return LoadBalancer(ids, selector=subject.make(), clock=clock, rng=Random(35), health=None, **options)


def _run(subject: Subject, number: int, rate: float, answer: Answer, requests: int) -> list[Pick]:
    """Send Poisson arrivals through a balancer to servers that each work one request at a time, in order."""
    clock, chance, serial = ManualClock(), Random(36), itertools.count()
    balancer = _balancer(subject, number, clock)
    free, had = [0.0] * number, [0] * number
    open_leases: list[tuple[float, int, Any, Outcome]] = []
    found: list[Pick] = []
    now = 0.0
    while len(found) < requests:
        now += chance.expovariate(rate)
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
