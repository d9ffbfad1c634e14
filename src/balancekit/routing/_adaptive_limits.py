"""Limits of requests in flight that find their number themselves.

By the gradient of latency, or by what is dropped.

.. code-block:: text

    Gradient    every interval: gradient = min_rtt * (1 + buffer) / quantile of latency, between 0.5 and 2
                                limit    = gradient * limit + sqrt(gradient * limit), a whole number
    Aimd        one more for each round of successes while at least half is in use; times 0.9 when a request is dropped

A machine records each request that ends, and gives ``limit``. Nothing changes without requests.

*Gradient.* The least latency is measured from time to time with a small limit, or given. Successes alone measure it. A request
that timed out counts in an interval as slower than any success, however short its time-out was: how slow is not known. In equilibrium, ``sqrt(limit)``
requests and the share ``buffer`` wait: a server of 40 slots settles near ``40 * (1 + buffer)`` and its square root.

*Aimd.* A round is as many successes as the limit. Requests that began before the last decrease cause no further one: one
overload is one decrease, however many requests it drops.

Cost: O(1) a request; O(samples) an interval.

Source: Envoy 1.40.0, ``adaptive_concurrency`` with ``gradient_controller_config``; Netflix *concurrency-limits*,
``AIMDLimit``, which takes both steps for each request. Here steps are by rounds, as in TCP: with steps for each request the
limit passed 80 before the first request of 40 slots was slow. For additive and multiplicative steps: Chiu and Jain 1989.
"""

from __future__ import annotations

import math
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.fork import new_lock
from balancekit._support.record import Policy
from balancekit.errors import ConfigurationError
from balancekit.outcome import Completion, Outcome

__all__ = ["Aimd", "AimdLimit", "Gradient", "GradientLimit"]

MIN_GRADIENT: Final = 0.5
MAX_GRADIENT: Final = 2.0
MAX_AT_MINIMUM: Final = 5
"""Intervals at the least limit in a row, after which the least latency is measured again: it may have been too low."""
MAX_SAMPLES: Final = 10_000
"""Latencies kept of one interval or measurement."""
TIMED_OUT_S: Final = 1e100
"""Latency of a request that timed out: finite, and above all others."""
DROPS: Final = frozenset({Outcome.TIMEOUT, Outcome.OVERLOADED})
"""Outcomes by which an endpoint says that it has too much to do."""


class Gradient(Policy):
    """Limit by the gradient of latency, as Envoy's adaptive concurrency.

    Parameters
    ----------
    min_rtt
        Latency of an endpoint that is not busy, in seconds, > 0; measured if left out.
    buffer
        How much above it is normal, as a share of it, >= 0.
    quantile
        Of the latencies of an interval and of a measurement, 0 to 1.
    interval
        Seconds between two changes of the limit, > 0.
    min_limit, max_limit
        The limit is between, 1 <= ``min_limit`` <= ``max_limit``. It begins at ``min_limit``, and is that while the least
        latency is measured.
    min_rtt_interval
        Seconds from one measurement to the next, > 0.
    min_rtt_requests
        Requests of a measurement, 1 to 10,000.
    jitter
        By how much of itself the interval between measurements is longer at random, >= 0: endpoints are not measured together.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When to use it:* no other limit is known, and latency grows with what waits. *When not:* requests that differ by orders of
    magnitude in work; then the quantile reflects the requests, not how busy the endpoint is. A few requests a second for each
    endpoint, as with many processes: an interval has no samples.

    Example
    -------
    >>> from balancekit.routing import Gradient
    >>> rule = Gradient(min_rtt=0.02, buffer=0.1)
    >>> rule.gradient(min_rtt=0.02, sample_rtt=1.0)
    0.5
    >>> rule.next_limit(40, gradient=1.0)
    46
    """

    min_rtt: float | None = None
    buffer: float = 0.25
    quantile: float = 0.5
    interval: float = 0.25
    min_limit: int = 3
    max_limit: int = 1000
    min_rtt_interval: float = 60.0
    min_rtt_requests: int = 50
    jitter: float = 0.15

    def _check(self) -> None:
        if self.min_rtt is not None:
            valid.number("min_rtt", self.min_rtt, above=0.0)
        valid.number("buffer", self.buffer, minimum=0.0)
        valid.number("quantile", self.quantile, minimum=0.0, maximum=1.0)
        valid.number("interval", self.interval, above=0.0)
        _check_limits(self.min_limit, self.max_limit)
        valid.number("min_rtt_interval", self.min_rtt_interval, above=0.0)
        valid.integer("min_rtt_requests", self.min_rtt_requests, minimum=1, maximum=MAX_SAMPLES)
        valid.number("jitter", self.jitter, minimum=0.0)

    def gradient(self, *, min_rtt: float, sample_rtt: float) -> float:
        """Return by how much a limit is to change: 1 if latency is the least, and the buffer; 0.5 to 2."""
        least = valid.number("min_rtt", min_rtt, minimum=0.0)
        sample = valid.number("sample_rtt", sample_rtt, minimum=0.0)
        raw = least * (1.0 + self.buffer) / sample if sample > 0.0 else MAX_GRADIENT
        return max(MIN_GRADIENT, min(MAX_GRADIENT, raw))

    def next_limit(self, limit: int, *, gradient: float) -> int:
        """Return the limit that follows."""
        scaled = valid.integer("limit", limit, minimum=0) * valid.number("gradient", gradient, minimum=0.0)
        return max(self.min_limit, min(self.max_limit, int(scaled + math.sqrt(scaled))))

    def __call__(self, *, rng: Random | None = None) -> GradientLimit:
        """Make the machine of one endpoint."""
        return GradientLimit(self, Random() if rng is None else rng)


