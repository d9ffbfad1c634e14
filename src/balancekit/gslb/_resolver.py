"""A resolver's cache of answers with client subnets: what it answers, when and to which clients.

The cache decides what clients do after a change: an answer that was cached a second before a site died is used
for its whole TTL. A simulation or a test can compute from it which clients still go to the dead site at time t.
If caches refresh at random phases, the stale share t seconds after a change is ``1 - t / ttl``.

Source: RFC 7871 section 7.3; RFC 8767 for stale answers. For the cache of Unbound see :mod:`balancekit.compat.unbound`.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.errors import ConfigurationError
from balancekit.gslb._query import Answer, Client, Query
from balancekit.gslb._threshold import PREFIX4, PREFIX6
from balancekit.gslb._tree import checked_answer

__all__ = ["ResolverCache", "stale_share"]


@checked_arguments
def stale_share(seconds: float, ttl: float) -> float:
    """Return the share of caches that still hold the old answer some seconds after a change.

    Parameters
    ----------
    seconds
        Since the change, >= 0.
    ttl
        Of the answer, > 0. Caches are assumed to refresh at uniform phases.

    Raises
    ------
    ConfigurationError
        If ``seconds`` is negative, or ``ttl`` is not > 0.

    Example
    -------
    >>> from balancekit.gslb import stale_share
    >>> stale_share(10.0, 30.0), stale_share(31.0, 30.0)
    (0.6666666666666667, 0.0)
    """
    return max(0.0, 1.0 - valid.number("seconds", seconds, minimum=0.0) / valid.number("ttl", ttl, above=0.0))


class _Entry(NamedTuple):
    answer: Answer
    expires: float
    scope: int
    """Cut to what the resolver sends."""


@final
class ResolverCache(ConstructorRepr):
    """The cache of one resolver that sends client subnets.

    Parameters
    ----------
    prefix4, prefix6
        Bits of a client's address that it sends at most.
    min_ttl, max_ttl
        Seconds within which it keeps answers.
    stale
        Seconds after expiry in which :meth:`look_up_stale` still finds an answer.

    Raises
    ------
    ConfigurationError
        If a prefix is longer than an address, seconds are negative, or ``min_ttl`` is above ``max_ttl``.

    *Guarantee.* Until it expires, an answer is found by every client whose whole subnet is in its scope, cut to the
    prefix limit; one whose scope is longer than the query's subnet, by that very subnet only; and by clients
    without a subnet only if it was stored for one of them.

    *When not to use it:* in a real resolver; it never shrinks by itself. :meth:`expire` drops old entries.

    Cost: a look-up tries each prefix length that is in use, at most 57.

    Example
    -------
    >>> from balancekit.gslb import Answer, Client, Query, ResolverCache
    >>> cache = ResolverCache()
    >>> query = Query(name="www", client=Client(address="192.0.2.53", subnet="198.51.100.7/32"))
    >>> cache.upstream(query).client.subnet
    IPv4Network('198.51.100.0/24')
    >>> cache.store(query, Answer(("us-1",), ttl=30.0, scope=20), now=0.0)
    >>> near = Query(name="www", client=Client(address="192.0.2.53", subnet="198.51.96.0/24"))
    >>> cache.look_up(near, now=10.0)
    Answer(chosen=('us-1',), ttl=20.0, scope=20, exhausted=None, steps=())
    >>> cache.look_up(near, now=30.0) is None
    True
    """

    @checked_arguments
    def __init__(
        self,
        *,
        prefix4: int = PREFIX4,
        prefix6: int = PREFIX6,
        min_ttl: float = 0.0,
        max_ttl: float = 86400.0,
        stale: float = 0.0,
    ) -> None:
        self._prefixes: Final = {
            4: valid.integer("prefix4", prefix4, minimum=0, maximum=32),
            6: valid.integer("prefix6", prefix6, minimum=0, maximum=128),
        }
        self._min_ttl: Final = valid.number("min_ttl", min_ttl, minimum=0.0)
        self._max_ttl: Final = valid.number("max_ttl", max_ttl, minimum=0.0)
        if self._min_ttl > self._max_ttl:
            raise ConfigurationError("min_ttl", min_ttl, f"at most max_ttl ({max_ttl:g})")
        self._stale: Final = valid.number("stale", stale, minimum=0.0)
        self._plain: dict[tuple[str, str], _Entry] = {}
        self._scoped: dict[tuple[str, str, int], dict[int, dict[int, _Entry]]] = {}
        """By name, kind and IP version: by prefix length, of the scope or of a shorter subnet of the query: by its bits."""

    @checked_arguments
    def upstream(self, query: Query, /) -> Query:
        """Return the query that is sent to the authority: with the subnet cut to the prefix limit."""
        subnet = query.client.subnet
        if subnet is None:
            return query
        prefix = self._prefixes[subnet.version]
        if subnet.prefixlen <= prefix:
            return query
        return query.replace(
            client=Client(address=query.client.address, subnet=subnet.supernet(new_prefix=prefix))
        )

    @checked_arguments
    def look_up(self, query: Query, /, *, now: float) -> Answer | None:
        """Return the cached answer, its TTL counted down; ``None`` if there is none that has not expired."""
        entry = self._entry(query, now)
        return None if entry is None else entry.answer._replace(ttl=entry.expires - now, scope=entry.scope)

    @checked_arguments
    def look_up_stale(self, query: Query, /, *, now: float) -> Answer | None:
        """Return an answer that expired at most ``stale`` seconds ago, TTL 0, for when no authority answers."""
        entry = self._entry(query, now - self._stale)
        return None if entry is None else entry.answer._replace(ttl=0.0, scope=entry.scope)

    @checked_arguments
    def store(self, query: Query, answer: Answer, /, *, now: float) -> None:
        """Keep the answer to a query, under its scope cut to the prefix limit."""
        _, seconds, scope, _, _ = checked_answer(answer)
        ttl = max(self._min_ttl, min(self._max_ttl, seconds))
        name = query.name.lower().rstrip(".")
        if not query.client.has_subnet:
            self._plain[name, query.kind] = _Entry(answer, now + ttl, 0)
            return
        address = query.client.seen()
        scope = min(scope, self._prefixes[address.version])
        prefix = min(scope, _prefix(query.client))
        entries = self._scoped.setdefault((name, query.kind, address.version), {}).setdefault(prefix, {})
        entries[int(address) >> (address.max_prefixlen - prefix)] = _Entry(answer, now + ttl, scope)

    @checked_arguments
    def expire(self, *, now: float) -> int:
        """Drop what can no longer be found; return how many entries are left."""
        oldest = now - self._stale
        self._plain = {key: entry for key, entry in self._plain.items() if entry.expires > oldest}
        self._scoped = {
            key: kept for key, prefixes in self._scoped.items() if (kept := _alive(prefixes, oldest))
        }
        scoped = sum(len(entries) for prefixes in self._scoped.values() for entries in prefixes.values())
        return len(self._plain) + scoped

    def _entry(self, query: Query, now: float) -> _Entry | None:
        name = query.name.lower().rstrip(".")
        if not query.client.has_subnet:
            entry = self._plain.get((name, query.kind))
            return entry if entry is not None and entry.expires > now else None
        address = query.client.seen()
        key, bits, own = int(address), address.max_prefixlen, _prefix(query.client)
        prefixes = self._scoped.get((name, query.kind, address.version), {})
        for prefix in sorted(prefixes, reverse=True):
            entry = prefixes[prefix].get(key >> (bits - prefix)) if prefix <= own else None
            if entry is not None and entry.expires > now and prefix in {entry.scope, own}:
                return entry
        return None


def _alive(prefixes: dict[int, dict[int, _Entry]], oldest: float) -> dict[int, dict[int, _Entry]]:
    """Return the entries of a name that have not expired, without the prefix lengths that have none left."""
    kept = {
        prefix: {bits: entry for bits, entry in entries.items() if entry.expires > oldest}
        for prefix, entries in prefixes.items()
    }
    return {prefix: entries for prefix, entries in kept.items() if entries}


def _prefix(client: Client) -> int:
    """Return the length of a client's subnet, 0 without one."""
    return 0 if client.subnet is None else client.subnet.prefixlen
