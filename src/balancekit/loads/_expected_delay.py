"""Expected delay of one more request, as one caller can know it. The default load.

.. code-block:: text

    value = pace * sway * queue * (queue + 5) / 6 / max(floor, success) ** exponent * reported

    queue     inflight / capacity + 1
    pace      average over answers of sqrt(latency * min(latency, time since the answer before)), over 200 s
    sway      1; while answers are few, the root of the last latency over the average root, at most 2
    success   moving average of succeeding (1 s); idle, it heals towards 1 (8 s)
    reported  1 without load reports; with them, how much busier the endpoint says it is than it usually says

*Pace.* How much of an endpoint's time one request takes lies between two bounds. The time since the answer before is
right for an endpoint that works on one request at a time, whatever its queue; latency is right for one that works on
all at once. Their geometric mean is good for both, and no worse than either for what lies between. On an endpoint with
a queue it is greater than the time of service. With many balancers it grows with the queues of the others, which nothing
else shows. Square roots are averaged, so that one long answer says little; over 200 s, because what an endpoint *is*
changes slowly, and what it *has* is counted in ``inflight``. When it changes fast, the average starts again: see
``loads/_pace_shift.py``.

*Queue.* A request that joins a queue waits, and makes those after it wait. The least mean latency counts both: the index
of Krishnan orders endpoints by the time of service times the square of the queue. Pace and queue together come close to
it where one caller sends all the requests and the endpoint takes one at a time; the full square has more requests wait on
slow endpoints, which the 99th percentile shows.

*Sway.* The queues of other callers are in latency alone, and an average over 200 s is not what they are now. A caller whose requests
are rare has almost nothing else to go by, and few answers in its average. So while these are fewer than 25, an answer after a pause of
four latencies sways the price at once. This fades in about five latencies. A caller with many requests counts its own; to it the last
latency is noise.

*What is not known.* Of the first endpoints, one that has not answered yet has the mean pace of those that have. Of one that
joins later the pace of another is guessed, drawn at random. Paces closer to the least one than 15 % and half a standard
error are taken for equal. An endpoint that went without a request for long is tried once, whatever is known of it, and
what it answers then outweighs what was known: see ``loads/_idle_probe.py``. One with an open request is tried too, if it has
answered none for 15 s and four times its pace: a stream says nothing of the next request.

*What says nothing.* Requests that are ignored, or cancelled soon, say nothing of an endpoint, and leave it idle. Each makes it
dearer by its price until it answers, but not the first four in a row of one that has answered before. So an endpoint that
no request can use does not attract them, whatever it was.

*What an ejection ends.* A return after active checks, or a trial that at least 100 requests waited for, begins without failures. An
earlier trial is left to healing, so that an endpoint that fails for minutes gets at most 2 % of the requests, however few they are.

*What endpoints report.* ``lease.report_load`` (adapters call it) says what no caller sees: the load of other callers, and of
neighbours. Only its change counts, for what an endpoint always reports is in its latency: see
``loads/_reported_utilization.py``. Endpoints that report and endpoints that do not may be mixed.

*What a pick compares* is ``node.latency_estimate``: pace, queue and turn as of the last request that began or ended
there, in sixths of a second. Turns break ties: they advance by a small part of the price at each pick, so endpoints of
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

from typing import ClassVar

from balancekit._support import validation as valid
from balancekit._support.record import Policy
from balancekit.loads._expected_delay_load import ExpectedDelayLoad
from balancekit.loads._expected_delay_pool import ExpectedDelayPool
from balancekit.loads._success_rate import FailurePenalty, check_exponent
from balancekit.node import Node

__all__ = ["ExpectedDelay"]


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

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds, or ``floor ** exponent`` is 0 in floating point.

    *When not to use it:* for requests whose duration is not the endpoint's doing; see the module.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.loads import ExpectedDelay
    >>> lb = LoadBalancer(["a", "b"], load=ExpectedDelay())
    """

    timed: ClassVar[bool] = True

    memory: float = 200.0
    success_decay: float = 1.0
    healing: float = 8.0
    floor: float = 0.05
    exponent: float = 3.0

    def _check(self) -> None:
        valid.number("memory", self.memory, above=0.0)
        valid.number("success_decay", self.success_decay, above=0.0)
        valid.number("healing", self.healing, above=0.0)
        valid.number("floor", self.floor, above=0.0, maximum=1.0)
        valid.number("exponent", self.exponent, above=0.0)
        check_exponent(self.exponent, self.floor)

    def for_pool(self) -> ExpectedDelayPool:
        """Make what the loads of one pool share."""
        penalty = FailurePenalty(
            decay=self.success_decay, healing=self.healing, floor=self.floor, exponent=self.exponent
        )
        return ExpectedDelayPool(ExpectedDelayLoad, memory=self.memory, penalty=penalty)

    def __call__(self, node: Node) -> ExpectedDelayLoad:
        """Make the load of a node that shares with no other."""
        pool = self.for_pool()
        load = ExpectedDelayLoad(pool, node)
        pool.add(node, load)
        return load
