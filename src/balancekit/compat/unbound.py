"""Unbound with its ``subnetcache`` module: what it answers, from which cache, and its queries to the authority.

An answer for a client subnet is kept in a radix tree for each name, type and address family; one for no subnet, in the
cache that all clients share. An answer that goes on from a node to another gives its scope to the first, so the scope of
an older answer, and with it the subnets that find it, may change.

Source: Unbound 1.17.1, ``edns-subnet/subnetmod.c`` and ``addrtree.c``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from ipaddress import ip_network
from typing import Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.ip import IpAddress, IpNetwork
from balancekit.compat._address_tree import AddressTree, Kept
from balancekit.errors import ConfigurationError
from balancekit.gslb import Answer, Client, Query

__all__ = ["SubnetReply", "SubnetResolver"]


class SubnetReply(NamedTuple):
    """What the resolver replies to one query."""

    answer: Answer | None
    """With what is left of its TTL; ``None`` for a subnet that is too short, which is refused."""
    scope: int | None
    """In the option of the reply; ``None`` if the reply has no option."""
    asked: tuple[IpNetwork | None, ...] = ()
    """The subnets of the queries that the authority got for it, in order; ``None`` for one without."""


@final
class SubnetResolver(ConstructorRepr):
    """One resolver: its two caches, and how it queries.

    Parameters
    ----------
    authority
        Returns the answer to a query. It is called by :meth:`resolve`, in its thread, under no lock.
    address
        The address from which the resolver queries.
    max_client_subnet_ipv4, max_client_subnet_ipv6
        Bits of a client's address that it sends, and keeps, at most.
    min_client_subnet_ipv4, min_client_subnet_ipv6
        Bits of a client subnet at least; shorter ones, but for 0, are refused.
    max_ecs_tree_size_ipv4, max_ecs_tree_size_ipv6
        Nodes of a tree; 0: any number.
    send_client_subnet
        Whether ``send-client-subnet`` lists the authority.
    client_subnet_always_forward
        Whether the subnets of clients are sent in any case; the shared cache then answers no query with a subnet.
    cache_min_ttl, cache_max_ttl
        Whole seconds within which answers are kept.

    Raises
    ------
    ConfigurationError
        If ``authority`` cannot be called, ``address`` is no IP address, or a flag is no bool. If a prefix is
        longer than an address, a number is negative, or ``cache_min_ttl`` is above ``cache_max_ttl``.

    *When not to use it:* for resolvers in general, see :class:`balancekit.gslb.ResolverCache`. The number of names is
    not limited.

    Cost: a step for each node on the way, at most one per bit of the address.

    Example
    -------
    >>> resolver = SubnetResolver(lambda query: Answer(("us-1",), ttl=30.0, scope=20), address="192.0.2.53")
    >>> far, near = (Client(address="192.0.2.7", subnet=text) for text in ("198.51.100.7/32", "198.51.96.0/24"))
    >>> resolver.resolve(Query(name="www", client=far), now=0.0)[1:]
    (20, (IPv4Network('198.51.100.0/24'),))
    >>> resolver.resolve(Query(name="www", client=near), now=10.0).answer.ttl
    20.0
    """

    @checked_arguments
    def __init__(  # the options of the server, by name
        self,
        authority: Callable[[Query], Answer],
        /,
        *,
        address: IpAddress | str,
        max_client_subnet_ipv4: int = 24,
        max_client_subnet_ipv6: int = 56,
        min_client_subnet_ipv4: int = 0,
        min_client_subnet_ipv6: int = 0,
        max_ecs_tree_size_ipv4: int = 100,
        max_ecs_tree_size_ipv6: int = 100,
        send_client_subnet: bool = True,
        client_subnet_always_forward: bool = False,
        cache_min_ttl: int = 0,
        cache_max_ttl: int = 86400,
    ) -> None:
        if not callable(authority):
            raise ConfigurationError("authority", authority, "a callable")
        self._authority: Final = authority
        self._own: Final = Client(address=address)
        self._longest: Final = {
            4: valid.integer("max_client_subnet_ipv4", max_client_subnet_ipv4, minimum=0, maximum=32),
            6: valid.integer("max_client_subnet_ipv6", max_client_subnet_ipv6, minimum=0, maximum=128),
        }
        self._shortest: Final = {
            4: valid.integer("min_client_subnet_ipv4", min_client_subnet_ipv4, minimum=0, maximum=32),
            6: valid.integer("min_client_subnet_ipv6", min_client_subnet_ipv6, minimum=0, maximum=128),
        }
        self._sizes: Final = {
            4: valid.integer("max_ecs_tree_size_ipv4", max_ecs_tree_size_ipv4, minimum=0),
            6: valid.integer("max_ecs_tree_size_ipv6", max_ecs_tree_size_ipv6, minimum=0),
        }
        self._send: Final = valid.flag("send_client_subnet", send_client_subnet)
        self._always: Final = valid.flag("client_subnet_always_forward", client_subnet_always_forward)
        self._min_ttl: Final = valid.integer("cache_min_ttl", cache_min_ttl, minimum=0)
        self._max_ttl: Final = valid.integer("cache_max_ttl", cache_max_ttl, minimum=0)
        if self._min_ttl > self._max_ttl:
            raise ConfigurationError(
                "cache_min_ttl", cache_min_ttl, f"at most cache_max_ttl ({cache_max_ttl})"
            )
        self._shared: Final[dict[tuple[str, str], Kept]] = {}
        self._trees: Final[dict[tuple[str, str, int], AddressTree]] = {}

    @checked_arguments
    def resolve(self, query: Query, /, *, now: float) -> SubnetReply:
        """Return the reply to a client's query at a time, in seconds; Unbound counts whole ones."""
        second = math.floor(valid.number("now", now))
        given = query.client.subnet is not None
        if not (given and self._always):
            found = self._look_up_shared(query, second)
            if found is not None:
                return SubnetReply(found, None)
        address, prefix = self._subnet(query.client)
        if 0 < prefix < self._shortest[address.version]:
            return SubnetReply(None, None)
        tree = self._tree(query, address.version)
        found = tree.find(address, prefix, now=second)
        if found is not None:
            return SubnetReply(found, found.scope if given else None)
        if prefix == 0 and given:
            answer, asked = self._without_subnet(query, second, keep=False)
            kept = Kept(answer, second + int(answer.ttl), zero_only=True)
            tree.insert(address, 0, 0, kept, now=second)
            return SubnetReply(answer, 0, asked)
        if not (self._send or (given and self._always)):
            answer, asked = self._without_subnet(query, second)
            return SubnetReply(answer, 0 if given else None, asked)
        return self._with_subnet(query, address, prefix, tree, second)

    def _with_subnet(
        self, query: Query, address: IpAddress, prefix: int, tree: AddressTree, second: int
    ) -> SubnetReply:
        """Query with a subnet, and keep the answer under its scope.

        The server compares the subnet that comes back with the client's byte by byte. Where it was cut within a byte
        of which the client sent more, the answer passes for forged, and the authority is queried without a subnet.
        """
        longest, bits = self._longest[address.version], address.max_prefixlen
        sent = min(prefix, longest)
        subnet: IpNetwork = ip_network((address, sent), strict=False)
        answer = self._query_authority(query, subnet)
        if (int(address) ^ int(subnet.network_address)) >> (bits - (sent + 7) // 8 * 8):
            other, asked = self._without_subnet(query, second)
            return SubnetReply(other, None, (subnet, *asked))
        kept = Kept(answer, second + int(answer.ttl), zero_only=prefix == 0)
        tree.insert(address, prefix, answer.scope, kept, now=second)
        scope = min(answer.scope, longest)
        option = scope if query.client.subnet is not None else None
        return SubnetReply(answer._replace(scope=scope), option, (subnet,))

    def _without_subnet(
        self, query: Query, second: int, *, keep: bool = True
    ) -> tuple[Answer, tuple[None, ...]]:
        """Return the answer that all clients share, and the queries that it took."""
        found = self._look_up_shared(query, second)
        if found is not None:
            return found, ()
        answer = self._query_authority(query, None)._replace(scope=0)
        if keep:
            self._shared[_key(query)] = Kept(answer, second + int(answer.ttl))
        return answer, (None,)

    def _look_up_shared(self, query: Query, second: int) -> Answer | None:
        kept = self._shared.get(_key(query))
        if kept is None or kept.expires < second:
            return None
        return kept.answer._replace(ttl=float(kept.expires - second))

    def _query_authority(self, query: Query, subnet: IpNetwork | None) -> Answer:
        """Return what the authority answers, its TTL in whole seconds within the limits."""
        client = self._own.replace(subnet=subnet)
        answer = self._authority(query.replace(client=client))
        if not isinstance(answer, Answer):
            raise ConfigurationError("answer", answer, "an Answer of the authority")
        ttl = self._max_ttl if answer.ttl == math.inf else int(valid.number("ttl", answer.ttl, minimum=0.0))
        valid.integer("scope", answer.scope, minimum=0, maximum=128)
        return answer._replace(ttl=float(max(self._min_ttl, min(self._max_ttl, ttl))))

    def _subnet(self, client: Client) -> tuple[IpAddress, int]:
        """Return the subnet that decides: the query's, or else the client's own address, cut."""
        if client.subnet is not None:
            return client.subnet.network_address, client.subnet.prefixlen
        own = client.seen()
        prefix = self._longest[own.version]
        return ip_network((own, prefix), strict=False).network_address, prefix

    def _tree(self, query: Query, version: int) -> AddressTree:
        key = (*_key(query), version)
        tree = self._trees.get(key)
        if tree is None:
            tree = AddressTree(max_depth=self._longest[version], max_nodes=self._sizes[version])
            self._trees[key] = tree
        return tree


def _key(query: Query) -> tuple[str, str]:
    return query.name.lower().rstrip("."), query.kind
