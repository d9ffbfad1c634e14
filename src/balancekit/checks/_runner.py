"""The common part of both runners: parameters, the list of endpoints, results, and the time of the next check.

A check that returns something other than a result is a programming error, not a failure of the endpoint. It is logged
once, and nothing is reported. The same holds for checks that fail because the process has no file descriptor left.

Not thread-safe. The thread runner calls it under its own lock, except for :meth:`RunnerCore.result` and the report to
the balancer, which has a lock of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.log import LateLog
from balancekit._support.shortage import is_shortage
from balancekit.checks._dependencies import SharedDependencies
from balancekit.checks._requirements import require_check, require_checked
from balancekit.checks._result import ProbeResult
from balancekit.checks._schedule import CheckTimer, Schedule
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, UnknownEndpointError, brief_error
from balancekit.events import Added, Event, Removed
from balancekit.health import CheckResult
from balancekit.protocols import ObservableBalancer

__all__ = [
    "DEFAULT_SCHEDULE",
    "MAX_RECEIVED_BYTES",
    "CheckRunner",
    "RunnerCore",
    "failure",
    "is_present",
    "probe_result",
]

DEFAULT_SCHEDULE: Final = Schedule()
MAX_RECEIVED_BYTES: Final = 65_536
"""Of an answer, at once."""


class CheckRunner(ConstructorRepr):
    """The parameters of both runners.

    Raises
    ------
    ConfigurationError
        If ``balancer`` takes no checks, ``check`` is of the wrong kind, ``schedule`` is no ``Schedule``, or a
        number is outside its bounds.
    """

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        check: object,
        schedule: Schedule,
        concurrency: int,
        shared: float,
        *,
        coroutine: bool,
    ) -> None:
        require_checked(balancer)
        require_check(check, coroutine=coroutine)
        if not isinstance(schedule, Schedule):
            raise ConfigurationError("schedule", schedule, "a Schedule")
        self._balancer = balancer
        self._schedule = schedule
        self._concurrency = valid.integer("concurrency", concurrency, minimum=1)
        self._shared = valid.number("shared", shared, minimum=0.0, maximum=1.0)


@final
class RunnerCore:
    """The state of one runner: the endpoints of its balancer, their schedule and their results."""

    __slots__ = (
        "_balancer",
        "_endpoints",
        "_mistaken",
        "_reading",
        "_schedule",
        "_shared",
        "_short",
        "_stale_at",
        "_stop",
        "_timer",
        "notes",
        "wake",
    )

    def __init__(self, balancer: ObservableBalancer[Any], schedule: Schedule, shared_share: float) -> None:
        self._balancer = balancer
        self._schedule = schedule
        self._shared = SharedDependencies(shared_share)
        self._timer = CheckTimer(schedule, random.Random())
        self._endpoints: dict[str, Endpoint[Any]] = {}
        self._stale_at = 0.0
        self._mistaken = self._short = self._reading = False
        self.notes: LateLog = LateLog()
        """Messages to log once no lock is held."""
        self.wake: Callable[[], object] = _nothing_waits
        """Called, from any thread, when the list of endpoints has changed."""
        self._stop = balancer.on_event(self._on_event)

    def close(self) -> None:
        """Listen no more."""
        self._stop()

    def is_stale(self, now: float) -> bool:
        """Return whether the caller is to read the list of endpoints now, and to take it. False until then for all others."""
        if self._reading or now < self._stale_at:
            return False
        self._reading = True
        # Before the list is read, so that an event during the read makes it stale again.
        self._stale_at = now + self._schedule.interval
        return True

    def read(self) -> dict[str, Endpoint[Any]] | None:
        """Return the endpoints of the balancer by id; ``None`` if they cannot be read. Call it under no lock.

        A list that cannot be read is logged, and read again after the interval. Flush :attr:`notes` afterwards.
        """
        found: dict[str, Endpoint[Any]] | None = None
        try:
            found = {endpoint.id: endpoint for endpoint in self._balancer.endpoints}
        except Exception:  # of a balancer that is no LoadBalancer, or for lack of memory
            raise_interrupt()
            self.notes.error("the endpoints to check cannot be read")
        finally:
            self._reading = found is not None
        return found

    def take(self, endpoints: dict[str, Endpoint[Any]], now: float) -> None:
        """Use a list that was read."""
        self._endpoints = endpoints
        self._timer.update(endpoints, now=now)
        self._shared.keep(endpoints)
        self._reading = False

    def begin(self, now: float) -> tuple[Endpoint[Any] | None, float]:
        """Return an endpoint to check now, or ``None`` and the seconds until there is something to do."""
        id = self._timer.begin(now=now)
        if id is not None:
            return self._endpoints[id], 0.0
        return None, max(0.0, min(self._timer.next_at, self._stale_at) - now)

    def result(self, endpoint: Endpoint[Any], found: ProbeResult | Exception) -> CheckResult | None:
        """Evaluate a result against those of the other endpoints; return ``None`` if the check had no result.

        Flush :attr:`notes` afterwards.

        Parameters
        ----------
        found
            The result of the check, or the error that left it without one: a programming error, or a shortage in the process.
        """
        if isinstance(found, ConfigurationError):
            self._note(endpoint, found)
            return None
        if isinstance(found, Exception):
            if not self._short:
                self.notes.change("endpoints cannot be checked: %s", brief_error(found), bad=True)
            self._short = True
            return None
        if self._short:
            self.notes.change("endpoints can be checked again", bad=False)
        self._short = False
        passed, degraded = self._shared.judge(endpoint.id, found)
        return CheckResult(
            passed=passed,
            detail=found.detail,
            degraded=degraded,
            holds_for=self._schedule.holds_for,
        )

    def report(self, endpoint: Endpoint[Any], result: CheckResult | None) -> bool:
        """Report a result to the balancer; return whether to check again soon. Results of removed endpoints are dropped."""
        if result is None or not self._is_known(endpoint):
            return False
        try:
            return self._balancer.report_check(endpoint.id, result)
        except UnknownEndpointError:
            pass
        except ConfigurationError as error:  # a health policy that takes no check results
            self._note(endpoint, error)
            self.notes.flush()
        return False

    def _is_known(self, endpoint: Endpoint[Any]) -> bool:
        """Return whether a result belongs to a current endpoint."""
        if self._stale_at == 0.0 or self._reading:  # no thread has read the list again
            return is_present(self._balancer, endpoint)
        known = self._endpoints.get(endpoint.id)
        return known is not None and known.target is endpoint.target

    def _note(self, endpoint: Endpoint[Any], error: ConfigurationError) -> None:
        """Note once that results are not used."""
        if not self._mistaken:
            self._mistaken = True
            text = "the check of %r is not used, nor are others like it: %s"
            self.notes.change(text, endpoint.id, brief_error(error), bad=True)

    def done(self, endpoint: Endpoint[Any], *, changing: bool, now: float) -> None:
        """Plan the next check."""
        self._timer.done(endpoint.id, now=now, changing=changing)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Added | Removed):
            self._stale_at = 0.0
            self.wake()


def is_present(balancer: ObservableBalancer[Any], endpoint: Endpoint[Any]) -> bool:
    """Return whether the balancer still has an endpoint with the id and target that were checked.

    A late result may belong to an earlier endpoint with the same id.
    """
    return any(one.id == endpoint.id and one.target is endpoint.target for one in balancer.endpoints)


def probe_result(answer: object) -> ProbeResult:
    """Turn what a user's check returned into a result."""
    if isinstance(answer, ProbeResult):
        return answer
    if isinstance(answer, bool):
        return ProbeResult(passed=answer)
    raise ConfigurationError("check", answer, "a check that returns True, False or a ProbeResult")


def failure(error: BaseException) -> ProbeResult | Exception:
    """Return the result of a check that raised; the error itself if the endpoint did not cause it."""
    if isinstance(error, Exception) and is_shortage(error):
        return error
    return ProbeResult(passed=False, detail=brief_error(error), answered=False)


def _nothing_waits() -> None:
    """Do nothing; the placeholder until the runner sets its callback."""
