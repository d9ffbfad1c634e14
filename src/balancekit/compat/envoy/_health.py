"""Envoy's active health checks: the health of a host by the results of its checks, and the times of checks.

*Health.* A host is unhealthy at first. If the first check passes, the host becomes healthy at once. Later, it becomes healthy after
``healthy_threshold`` passed checks in a row. A status that is neither expected nor retriable makes the host unhealthy at once.
Retriable statuses, refused connections and timeouts make it unhealthy after ``unhealthy_threshold`` of them in a row.

*Intervals.* An interval begins at the end of a check, so a check that times out delays the next one. The interval depends on the
result:

.. code-block:: text

    passed    healthy_edge_interval until healthy_threshold is reached, then interval
    failed    unhealthy_edge_interval until unhealthy_threshold is reached, then unhealthy_interval

As long as the cluster has had no request, the interval is ``no_traffic_healthy_interval`` after a passed check of a healthy host,
and ``no_traffic_interval`` after all other checks.

Cost: O(1) per result. Source: Envoy 1.40, ``HttpHealthCheckerImpl``.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.errors import ConfigurationError

__all__ = ["Health", "HealthCheck", "HealthChecker"]

OPTIONAL_INTERVALS: Final = (
    "unhealthy_interval",
    "unhealthy_edge_interval",
    "healthy_edge_interval",
    "no_traffic_healthy_interval",
)


class Health(enum.Enum):
    """Health of a host for Envoy's balancer."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"
    DRAINING = "DRAINING"
    """The host gets no requests, and is not counted when the number of healthy hosts is compared with that of all hosts."""


class HealthCheck(Policy):
    """Settings of active health checks, with Envoy's names.

    Parameters
    ----------
    interval
        Seconds from the end of a check to the next one, > 0.
    healthy_threshold, unhealthy_threshold
        Number of results in a row that change the host's health, >= 1.
    expected_statuses
        Statuses of checks that pass.
    retriable_statuses
        Statuses that count towards ``unhealthy_threshold`` instead of making the host unhealthy at once.
    unhealthy_interval
        Seconds to the next check after a failed check, > 0; ``interval`` if left out.
    unhealthy_edge_interval
        Seconds after a failed check while the host is still healthy, > 0; ``unhealthy_interval`` if left out.
    healthy_edge_interval
        Seconds after a passed check while the host is still unhealthy, > 0; ``interval`` if left out.
    no_traffic_interval
        Seconds to the next check while the cluster has had no request, > 0.
    no_traffic_healthy_interval
        Seconds after a passed check of a healthy host in that case, > 0; ``no_traffic_interval`` if left out.

    Raises
    ------
    ConfigurationError
        If an interval is no number > 0, a threshold is no integer >= 1, or a list of statuses holds anything but integers.
    """

    interval: float
    healthy_threshold: int
    unhealthy_threshold: int
    expected_statuses: Collection[int] = range(200, 201)
    retriable_statuses: Collection[int] = range(0)
    unhealthy_interval: float | None = None
    unhealthy_edge_interval: float | None = None
    healthy_edge_interval: float | None = None
    no_traffic_interval: float = 60.0
    no_traffic_healthy_interval: float | None = None

    def _check(self) -> None:
        valid.number("interval", self.interval, above=0.0)
        valid.integer("healthy_threshold", self.healthy_threshold, minimum=1)
        valid.integer("unhealthy_threshold", self.unhealthy_threshold, minimum=1)
        for name in ("expected_statuses", "retriable_statuses"):
            statuses = getattr(self, name)
            if not isinstance(statuses, Collection) or not all(isinstance(one, int) for one in statuses):
                raise ConfigurationError(name, statuses, "a collection of whole numbers")
        valid.number("no_traffic_interval", self.no_traffic_interval, above=0.0)
        for name in OPTIONAL_INTERVALS:
            if getattr(self, name) is not None:
                valid.number(name, getattr(self, name), above=0.0)


@final
class HealthChecker(StateRepr):
    """State machine of the health of one host. Sans-IO: it receives results of checks and the time.

    Parameters
    ----------
    settings
        Thresholds and intervals.
    now
        Time of the first check, in seconds.

    Raises
    ------
    ConfigurationError
        If ``now`` is no finite number.

    Example
    -------
    >>> from balancekit.compat.envoy import HealthCheck, HealthChecker
    >>> checker = HealthChecker(HealthCheck(interval=5, healthy_threshold=2, unhealthy_threshold=3))
    >>> checker.health, checker.observe(200, now=0.1), checker.deadline
    (<Health.UNHEALTHY: 'UNHEALTHY'>, <Health.HEALTHY: 'HEALTHY'>, 5.1)
    >>> checker.observe(503, now=5.2)
    <Health.UNHEALTHY: 'UNHEALTHY'>
    """

    __slots__ = ("_failures", "_first", "_passes", "_settings", "deadline", "health")

    @checked_arguments
    def __init__(self, settings: HealthCheck, *, now: float = 0.0) -> None:
        self.health: Health = Health.UNHEALTHY
        self.deadline: float = valid.number("now", now)
        """Time at which the next check should start, in seconds."""
        self._settings = settings
        self._first = True
        self._passes = 0
        self._failures = 0

    @checked_arguments
    def observe(self, status: int | None, *, now: float, traffic: bool = True) -> Health | None:
        """Record the result of a check.

        Parameters
        ----------
        status
            Status of the response; ``None`` if the connection was refused or the check timed out.
        now
            Time at which the check ended, in seconds.
        traffic
            Whether the cluster has had a request.

        Returns
        -------
        The host's new health; ``None`` if it did not change.
        """
        before = self.health
        passed = status is not None and status in self._settings.expected_statuses
        if passed:
            self._pass()
        else:
            self._fail(counts=status is None or status in self._settings.retriable_statuses)
        self._first = False
        self.deadline = now + self._pause(passed=passed, traffic=traffic)
        return None if self.health is before else self.health

    def _pass(self) -> None:
        self._failures = 0
        if self.health is Health.HEALTHY:
            return
        self._passes += 1
        if self._first or self._passes >= self._settings.healthy_threshold:
            self.health = Health.HEALTHY

    def _fail(self, *, counts: bool) -> None:
        self._passes = 0
        if self.health is Health.UNHEALTHY:
            return
        self._failures += 1
        if not counts or self._failures >= self._settings.unhealthy_threshold:
            self.health = Health.UNHEALTHY

    def _pause(self, *, passed: bool, traffic: bool) -> float:
        settings = self._settings
        pending = passed != (self.health is Health.HEALTHY)
        if not traffic:
            pauses = [settings.no_traffic_healthy_interval] if passed and not pending else []
            pauses.append(settings.no_traffic_interval)
        elif passed:
            pauses = [settings.healthy_edge_interval] if pending else []
        else:
            pauses = [settings.unhealthy_edge_interval] if pending else []
            pauses.append(settings.unhealthy_interval)
        return next((pause for pause in pauses if pause is not None), settings.interval)
