"""The expected delay of one endpoint: its pace, its queue and its turn, kept up to date as requests end.

The formulas and their reasons are in ``_expected_delay.py``.
"""

from __future__ import annotations

import math
from math import sqrt
from typing import ClassVar, Final, final

from balancekit._support.display import StateRepr
from balancekit.loads._expected_delay_pool import (
    LONE,
    MAX_FOUND,
    MIN_PACE_S,
    QUEUES,
    ExpectedDelayPool,
    SweepTotals,
    queue_count,
)
from balancekit.loads._idle_probe import NEW, IdleProbe, Stage
from balancekit.loads._latency import measured
from balancekit.loads._pace_shift import PaceAverage, PaceShift
from balancekit.loads._reported_utilization import ReportedUtilization
from balancekit.loads._success_rate import SuccessRate
from balancekit.node import Node
from balancekit.outcome import FAILURES, Completion, LoadReport

__all__ = ["ExpectedDelayLoad"]

PROBED_COUNT: Final = 0.5
"""The number of answers that an endpoint's history counts as when it is tried again."""
RESET_COUNT: Final = 50.0
"""The same when the endpoint is back from an ejection."""
OVERDUE_S: Final = 15.0
OVERDUE_PACES: Final = 4.0
"""An endpoint with an open request is tried if its last answer is ``OVERDUE_S`` seconds ago, and ``OVERDUE_PACES`` times its pace."""
UNHEEDED: Final = 4
"""Each request that ends ignored, or cancelled soon, adds its price to the endpoint until an answer comes. If the endpoint has
answered before, the first ``UNHEEDED`` of them add nothing."""
MAX_SWAYED_COUNT: Final = 25.0
SWAY_PAUSE: Final = 4.0
"""While an average has fewer than ``MAX_SWAYED_COUNT`` answers, one after a pause of more than ``SWAY_PAUSE`` latencies sways the
price: it shows the queues of other callers."""
MAX_SWAY: Final = 2.0
"""The most by which it raises the price, as a factor."""
SWAY_LATENCIES: Final = 5.0
"""The time constant of the sway, in latencies."""
RECENT: Final = 8
"""The number of endpoints with a recent answer that a picker remembers."""


class HotFields:
    """The fields of a load that plain requests touch: two cache lines. See the class of this name in ``node.py``."""

    __slots__ = (
        "_answered_at",
        "_count",
        "_node",
        "_plain_seat",
        "_root",
        "_sample",
        "pool",
        "price",
        "recent",
        "turn",
    )


