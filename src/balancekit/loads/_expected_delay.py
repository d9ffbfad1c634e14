"""Expected delay of one more request, as one caller can know it. The default load.

.. code-block:: text

    value = pace * queue * (queue + 5) / 6 / max(floor, success) ** exponent * reported

    queue     inflight / capacity + 1
    pace      average over answers of sqrt(latency * min(latency, time since the answer before)), over 200 s
    success   moving average of succeeding (1 s); idle, it heals towards 1 (5 s)
    reported  1 without load reports; with them, how much busier the endpoint says it is than it usually says

*Pace.* How much of an endpoint's time one request takes lies between two bounds. The time since the answer before is
right for an endpoint that works on one request at a time, whatever its queue; latency is right for one that works on
all at once. Their geometric mean is good for both, and no worse than either for what lies between. On an endpoint with
a queue it is greater than the time of service. With many balancers it grows with the queues of the others, which nothing
else shows. Square roots are averaged, so that one long answer says little; over 200 s, because what an endpoint *is*
changes slowly, and what it *has* is counted in ``inflight``.

*Queue.* A request that joins a queue waits, and makes those after it wait. The least mean latency counts both: the index
of Krishnan orders endpoints by the time of service times the square of the queue. Pace and queue together come close to
it where one caller sends all the requests and the endpoint takes one at a time; the full square has more requests wait on
slow endpoints, which the 99th percentile shows.

*What is not known.* An endpoint that has not answered yet has the mean pace of those that have. Paces closer to the
least one than 15 % and half a standard error are taken for equal. An endpoint that went without a request for long is
tried once, whatever is known of it, and what it answers then outweighs what was known: see ``loads/_idle_probe.py``.

*What endpoints report.* ``lease.report_load`` (adapters call it) says what no caller sees: the load of other callers, and of
neighbours. Only its change counts, for what an endpoint always reports is in its latency: see
``loads/_reported_utilization.py``. Endpoints that report and endpoints that do not may be mixed.

*What a pick compares* is ``node.latency_estimate``: pace, queue and turn as of the last request that began or ended
there, in sixths of a second. Turns break ties: they advance by a small part of the pace at each pick, so endpoints of
equal delay are picked in turn, in proportion to speed and weight.

Cost: one or two square roots per answer, none per comparison. A sweep once a second looks at every endpoint, 256 at a
time.

*When not to use it:* on requests whose duration is by design not the endpoint's doing (streams, long polls): report
``lease.first_byte()``. Without a clock: :class:`InFlight`.

Source: own construction and measurement (``benchmarks/league``). Little 1961 for the time between answers; Krishnan,
*Joining the right queue: a state-dependent decision rule*, IEEE TAC 35 (1990); the parts for failures are those of
:class:`FailureAware`.
"""

from __future__ import annotations

import math
from math import sqrt
from typing import TYPE_CHECKING, ClassVar, Final, final

from balancekit._support import validation as valid
from balancekit._support.record import Policy
from balancekit.loads._idle_probe import IdleProbe, Stage
from balancekit.loads._latency import measured
from balancekit.loads._reported_utilization import ReportedUtilization
from balancekit.loads._success_rate import SuccessRate
from balancekit.outcome import FAILURES, Completion, LoadReport

if TYPE_CHECKING:
    from balancekit.node import Node

__all__ = ["ExpectedDelay", "ExpectedDelayLoad", "ExpectedDelayPool"]

MIN_PACE_S: Final = 1e-9
"""The least pace that is reckoned with, in seconds."""
TIE: Final = 0.15
"""Paces this close to the least are equal: what noise, and a spell of more requests than usual, make of them."""
TIE_ERRORS: Final = 0.5
"""... or this many standard errors of the mean of exponential times."""
TURN: Final = 0.01
"""A turn, in paces and standard errors; more has slow endpoints picked more often, less leaves ties to noise."""
MIN_TURN: Final = 0.002
"""A turn, in paces, however much is known."""
MAX_TURN_PACE: Final = 4.0
"""No turn is longer than that of an endpoint this many times as slow as the mean."""
SWEEP_S: Final = 1.0
"""Seconds between two sweeps."""
SWEPT_PER_S: Final = 2500
"""Endpoints per second that sweeps look at, at most: a two-hundredth of a processor."""
BATCH: Final = 256
"""Endpoints that one request looks at, at most, when a sweep is due."""
PROBED_COUNT: Final = 0.5
"""Answers that an endpoint's history counts for when it is tried again."""
RESET_COUNT: Final = 50.0
"""Answers that it counts for when the endpoint is back from an ejection."""
MAX_SILENT: Final = 3
"""Each request of an endpoint that never answered makes it dearer by one mean, if it ended without saying anything of
the endpoint (ignored, or cancelled soon); up to so many."""
CROWD: Final = 5.0
"""The queue counts ``queue * (queue + 5)``: twice as long, it counts 2.3 times; four times as long, six times."""
LONE: Final = CROWD + 1.0
"""What it counts for a request that finds no other; so what picks compare is in sixths of a second."""
RECENT: Final = 4
"""Endpoints that have just answered which a picker remembers; a power of two."""


