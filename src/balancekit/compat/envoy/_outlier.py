"""Envoy's outlier detection: ejections of hosts and their lengths.

*Failures in a row.* The n-th 5xx status in a row ejects a host at once, unless the share of ejected hosts would exceed its limit. Any
other response ends the row. Statuses 502, 503 and 504 are also counted separately, as gateway failures. A request without a
response counts as status 503. With ``split_external_local_origin_errors`` it counts as a failure of local origin instead, which has
a row and rates of its own.

*Length.* Time is divided into intervals, and ejections end at ticks between them. An ejection lasts ``base_ejection_time * k``, and
ends at the first tick after that. Here k is the number of ejections of the host. It decreases by one at each tick at which the host
has not been ejected for at least one interval.

*Rates.* At each tick, the rates of the interval are compared (``_outlier_rates.py``), before k decreases. So k does not decrease for a
host that is ejected by its rates.

*Active health checks.* With ``successful_active_health_check_uneject_host``, a passed check ends an ejection at once. Then k does not
decrease until the host has not been ejected for one interval.

*Differences from Envoy.* Ticks are exact here. If Envoy's timer is a millisecond early, the first tick after a return does not
decrease k. Monitors that are extensions (``monitors``) are not implemented.

*When not to use it:* unless you need the same choices as Envoy. With fewer than ten hosts, the default limit ejects no host. Time is
measured in whole intervals, and the first requests after a return are not limited. Use :mod:`balancekit.health`.

Cost: O(1) per response, O(n) per tick; ticks without ejections and requests are skipped.
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
"""The status of a request without a response."""


class _IntervalCounts:
    """Number of requests to one host in an interval, and number of successes among them."""

    __slots__ = ("ended", "well")

    def __init__(self) -> None:
        self.ended = 0
        self.well = 0

    def count(self, *, well: bool) -> None:
        self.ended += 1
        self.well += well

    def take(self) -> tuple[int, int]:
        """Return the number of requests and of successes, and begin the next interval."""
        taken = self.ended, self.well
        self.ended = self.well = 0
        return taken


class _HostRecord:
    """The state of one host."""

    __slots__ = ("external", "local", "out", "returned_at", "runs", "streak", "until")

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        """Number of failures in a row, by kind."""
        self.external, self.local = _IntervalCounts(), _IntervalCounts()
        """Counts by status, and by whether there was a response."""
        self.streak = 0
        """Factor on the base ejection time."""
        self.out = False
        """Whether the host is ejected."""
        self.until = 0.0
        """End of its ejection."""
        self.returned_at = -math.inf
        """When an active health check last ended its ejection."""


@final
class OutlierDetector(ConstructorRepr):
    """State machine of outlier detection. Sans-IO: it receives statuses of responses and the time.

    Parameters
    ----------
    hosts
        Distinct names of the hosts.
    settings
        Thresholds and lengths of ejections.
    now
        Begin of the first interval in seconds.
    rng
        Random generator for jitter and for partial enforcement; a new one if left out.

    Raises
    ------
    ConfigurationError
        If ``hosts`` is empty or has a name twice, or ``now`` is no finite number.

    Example
    -------
    >>> from balancekit.compat.envoy import OutlierDetection, OutlierDetector
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
        self._records = {name: _HostRecord() for name in names}
        self._rng = Random() if rng is None else rng
        self._tick = valid.number("now", now) + settings.interval
        self._out = 0
        self._rates = NOTHING
        self._rated = len(names) >= min(
            settings.success_rate_minimum_hosts, settings.failure_percentage_minimum_hosts
        )
        self._ended = False
        """Whether a request that counts for rates has ended in this interval."""
        self._counters: Counter[str] = Counter()

    @property
    def rates(self) -> Rates:
        """Rates of the last whole interval."""
        return self._rates

    @property
    def counters(self) -> Mapping[str, int]:
        """Numbers of detected and of ejected outliers by kind, and of ejections that the limit prevented."""
        return dict(self._counters)

    @property
    def ejected(self) -> tuple[str, ...]:
        """Names of the hosts that are ejected."""
        return tuple([name for name, record in self._records.items() if record.out])

    @checked_arguments
    def out(self, host: str) -> bool:
        """Return whether a host is ejected."""
        return self._of(host).out

    @property
    def deadline(self) -> float | None:
        """Time of the next call of :meth:`advance`; ``None`` while ticks have no effect."""
        return self._tick if self._remembers() else None

    @checked_arguments
    def observe(self, host: str, status: int | None, *, now: float) -> Sequence[Event]:
        """Record the status of a response; return the events that follow.

        ``status`` is ``None`` if there was no response, because the connection was refused or reset, or the request timed out.
        """
        record = self._of(host)
        if self._tick <= now and not self._remembers():
            self._skip(now)
        self._ended = self._rated
        if self._settings.split_external_local_origin_errors:
            record.local.count(well=status is not None)
            if status is None:
                return self._failed(host, "consecutive_local_origin_failure", now)
            record.runs["consecutive_local_origin_failure"] = 0
        code = NO_ANSWER if status is None else status
        well = not 500 <= code <= 599
        record.external.count(well=well)
        if well or code not in GATEWAY_FAILURES:
            record.runs["consecutive_gateway_failure"] = 0
        if well:
            record.runs["consecutive_5xx"] = 0
            return ()
        gateway: tuple[Event, ...] = ()
        if code in GATEWAY_FAILURES:
            gateway = self._failed(host, "consecutive_gateway_failure", now)
        return (*gateway, *self._failed(host, "consecutive_5xx", now))

    @checked_arguments
    def check_passed(self, host: str, *, now: float) -> Sequence[Event]:
        """Record that an active health check of a healthy host passed; return the events that follow."""
        record = self._of(host)
        if not record.out or not self._settings.successful_active_health_check_uneject_host:
            return ()
        record.returned_at = now
        return (self._uneject(host, record, now),)

    @checked_arguments
    def advance(self, *, now: float) -> Sequence[Event]:
        """Process the ticks until ``now``; return the events that follow: returns, and ejections by rates."""
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
        return self._ended or any(record.streak for record in self._records.values())

    def _skip(self, now: float) -> None:
        """Skip the ticks until ``now``, which have no effect."""
        if self._tick <= now:
            interval = self._settings.interval
            self._tick += ((now - self._tick) // interval + 1) * interval

    def _failed(self, host: str, kind: str, now: float) -> tuple[Event, ...]:
        """Count a failure, and eject the host if there are enough in a row."""
        record = self._records[host]
        record.runs[kind] += 1
        limit: int = getattr(self._settings, kind)
        if record.runs[kind] < limit or record.out:
            return ()
        record.runs[kind] = 0
        return self._found(host, kind, f"{limit} {kind.replace('_', ' ')}", now)

    def _found(self, host: str, kind: str, cause: str, now: float) -> tuple[Event, ...]:
        """Eject an outlier, unless the limit or partial enforcement prevents it."""
        self._counters[f"detected_{kind}"] += 1
        if not self._may_eject():
            self._counters["overflow"] += 1
            return (EjectionRefused(endpoint=host, at=now, cause=cause),)
        enforced: int = getattr(self._settings, ENFORCING[kind])
        if enforced < 100 and self._rng.randrange(100) >= enforced:
            return ()
        self._counters[f"enforced_{kind}"] += 1
        record = self._records[host]
        self._eject(record, now)
        return (Ejected(endpoint=host, at=now, until=record.until, streak=record.streak, cause=cause),)

    def _by_rates(self, now: float) -> list[Event]:
        """Compare the rates of the interval that ends, and eject outliers."""
        external = {name: record.external.take() for name, record in self._records.items()}
        local = {name: record.local.take() for name, record in self._records.items()}
        self._ended = False
        self._rates, events = self._judged(external, "", now)
        if self._settings.split_external_local_origin_errors:
            events += self._judged(local, "local_origin_", now)[1]
        return events

    def _judged(
        self, answers: Mapping[str, tuple[int, int]], origin: str, now: float
    ) -> tuple[Rates, list[Event]]:
        """Eject outliers by the rates of one kind of counts."""
        inside = {name: counts for name, counts in answers.items() if not self._records[name].out}
        found = rates(inside, self._settings.rate_limits, hosts=len(self._records))
        events: list[Event] = []
        for kind, hosts in (("success_rate", found.slow_successes), ("failure_percentage", found.failing)):
            for host in hosts:
                # As in Envoy, an outlier by both rates is ejected twice, and counts twice for the limit.
                cause = f"{origin}{kind}: {found.success_rates[host]:.1f} % succeeded".replace("_", " ")
                events += self._found(host, origin + kind, cause, now)
        return found, events

    def _may_eject(self) -> bool:
        if self._settings.always_eject_one_host and self._out == 0:
            return True
        return 100.0 * (self._out + 1) / len(self._records) <= self._settings.max_ejection_percent

    def _eject(self, record: _HostRecord, now: float) -> None:
        settings = self._settings
        # As in Envoy, the factor may be one step above the maximum, and then needs one more tick to decrease.
        if record.streak * settings.base_ejection_time < settings.longest + settings.base_ejection_time:
            record.streak += 1
        jitter = settings.max_ejection_time_jitter
        lasts = min(settings.base_ejection_time * record.streak, settings.longest)
        record.until = now + lasts + (self._rng.uniform(0.0, jitter) if jitter else 0.0)
        record.out = True
        self._out += 1

    def _on_tick(self, now: float) -> list[Event]:
        events: list[Event] = []
        # Hosts return at ticks. So a host that is not ejected has not been for an interval, unless a check ended its ejection.
        since = now - self._settings.interval
        stable = [
            record for record in self._records.values() if not record.out and record.returned_at <= since
        ]
        for name, record in self._records.items():
            if record.out and record.until <= now:
                events.append(self._uneject(name, record, now))
        self._rates = NOTHING
        if self._ended:
            events += self._by_rates(now)
        for record in stable:
            if not record.out:
                record.streak = max(0, record.streak - 1)
        return events

    def _uneject(self, host: str, record: _HostRecord, now: float) -> Event:
        record.out = False
        record.runs.clear()
        self._out -= 1
        return Restored(endpoint=host, at=now)

    def _of(self, host: str) -> _HostRecord:
        try:
            return self._records[host]
        except KeyError:
            raise UnknownEndpointError(host, tuple(self._records)) from None
