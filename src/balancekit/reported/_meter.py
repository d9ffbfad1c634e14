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
"""The shortest time over which the use of processors is measured."""


class ProbedLoad(NamedTuple):
    """What a server answers to a probe."""

    in_flight: float
    """Requests it has, waiting ones included."""
    latency: float = 0.0
    """Seconds that a request takes with so many; 0 if it does not know."""


class Arrival(NamedTuple):
    """A request that has begun on a server."""

    found: int
    """Requests that were there before it."""
    at: float
    """When it came, by the clock of the meter."""
    forks: int = 0
    """Forks that led to the process in which it began."""


@final
class LoadMeter(ConstructorRepr):
    """The load of a server: requests and errors per second, its use of processors, its own utilization.

    Parameters
    ----------
    capacity
        Requests that it can work on at once, > 0: utilization is then requests open, divided by it.
    utilization
        Called for the application's own utilization, in place of ``capacity``: a share of what there is, >= 0.
    metrics
        Called for other figures by name.
    window
        Seconds over which rates are averaged, > 0.
    clock
        Seconds. If it goes back, time stands still, or goes on from where it was after a second or more.
    processors
        Called for the processor seconds used so far.

    A forked child meters its own requests alone; those of its parent end in the parent.

    Cost: about two microseconds a request, ten more when it is probed.

    Example
    -------
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
        """Meter the child from now on: the requests of its parent end in the parent, and its processor seconds are its own."""
        self._forks += 1
        now, used = self._at, self._cpu_used
        with suppress(Exception):  # of functions of the application: the last readings do
            now, used = valid.number("clock", self._clock()), valid.number("processors", self._processors())
        self._start_over(now, used)

    def started(self) -> Arrival:
        """Note that a request has begun; return what :meth:`finished` is to be given."""
        now = valid.number("clock", self._clock())
        with self._lock:
            arrival = Arrival(self._open, now, self._forks)
            self._open += 1
            return arrival

    @checked_arguments
    def finished(self, arrival: Arrival | None = None, *, failed: bool = False) -> None:
        """Note that a request has ended, and whether by an error of the server; without ``arrival`` its time is not learnt."""
        errors = valid.flag("failed", failed)
        now = valid.number("clock", self._clock())
        with self._lock:
            if arrival is not None and arrival.forks != self._forks:
                return  # it began before a fork, in the parent
            self._decay(now)
            still_open = max(0, self._open - 1)
            # Nothing is called until all is counted, so no interrupt comes in between.
            self._open = still_open
            self._requests += 1.0
            self._errors += errors
            if arrival is not None and not errors:
                self._by_load.record(arrival.found, max(0.0, now - arrival.at))

    def probed(self) -> ProbedLoad:
        """Return what a probe is to be answered: requests open, and the latency that so many mean, in seconds.

        Failed requests say nothing of latency.
        """
        with self._lock:
            return ProbedLoad(self._open, self._by_load.estimate(self._open))

    def report(self) -> LoadReport:
        """Return the present load."""
        now = valid.number("clock", self._clock())
        if now - self._cpu_at >= CPU_PERIOD_S:
            self._measure_cpu(now, valid.number("processors", self._processors()))
        with self._lock:
            self._decay(now)
            # counts decay over the window; early on, only a part of it has passed
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
        """Return the present load as a header says it; none if it cannot be computed, which is logged when that begins.

        An answer to a client is not to fail because a figure of the application does.
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
        # Another thread may have read the clock before this one, and come later.
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
    """Return a function of the application; refuse what cannot be called, which each report would find out."""
    return None if given is None else plain_function(name, given, "a function without arguments, or None")
