"""An nginx ``upstream`` block: the servers that are tried for a request, in order.

It does no I/O: it receives times and the results of attempts. nginx has a clock of whole seconds. Give whole numbers for
``now`` if every choice must equal that of nginx.

Source: nginx 1.22.1; every rule is checked against recorded choices (``tests/oracles``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random as Generator
from typing import final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr, StateRepr
from balancekit._support.text import to_bytes
from balancekit.compat.nginx._methods import Method, RoundRobin, Search
from balancekit.compat.nginx._peers import Group, Peer, Server
from balancekit.errors import ConfigurationError, LeaseError, UnknownEndpointError

__all__ = ["Request", "Upstream"]


@final
class Upstream(ConstructorRepr):
    """An ``upstream`` block: servers, a method, and the failures of each server.

    Parameters
    ----------
    servers
        The servers in the order of declaration. At least one is no backup. Names are unique.
    method
        The balancing directive; :class:`RoundRobin` if left out.
    tries
        ``proxy_next_upstream_tries``, >= 0: the most attempts of a request. There are never more attempts than servers that
        are not down, backups included. 0 sets no other limit.
    next_upstream
        Whether another attempt follows a failed one. ``False`` is ``proxy_next_upstream off``.
    rng
        The random generator of methods that draw.

    Raises
    ------
    ConfigurationError
        If ``servers`` has no server that is no backup, an item that is no ``Server``, or a name twice; ``method`` is no
        balancing method; ``tries`` is no integer >= 0; or ``next_upstream`` is no bool.

    *When not to use it:* unless choices must equal those of nginx. ``LoadBalancer`` with ``SmoothWeightedRoundRobin`` is
    faster and uses servers again sooner after failures.

    Example
    -------
    >>> from balancekit.compat.nginx import Server, Upstream
    >>> upstream = Upstream([Server(name="a", weight=5), Server(name="b"), Server(name="c")])
    >>> "".join(upstream.request().get(now=0) for _ in range(7))
    'aabacaa'
    """

    __slots__ = ("_attempts", "_groups", "_method", "_rng", "next_upstream")

    @checked_arguments
    def __init__(
        self,
        servers: Iterable[Server],
        method: Method | None = None,
        *,
        tries: int = 0,
        next_upstream: bool = True,
        rng: Generator | None = None,
    ) -> None:
        listed = list(servers)
        for number, server in enumerate(listed):
            if not isinstance(server, Server):
                raise ConfigurationError("servers", server, "Server objects")
            if server.name in {other.name for other in listed[:number]}:
                raise ConfigurationError("servers", server.name, "each name once")
        main = [Peer(server) for server in listed if not server.backup]
        backup = [Peer(server) for server in listed if server.backup]
        if not main:
            raise ConfigurationError("servers", listed, "at least one server that is no backup")
        if method is not None:
            valid.instance("method", method, "search", allowed="a balancing method such as LeastConn()")
        self._groups = [Group(main, single=len(listed) == 1)]
        if backup:
            self._groups.append(Group(backup))
        self._method: Method = RoundRobin() if method is None else method
        self._rng = Generator() if rng is None else rng
        most = sum(not server.down for server in listed)
        self._attempts = min(valid.integer("tries", tries, minimum=0) or most, most)
        self.next_upstream: bool = valid.flag("next_upstream", next_upstream)
        """Whether a failed attempt is followed by another."""

    @checked_arguments
    def request(self, key: str | bytes = b"") -> Request:
        """Begin a request.

        Parameters
        ----------
        key
            The value of the hash variable, empty if it has none. For ``ip_hash``, the result of ``IpHash.key_of``.
        """
        if not isinstance(key, str | bytes):
            raise ConfigurationError("key", key, "a str or bytes")
        packed = to_bytes(key)
        attempts = self._attempts if self.next_upstream else 1
        return Request(self._groups, self._method.search(packed, self._rng), attempts)

    @checked_arguments
    def hold(self, name: str, count: int = 1) -> None:
        """Add requests in progress that this object did not choose. A negative count records their ends.

        Raises
        ------
        UnknownEndpointError
            If there is no such server.
        """
        peer = self._peer(name)
        peer.conns = max(0, peer.conns + valid.integer("count", count, minimum=-peer.conns))

    @property
    def connections(self) -> Mapping[str, int]:
        """How many requests are in progress on each server."""
        return {peer.server.name: peer.conns for group in self._groups for peer in group.peers}

    def _peer(self, name: str) -> Peer:
        for group in self._groups:
            for peer in group.peers:
                if peer.server.name == name:
                    return peer
        raise UnknownEndpointError(name, tuple(self.connections))


@final
class Request(StateRepr):
    """One request and its attempts, made by :meth:`Upstream.request`.

    Call :meth:`next` for a server, then :meth:`succeeded` or :meth:`failed`. After a failure, call :meth:`next` again. After
    an answer 403 or 404 that ``proxy_next_upstream`` lists, call :meth:`succeeded` and then :meth:`next`: nginx does not
    count it as a failure.
    """

    __slots__ = ("_groups", "_left", "_peer", "_search", "_single", "_tried", "tried")

    def __init__(self, groups: list[Group], search: Search, attempts: int) -> None:
        self._groups = list(groups)
        self._search = search
        self._left = attempts
        self._peer: Peer | None = None
        self._tried: set[Peer] = set()
        self._single = groups[0].single
        self.tried: list[str] = []
        """The servers tried so far, in order."""

    @property
    def last(self) -> bool:
        """Whether the attempt in progress is the last one. Without an attempt in progress: whether the next one is.

        If the last attempt gets a bad answer, nginx passes the answer on and counts a success.
        """
        return self._left <= (0 if self._peer else 1)

    def next(self, *, now: float) -> str | None:
        """Start the next attempt. Return the server's name, ``None`` if no server can be tried (502).

        Raises
        ------
        LeaseError
            If an attempt is in progress.
        """
        if self._peer is not None:
            raise LeaseError("an attempt is in progress; call succeeded or failed first")
        if self._left <= 0:
            return None
        while self._groups:
            peer = self._search.find(self._groups[0], self._tried, now)
            if peer is not None:
                self._left -= 1
                self._peer = peer
                self._tried.add(peer)
                self.tried.append(peer.server.name)
                peer.take(now)
                return peer.server.name
            if len(self._groups) == 1:
                break
            del self._groups[0]  # the request only uses the backups from here on
            self._tried.clear()
        return None

    def succeeded(self) -> None:
        """End the attempt as a success.

        A 403 or 404 is never a failure of the server. If ``proxy_next_upstream`` lists it, call this method and then
        :meth:`next` for another attempt.

        Raises
        ------
        LeaseError
            If no attempt is in progress.
        """
        peer = self._end()
        if not self._single:
            peer.record_success()

    def failed(self, *, now: float) -> None:
        """End the attempt as a failure: refused, timed out, or with a status that ``proxy_next_upstream`` lists.

        The statuses 403 and 404 are no failures; see :meth:`succeeded`.

        Raises
        ------
        LeaseError
            If no attempt is in progress.
        """
        peer = self._end()
        if not self._single:
            peer.record_failure(now)

    def get(self, *, now: float) -> str | None:
        """Start an attempt and end it as a success at once. Return the server's name, ``None`` as for :meth:`next`."""
        name = self.next(now=now)
        if name is not None:
            self.succeeded()
        return name

    def _end(self) -> Peer:
        if self._peer is None:
            raise LeaseError("no attempt is in progress")
        peer, self._peer = self._peer, None
        peer.conns -= 1
        return peer