class ExpectedDelay(Policy):
    """Load policy: pace of an endpoint, times a little more than its queue, divided by the success rate cubed.

    Parameters
    ----------
    memory
        Time constant of the pace in seconds, > 0.
    success_decay
        Time constant of the success average in seconds, > 0.
    healing
        Time constant, in seconds, with which an idle endpoint's success returns to 1, > 0.
    floor
        The least success that is reckoned with, in (0, 1].
    exponent
        How hard failures count, > 0.

    *When not to use it:* for requests whose duration is not the endpoint's doing; see the module.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> lb = LoadBalancer(["a", "b"], load=ExpectedDelay())
    """

    timed: ClassVar[bool] = True

    memory: float = 200.0
    success_decay: float = 1.0
    healing: float = 5.0
    floor: float = 0.05
    exponent: float = 3.0

    def _check(self) -> None:
        valid.number("memory", self.memory, above=0.0)
        valid.number("success_decay", self.success_decay, above=0.0)
        valid.number("healing", self.healing, above=0.0)
        valid.number("floor", self.floor, above=0.0, maximum=1.0)
        valid.number("exponent", self.exponent, above=0.0)

    def for_pool(self) -> ExpectedDelayPool:
        """Make what the loads of one pool share."""
        return ExpectedDelayPool(self)

    def __call__(self, node: Node) -> ExpectedDelayLoad:
        """Make the load of a node that shares with no other."""
        return self.for_pool()(node)


@final
class ExpectedDelayPool:
    """What the loads of one pool share: the mean pace, the least, and the clock of turns."""

    __slots__ = (
        "_known",
        "_learned",
        "_loads",
        "_pending",
        "_totals",
        "clock",
        "config",
        "deadline",
        "least",
        "picks",
        "rate",
        "taken",
        "turn",
        "typical",
    )

    def __init__(self, config: ExpectedDelay) -> None:
        self.config: ExpectedDelay = config
        self.rate: float = 1.0 / config.memory
        self.typical: float = 0.0
        """Mean pace of the endpoints that have answered, in seconds; 0 until one has."""
        self.least: float = MIN_PACE_S
        """Paces below this are taken for equal to it."""
        self.turn: float = TURN
        """How far a pick moves an endpoint's turn, in paces."""
        self.clock: float = 0.0
        """The turn of the endpoint picked last, or an earlier one that was greater."""
        self.taken: Node | None = None
        """The endpoint that a selector has picked last on the slow path."""
        self.picks: int = 0
        """Requests seen by sweeps."""
        self.deadline: float = -math.inf
        """When :meth:`advance` is due next."""
        self._known = 0
        self._learned = 0
        self._loads: dict[Node, ExpectedDelayLoad] = {}
        self._pending: list[ExpectedDelayLoad] = []
        self._totals = SweepTotals()

    @property
    def size(self) -> int:
        """How many endpoints there are."""
        return len(self._loads)

    def __call__(self, node: Node) -> ExpectedDelayLoad:
        """Make the load of one node."""
        load = ExpectedDelayLoad(self, node)
        self._loads[node] = load
        return load

    def forget(self, node: Node) -> None:
        """Leave out a node that has gone."""
        self._loads.pop(node, None)

    def advance(self, *, now: float) -> None:
        """Look at the next endpoints; with the last one of a round, recompute mean and least."""
        if not self._pending:
            self._pending = list(self._loads.values())
            self._totals = SweepTotals()
        batch = self._pending[-BATCH:]
        del self._pending[-BATCH:]
        for load in batch:
            load.sweep(now, self._totals)
        size = len(self._loads)
        self.deadline = now + max(SWEEP_S, size / SWEPT_PER_S) * min(1.0, BATCH / max(1, size))
        if not self._pending:
            self._conclude(self._totals)

    def learn(self, now: float) -> None:
        """Record that one more endpoint has answered; when their number has doubled, recompute the mean at once."""
        self._learned += 1
        if self._learned <= self._known:
            return
        known = [load.pace for load in list(self._loads.values()) if load.known]
        self._known, self._learned = len(known), 0
        self.typical = math.fsum(known) / len(known) if known else 0.0
        for load in list(self._loads.values()):
            load.restate(now)

    def _conclude(self, totals: SweepTotals) -> None:
        self.picks += totals.picks
        if not totals.known:
            return
        error = 1.0 / sqrt(1.0 + totals.count / totals.known)
        self._known = totals.known
        self.typical = totals.total / totals.known
        self.least = max(MIN_PACE_S, totals.least * (1.0 + TIE + TIE_ERRORS * error))
        self.turn = max(MIN_TURN, TURN * error)


