"""Common parts of the DNS adapters: standings from a balancer, and the client subnet of a query."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from random import Random
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import plain_function
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, Query, Reply, ResourceRecord, Standing, Standings, StaticRecords, Zone
from balancekit.health import ELIGIBLE
from balancekit.protocols import ObservableBalancer, require_balancer

__all__ = ["AUTHORITATIVE", "BalancerStandings", "ZoneResponder"]

AUTHORITATIVE: Final = frozenset(["NOERROR", "NXDOMAIN"])
"""The codes of replies that speak for the zone."""

_DOWN: Final = Standing(up=False)


@final
class BalancerStandings(ConstructorRepr):
    """The standings of a balancer's endpoints, read at most every ``max_age`` seconds.

    Parameters
    ----------
    balancer
        Endpoints that are picked are up; those that are ejected, draining, cooling down or not in the pool are
        down. The last one that is picked stays up, even if it is dead, unless the balancer's health has
        ``Ejection(keep_last=False)``.
    horizon
        Seconds in which no standing can change: with checks every ``interval`` that must fail ``fall`` times,
        ``(fall - 1) * interval``. It bounds the TTL; infinity bounds nothing.
    max_age
        Seconds for which one reading is used.
    up_states
        The names of the health states that count as up.
    clock
        Seconds; the clock that is handed to policies as ``now``.

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer, a time is negative, ``up_states`` is a text, or ``clock`` cannot be
        called.

    Cost: O(n) per ``max_age``, else one look-up.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> lb = LoadBalancer(["eu-1", "us-1"])
    >>> standings = BalancerStandings(lb, max_age=0.0)
    >>> lb.drain("us-1")
    >>> standings("eu-1").up, standings("us-1").up
    (True, False)
    """

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        *,
        horizon: float = math.inf,
        max_age: float = 0.1,
        up_states: Collection[str] = ELIGIBLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        require_balancer(balancer)
        self._balancer: Final = balancer
        self._horizon: Final = valid.number("horizon", horizon, minimum=0.0, infinite=True)
        self._max_age: Final = valid.number("max_age", max_age, minimum=0.0)
        if isinstance(up_states, str | bytes) or not isinstance(up_states, Collection):
            raise ConfigurationError("up_states", up_states, "a collection of names of health states")
        self._up_states: Final = frozenset(map(str, up_states))
        valid.clock("clock", clock)
        self._clock: Final = clock
        self._read: tuple[float, dict[str, Standing]] = (-math.inf, {})

    def __call__(self, endpoint: str, /) -> Standing:
        """Return the standing of an endpoint."""
        at, standings = self._read
        now = self._clock()
        if not 0.0 <= now - at < self._max_age:  # a clock that was set back is believed
            until = now + self._horizon
            standings = {
                one.id: Standing(up=one.state in self._up_states, until=until)
                for one in self._balancer.stats().endpoints
            }
            self._read = (now, standings)
        return standings.get(endpoint, _DOWN)


class ZoneResponder(ConstructorRepr, ABC):
    """A zone, what it needs to answer, and the clock."""

    @checked_arguments
    def __init__(
        self,
        zone: Zone,
        standings: Standings | ObservableBalancer[Any],
        *,
        rng: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.zone = zone
        if not isinstance(standings, ObservableBalancer):
            plain_function("standings", standings, "a balancer, or a callable such as fixed_standings({})")
        if isinstance(standings, ObservableBalancer):
            ids, known = [each.id for each in standings.endpoints], zone.members()
            if ids and known and known.isdisjoint(ids):
                wanted = f"a balancer whose endpoints have ids of the zone's: {', '.join(sorted(known))}"
                raise ConfigurationError("standings", ids, wanted)
        self.standings: Standings = (
            BalancerStandings(standings, clock=clock)
            if isinstance(standings, ObservableBalancer)
            else standings
        )
        self._rng: Final = Random() if rng is None else rng
        self._clock: Final = clock

    @property
    def zone(self) -> Zone:
        """The zone. Assign another to replace it; queries see one or the other.

        Raises
        ------
        ConfigurationError
            For a record that cannot be written to an answer; the zone stays as it is.
        """
        return self._zone

    @zone.setter
    def zone(self, zone: Zone) -> None:
        self._refuse_unwritable(zone)
        self._zone = zone

    def _refuse_unwritable(self, zone: Zone) -> None:
        texts = [("@", "SOA", zone.soa.data)]
        for name, value in zone.names().items():
            if isinstance(value, StaticRecords):
                texts += [(name or "@", kind, text) for kind, many in value.data.items() for text in many]
        for name, kind, text in texts:
            try:
                self._write(ResourceRecord(f"{zone.origin}.", kind, 0, text))
            except Exception as error:
                wanted = (
                    f"a record of {name!r} that can be written to an answer ({type(error).__name__}: {error})"
                )
                raise ConfigurationError("zone", f"{kind} {text}", wanted) from error

    @abstractmethod
    def _write(self, record: ResourceRecord) -> object:
        """Write one record; raises if it cannot."""

    def reply(self, name: str, kind: str, client: Client) -> Reply:
        """Return the zone's reply to one question."""
        query = Query(name=name, kind=kind, client=client)
        return self.zone.answer(query, self.standings, now=self._clock(), rng=self._rng)
