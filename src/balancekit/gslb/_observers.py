"""Health as several observers see it: k of n must agree, for the world or for one region.

One observer cannot distinguish a dead site from a broken path of its own. Several can: an endpoint is up while at
least ``agree`` of the observers that watch it say so. A region's own view steers that region around a site it
cannot reach (:class:`Regional`), without a decision for the rest of the world.

An observer that stops reporting stops voting: its last result ages out, and those that still report decide.

``until`` is exact: with u observers saying up and k of all needed, the view cannot turn before the (u - k + 1)-th
of them could change its mind or age out; and the other way round. One that does not vote could do so at any time.

Source: Route 53 calls an endpoint healthy if more than 18 % of its checkers do; Cloudflare, regional health. A vote
ends after three intervals, as RFC 9568 (VRRP) waits for three adverts and RFC 5880 (BFD) usually for three packets
before a silent peer counts as gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import copy
from typing import Final, NamedTuple, Protocol, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.errors import ConfigurationError
from balancekit.gslb._standing import Standing, Standings
from balancekit.gslb._threshold import needed, share
from balancekit.health import AccruedFailures

__all__ = ["Detector", "RegionalHealth"]


EXPIRY_INTERVALS: Final = 3.0
"""Intervals without a result after which an observer's vote ends, unless said otherwise: the source is above."""


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
class RegionalHealth(ConstructorRepr):
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
        The assumed state of an endpoint for which no observer votes.
    expiry
        Seconds after its last check at which an observer's vote on an endpoint ends, >= ``interval``; three intervals
        if left out. An observer that reports again starts over: with :class:`~balancekit.health.AccruedFailures` its
        first check decides alone.

    Raises
    ------
    ConfigurationError
        If ``observers`` is empty, a number is outside its bounds, or ``start`` is no bool. From methods: for
        an unknown observer or region.

    *Guarantee.* No vote is older than ``expiry`` at the time of a view, which is that of the latest record of any
    observer. So if all of them fall silent at once, the last view stands, as gdnsd's does ("stasis"); to age it too,
    call ``standings(region, now=now)``.

    *When not to use it:* with one observer: ``agree`` then means nothing.

    Cost: a record is O(1); a standing O(observers). Memory for each observer and endpoint until :meth:`forget`.

    Example
    -------
    >>> from balancekit.gslb import RegionalHealth
    >>> health = RegionalHealth({"fra": "eu", "ams": "eu", "dfw": "us"}, interval=5.0, agree=0.5)
    >>> for observer, passed in (("fra", True), ("ams", True), ("dfw", False)):
    ...     health.record(observer, "eu-1", passed=passed, now=0.0)
    >>> health.standings()("eu-1").up, health.standings("us")("eu-1").up
    (True, False)
    >>> health.record("dfw", "eu-1", passed=False, now=15.0)  # and nothing from the others since 0.0
    >>> health.standings()("eu-1").up
    False
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
        expiry: float | None = None,
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
        self._expiry: Final = (
            EXPIRY_INTERVALS * self._interval
            if expiry is None
            else valid.number("expiry", expiry, minimum=self._interval)
        )
        self._votes: Final[dict[str, dict[str, _Vote]]] = {}
        """By endpoint and observer."""
        self._now = -math.inf

    @checked_arguments
    def record(self, observer: str, endpoint: str, /, *, passed: bool, now: float) -> None:
        """Record how one observer's check of one endpoint ended, in seconds of a clock common to all observers.

        Records may arrive twice, or late: one that is no later than the last of its observer and endpoint changes nothing.
        """
        if observer not in self._regions[None]:
            raise ConfigurationError("observer", observer, f"one of {', '.join(self._regions[None])}")
        at = valid.number("now", now)
        vote = self._votes.get(endpoint, NO_VOTES).get(observer)
        if vote is not None and at <= vote.at:
            return
        # A copy learns, and takes the place of the old one in one step: a record that is interrupted can be made again.
        machine = copy(vote.machine) if vote is not None and at < vote.ends else self._detection()
        machine.observe(passed=passed, now=at)
        latest, voted = max(self._now, at), _Vote(machine, at, at + self._expiry)
        votes = self._votes.setdefault(endpoint, {})
        votes[observer], self._now = voted, latest

    @checked_arguments
    def forget(self, endpoint: str, /) -> None:
        """Drop the votes on an endpoint that is checked no more. An unknown one is no error."""
        self._votes.pop(endpoint, None)

    @checked_arguments
    def standings(self, region: str | None = None, /, *, now: float | None = None) -> Standings:
        """Return the standings as seen from a region; from all observers with ``None``.

        Parameters
        ----------
        region
            Whose observers vote.
        now
            The time at which votes count; that of the latest record, whenever an endpoint is looked up, if left out.
        """
        if region not in self._regions:
            known = ", ".join(name for name in self._regions if name is not None)
            raise ConfigurationError("region", region, f"one of {known}")
        observers = self._regions[region]
        at = None if now is None else valid.number("now", now)
        return lambda endpoint: self._standing(observers, endpoint, self._now if at is None else at)

    def _standing(self, observers: tuple[str, ...], endpoint: str, now: float) -> Standing:
        up: list[float] = []
        down: list[float] = []
        votes = self._votes.get(endpoint, NO_VOTES)
        for observer in observers:
            vote = votes.get(observer)
            if vote is not None and now < vote.ends and vote.machine.up is not None:
                until = min(vote.at + vote.machine.checks_left * self._interval, vote.ends)
                (up if vote.machine.up else down).append(until)
        if not up and not down:
            return Standing(up=self._start, until=-math.inf)
        stands = len(up) >= needed(self._agree, len(up) + len(down))
        least = needed(self._agree, len(observers))  # if all others voted too, against the view
        if stands:
            spare, changes = len(up) - least, up
        else:
            spare, changes = least - 1 - (len(observers) - len(down)), down
        return Standing(up=stands, until=sorted(changes)[spare] if spare >= 0 else -math.inf)


class _Vote(NamedTuple):
    machine: Detector
    at: float
    ends: float


NO_VOTES: Final[Mapping[str, _Vote]] = {}
"""Of an endpoint that no observer has checked."""
