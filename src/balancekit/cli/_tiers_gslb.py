"""DNS of the tiers demo: a server over UDP that chooses a site by the client's network and by health, and resolvers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

import dns.asyncquery
import dns.edns
import dns.exception
import dns.message
import dns.rdatatype

from balancekit.adapters.dnspython import BalancerStandings, DnsResponder
from balancekit.balancer import LoadBalancer
from balancekit.checks import AsyncChecks, HttpCheck, Schedule
from balancekit.cli._node import HOST
from balancekit.gslb import (
    AllUp,
    Answer,
    Client,
    Geo,
    GeoMap,
    Query,
    ResolverCache,
    Soa,
    Ttl,
    Zone,
)
from balancekit.health import Lifecycle, Thresholds

__all__ = ["DETECTION_S", "TTL_S", "Authority", "Resolver", "answering", "site_pool"]

TTL_S: Final = 2
CHECKS: Final = Schedule(interval=0.5, timeout=0.5, fast=0.5)
"""Schedule of the checks of a site. A check passes through all tiers of the site."""
THRESHOLDS: Final = Thresholds(rise=2, fall=4)
"""Thresholds of these checks. They take longer than the VRRP down time, so that moving an address does not count as a failure
of the site."""
DETECTION_S: Final = THRESHOLDS.detection(interval=CHECKS.interval, timeout=CHECKS.timeout).latest
QUERY_TIMEOUT_S: Final = 1.0


class Authority(asyncio.DatagramProtocol):
    """A DNS server over UDP."""

    def __init__(self, responder: DnsResponder) -> None:
        self.queries = 0
        self._responder = responder
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def port(self) -> int:
        """The UDP port."""
        assert self._transport is not None
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one query."""
        self.queries += 1
        reply = self._responder.answer_wire(data, addr[0])
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


def site_pool(addresses: Mapping[str, str]) -> LoadBalancer[str]:
    """Return a balancer whose endpoints are sites. DNS answers with sites that it finds healthy."""
    return LoadBalancer(dict(addresses), health=Lifecycle(thresholds=THRESHOLDS))


@asynccontextmanager
async def answering(
    pool: LoadBalancer[str], hosts: Mapping[str, str], networks: Mapping[str, list[str]]
) -> AsyncIterator[Authority]:
    """Answer DNS queries and check the sites while the block runs.

    Parameters
    ----------
    pool
        Balancer over the sites. Its targets are ``host:port``.
    hosts
        Addresses by site.
    networks
        Sites by client network, the nearest site first.
    """
    world = GeoMap.build(networks=networks, default=list(hosts))
    name, _, origin = HOST.partition(".")
    zone = Zone(
        origin,
        Soa(primary=f"ns1.{origin}", contact=f"admin.{origin}"),
        {name: Geo(world, {site: AllUp([site]) for site in hosts})},
        addresses=hosts,
        ttl=Ttl(minimum=TTL_S, maximum=TTL_S),
    )
    responder = DnsResponder(zone, BalancerStandings(pool, max_age=0.0))
    transport, authority = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Authority(responder), local_addr=("127.0.0.1", 0)
    )
    try:
        async with AsyncChecks(pool, HttpCheck("/", host=HOST), schedule=CHECKS):
            yield authority
    finally:
        transport.close()


class Resolver:
    """A caching resolver that sends client subnets.

    Parameters
    ----------
    address
        Address of the resolver, which is used for clients without a subnet.
    port
        UDP port of the DNS server on loopback.
    """

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port
        self._cache = ResolverCache()

    async def resolve(self, subnet: str) -> str | None:
        """Return an address for a client, from the cache or from the DNS server; ``None`` if there is none."""
        query = Query(name=HOST, client=Client(address=self._address, subnet=subnet))
        answer = self._cache.look_up(query, now=time.monotonic())
        if answer is None:
            answer = await self._query(self._cache.upstream(query))
            if answer is None:
                return None
            self._cache.store(query, answer, now=time.monotonic())
        return answer.chosen[0] if answer.chosen else None

    async def _query(self, query: Query) -> Answer | None:
        network, _, prefix = str(query.client.subnet).partition("/")
        option = dns.edns.ECSOption(network, int(prefix))
        message = dns.message.make_query(query.name, query.kind, use_edns=0, options=[option])
        try:
            reply = await dns.asyncquery.udp(message, "127.0.0.1", QUERY_TIMEOUT_S, self._port)
        except (dns.exception.DNSException, OSError):
            return None
        scope = [one.scopelen for one in reply.options if isinstance(one, dns.edns.ECSOption)]
        records = [one for one in reply.answer if one.rdtype == dns.rdatatype.A]
        addresses = tuple(record.to_text() for one in records for record in one)
        return Answer(addresses, float(min([one.ttl for one in records], default=0)), max(scope, default=0))
