"""A selector that chooses as an upstream of nginx does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from balancekit._support.display import ConstructorRepr
from balancekit._support.text import decimal, to_bytes
from balancekit.compat import nginx
from balancekit.compat.nginx._peers import Group, Peer
from balancekit.loads import InFlight
from balancekit.outcome import FAILURES, Completion, Outcome
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["NginxSelector"]


@final
class NginxSelector(ConstructorRepr):
    """nginx's upstream behind a balancer: its servers are the endpoints, in the same order.

    An endpoint that may not be picked counts as ``down``. If every server has failed or is at its ``max_conns``, nginx answers
    502; a selector must pick, so the next by weight takes it.

    Parameters
    ----------
    servers
        In the order of the endpoints.
    method
        The balancing directive.
    """

    default_load: ClassVar[InFlight] = InFlight()

    def __init__(self, servers: Sequence[nginx.Server], method: nginx.Method) -> None:
        self._servers = servers
        self._method = method
        self._peers = [Peer(server) for server in servers]
        groups = [[peer for peer in self._peers if peer.server.backup is backup] for backup in (False, True)]
        self._groups = [Group(peers, single=len(servers) == 1) for peers in groups if peers]
        self._by_id: dict[str, Peer] = {}

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the server that the upstream would try."""
        candidates = {node.id: node for node in snapshot.candidates(ctx)}
        nodes = snapshot.members.nodes
        self._by_id = dict(zip([node.id for node in nodes], self._peers, strict=False))
        places: dict[Peer, Node] = {}
        for node in nodes:
            peer = self._by_id.get(node.id)
            if peer is None:
                continue
            peer.down = node.id not in candidates
            peer.conns = node.inflight
            if not peer.down:
                places[peer] = node
        if not places:
            return None
        key = b"" if ctx.key is None else to_bytes(decimal(ctx.key) if isinstance(ctx.key, int) else ctx.key)
        search = self._method.search(key, ctx.rng)
        tried = (search.find(group, (), ctx.now) for group in self._groups)
        found = next((peer for peer in tried if peer is not None), None)
        if found is None:
            found = self._groups[0].turn(list(places))
        if found is None:
            return None
        found.take(ctx.now)
        return places[found]

    def learn(self, node: Node, completion: Completion, /) -> None:
        """Count failures and successes as nginx does; those of an only server are not counted."""
        peer = self._by_id.get(node.id)
        if peer is None or self._groups[0].single:
            return
        if completion.outcome in FAILURES:
            peer.record_failure(completion.ended_at)
        elif completion.outcome is Outcome.SUCCESS:
            peer.record_success()
