"""A selector that chooses as a backend of HAProxy does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from balancekit._support.display import ConstructorRepr
from balancekit._support.text import decimal
from balancekit.compat import haproxy
from balancekit.loads import InFlight
from balancekit.outcome import Completion
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["HaproxySelector"]


@final
class HaproxySelector(ConstructorRepr):
    """HAProxy's backend behind a balancer: its servers are the endpoints, in the same order.

    An endpoint that may not be picked is down, and one that is excluded is down for that pick. If all servers are at their
    ``maxconn`` the one with the fewest requests takes it, because a selector has no queue.

    Parameters
    ----------
    servers
        In the order of the endpoints.
    balance
        The method.
    allbackups
        Whether all backups serve, not only the first.
    """

    default_load: ClassVar[InFlight] = InFlight()

    def __init__(
        self, servers: Sequence[haproxy.Server], balance: haproxy.Balance, *, allbackups: bool
    ) -> None:
        self._servers = servers
        self._backend: haproxy.Backend | None = None
        self._balance = balance
        self._allbackups = allbackups
        self._down: set[str] = set()
        self._open: dict[str, list[haproxy.Request]] = {}

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the server that the backend would take."""
        nodes = snapshot.members.nodes
        names = {node.id: server.name for node, server in zip(nodes, self._servers, strict=False)}
        candidates = {names[node.id]: node for node in snapshot.candidates(ctx) if node.id in names}
        if not candidates:
            return None
        if self._backend is None:
            self._backend = haproxy.Backend(
                self._servers, self._balance, allbackups=self._allbackups, rng=ctx.rng
            )
        wanted = {server.name for server in self._servers} - candidates.keys()
        for changed in sorted(self._down ^ wanted):
            self._backend.set_health(changed, up=changed not in wanted)
        self._down = wanted
        request = self._backend.request(decimal(ctx.key) if isinstance(ctx.key, int) else ctx.key)
        name = request.server
        if name is None:
            if request.waiting:
                request.done()
            return min(candidates.values(), key=lambda node: node.inflight)
        node = candidates[name]
        self._open.setdefault(node.id, []).append(request)
        return node

    def learn(self, node: Node, _: Completion, /) -> None:
        """Free the slot of a finished request."""
        held = self._open.get(node.id)
        if held:
            held.pop().done()
