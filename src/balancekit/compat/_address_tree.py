"""The radix tree in which Unbound keeps the answers for one name, type and address family by client subnet.

Source: Unbound 1.17.1, ``edns-subnet/addrtree.c``.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from balancekit._support.ip import IpAddress
from balancekit.gslb import Answer

__all__ = ["AddressTree", "Kept"]


class Kept(NamedTuple):
    """An answer at a node."""

    answer: Answer
    expires: int
    """The last second in which it is used."""
    zero_only: bool = False
    """Whether only subnets of length 0 may have it."""


@final
class _Node:
    __slots__ = ("children", "depth", "kept", "key", "parent", "scope")

    def __init__(self, key: int, depth: int, kept: Kept | None = None, scope: int = 0) -> None:
        self.key: Final = key
        """The first bits of the addresses below."""
        self.depth: Final = depth
        """How many bits."""
        self.kept: Kept | None = kept
        self.scope: int = scope
        self.parent: _Node | None = None
        self.children: list[_Node | None] = [None, None]

    def adopt(self, child: _Node) -> None:
        """Put a node below, in the place that its next bit names, whatever was there."""
        child.parent = self
        self.children[child.key >> (child.depth - self.depth - 1) & 1] = child

    @property
    def degree(self) -> int:
        """How many nodes are directly below."""
        return sum(child is not None for child in self.children)


@final
class AddressTree:
    """Answers by subnet, the least recently used leaves dropped.

    Parameters
    ----------
    max_depth
        Scopes longer than this are cut to it.
    max_nodes
        Nodes to keep besides the root; 0: any number.

    Cost: a step for each node on the way, at most one per bit.

    Example
    -------
    >>> from ipaddress import ip_address
    >>> tree, near = AddressTree(max_depth=24, max_nodes=100), ip_address("198.51.96.0")
    >>> tree.insert(ip_address("198.51.100.7"), 32, 20, Kept(Answer(("us-1",)), expires=30), now=0)
    >>> tree.find(near, 24, now=30).scope, tree.find(near, 24, now=31), tree.find(near, 16, now=0)
    (20, None, None)
    """

    def __init__(self, *, max_depth: int, max_nodes: int) -> None:
        self._max_depth: Final = max_depth
        self._max_nodes: Final = max_nodes
        self._root: Final = _Node(0, 0)
        self._nodes: Final[dict[_Node, None]] = {}
        """All but the root, the least recently used first."""

    def find(self, address: IpAddress, prefix: int, /, *, now: int) -> Answer | None:
        """Return the answer for a subnet, with its TTL counted down and the scope of its node."""
        key = int(address) >> (address.max_prefixlen - prefix)
        node: _Node | None = self._root
        while node is not None and node.depth <= prefix and node.key == key >> (prefix - node.depth):
            kept = node.kept
            if (
                kept is not None
                and kept.expires >= now
                and not (prefix and kept.zero_only)
                and (node.depth == node.scope or (node.scope > prefix and node.depth == prefix))
            ):
                self._touch(node)
                return kept.answer._replace(ttl=float(kept.expires - now), scope=node.scope)
            node = None if node.depth == prefix else node.children[key >> (prefix - node.depth - 1) & 1]
        return None

    def insert(self, address: IpAddress, prefix: int, scope: int, kept: Kept, /, *, now: int) -> None:
        """Keep an answer for a subnet: under its scope, or under the subnet where that is shorter.

        Each node from which it goes on to another takes over the scope: a child that is added to the last one does not
        change that.
        """
        scope = min(scope, self._max_depth)
        prefix = min(scope, prefix)
        key = int(address) >> (address.max_prefixlen - prefix)
        node = self._root
        while node.depth < prefix:
            child = self._unexpired(node, key >> (prefix - node.depth - 1) & 1, now)
            if child is None:
                self._add(node, _Node(key, prefix, kept, scope))
                break
            common = _common(child.key, child.depth, key, prefix)
            if common < child.depth:
                self._split(node, child, common, _Node(key, prefix, kept, scope))
                break
            node.scope = scope
            node = child
        else:
            node.kept, node.scope = kept, scope
            return
        self._drop_oldest()

    def _unexpired(self, node: _Node, bit: int, now: int) -> _Node | None:
        """Return the child on a side, after those whose answers have expired are dropped."""
        child = node.children[bit]
        while child is not None and child.kept is not None and child.kept.expires < now:
            self._purge(child)
            child = node.children[bit]
        return child

    def _split(self, node: _Node, child: _Node, common: int, leaf: _Node) -> None:
        """Put a node between two: the new one itself, or one above it and the child."""
        between = leaf if leaf.depth == common else _Node(child.key >> (child.depth - common), common)
        self._add(node, between)
        between.adopt(child)
        if between is not leaf:
            self._add(between, leaf)

    def _add(self, parent: _Node, node: _Node) -> None:
        parent.adopt(node)
        self._nodes[node] = None

    def _touch(self, node: _Node) -> None:
        if node is not self._root:
            del self._nodes[node]
            self._nodes[node] = None

    def _purge(self, node: _Node) -> None:
        """Drop an answer, and its node unless two hang on it."""
        node.kept = None
        if node.degree == 2 or node.parent is None:
            return
        parent = node.parent
        parent.children[parent.children.index(node)] = None
        for child in node.children:
            if child is not None:
                parent.adopt(child)
        del self._nodes[node]

    def _drop_oldest(self) -> None:
        while self._max_nodes and len(self._nodes) > self._max_nodes:
            oldest = next(iter(self._nodes))
            if oldest.degree == 2:
                self._touch(oldest)
                continue
            parent: _Node = oldest.parent  # type: ignore[assignment]  # only the root has none
            self._purge(oldest)
            if parent is not self._root and parent.kept is None and parent.degree == 1:
                self._purge(parent)


def _common(one: int, length: int, other: int, prefix: int) -> int:
    """Return how many bits two prefixes have in common."""
    least = min(length, prefix)
    return least - ((one >> (length - least)) ^ (other >> (prefix - least))).bit_length()