@final
class GradientLimit:
    """The limit of one endpoint. Made by :class:`Gradient`."""

    __slots__ = (
        "_at_minimum",
        "_before",
        "_deadline",
        "_epoch",
        "_lock",
        "_measure_at",
        "_rng",
        "_samples",
        "config",
        "limit",
        "measuring",
        "min_rtt",
    )

    def __init__(self, config: Gradient, rng: Random) -> None:
        self.config: Gradient = config
        self.limit: int = config.min_limit
        """How many requests may be in flight."""
        self.min_rtt: float = 0.0 if config.min_rtt is None else config.min_rtt
        """The least latency, in seconds; 0 before it is known."""
        self.measuring: bool = config.min_rtt is None
        """Whether it is being measured."""
        self._lock = new_lock()
        self._rng = rng
        self._samples: list[float] = []
        self._deadline = -math.inf
        self._measure_at = math.inf
        self._epoch = -math.inf  # requests that began before it say nothing of a measurement
        self._before = config.min_limit  # the limit that comes back after one
        self._at_minimum = 0

    def record(self, completion: Completion, *, inflight: int) -> None:
        """Learn from a request that has ended."""
        now = completion.ended_at
        if not math.isfinite(now):
            return
        with self._lock:
            if not self.measuring:
                if now >= self._deadline:
                    self._end_interval(now)
                if now >= self._measure_at:
                    self._begin_measurement(now)
            latency = self._latency(completion)
            if latency is not None and completion.started_at >= self._epoch:
                if len(self._samples) < MAX_SAMPLES:
                    self._samples.append(latency)
                if self.measuring and len(self._samples) >= self.config.min_rtt_requests:
                    self._end_measurement(now)

    def _latency(self, completion: Completion) -> float | None:
        """Return what a request says of the latency; ``None`` if nothing."""
        if completion.outcome is Outcome.SUCCESS:
            return max(0.0, completion.duration)
        return None if self.measuring or completion.outcome is not Outcome.TIMEOUT else TIMED_OUT_S

    def _end_interval(self, now: float) -> None:
        config, before, limit, at_minimum = self.config, self.limit, self.limit, self._at_minimum
        if self._samples:
            gradient = config.gradient(min_rtt=self.min_rtt, sample_rtt=self._quantile())
            limit = config.next_limit(before, gradient=gradient)
            at_minimum = at_minimum + 1 if before == limit == config.min_limit else 0
        # Nothing is called from here on, so no interrupt comes in between.
        self.limit, self._at_minimum = limit, at_minimum
        self._samples = []
        self._deadline = now + config.interval
        if at_minimum >= MAX_AT_MINIMUM and config.min_rtt is None:
            self._measure_at = now

    def _begin_measurement(self, now: float) -> None:
        self.measuring = True
        self._before, self.limit = self.limit, self.config.min_limit
        self._samples = []
        self._epoch = now
        self._at_minimum = 0

    def _end_measurement(self, now: float) -> None:
        config, min_rtt = self.config, self._quantile()
        measure_at = now + config.min_rtt_interval * (1.0 + config.jitter * self._rng.random())
        # Nothing is called from here on, so no interrupt comes in between.
        self.measuring = False
        self.min_rtt = min_rtt
        self._samples = []
        self.limit = self._before
        self._epoch = -math.inf
        self._deadline = now + config.interval
        self._measure_at = measure_at

    def _quantile(self) -> float:
        samples = sorted(self._samples)
        return samples[max(0, math.ceil(self.config.quantile * len(samples)) - 1)]