@final
class SweepTotals:
    """What one round of sweeps has added up."""

    __slots__ = ("count", "known", "least", "picks", "total")

    def __init__(self) -> None:
        self.known: int = 0
        self.total: float = 0.0
        self.count: float = 0.0
        self.least: float = math.inf
        self.picks: int = 0


class HotFields:
    """The fields of a load that plain requests touch: two cache lines. See the class of this name in ``node.py``."""

    __slots__ = (
        "_answered_at",
        "_count",
        "_node",
        "_plain",
        "_root",
        "pool",
        "price",
        "recent",
        "step",
        "turn",
    )


@final
class ExpectedDelayLoad(HotFields):
    """The expected delay of one endpoint. Made by :class:`ExpectedDelay`."""

    __slots__ = (
        "_probe",
        "_reported",
        "_silent",
        "_started",
        "_success",
        "known",
    )

    needs_start: ClassVar[bool] = False

    def __init__(self, pool: ExpectedDelayPool, node: Node) -> None:
        self.pool: ExpectedDelayPool = pool
        self.known: bool = False
        """Whether there has been an answer, or a wait long enough to learn from."""
        self.price: float = 0.0
        """Expected delay of a request that finds no other, in seconds: the pace, raised by failures."""
        self.turn: float = pool.clock
        """Smaller than that of an endpoint of the same price that was picked later. A selector moves it."""
        self.step: float = 0.0
        """How far a pick moves it, if the endpoint has the mean capacity; both are in sixths of a second."""
        self.recent: list[Node] | None = None
        """Where a selector wants to find the endpoint when it has just answered."""
        self._node = node
        self._plain = False  # whether it has answered, and not failed of late
        self._root = 0.0
        self._count = 0.0
        self._answered_at = -math.inf
        self._success: SuccessRate | None = None
        self._reported: ReportedUtilization | None = None  # from its first report on
        self._started = 0
        self._probe = IdleProbe()
        self._silent = 0
        self.restate(-math.inf)

    @property
    def pace(self) -> float:
        """What one request takes of the endpoint, in seconds; the mean of the pool while nothing is known (1 before any endpoint answered)."""
        if self.known:
            return max(MIN_PACE_S, self._root * self._root)
        return self.pool.typical or 1.0

    def success(self, *, now: float) -> float:
        """Return the share of requests that succeed, 0 to 1, as of ``now``: healing while idle."""
        return 1.0 if self._success is None else self._success.value(now=now)

    def value(self, *, now: float) -> float:
        """Return the expected delay of one more request, with a part of what it costs those behind it, in seconds (in means before any endpoint answered)."""
        node = self._node
        queue = node.inflight / node.capacity + 1.0
        return self._price(now) * (queue * (queue + CROWD)) / LONE

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
        if completion.outcome in FAILURES:
            self._fail(now)
        if latency > self.pace:
            self._average(latency, now)
            self._meet(now)
        elif not self.known:
            self._silent = min(MAX_SILENT, self._silent + 1)
        self.restate(now)

    def succeeded(self, latency: float, now: float) -> None:
        """Learn from a plain success of ``latency`` seconds."""
        pool, node = self.pool, self._node
        # What follows is _average and restate, written out.
        since = now - self._answered_at
        sample = sqrt(latency if latency <= since else sqrt(latency * since) if since > 0.0 else 0.0)
        self._count = count = self._count / (1.0 + since * pool.rate) + 1.0
        self._root = root = self._root + (sample - self._root) / count
        self._answered_at = now
        if not self._plain:
            self._recover(now, since, sample)
            return
        price = root * root
        if price < pool.least:  # noqa: PLR1730 - max() is a call
            price = pool.least
        self.price = price
        queue = node.inflight / node.capacity + 1.0
        node.latency_estimate = price * (queue * (queue + CROWD)) + self.turn
        recent = self.recent
        if recent is not None:
            recent[node.successes & 3] = node

    def reset(self) -> None:
        """Forget failures, and most of what is known of the pace: the endpoint is back from an ejection."""
        self._success = None
        self._plain = self.known and self._probe.stage is Stage.NONE and self._reported is None
        self._count = min(self._count, RESET_COUNT)
        self.restate(self._answered_at)

    def restate(self, now: float) -> None:
        """Restate what picks compare."""
        pool, node = self.pool, self._node
        self.price = self._price(now)
        typical = pool.typical or 1.0
        self.step = LONE * pool.turn * min(self.pace, MAX_TURN_PACE * typical)
        queue = node.inflight / node.capacity + 1.0
        node.latency_estimate = self.price * (queue * (queue + CROWD)) + self.turn

    def sweep(self, now: float, totals: SweepTotals) -> None:
        """Let time pass, and have the endpoint tried if it went without a request for long."""
        node, pool, probe = self._node, self.pool, self._probe
        started = node.successes + sum(node.outcomes.values()) + node.inflight
        if started != self._started:
            totals.picks += max(0, started - self._started)
            self._started = started
            probe.used(now=now, picks=pool.picks)
        if self.known:
            pace = self.pace
            totals.known += 1
            totals.total += pace
            totals.count += self._count
            totals.least = min(totals.least, pace)
        self.restate(now)
        idle = probe.is_due(now=now, picks=pool.picks, size=pool.size)
        if idle and probe.stage is Stage.NONE and not node.inflight and self._success is None:
            probe.stage, self._plain = Stage.WANTED, False
            self._count = min(self._count, PROBED_COUNT)
        if probe.stage is Stage.WANTED:
            node.latency_estimate = -math.inf

    # ------------------------------------------------------------------ internals

    def _price(self, now: float) -> float:
        price = max(self.pool.least, self.pace)
        if not self.known:
            price *= 1 + self._silent
        if self._success is not None:
            config = self.pool.config
            price /= max(config.floor, self._success.value(now=now)) ** config.exponent
        if self._reported is not None:
            price *= self._reported.factor(now)
        return price

    def _average(self, latency: float, now: float) -> None:
        since = max(0.0, now - self._answered_at)
        self._count = self._count / (1.0 + since * self.pool.rate) + 1.0
        self._root += (sqrt(sqrt(latency * min(latency, since))) - self._root) / self._count
        self._answered_at = now

    def _meet(self, now: float) -> None:
        """Record that the endpoint has answered, if that is new."""
        if not self.known:
            self.known = True
            self._plain = self._success is None and self._probe.stage is Stage.NONE and self._reported is None
            self.pool.learn(now)

    def _report(self, report: LoadReport, now: float) -> None:
        reported = self._reported or ReportedUtilization(self.pool.config.memory)
        if reported.record(report, now):
            self._reported = reported
            self._plain = False

    def _fail(self, now: float) -> None:
        if self._success is None:
            config = self.pool.config
            self._success = SuccessRate(decay=config.success_decay, healing=config.healing)
            self._plain = False
        self._success.record(0.0, now=now, since=self._answered_at)

    def _recover(self, now: float, since: float, sample: float) -> None:
        """Take a success of an endpoint that has failed of late, that was to be tried, or had never answered."""
        success = self._success
        if success is not None:
            success.record(1.0, now=now, since=now - since)
            if success.clean:
                self._success = None
        self._probe.answered(sample * sample / self.pool.least)
        self._plain = self.known and self._success is None and self._reported is None
        self._meet(now)
        self.restate(now)
        if self._reported is not None and self.recent is not None:
            self.recent[self._node.successes & 3] = self._node
