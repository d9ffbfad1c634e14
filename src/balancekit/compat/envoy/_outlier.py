"""Envoy's outlier detection: which hosts are ejected, and for how long.

The n-th 5xx in a row ejects a host at once, unless too large a part of the cluster would then be out; any
other answer ends the run. Statuses 502, 503 and 504 in a row count apart as gateway failures. A request without an answer
is a 503, or with ``split_external_local_origin_errors`` a failure of local origin, with a run and rates of its own.

Time passes in interval ticks: a host returns at the first tick at which its time has passed, ``base_ejection_time * k``,
where k counts its ejections and falls again by one with every tick at which the host has been in for at least an
interval. At every tick the rates of the interval are compared too (``_outlier_rates.py``), before k falls: a host that
they eject keeps its k. Here ticks are exact; where Envoy's timer comes a millisecond early, the first tick after a return
does not count. An active health check that passes ends an ejection at once, with ``successful_active_health_check_uneject_host``,
and k stays until the host has been in for an interval. Monitors that are extensions (``monitors``) are not modelled.

*When not to use it:* without an Envoy to agree with. In a pool of fewer than ten the default cap ejects
none, time runs in whole intervals, and the first requests after a return are not watched more closely;
``balancekit.health`` does these better.

Cost: O(1) a response, O(n) a tick; idle ticks are skipped.
Source: Envoy 1.40, ``outlier_detection``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.compat.envoy._outlier_rates import NOTHING, Rates, rates
from balancekit.compat.envoy._outlier_settings import ENFORCING, OutlierDetection
from balancekit.errors import ConfigurationError, UnknownEndpointError
from balancekit.events import Ejected, EjectionRefused, Event, Restored

__all__ = ["OutlierDetector"]


GATEWAY_FAILURES: Final = frozenset({502, 503, 504})
NO_ANSWER: Final = 503
"""The status that a request without an answer counts as."""


class _Answers:
    """How the requests of an interval to one host ended."""

    __slots__ = ("ended", "well")

    def __init__(self) -> None:
        self.ended = 0
        self.well = 0

    def count(self, *, well: bool) -> None:
        self.ended += 1
        self.well += well

    def take(self) -> tuple[int, int]:
        """Return how many ended, and how many of them well, and begin the next interval."""
        taken = self.ended, self.well
        self.ended = self.well = 0
        return taken


class _Watch:
    """What is known of one host."""

    __slots__ = ("external", "local", "out", "returned_at", "runs", "streak", "until")

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        """Failures of each kind in a row."""
        self.external, self.local = _Answers(), _Answers()
        """Of requests by status, and by whether there was an answer at all."""
        self.streak = 0
        """What the base time is multiplied by."""
        self.out = False
        self.until = 0.0
        """When its time has passed, if it is out."""
        self.returned_at = -math.inf
        """When an active health check last ended its ejection."""


@final
class OutlierDetector(ConstructorRepr):
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

    Raises
    ------
    ConfigurationError
        If ``hosts`` is empty or has a name twice, or ``now`` is no finite number.

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
    def observe(self, host: str, status: int | None, *, now: float) -> Sequence[Event]:
        """Record a response's status, or ``None`` if there was none: refused, reset or timed out; return what that led to."""
        watch = self._of(host)
        if self._tick <= now and not self._remembers():
            self._skip(now)
        self._ended = self._rated
        if self._settings.split_external_local_origin_errors:
            watch.local.count(well=status is not None)
            if status is None:
                return self._failed(host, "consecutive_local_origin_failure", now)
            watch.runs["consecutive_local_origin_failure"] = 0
        code = NO_ANSWER if status is None else status
        well = not 500 <= code <= 599
        watch.external.count(well=well)
        if well or code not in GATEWAY_FAILURES:
            watch.runs["consecutive_gateway_failure"] = 0
        if well:
            watch.runs["consecutive_5xx"] = 0
            return ()
        gateway: tuple[Event, ...] = ()
        if code in GATEWAY_FAILURES:
            gateway = self._failed(host, "consecutive_gateway_failure", now)
        return (*gateway, *self._failed(host, "consecutive_5xx", now))

    @checked_arguments
    def check_passed(self, host: str, *, now: float) -> Sequence[Event]:
        """Record that an active health check passed, of a host that such checks call healthy; return what that led to."""
        watch = self._of(host)
        if not watch.out or not self._settings.successful_active_health_check_uneject_host:
            return ()
        watch.returned_at = now
        return (self._uneject(host, watch, now),)

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

    def _failed(self, host: str, kind: str, now: float) -> tuple[Event, ...]:
        """Count a failure in a row."""
        watch = self._watches[host]
        watch.runs[kind] += 1
        limit: int = getattr(self._settings, kind)
        if watch.runs[kind] < limit or watch.out:
            return ()
        watch.runs[kind] = 0
        return self._found(host, kind, f"{limit} {kind.replace('_', ' ')}", now)

    def _found(self, host: str, kind: str, cause: str, now: float) -> tuple[Event, ...]:
        """Eject an outlier, unless the cap or chance forbids it."""
        self._counters[f"detected_{kind}"] += 1
        if not self._may_eject():
            self._counters["overflow"] += 1
            return (EjectionRefused(endpoint=host, at=now, cause=cause),)
        enforced: int = getattr(self._settings, ENFORCING[kind])
        if enforced < 100 and self._rng.randrange(100) >= enforced:
            return ()
        self._counters[f"enforced_{kind}"] += 1
        watch = self._watches[host]
        self._eject(watch, now)
        return (Ejected(endpoint=host, at=now, until=watch.until, streak=watch.streak, cause=cause),)

    def _by_rates(self, now: float) -> list[Event]:
        """Compare the hosts' answers of the interval that ends."""
        external = {name: watch.external.take() for name, watch in self._watches.items()}
        local = {name: watch.local.take() for name, watch in self._watches.items()}
        self._ended = False
        self._rates, events = self._judged(external, "", now)
        if self._settings.split_external_local_origin_errors:
            events += self._judged(local, "local_origin_", now)[1]
        return events

    def _judged(
        self, answers: Mapping[str, tuple[int, int]], origin: str, now: float
    ) -> tuple[Rates, list[Event]]:
        """Eject outliers by one kind of answers."""
        inside = {name: counts for name, counts in answers.items() if not self._watches[name].out}
        found = rates(inside, self._settings.rate_limits, hosts=len(self._watches))
        events: list[Event] = []
        for kind, hosts in (("success_rate", found.slow_successes), ("failure_percentage", found.failing)):
            for host in hosts:
                # One that is an outlier by both rates is ejected twice, as there, and counts twice against the cap.
                cause = f"{origin}{kind}: {found.success_rates[host]:.1f} % succeeded".replace("_", " ")
                events += self._found(host, origin + kind, cause, now)
        return found, events

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
        # Hosts return at ticks, so a host that is in by now has been in for an interval, unless a check has passed since.
        since = now - self._settings.interval
        stayed = [watch for watch in self._watches.values() if not watch.out and watch.returned_at <= since]
        for name, watch in self._watches.items():
            if watch.out and watch.until <= now:
                events.append(self._uneject(name, watch, now))
        self._rates = NOTHING
        if self._ended:
            events += self._by_rates(now)
        for watch in stayed:
            if not watch.out:
                watch.streak = max(0, watch.streak - 1)
        return events

    def _uneject(self, host: str, watch: _Watch, now: float) -> Event:
        watch.out = False
        watch.runs.clear()
        self._out -= 1
        return Restored(endpoint=host, at=now)

    def _of(self, host: str) -> _Watch:
        try:
            return self._watches[host]
        except KeyError:
            raise UnknownEndpointError(host, tuple(self._watches)) from None
