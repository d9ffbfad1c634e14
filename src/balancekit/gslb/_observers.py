"""Health as several observers see it: k of n must agree, for the world or for one region.

One observer cannot tell a dead site from a broken path of its own. Several can: an endpoint is up while at
least ``agree`` of the observers that watch it say so. A region's own view steers that region around a site it
cannot reach (:class:`Regional`), without a decision for the rest of the world.

``until`` is exact: with u observers saying up and k needed, the view cannot turn before the (u - k + 1)-th
of them could; and the other way round.

Source: Route 53 calls an endpoint healthy if more than 18 % of its checkers do; Cloudflare, regional health.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, Protocol, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.gslb._standing import Standing, Standings
from balancekit.gslb._threshold import needed, share
from balancekit.health import AccruedFailures

__all__ = ["Detector", "RegionalHealth"]


class Detector(Protocol):
    """A machine that turns results of checks into up and down; ``AccruedFailures()()`` makes one."""

    @property
    def up(self) -> bool | None:
        """What it says; ``None`` before the first check."""
        ...

    @property
    def checks_left(self) -> int:
        """How many checks at least until it could say something else."""
        ...

    def observe(self, *, passed: bool, now: float) -> object:
        """Record how a check ended."""
        ...


@final
class RegionalHealth:
    """Standings from the checks of several observers.

    Parameters
    ----------
    observers
        Region by observer.
    interval
        Seconds between the checks of one observer, > 0.
    agree
        The share of the observers that must say up, in (0, 1]; at least one.
    detection
        Makes the machine of each observer and endpoint.
    start
        What is assumed of an endpoint that no observer has checked.

    Raises
    ------
    ConfigurationError
        For a wrong value of any of these; for an unknown observer or region.

    *When not to use it:* with one observer: ``agree`` then means nothing.

    Cost: a record is O(1); a standing O(observers).

    Example
    -------
    >>> from balancekit.gslb import RegionalHealth
    >>> health = RegionalHealth({"fra": "eu", "ams": "eu", "dfw": "us"}, interval=5.0, agree=0.5)
    >>> for observer, passed in (("fra", True), ("ams", True), ("dfw", False)):
    ...     health.record(observer, "eu-1", passed=passed, now=0.0)
    >>> health.standings()("eu-1").up, health.standings("us")("eu-1").up
    (True, False)
    """

    @checked_arguments
    def __init__(
        self,
        observers: Mapping[str, str],
        *,
        interval: float,
        agree: float = 0.5,
        detection: Callable[[], Detector] = AccruedFailures(),  # noqa: B008 - immutable
        start: bool = True,
    ) -> None:
        if not observers:
            raise ConfigurationError("observers", observers, "at least one observer")
        self._regions: Final[dict[str | None, tuple[str, ...]]] = {None: tuple(observers)}
        for observer, region in observers.items():
            self._regions[region] = (*self._regions.get(region, ()), valid.text("observers", observer))
        self._interval: Final = valid.number("interval", interval, above=0.0)
        self._agree: Final = share("agree", agree)
        self._detection: Final = detection
        self._start: Final = valid.flag("start", start)
        self._machines: Final[dict[tuple[str, str], Detector]] = {}
        self._checked: Final[dict[tuple[str, str], float]] = {}

    @checked_arguments
    def record(self, observer: str, endpoint: str, /, *, passed: bool, now: float) -> None:
        """Record how one observer's check of one endpoint ended."""
        if observer not in self._regions[None]:
            raise ConfigurationError("observer", observer, f"one of {', '.join(self._regions[None])}")
        key = (observer, endpoint)
        machine = self._machines.get(key)
        if machine is None:
            machine = self._machines[key] = self._detection()
        machine.observe(passed=passed, now=now)
        self._checked[key] = now

    @checked_arguments
    def standings(self, region: str | None = None, /) -> Standings:
        """Return the standings as seen from a region; from all observers with ``None``."""
        if region not in self._regions:
            known = ", ".join(name for name in self._regions if name is not None)
            raise ConfigurationError("region", region, f"one of {known}")
        observers = self._regions[region]
        return lambda endpoint: self._standing(observers, endpoint)

    def _standing(self, observers: tuple[str, ...], endpoint: str) -> Standing:
        up: list[float] = []
        down: list[float] = []
        for observer in observers:
            machine = self._machines.get((observer, endpoint))
            if machine is not None and machine.up is not None:
                until = self._checked[observer, endpoint] + machine.checks_left * self._interval
                (up if machine.up else down).append(until)
        if not up and not down:
            return Standing(up=self._start, until=-math.inf)
        least = needed(self._agree, len(up) + len(down))
        if len(up) >= least:
            return Standing(up=True, until=sorted(up)[len(up) - least])
        return Standing(up=False, until=sorted(down)[least - len(up) - 1])
