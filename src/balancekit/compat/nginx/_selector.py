"""A selector for ``LoadBalancer`` that uses one of nginx's methods.

Members, weights and health come from the balancer, failures from its leases. An endpoint that must not be picked counts as
``down``: its weight is still part of the sum by which hashes are divided.
"""

from __future__ import annotations

from typing import ClassVar, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.text import decimal, to_bytes
from balancekit.compat.nginx._methods import Method, RoundRobin
from balancekit.compat.nginx._peers import Group, Peer, Server
from balancekit.loads import InFlight
from balancekit.outcome import FAILURES, Completion, Outcome
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["AsNginx"]


@final
class AsNginx(ConstructorRepr):
    """A selector that chooses as nginx 1.22 does, failures included.

    Parameters
    ----------
    method
        The balancing directive; :class:`RoundRobin` if left out. With :class:`IpHash`, the key of ``acquire`` is the result of
        :meth:`IpHash.key_of`.
    max_fails, fail_timeout
        The settings of every server, as in nginx. ``fail_timeout`` is in seconds.

    Raises
    ------
    ConfigurationError
        If ``method`` is no balancing method, or ``max_fails`` or ``fail_timeout`` is negative.

    Weights are rounded to whole numbers, at least 1. An endpoint of weight zero counts as ``down``. When every endpoint has
    failed, nginx answers 502. This selector then picks among all candidates by smooth round robin, because a selector must
    pick one.

    *When not to use it:* unless the choices must equal those of nginx. Give the balancer ``health=None``: otherwise two
    mechanisms eject endpoints.

    Cost: O(n) per pick.

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer
    >>> from balancekit.compat.nginx import AsNginx
    >>> pool = [Endpoint("a", weight=5), Endpoint("b"), Endpoint("c")]
    >>> lb = LoadBalancer(pool, selector=AsNginx(), health=None)
    >>> "".join(lb.explain().picked for _ in range(7))
    'aabacaa'
    """

    default_load: ClassVar[InFlight] = InFlight()

    @checked_arguments
    def __init__(
        self,
        method: Method | None = None,
        *,
        max_fails: int = 1,
        fail_timeout: float = 10.0,
    ) -> None:
        if method is not None:
            valid.instance("method", method, "search", allowed="a balancing method such as LeastConn()")
        self._method: Method = RoundRobin() if method is None else method
        self._template = Server(name="any", max_fails=max_fails, fail_timeout=fail_timeout)
        self._peers: dict[str, Peer] = {}
        self._group = Group(())
        self._version = -1

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the candidate that nginx would try."""
        candidates = {node.id: node for node in snapshot.candidates(ctx)}
        if not candidates:
            return None
        group = self._follow(snapshot)
        for node in snapshot.members.nodes:
            peer = self._peers[node.id]
            peer.down = node.id not in candidates
            peer.conns = node.inflight
        key = b"" if ctx.key is None else to_bytes(decimal(ctx.key) if isinstance(ctx.key, int) else ctx.key)
        found = self._method.search(key, ctx.rng).find(group, (), ctx.now)
        if found is None:
            found = group.turn([self._peers[id] for id in candidates])
        if found is None:
            return None
        found.take(ctx.now)
        return candidates[found.server.name]

    def learn(self, node: Node, completion: Completion, /) -> None:
        """Count failures and successes as nginx does."""
        peer = self._peers.get(node.id)
        if peer is None:
            return
        if completion.outcome in FAILURES:
            peer.record_failure(completion.ended_at)
        elif completion.outcome is Outcome.SUCCESS:
            peer.record_success()

    def _follow(self, snapshot: Snapshot) -> Group:
        """Return the group of a snapshot's members. Endpoints whose weight has not changed keep their state."""
        if snapshot.members.version == self._version:
            return self._group
        peers: dict[str, Peer] = {}
        for node in snapshot.members.nodes:
            server = self._template.replace(name=node.id, weight=max(1, round(node.weight)))
            old = self._peers.get(node.id)
            peers[node.id] = old if old is not None and old.server == server else Peer(server)
        self._peers = peers
        self._group = Group(tuple(peers.values()))
        self._version = snapshot.members.version
        return self._group
