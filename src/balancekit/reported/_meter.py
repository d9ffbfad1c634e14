"""The load of a server, measured by itself.

Source: ORCA headers as Envoy 1.40.0 reads them, for the figures.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.functions import plain_function
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.log import log_error
from balancekit._support.steady import SteadyClock
from balancekit.outcome import LoadReport
from balancekit.reported._latency_by_load import LatencyByLoad
from balancekit.reported._orca import format_orca

__all__ = ["Arrival", "LoadMeter", "ProbedLoad"]

CPU_PERIOD_S: Final = 1.0
"""The shortest interval in seconds over which processor use is measured."""


class ProbedLoad(NamedTuple):
    """The answer of a server to a probe."""

    in_flight: float
    """The open requests, including waiting ones."""
    latency: float = 0.0
    """The expected seconds of a request at that number; 0 if unknown."""


class Arrival(NamedTuple):
    """A request that has started on a server."""

    found: int
    """The open requests when it arrived."""
    at: float
    """The time of its arrival, by the meter's clock."""
    forks: int = 0
    """The number of forks before the process in which it started."""


@final
class LoadMeter(ConstructorRepr):
    """The load of a server: requests and errors per second, its use of processors, its own utilization.

    Parameters
    ----------
    capacity
        The requests that the server can process at once, > 0. Utilization is then the number of open requests divided by it.
    utilization
        Returns the application's own utilization, >= 0, in place of ``capacity``.
    metrics
        Returns other figures by name.
    window
        Seconds over which rates are averaged, > 0.
    clock
        Returns seconds. If it goes back by less than a second, time stands still; otherwise it continues from there.
    processors
        Returns the processor seconds used so far.

    Raises
    ------
    ConfigurationError
        If ``capacity`` or ``window`` is not > 0, a callable cannot be called, or ``clock`` or ``processors``
        returns no finite number.

    A forked child measures only its own requests; those of its parent end in the parent.

    Cost: about two microseconds per request, and ten more per probe.

    Example
    -------
    >>> from balancekit.reported import LoadMeter
    >>> meter = LoadMeter(capacity=10)
    >>> arrival = meter.started()
    >>> meter.report().application_utilization
    0.1
    >>> meter.finished(arrival)
    >>> meter.probed().in_flight
    0
    """

    @checked_arguments
    def __init__(
        self,
        *,
        capacity: float | None = None,
        utilization: Callable[[], float] | None = None,
        metrics: Callable[[], dict[str, float]] | None = None,
        window: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        processors: Callable[[], float] = time.process_time,
    ) -> None:
        self._capacity = None if capacity is None else valid.number("capacity", capacity, above=0.0)
        self._utilization = _function("utilization", utilization)
        self._metrics = _function("metrics", metrics)
        self._window = valid.number("window", window, above=0.0)
        self._clock = clock if clock is time.monotonic else SteadyClock(clock)
        self._processors = processors
        self._lock = new_lock()
        self._is_down = False
        self._forks = 0
        self._by_load = LatencyByLoad()
        self._start_over(valid.number("clock", clock()), valid.number("processors", processors()))
        call_in_child(self)

    def _start_over(self, now: float, used: float) -> None:
        self._open = 0
        self._begun = self._at = now
        self._requests = 0.0
        self._errors = 0.0
        self._cpu = 0.0
        self._cpu_at, self._cpu_used = now, used

    def after_fork(self) -> None:
        """Measure the child from now on; requests of its parent end in the parent, and processor seconds restart."""
        self._forks += 1
        now, used = self._at, self._cpu_used
        with suppress(Exception):  # raised by functions of the application; keep the last readings
            now, used = valid.number("clock", self._clock()), valid.number("processors", self._processors())
        self._start_over(now, used)

    def started(self) -> Arrival:
        """Record the start of a request; return the argument for :meth:`finished`."""
        now = valid.number("clock", self._clock())
        with self._lock:
            arrival = Arrival(self._open, now, self._forks)
            self._open += 1
            return arrival

    @checked_arguments
    def finished(self, arrival: Arrival | None = None, *, failed: bool = False) -> None:
        """Record the end of a request, and whether it was a server error. Without ``arrival`` its duration is not recorded."""
        errors = valid.flag("failed", failed)
        now = valid.number("clock", self._clock())
        with self._lock:
            if arrival is not None and arrival.forks != self._forks:
                return  # it started in the parent, before a fork
            self._decay(now)
            still_open = max(0, self._open - 1)
            # No call until everything is counted, so no interrupt comes in between.
            self._open = still_open
            self._requests += 1.0
            self._errors += errors
            if arrival is not None and not errors:
                self._by_load.record(arrival.found, max(0.0, now - arrival.at))

    def probed(self) -> ProbedLoad:
        """Return the answer to a probe: the open requests, and the expected latency at that number in seconds.

        Failed requests do not count towards latency.
        """
        with self._lock:
            return ProbedLoad(self._open, self._by_load.estimate(self._open))

    def report(self) -> LoadReport:
        """Return the current load."""
        now = valid.number("clock", self._clock())
        if now - self._cpu_at >= CPU_PERIOD_S:
            self._measure_cpu(now, valid.number("processors", self._processors()))
        with self._lock:
            self._decay(now)
            # counts decay over the window; early on, only part of it has passed
            passed = self._window * -math.expm1(-max(now - self._begun, CPU_PERIOD_S) / self._window)
            rps, eps = self._requests / passed, self._errors / passed
            used = 0.0 if self._capacity is None else self._open / self._capacity
            cpu = self._cpu
        if self._utilization is not None:
            used = valid.number("utilization", self._utilization(), minimum=0.0)
        named = {} if self._metrics is None else self._metrics()
        return LoadReport(
            cpu_utilization=cpu, application_utilization=used, rps=rps, eps=eps, named_metrics=named
        )

    def report_texts(self) -> list[str]:
        """Return the current load as a header; no header if it cannot be computed. The first failure is logged.

        A failing figure of the application must not make a response to a client fail.
        """
        try:
            text = format_orca(self.report())
        except Exception:
            raise_interrupt()
            if not self._is_down:
                log_error("a load report cannot be made; answers have none")
            self._is_down = True
            return []
        self._is_down = False
        return [text]

    def _decay(self, now: float) -> None:
        kept = math.exp(min(0.0, self._at - now) / self._window)
        self._requests *= kept
        self._errors *= kept
        # Another thread may have read the clock earlier and arrive later.
        self._at = max(self._at, now)

    def _measure_cpu(self, now: float, used: float) -> None:
        processors = os.cpu_count() or 1
        with self._lock:
            passed = now - self._cpu_at
            if passed >= CPU_PERIOD_S:  # no other thread was faster
                self._cpu = max(0.0, used - self._cpu_used) / passed / processors
                self._cpu_at, self._cpu_used = now, used


F = TypeVar("F", bound=Callable[[], object])


def _function(name: str, given: F | None) -> F | None:
    """Return a function of the application; refuse a value that is not callable, before the first report."""
    return None if given is None else plain_function(name, given, "a function without arguments, or None")