class Aimd(Policy):
    """Limit by additive increase and multiplicative decrease.

    Parameters
    ----------
    initial
        The limit at first, between the other two.
    min_limit, max_limit
        The limit is between, 1 <= ``min_limit`` <= ``max_limit``.
    backoff
        What a dropped request multiplies the limit by, > 0, < 1.
    timeout
        Seconds after which a request counts as dropped although it succeeded, > 0; left out: only those count that end as
        ``TIMEOUT`` or ``OVERLOADED``.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When to use it:* servers that turn away what is too much (429, 503), or requests with a deadline. *When not:* servers that
    queue without bound and callers that wait for ever: nothing is dropped, and the limit is ``max_limit``; set ``timeout``.

    Example
    -------
    >>> from balancekit.outcome import Completion, Outcome
    >>> from balancekit.routing import Aimd
    >>> limit = Aimd(initial=20)()
    >>> limit.record(Completion(Outcome.OVERLOADED, started_at=0.0, ended_at=0.1), inflight=20)
    >>> limit.limit
    18
    """

    initial: int = 20
    min_limit: int = 1
    max_limit: int = 1000
    backoff: float = 0.9
    timeout: float | None = None

    def _check(self) -> None:
        _check_limits(self.min_limit, self.max_limit)
        valid.integer("initial", self.initial, minimum=self.min_limit, maximum=self.max_limit)
        if not 0.0 < valid.number("backoff", self.backoff, above=0.0) < 1.0:
            raise ConfigurationError("backoff", self.backoff, "a number > 0 and < 1")
        if self.timeout is not None:
            valid.number("timeout", self.timeout, above=0.0)

    def __call__(self, *, rng: Random | None = None) -> AimdLimit:
        """Make the machine of one endpoint."""
        return AimdLimit(self)


@final
class AimdLimit:
    """The limit of one endpoint. Made by :class:`Aimd`."""

    __slots__ = ("_decreased_at", "_lock", "_successes", "config", "limit")

    def __init__(self, config: Aimd) -> None:
        self.config: Aimd = config
        self.limit: int = config.initial
        """How many requests may be in flight."""
        self._lock = new_lock()
        self._decreased_at = -math.inf
        self._successes = 0  # of this round

    def record(self, completion: Completion, *, inflight: int) -> None:
        """Learn from a request that has ended."""
        config = self.config
        slow = config.timeout is not None and completion.duration > config.timeout
        with self._lock:
            if completion.outcome in DROPS or (completion.outcome is Outcome.SUCCESS and slow):
                if completion.started_at >= self._decreased_at or math.isnan(completion.started_at):
                    limit = max(config.min_limit, int(self.limit * config.backoff))
                    # Nothing is called from here on, so no interrupt comes in between.
                    self._decreased_at = completion.ended_at
                    self.limit = limit
                    self._successes = 0
            elif completion.outcome is Outcome.SUCCESS and inflight * 2 >= self.limit:
                limit, successes = self.limit, self._successes + 1
                if successes >= limit:
                    limit, successes = min(config.max_limit, limit + 1), 0
                self.limit, self._successes = limit, successes


def _check_limits(low: int, high: int) -> None:
    valid.integer("min_limit", low, minimum=1)
    valid.integer("max_limit", high, minimum=low)
