"""Open leases of endpoints that were removed and have returned.

A removed endpoint that is added again gets a new node, and the leases of the old one stay open until they end. The server
still serves them, so a limit must count them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from balancekit._support.fork import call_in_child
from balancekit._support.interrupts import raise_interrupt
from balancekit.snapshot import Node

__all__ = ["ReturningNodes"]


@final
class ReturningNodes:
    """The old nodes of endpoints that returned to the same target while leases were open.

    Cost: O(n) per change of membership.
    """

    __slots__ = ("__weakref__", "_left", "_present", "predecessors")

    def __init__(self) -> None:
        self._present: Sequence[Node] = ()
        self._left: Sequence[Node] = ()
        self.predecessors: Mapping[Node, Sequence[Node]] = {}
        """The old nodes of each node that has any."""
        call_in_child(self)

    def update(self, nodes: Sequence[Node]) -> None:
        """Compare with the present members. A change may also be refused after this call."""
        present = set(nodes)
        left = [node for node in (*self._present, *self._left) if node.inflight and node not in present]
        by_id: dict[str, list[Node]] = {}
        for node in left:
            by_id.setdefault(node.id, []).append(node)
        found = {
            node: [old for old in by_id.get(node.id, ()) if _same_target(old, node)]
            for node in nodes
            if by_id
        }
        # Nothing is called from here on, so no interrupt comes in between.
        self.predecessors = {node: olds for node, olds in found.items() if olds}
        self._present, self._left = nodes, left

    def inflight(self, node: Node) -> int:
        """Return how many leases are open on a node and on its predecessors."""
        return node.inflight + sum([old.inflight for old in self.predecessors.get(node, ())])

    def after_fork(self) -> None:
        """Forget the leases of the parent in a forked child, where they do not end."""
        self._present = [node for node in self._present if not node.inflight]
        self._left, self.predecessors = (), {}


def _same_target(old: Node, new: Node) -> bool:
    """Return whether two nodes of one id are of the same server. If the comparison raises, they are not."""
    before, after = old.endpoint.target, new.endpoint.target
    if before is after:
        return True
    try:
        return bool(before == after)
    except Exception:
        raise_interrupt()
        return False
