"""Envoy's outlier detection: which hosts are ejected, and for how long.

The n-th 5xx in a row ejects a host at once, unless too large a part of the cluster would then be out; any
other answer ends the run. Time passes in interval ticks: a host returns at the first tick at which its time
has passed, ``base_ejection_time * k``, where k counts its ejections and falls again by one with every tick at
which the host has been in for at least an interval. At every tick the rates of the interval are compared too
(``_outlier_rates.py``).

*When not to use it:* without an Envoy to agree with. In a pool of fewer than ten the default cap ejects
none, time runs in whole intervals, and the first requests after a return are not watched more closely;
``balancekit.health`` does these better.

Cost: O(1) a response, O(n) a tick; idle ticks are skipped.
Source: Envoy 1.40, ``outlier_detection``, all of it but local origin failures and gateway failures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Policy
from balancekit.compat.envoy._outlier_rates import NOTHING, RateLimits, Rates, rates
from balancekit.errors import ConfigurationError, UnknownEndpointError
from balancekit.events import Ejected, EjectionRefused, Event, Restored

__all__ = ["OutlierDetection", "OutlierDetector"]


COUNTS: Final = (
    "success_rate_minimum_hosts",
    "success_rate_request_volume",
    "success_rate_stdev_factor",
    "failure_percentage_minimum_hosts",
    "failure_percentage_request_volume",
)
PERCENTAGES: Final = (
    "failure_percentage_threshold",
    "enforcing_consecutive_5xx",
    "enforcing_success_rate",
    "enforcing_failure_percentage",
)


class OutlierDetection(Policy):
    """The settings, named and defaulted as Envoy's.

    Parameters
    ----------
    consecutive_5xx
        How many in a row eject, >= 1.
    interval
        Seconds between ticks, > 0.
    base_ejection_time
        Seconds of the first ejection, > 0.
    max_ejection_time
        Seconds of any ejection at most; 300, or the base if that is longer.
    max_ejection_percent
        How much of the cluster may be out, 0 to 100.
    always_eject_one_host
        Whether the first one may go even if that is more.
    max_ejection_time_jitter
        Seconds added at random, at most, after the cap.
    success_rate_minimum_hosts, success_rate_request_volume
        Hosts with so many requests in an interval, and requests of a host, from which success rates count.
    success_rate_stdev_factor
        Thousandths: 1900 is 1.9 standard deviations.
    failure_percentage_threshold
        Percent that fail, 0 to 100, from which a host is an outlier.
    failure_percentage_minimum_hosts, failure_percentage_request_volume
        The same two for failure percentages.
    enforcing_consecutive_5xx, enforcing_success_rate, enforcing_failure_percentage
        Percent of the outliers found that are ejected, at random.

    Raises
    ------
    ConfigurationError
        For any value outside those bounds.
    """

    consecutive_5xx: int = 5
    interval: float = 10.0
    base_ejection_time: float = 30.0
    max_ejection_time: float | None = None
    max_ejection_percent: int = 10
    always_eject_one_host: bool = False
    max_ejection_time_jitter: float = 0.0
    success_rate_minimum_hosts: int = 5
    success_rate_request_volume: int = 100
    success_rate_stdev_factor: int = 1900
    failure_percentage_threshold: int = 85
    failure_percentage_minimum_hosts: int = 5
    failure_percentage_request_volume: int = 50
    enforcing_consecutive_5xx: int = 100
    enforcing_success_rate: int = 100
    enforcing_failure_percentage: int = 0

    def _check(self) -> None:
        valid.integer("consecutive_5xx", self.consecutive_5xx, minimum=1)
        valid.number("interval", self.interval, above=0.0)
        base = valid.number("base_ejection_time", self.base_ejection_time, above=0.0)
        if self.max_ejection_time is not None:
            valid.number("max_ejection_time", self.max_ejection_time, minimum=base)
        valid.integer("max_ejection_percent", self.max_ejection_percent, minimum=0, maximum=100)
        valid.flag("always_eject_one_host", self.always_eject_one_host)
        valid.number("max_ejection_time_jitter", self.max_ejection_time_jitter, minimum=0.0)
        for name in COUNTS:
            valid.integer(name, getattr(self, name), minimum=0)
        for name in PERCENTAGES:
            valid.integer(name, getattr(self, name), minimum=0, maximum=100)

    @property
    def rate_limits(self) -> RateLimits:
        """What is an outlier by rates."""
        return RateLimits(
            self.success_rate_minimum_hosts,
            self.success_rate_request_volume,
            self.success_rate_stdev_factor / 1000.0,
            self.failure_percentage_minimum_hosts,
            self.failure_percentage_request_volume,
            float(self.failure_percentage_threshold),
        )

    @property
    def longest(self) -> float:
        """Seconds of any ejection at most, the jitter aside."""
        return (
            max(300.0, self.base_ejection_time) if self.max_ejection_time is None else self.max_ejection_time
        )


class _Watch:
    """What is known of one host."""

    __slots__ = ("ended", "out", "run", "streak", "until", "well")

    def __init__(self) -> None:
        self.run = 0
        """5xx in a row."""
        self.streak = 0
        """What the base time is multiplied by."""
        self.out = False
        self.until = 0.0
        """When its time has passed, if it is out."""
        self.ended = 0
        """Requests of the interval."""
        self.well = 0
        """Those of them that were no 5xx."""


@final
class OutlierDetector:
    """The machine: takes every response, and the time.

    Parameters
    ----------
    hosts
        Their names, each once.
    settings
        When to eject, and for how long.
    now
        When the first interval begins.
    rng
        Draws the jitter.

    Example
    -------
    >>> settings = OutlierDetection(consecutive_5xx=2, interval=1, base_ejection_time=2, max_ejection_percent=50)
    >>> detector = OutlierDetector(["a", "b"], settings, now=0.0)
    >>> [len(detector.observe("a", 503, now=0.5)), len(detector.observe("a", 500, now=0.6))]
    [0, 1]
    >>> detector.ejected
    ('a',)
    >>> [event.at for event in detector.advance(now=10.0)]
    [3.0]
    """

    @checked_arguments
    def __init__(
        self,
        hosts: Iterable[str],
        settings: OutlierDetection,
        *,
        now: float = 0.0,
        rng: Random | None = None,
    ) -> None:
        names = list(hosts)
        if not names or len(set(names)) < len(names):
            raise ConfigurationError("hosts", names, "at least one name, each once")
        self._settings = settings
        self._watches = {name: _Watch() for name in names}
        self._rng = Random() if rng is None else rng
        self._tick = valid.number("now", now) + settings.interval
        self._out = 0
        self._rates = NOTHING
        self._rated = len(names) >= min(
            settings.success_rate_minimum_hosts, settings.failure_percentage_minimum_hosts
        )
        self._ended = False
        """Whether a request ended in this interval whose success may count."""
        self._counters: Counter[str] = Counter()

    @property
    def rates(self) -> Rates:
        """What the last whole interval showed."""
        return self._rates

    @property
    def counters(self) -> Mapping[str, int]:
        """How often each kind of outlier was found and ejected, and how often the cap forbade it, so far."""
        return dict(self._counters)

    @property
    def ejected(self) -> tuple[str, ...]:
        """The ejected hosts."""
        return tuple([name for name, watch in self._watches.items() if watch.out])

    @checked_arguments
    def out(self, host: str) -> bool:
        """Whether this one is out."""
        return self._of(host).out

    @property
    def deadline(self) -> float | None:
        """When :meth:`advance` is due, ``None`` while ticks change nothing: no ejection is remembered, no rates count."""
        return self._tick if self._remembers() else None

    @checked_arguments
    def observe(self, host: str, status: int, *, now: float) -> Sequence[Event]:
        """Record a response's status; return what that led to."""
        watch = self._of(host)
        if self._tick <= now and not self._remembers():
            self._skip(now)
        watch.ended += 1
        self._ended = self._rated
        if not 500 <= status <= 599:
            watch.well += 1
            watch.run = 0
            return ()
        watch.run += 1
        if watch.run < self._settings.consecutive_5xx or watch.out:
            return ()
        watch.run = 0
        cause = f"{self._settings.consecutive_5xx} consecutive 5xx"
        return self._found(host, "consecutive_5xx", cause, now)

    @checked_arguments
    def advance(self, *, now: float) -> Sequence[Event]:
        """Let the ticks up to ``now`` pass; return the hosts that came back."""
        events: list[Event] = []
        while self._tick <= now:
            if not self._remembers():
                self._rates = NOTHING
                self._skip(now)
                break
            events += self._on_tick(self._tick)
            self._tick += self._settings.interval
        return events

    def _remembers(self) -> bool:
        return self._ended or any(watch.streak for watch in self._watches.values())

    def _skip(self, now: float) -> None:
        """Pass the ticks up to ``now``, none of which changes anything."""
        if self._tick <= now:
            interval = self._settings.interval
            self._tick += ((now - self._tick) // interval + 1) * interval

    def _found(self, host: str, kind: str, cause: str, now: float) -> tuple[Event, ...]:
        """Eject an outlier, unless the cap or chance forbids it."""
        self._counters[f"detected_{kind}"] += 1
        if not self._may_eject():
            self._counters["overflow"] += 1
            return (EjectionRefused(endpoint=host, at=now, cause=cause),)
        enforced: int = getattr(self._settings, f"enforcing_{kind}")
        if enforced < 100 and self._rng.randrange(100) >= enforced:
            return ()
        self._counters[f"enforced_{kind}"] += 1
        watch = self._watches[host]
        self._eject(watch, now)
        return (Ejected(endpoint=host, at=now, until=watch.until, streak=watch.streak, cause=cause),)

    def _by_rates(self, now: float) -> list[Event]:
        """Compare the hosts' answers of the interval that ends."""
        answers = {}
        for name, watch in self._watches.items():
            if not watch.out:
                answers[name] = (watch.ended, watch.well)
            watch.ended = watch.well = 0
        self._ended = False
        found = self._rates = rates(answers, self._settings.rate_limits, hosts=len(self._watches))
        events: list[Event] = []
        for kind, hosts in (("success_rate", found.slow_successes), ("failure_percentage", found.failing)):
            for host in hosts:
                # One that is an outlier by both rates is ejected twice, as there, and counts twice against the cap.
                cause = f"{kind.replace('_', ' ')}: {found.success_rates[host]:.1f} % succeeded"
                events += self._found(host, kind, cause, now)
        return events

    def _may_eject(self) -> bool:
        if self._settings.always_eject_one_host and self._out == 0:
            return True
        return 100.0 * (self._out + 1) / len(self._watches) <= self._settings.max_ejection_percent

    def _eject(self, watch: _Watch, now: float) -> None:
        settings = self._settings
        # One step past the cap is kept, as there: it takes one more tick to decay.
        if watch.streak * settings.base_ejection_time < settings.longest + settings.base_ejection_time:
            watch.streak += 1
        jitter = settings.max_ejection_time_jitter
        lasts = min(settings.base_ejection_time * watch.streak, settings.longest)
        watch.until = now + lasts + (self._rng.uniform(0.0, jitter) if jitter else 0.0)
        watch.out = True
        self._out += 1

    def _on_tick(self, now: float) -> list[Event]:
        events: list[Event] = []
        for name, watch in self._watches.items():
            if not watch.out:
                # Hosts return at ticks, so a host that is in by now has been in for an interval.
                watch.streak = max(0, watch.streak - 1)
            elif watch.until <= now:
                watch.out, watch.run = False, 0
                self._out -= 1
                events.append(Restored(endpoint=name, at=now))
        if not self._ended:
            self._rates = NOTHING
            return events
        return events + self._by_rates(now)

    def _of(self, host: str) -> _Watch:
        try:
            return self._watches[host]
        except KeyError:
            raise UnknownEndpointError(host, tuple(self._watches)) from None
