"""Unbound with its module ``subnetcache``: its answers, its two caches, and its queries to the authority.

An answer for a client subnet is kept in a radix tree, one for each name, type and address family. An answer without a subnet is
kept in a cache that all clients share. When an answer is inserted into a tree, nodes on its path get its scope. So the scope of an
older answer may change, and with it the subnets for which the older answer is used.

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
    """The reply of the resolver to one query."""

    answer: Answer | None
    """The answer with the rest of its TTL; ``None`` if the query is refused because its subnet is too short."""
    scope: int | None
    """Scope in the client subnet option of the reply; ``None`` if the reply has no option."""
    queries: tuple[IpNetwork | None, ...] = ()
    """Subnets of the queries that the resolver sent to the authority for this, in order; ``None`` for one without a subnet."""


@final
class SubnetResolver(ConstructorRepr):
    """One resolver with its two caches.

    Parameters
    ----------
    authority
        Function that returns the answer to a query. :meth:`resolve` calls it in the calling thread, under no lock.
    address
        Address from which the resolver sends its queries.
    max_client_subnet_ipv4, max_client_subnet_ipv6
        Maximum number of bits of a client's address that are sent to the authority and used as scope.
    min_client_subnet_ipv4, min_client_subnet_ipv6
        Minimum number of bits of a client subnet. Shorter ones are refused, except those of length 0.
    max_ecs_tree_size_ipv4, max_ecs_tree_size_ipv6
        Maximum number of nodes of a tree; 0 for no limit.
    send_client_subnet
        Whether the option ``send-client-subnet`` lists the authority.
    client_subnet_always_forward
        Whether client subnets in queries are always sent to the authority. The shared cache then answers no query with a
        subnet.
    cache_min_ttl, cache_max_ttl
        Bounds for the TTLs of answers, in whole seconds.

    Raises
    ------
    ConfigurationError
        If ``authority`` is not callable, ``address`` is no IP address, or a flag is no bool. If a prefix is
        longer than an address, a number is negative, or ``cache_min_ttl`` is above ``cache_max_ttl``.

    Notes
    -----
    *When not to use it:* to simulate resolvers in general. Use :class:`balancekit.gslb.ResolverCache`. The number of names in
    this cache is not limited.

    Cost: one step per node on the path, at most one per bit of the address.

    Example
    -------
    >>> from balancekit.compat.unbound import SubnetResolver
    >>> from balancekit.gslb import Answer, Client, Query
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
        """Return the reply to a client's query at time ``now`` in seconds, which is rounded down to whole seconds.

        Raises
        ------
        ConfigurationError
            If ``authority`` returns something other than an ``Answer``, or one with a wrong TTL or scope.
        """
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
            answer, queries = self._without_subnet(query, second, keep=False)
            kept = Kept(answer, second + int(answer.ttl), zero_only=True)
            tree.insert(address, 0, 0, kept, now=second)
            return SubnetReply(answer, 0, queries)
        if not (self._send or (given and self._always)):
            answer, queries = self._without_subnet(query, second)
            return SubnetReply(answer, 0 if given else None, queries)
        return self._with_subnet(query, address, prefix, tree, second)

    def _with_subnet(
        self, query: Query, address: IpAddress, prefix: int, tree: AddressTree, second: int
    ) -> SubnetReply:
        """Query the authority with a subnet, and store the answer under its scope.

        Unbound compares the subnet in the answer with the client's subnet byte by byte. If the subnet was cut within a byte, and
        the client sent more bits of that byte, Unbound treats the answer as forged, and queries without a subnet.
        """
        longest, bits = self._longest[address.version], address.max_prefixlen
        sent = min(prefix, longest)
        subnet: IpNetwork = ip_network((address, sent), strict=False)
        answer = self._query_authority(query, subnet)
        if (int(address) ^ int(subnet.network_address)) >> (bits - (sent + 7) // 8 * 8):
            other, queries = self._without_subnet(query, second)
            return SubnetReply(other, None, (subnet, *queries))
        kept = Kept(answer, second + int(answer.ttl), zero_only=prefix == 0)
        tree.insert(address, prefix, answer.scope, kept, now=second)
        scope = min(answer.scope, longest)
        option = scope if query.client.subnet is not None else None
        return SubnetReply(answer._replace(scope=scope), option, (subnet,))

    def _without_subnet(
        self, query: Query, second: int, *, keep: bool = True
    ) -> tuple[Answer, tuple[None, ...]]:
        """Return the answer without a subnet, from the shared cache or the authority, and the queries that were sent."""
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
        """Return the answer of the authority, with a TTL in whole seconds within the bounds."""
        client = self._own.replace(subnet=subnet)
        answer = self._authority(query.replace(client=client))
        if not isinstance(answer, Answer):
            raise ConfigurationError("answer", answer, "an Answer of the authority")
        ttl = self._max_ttl if answer.ttl == math.inf else int(valid.number("ttl", answer.ttl, minimum=0.0))
        valid.integer("scope", answer.scope, minimum=0, maximum=128)
        return answer._replace(ttl=float(max(self._min_ttl, min(self._max_ttl, ttl))))

    def _subnet(self, client: Client) -> tuple[IpAddress, int]:
        """Return the subnet to use: that of the query, or the client's address cut to the maximum length."""
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