@final
class ExpectedDelayLoad(HotFields, StateRepr, prints=("known", "pace", "price")):
    """The expected delay of one endpoint. Made by :class:`ExpectedDelay`."""

    __slots__ = (
        "_guess",
        "_probe",
        "_reported",
        "_seat",
        "_shift",
        "_silent",
        "_slowed",
        "_started",
        "_success",
        "known",
        "place",
    )

    needs_start: ClassVar[bool] = False

    def __init__(self, pool: ExpectedDelayPool, node: Node, guess: float = 0.0) -> None:
        self.pool: ExpectedDelayPool = pool
        self.known: bool = False
        """Whether there has been an answer, or a wait long enough to learn from."""
        self.place: float | None = None
        """Where the endpoint stands in the order of picks from a large pool, 0 to 1; ``None`` until it is drawn."""
        self.price: float = 0.0
        """Expected delay of a request that finds no other, in seconds: the pace, raised by failures."""
        self.turn: float = pool.clock
        """Smaller than that of an endpoint of the same price that was picked later, in sixths of a second. A selector
        moves it."""
        self.recent: list[Node] | None = None
        """Where a selector wants to find the endpoint when it has just answered, if no better one has its seat."""
        self._node = node
        self._seat = pool.size % RECENT
        self._plain_seat: int | None = None  # the same if it has answered, and not failed of late
        self._guess = guess  # at the pace, until the first answer; 0 for the mean of the pool
        self._root = 0.0
        self._sample = 0.0  # root of the last latency while it sways the price
        self._count = 0.0
        self._answered_at = -math.inf
        self._success: SuccessRate | None = None
        self._reported: ReportedUtilization | None = None  # from its first report on
        self._started = 0
        self._probe = IdleProbe()
        self._shift = PaceShift(pool.memory)
        self._silent = 0
        self._slowed = False  # of late, and not tried since
        self.restate(-math.inf)

    @property
    def pace(self) -> float:
        """What one request takes of the endpoint, in seconds.

        While nothing is known of it, the guess, or else the mean of the pool; 1 before any endpoint has answered.
        """
        if self.known:
            return max(MIN_PACE_S, self._root * self._root)
        return self._guess or self.pool.typical or 1.0

    def success(self, *, now: float) -> float:
        """Return the share of requests that succeed, 0 to 1, as of ``now``: healing while idle."""
        success = self._success
        return 1.0 if success is None else success.value(now=now)

    def value(self, *, now: float) -> float:
        """Return the expected delay of one more request, with a part of what it costs those behind it.

        In seconds; in means before any endpoint has answered; 0 while the endpoint is to be tried and idle.
        """
        node = self._node
        if node.latency_estimate == -math.inf and not node.inflight:
            return 0.0
        return self._price(now) * queue_count(node.inflight, node.capacity) / LONE

    def started(self, *, now: float, cost: float) -> None:
        """Do nothing: the node counts."""

    def finished(self, completion: Completion, /) -> None:
        """Learn from a request's end, whatever it was."""
        now = completion.ended_at
        latency, exact = measured(completion)
        if completion.load_report is not None:
            self._report(completion.load_report, now)
        if exact:
            self.succeeded(latency, now)
            return
        failed = completion.outcome in FAILURES
        if failed:
            self._fail(now)
        if latency > self.pace:
            self._average(latency, now)
            self._meet(now)
        elif not failed:
            self._silent += 1
        self._probe.ended()
        self._plain_seat = self._seat_if_plain()
        self.restate(now)

    def succeeded(self, latency: float, now: float) -> None:
        """Learn from a plain success of ``latency`` seconds."""
        pool, node = self.pool, self._node
        # What follows is _average, _price and restate, written out.
        since = now - self._answered_at
        sample = sqrt(latency if latency <= since else sqrt(latency * since) if since > 0.0 else 0.0)
        self._count = count = self._count / (1.0 + since * pool.rate) + 1.0
        self._root = root = self._root + (sample - self._root) / count
        self._answered_at = now
        seat = self._plain_seat
        if seat is None:
            self._recover(now, since, sample)
            return
        price = root * root
        if count < MAX_SWAYED_COUNT and since > SWAY_PAUSE * latency:
            self._sample = sample
            price = root * sample if sample < MAX_SWAY * root else MAX_SWAY * price
        else:
            self._sample = 0.0
        if price < pool.least:  # noqa: PLR1730 - max() is a call
            price = pool.least
        self.price = price
        found = node.inflight
        if found <= MAX_FOUND and node.capacity == 1.0:
            node.latency_estimate = delay = price * QUEUES[found] + self.turn
        else:
            node.latency_estimate = delay = price * queue_count(found, node.capacity) + self.turn
        recent = self.recent
        if recent is not None and recent[seat].latency_estimate >= delay:
            recent[seat] = node

    def reset(self) -> None:
        """Forget failures, and most of what is known of the pace: the endpoint is back from an ejection.

        If it is on trial, and few requests have passed it by, nothing is forgotten: healing, or a long idle time, has it tried.
        """
        if self._node.trial and self._success is not None and not self._probe.may_return(self.pool.picks):
            return
        self._success = None
        self._plain_seat = self._seat_if_plain()
        self._forget(RESET_COUNT)
        self.restate(self._answered_at)

    def restate(self, now: float) -> None:
        """Restate what picks compare."""
        node = self._node
        self.price = self._price(now)
        node.latency_estimate = self.price * queue_count(node.inflight, node.capacity) + self.turn

    def sweep(self, now: float, totals: SweepTotals) -> None:
        """Let time pass, and have the endpoint tried if it went without a request for long."""
        node, pool, probe = self._node, self.pool, self._probe
        started = node.successes + sum(node.outcomes.values()) + node.inflight
        if started != self._started:
            begun = max(0, started - self._started)
            totals.picks += begun
            self._started = started
            # Of one that failed of late each request counts in full: healing has it tried.
            probe.used(
                begun if self._success is None else math.inf, now=now, picks=pool.picks, size=pool.size
            )
        self._notice_shift()
        if self.known:
            totals.paces.append(self.pace)
            totals.count += self._count
        self.restate(now)
        new = 0 < node.successes < NEW and self._success is None and not self._silent
        soon = new or self._slowed
        due = probe.is_due(now=now, picks=pool.picks, size=pool.size, round_s=pool.round_s, soon=soon)
        if due and probe.stage is not Stage.WANTED and (not node.inflight or self._hangs(now)):
            probe.stage = Stage.WANTED
            self._slowed = False
            self._plain_seat = None
            self._forget(PROBED_COUNT)
        if probe.stage is Stage.WANTED:
            node.latency_estimate = -math.inf

    # ------------------------------------------------------------------ internals

    def _hangs(self, now: float) -> bool:
        """Answer whether what is in flight says nothing of the next request: a stream, or an answer that may never come."""
        return now - self._answered_at >= max(OVERDUE_S, OVERDUE_PACES * self.pace)

    def _forget(self, count: float) -> None:
        """Have what is known count as no more than so many answers."""
        self._count = min(self._count, count)
        self._shift.restart(self._average_now())

    def _average_now(self) -> PaceAverage:
        return PaceAverage(self._root, self._count, self._answered_at)

    def _notice_shift(self) -> None:
        """Start the average again with the last answers if these show that the pace has changed for good."""
        if not self._answers_plainly():
            self._shift.restart(self._average_now())
            return
        recent = self._shift.look(self._average_now())
        if recent is not None:
            self._slowed = recent.root > self._root
            self._root, self._count, _ = recent

    def _price(self, now: float) -> float:
        price = max(self.pool.least, self._swayed(now))
        silent = self._silent
        if silent:
            price *= 1 + (max(0, silent - UNHEEDED) if self.known else silent)
        success, reported = self._success, self._reported
        if success is not None:
            penalty = self.pool.penalty
            price /= max(penalty.floor, success.value(now=now)) ** penalty.exponent
        if reported is not None:
            price *= reported.factor(now)
        return price

    def _swayed(self, now: float) -> float:
        """Return the pace, as the last answer sways it."""
        sample = self._sample
        if sample == 0.0:
            return self.pace
        root, age = self._root, max(0.0, now - self._answered_at)
        left = math.exp(-age / (SWAY_LATENCIES * sample * sample))
        return root * (root + (min(MAX_SWAY * root, sample) - root) * left)

    def _average(self, latency: float, now: float) -> None:
        since = max(0.0, now - self._answered_at)
        self._count = self._count / (1.0 + since * self.pool.rate) + 1.0
        self._root += (sqrt(sqrt(latency * min(latency, since))) - self._root) / self._count
        self._answered_at = now
        self._sample = 0.0

    def _meet(self, now: float) -> None:
        """Record that the endpoint has answered, if that is new."""
        if not self.known:
            self.known = True
            self._silent = 0
            self._plain_seat = self._seat_if_plain()
            self.pool.learn(now)

    def _report(self, report: LoadReport, now: float) -> None:
        reported = self._reported or ReportedUtilization(self.pool.memory)
        if reported.record(report, now):
            self._reported = reported
            self._plain_seat = None

    def _fail(self, now: float) -> None:
        success = self._success
        if success is None:
            penalty = self.pool.penalty
            self._success = success = SuccessRate(decay=penalty.decay, healing=penalty.healing)
            self._plain_seat = None
        success.record(0.0, now=now, since=self._answered_at)

    def _recover(self, now: float, since: float, sample: float) -> None:
        """Take a success of an endpoint that failed, or said nothing, of late, that was to be tried, or had never answered."""
        self._silent = 0
        self._sample = (
            sample if self._count < MAX_SWAYED_COUNT and since > SWAY_PAUSE * sample * sample else 0.0
        )
        success = self._success
        if success is not None:
            success.record(1.0, now=now, since=now - since)
            if success.clean:
                self._success = None
        self._probe.answered(sample * sample / self.pool.least)
        self._plain_seat = self._seat_if_plain()
        self._meet(now)
        self.restate(now)
        recent, node, seat = self.recent, self._node, self._seat
        if self._reported is None or recent is None:
            return
        if recent[seat].latency_estimate >= node.latency_estimate:
            recent[seat] = node

    def _seat_if_plain(self) -> int | None:
        return self._seat if self._reported is None and self._answers_plainly() else None

    def _answers_plainly(self) -> bool:
        """Return whether the endpoint has answered, has not failed of late, and is not on trial for having been idle."""
        heard = self.known and not self._silent
        return heard and self._success is None and self._probe.stage is Stage.NONE
