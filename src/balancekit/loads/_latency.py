"""Expected wait: average latency times the requests ahead of the next one.

``value = latency * (inflight / capacity + 1)``. Only successes are averaged, because a fast failure contains no
information about speed. A time-out or a cancellation is a *lower bound* and can only raise the estimate. The value of an
endpoint without measurements is 0 while it is idle, so that it is tried. It is very high while the first request is in
flight, so that one request tries it, not all.

The estimate fades towards 0 while the endpoint is idle, so that a bad one is tried again. A request that ends without
information about speed, such as a fast failure, restarts the fading. Failures have no other effect, which is the weakness
of this load. Prefer :class:`FailureAware`.

Cost: O(1); one ``exp`` when a request ends and one when the value is read.
Source: Finagle ``PeakEwma.scala`` (October 2024); tower ``load/peak_ewma.rs`` for the jump.
"""

from __future__ import annotations

from math import exp, inf, log
from typing import TYPE_CHECKING, ClassVar, Final, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy, field
from balancekit.errors import ConfigurationError
from balancekit.outcome import Completion, Outcome

if TYPE_CHECKING:
    from balancekit.scheduling import Ranked
    from balancekit.snapshot import Node

__all__ = ["EwmaLatency", "LatencyLoad", "PeakEwmaLatency", "measured"]

UNMEASURED_LATENCY_S: Final = 1e9
"""The latency, in seconds, assumed while an endpoint's very first request is in flight."""
ASSUMED_LATENCY_S: Final = 1.0
"""The latency, in seconds, assumed after a request without information if there was none before."""
UNMEASURED_RANK: Final = 1e300
"""The rank of such an endpoint with one request ahead; above that of all endpoints that have answered."""


class EwmaLatency(Policy):
    """Load policy: symmetric average of latency, times the requests in flight.

    Parameters
    ----------
    decay
        Time constant in seconds, > 0.

    Raises
    ------
    ConfigurationError
        If ``decay`` is not > 0.

    *When not to use it:* if latency spikes matter; it takes as long to detect a spike as to forget it.

    *After a slow answer* alone, an endpoint fades to the level of the others in ``decay * ln(average / usual)`` seconds: in 39 s
    after a first answer of 0.5 s among answers of 10 ms. :class:`ExpectedDelay` and :class:`FailureAware` have an idle one tried.

    *While the first request of an endpoint is in flight*, the endpoint counts as very slow, and may not be picked until that
    request ends. Set a time-out; the default, ``ShortestExpectedDelay()`` over :class:`ExpectedDelay`, has it tried.
    """

    timed: ClassVar[bool] = True

    decay: float = field(default=10.0, kw_only=False)

    def _check(self) -> None:
        valid.number("decay", self.decay, above=0.0)

    def __call__(self, node: Node) -> LatencyLoad:
        """Make the load of one node."""
        return LatencyLoad(node, self.decay, peak=False)


class PeakEwmaLatency(Policy):
    """Load policy: an average of latency that rises at once and falls slowly, times the requests in flight.

    Parameters
    ----------
    decay
        Time constant in seconds, > 0.

    Raises
    ------
    ConfigurationError
        If ``decay`` is not > 0.

    *When not to use it:* for long polling and streams, whose duration does not show slowness; report
    ``lease.first_byte()`` there, or use :class:`InFlight`.

    *After a slow answer* an endpoint fades to the level of the others in ``decay * ln(slow / usual)`` seconds: in 39 s after
    0.5 s among answers of 10 ms, in 87 s after a minute. :class:`ExpectedDelay` and :class:`FailureAware` have an idle one tried.

    *While the first request of an endpoint is in flight*, the endpoint counts as very slow, and may not be picked until that
    request ends. Set a time-out; the default, ``ShortestExpectedDelay()`` over :class:`ExpectedDelay`, has it tried.
    """

    timed: ClassVar[bool] = True

    decay: float = field(default=10.0, kw_only=False)

    def _check(self) -> None:
        valid.number("decay", self.decay, above=0.0)

    def __call__(self, node: Node) -> LatencyLoad:
        """Make the load of one node."""
        return LatencyLoad(node, self.decay, peak=True)


@final
class LatencyLoad(StateRepr, prints=("decay",)):
    """An average of latency times (requests in flight / capacity + 1)."""

    __slots__ = ("_at", "_node", "_peak", "_rank", "_rate", "_seen", "_value", "decay", "ranked")

    needs_start: ClassVar[bool] = False

    def __init__(self, node: Node, decay: float, *, peak: bool) -> None:
        self._node = node
        self._peak = peak
        self._rate = 1.0 / decay
        self._value = 0.0
        self._at = 0.0
        self._seen = False
        self._rank = -inf  # of the endpoint without requests in flight
        self.decay: float = decay
        """Time constant of the average, in seconds."""
        self.ranked: Ranked[Node] | None = None
        """The node's position in a selector's order, if a selector has set it; it is notified of each ended request."""

    def started(self, *, now: float, cost: float) -> None:
        """Do nothing: the node counts."""

    def finished(self, completion: Completion, /) -> None:
        """Learn from a success, or from the waiting time of an abandoned request.

        An end without information about speed still shows that the endpoint was not idle, so the fading restarts.
        """
        latency, exact = measured(completion)
        if not exact:
            latency = max(latency, self._value if self._seen else ASSUMED_LATENCY_S)
        self.succeeded(latency, completion.ended_at)

    def succeeded(self, latency: float, now: float) -> None:
        """Learn from a plain success."""
        # What follows is PeakEwma.observe, or Ewma.observe, and the rank of the average, written out.
        average = latency
        if latency < self._value or not self._peak:
            since = self._at - now
            if self._seen:
                average += (self._value - latency) * (exp(since * self._rate) if since < 0.0 else 1.0)
        if not average - average == 0.0 == now - now:
            raise ConfigurationError("latency", latency, "a finite number, at a finite time")
        self._value = average
        self._at = now
        self._seen = True
        self._rank = log(average) + now * self._rate if average > 0.0 else -inf
        ranked = self.ranked
        if ranked is not None:
            ranked.changed(ranked)

    def rank(self) -> float:
        """Return a number that orders the values of loads with equal decay, independent of time."""
        node = self._node
        if not node.inflight:
            return self._rank
        ahead = node.inflight / node.capacity
        return self._rank + log(ahead + 1.0) if self._seen else UNMEASURED_RANK * ahead

    def value(self, *, now: float) -> float:
        """Return the expected wait, in seconds."""
        node = self._node
        ahead = node.inflight / node.capacity
        if not self._seen:
            return UNMEASURED_LATENCY_S * ahead
        since = self._at - now
        return self._value * (exp(since * self._rate) if since < 0.0 else 1.0) * (ahead + 1.0)


def measured(completion: Completion) -> tuple[float, bool]:
    """Return the latency of a completion in seconds, and whether it is exact or a lower bound.

    Fast failures, refusals and ignored outcomes contain no information: a lower bound of minus one.
    """
    match completion.outcome:
        case Outcome.SUCCESS:
            return completion.latency, True
        case Outcome.TIMEOUT | Outcome.CANCELLED:
            return completion.latency, False
        case _:
            return -1.0, False
