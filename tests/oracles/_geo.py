"""What drivers of name servers share: the recorded database, queries as clients, and counts of answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from balancekit.gslb import Client, Location, Locations

Json = Mapping[str, Any]


def rows(geo: Iterable[Json]) -> list[tuple[Any, Location]]:
    """Return the recorded rows of the city database."""
    return [
        (
            ip_network(row["network"]),
            Location(
                row["continent"],
                row["country"],
                tuple(row["subdivisions"]),
                row["city"],
                row["latitude"],
                row["longitude"],
            ),
        )
        for row in geo
    ]


def database(geo: Iterable[Json] | None) -> Locations | None:
    """Return the recorded database; ``None`` if the server had none."""
    return None if geo is None else Locations(rows(geo))


def location_of(geo: Iterable[Json]) -> Callable[[str], tuple[Location, int] | None]:
    """Return a look-up of an address: its row and the length of the row's prefix."""
    known = rows(geo)

    def look_up(address: str) -> tuple[Location, int] | None:
        holding = [
            (network.prefixlen, location) for network, location in known if ip_address(address) in network
        ]
        return (holding[0][1], holding[0][0]) if holding else None

    return look_up


def client(query: Json) -> Client:
    """Return who asks: the resolver, and the network of the subnet as it was sent."""
    subnet = query.get("ecs")
    network = None if subnet is None else ip_interface(subnet).network
    return Client(address=query.get("source", "127.0.0.1"), subnet=network)


def with_scope(reply: dict[str, Any], query: Json, scope: int) -> dict[str, Any]:
    """Return a reply with the scope that stands in the option, if the query had one."""
    return reply if query.get("ecs") is None else {**reply, "scope": scope}


def counted(draw: Callable[[], Iterable[str]], requests: int) -> dict[str, Any]:
    """Return how often each set of addresses was the answer."""
    counts = Counter(" ".join(sorted(draw())) for _ in range(requests))
    return {"outputs": {"counts": dict(counts)}}
