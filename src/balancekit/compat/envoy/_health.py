"""Envoy's active health checks: thresholds and the states of a host.

A passing check that is the very first result makes the host healthy at once; later it takes
``healthy_threshold`` passes in a row. A status that is neither expected nor retriable makes it unhealthy at
once; retriable statuses, refused connections and time-outs count, and ``unhealthy_threshold`` of them in a
row do it. Until the first pass a host is unhealthy.

The interval counts from the end of a check, so a check that times out delays the next. Which interval follows from
the result, and from whether a threshold is being counted towards:

.. code-block:: text

    passed    healthy_edge_interval until healthy_threshold is reached, then interval
    failed    unhealthy_edge_interval until unhealthy_threshold is reached, then unhealthy_interval

Until the cluster has had a request, ``no_traffic_healthy_interval`` follows a pass that leaves nothing to count, and
``no_traffic_interval`` any other result.

Cost: O(1) a result. Source: Envoy 1.40, ``HttpHealthCheckerImpl``.
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
    """What Envoy's balancer knows of a host."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"
    DRAINING = "DRAINING"
    """Takes no requests, and does not count where the healthy hosts are compared with all of them."""


class HealthCheck(Policy):
    """The settings, named as Envoy's.

    Parameters
    ----------
    interval
        Seconds from the end of a check to the next, > 0.
    healthy_threshold, unhealthy_threshold
        Results in a row that change the host's health, >= 1.
    expected_statuses
        Statuses that pass.
    retriable_statuses
        Statuses that count towards ``unhealthy_threshold`` instead of failing at once.
    unhealthy_interval, unhealthy_edge_interval, healthy_edge_interval
        Seconds to the next check after a failed one, after a failed one that leaves the host healthy, and after a passed
        one that leaves it unhealthy; those not given are ``interval``, ``unhealthy_interval`` and ``interval``.
    no_traffic_interval, no_traffic_healthy_interval
        Seconds to the next check while the cluster has had no request; the second is the first if it is not given.

    Raises
    ------
    ConfigurationError
        For any value outside those bounds.
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
    """The machine of one host: takes every result, and the time.

    Parameters
    ----------
    settings
        What changes the host's health, and when the next check is due.
    now
        When the first check is due.

    Raises
    ------
    ConfigurationError
        If ``now`` is no finite number.

    Example
    -------
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
        """When the next check is to start."""
        self._settings = settings
        self._first = True
        self._passes = 0
        self._failures = 0

    @checked_arguments
    def observe(self, status: int | None, *, now: float, traffic: bool = True) -> Health | None:
        """Record a check that ended: its status, or ``None`` if it was refused or timed out.

        Parameters
        ----------
        status
            What the host answered.
        now
            When the check ended.
        traffic
            Whether the cluster has ever had a request.

        Returns
        -------
        The host's new health, ``None`` if that did not change.
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
