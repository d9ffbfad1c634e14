"""Common parts of the DNS adapters: standings from a balancer, and what a query is answered."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from random import Random
from typing import Any, Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import plain_function
from balancekit.adapters._dns_wire import BADVERS, FORMERR, NOTIMP, RCODES, WireQuery
from balancekit.errors import ConfigurationError
from balancekit.gslb import (
    Client,
    Query,
    ResourceRecord,
    Standing,
    Standings,
    StaticRecords,
    SubnetError,
    Zone,
    decode_subnet,
    encode_subnet,
)
from balancekit.health import ELIGIBLE
from balancekit.protocols import ObservableBalancer, require_balancer

__all__ = ["MAX_SIZE", "UDP_SIZE", "BalancerStandings", "WireReply", "ZoneResponder", "max_udp_size"]

UDP_SIZE: Final = 1232
"""Bytes of a UDP answer that pass without fragments (DNS flag day 2020)."""
MIN_UDP_SIZE: Final = 512
"""Bytes that every client takes (RFC 1035)."""
MAX_SIZE: Final = 65_535
"""Bytes of a message over TCP, whose length has two bytes."""
AUTHORITATIVE: Final = frozenset(["NOERROR", "NXDOMAIN"])
"""The codes of replies that speak for the zone."""
IN: Final = 1
ANY: Final = 255
"""The class of a query for any class, whose answer is not authoritative (RFC 1034, 6.2.2)."""

READING_FACTOR: Final = 10.0
"""A reading is used for so many times as long as it took."""
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
        Seconds for which one reading is used. One that takes more than a tenth of that is used for longer: of thousands of
        endpoints, readings take a tenth of the time at most.
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
    >>> from balancekit.adapters.dnslib import BalancerStandings
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
        self._round = 0
        self._read: tuple[float, float, int, dict[str, Standing]] = (-math.inf, 0.0, 0, {})

    def __call__(self, endpoint: str, /) -> Standing:
        """Return the standing of an endpoint."""
        at, age, read_in, standings = self._read
        now, this = self._clock(), self._round
        if read_in != this or not 0.0 <= now - at < age:  # a clock that was set back is believed
            until = now + self._horizon
            standings = {
                one.id: Standing(up=one.state in self._up_states, until=until)
                for one in self._balancer.stats().endpoints
            }
            took = self._clock() - now
            self._read = (
                now,
                max(self._max_age, READING_FACTOR * took) if self._max_age else 0.0,
                this,
                standings,
            )
        return standings.get(endpoint, _DOWN)

    def refresh(self) -> None:
        """Read the balancer again at the next call: its endpoints have changed, and one that is not in the reading is down."""
        self._round += 1


class WireReply(NamedTuple):
    """What a library is to write, beside the id, the question and an OPT record if the query had one."""

    rcode: int
    """With more than four bits for BADVERS."""
    authoritative: bool = False
    records: tuple[ResourceRecord, ...] = ()
    authority: tuple[ResourceRecord, ...] = ()
    subnet: bytes | None = None
    """The data of a client subnet option."""


def max_udp_size(query: WireQuery) -> int:
    """Return how many bytes the reply to a query may have over UDP."""
    return MIN_UDP_SIZE if query.edns is None else min(UDP_SIZE, max(MIN_UDP_SIZE, query.edns.size))


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
        self._zone = zone
        self.zone = zone
        self._rng: Final = Random() if rng is None else rng
        self._clock: Final = clock

    @property
    def zone(self) -> Zone:
        """The zone. Assign another to replace it; queries see one or the other.

        The standings are read again, and sites go on with their fail-backs
        (:meth:`Zone.continue_from <balancekit.gslb.Zone.continue_from>`).

        Raises
        ------
        ConfigurationError
            For a record that cannot be written to an answer; the zone stays as it is.
        """
        return self._zone

    @zone.setter
    def zone(self, zone: Zone) -> None:
        self._refuse_unwritable(zone)
        if isinstance(self.standings, BalancerStandings):
            self.standings.refresh()
        zone.continue_from(self._zone)
        self._zone = zone

    def _refuse_unwritable(self, zone: Zone) -> None:
        texts = [("@", "SOA", zone.soa.data)]
        for name, value in (*zone.names().items(), *zone.beside.items()):
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

    def respond(self, query: WireQuery, source: str) -> WireReply:
        """Return the reply to a query from an address."""
        edns, question = query.edns, query.question
        if query.opcode:
            return WireReply(NOTIMP)
        if query.malformed or question is None:
            return WireReply(FORMERR)
        if edns is not None and edns.version > 0:  # RFC 6891, 6.1.3: only the version that is known
            return WireReply(BADVERS)
        try:
            subnet = None if edns is None or edns.subnet is None else decode_subnet(edns.subnet)
        except SubnetError:
            return WireReply(FORMERR)
        if question.class_ not in {IN, ANY}:
            return WireReply(RCODES["REFUSED"])
        found = self.zone.answer(
            Query(
                name=question.name, kind=f"TYPE{question.kind}", client=Client(address=source, subnet=subnet)
            ),
            self.standings,
            now=self._clock(),
            rng=self._rng,
        )
        return WireReply(
            RCODES[found.rcode],
            found.rcode in AUTHORITATIVE and question.class_ == IN,
            found.records,
            found.authority,
            None if subnet is None else encode_subnet(subnet, found.scope),
        )
