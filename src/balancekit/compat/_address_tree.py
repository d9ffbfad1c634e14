"""The radix tree of Unbound's subnet cache: answers for one name, type and address family, by client subnet.

Source: Unbound 1.17.1, ``edns-subnet/addrtree.c``.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from balancekit._support.ip import IpAddress
from balancekit.gslb import Answer

__all__ = ["AddressTree", "Kept"]


class Kept(NamedTuple):
    """A cached answer."""

    answer: Answer
    expires: int
    """The last second in which the answer is used."""
    zero_only: bool = False
    """Whether the answer is used only for subnets of length 0."""


@final
class _Node:
    __slots__ = ("children", "depth", "kept", "key", "parent", "scope")

    def __init__(self, key: int, depth: int, kept: Kept | None = None, scope: int = 0) -> None:
        self.key: Final = key
        """The first ``depth`` bits of all addresses in this subtree."""
        self.depth: Final = depth
        """Number of bits of the key."""
        self.kept: Kept | None = kept
        self.scope: int = scope
        self.parent: _Node | None = None
        self.children: list[_Node | None] = [None, None]

    def adopt(self, child: _Node) -> None:
        """Set a child, on the side of its next bit. A child that is there already is replaced."""
        child.parent = self
        self.children[child.key >> (child.depth - self.depth - 1) & 1] = child

    @property
    def degree(self) -> int:
        """Number of children."""
        return sum(child is not None for child in self.children)


@final
class AddressTree:
    """A cache of answers by subnet. If it is full, the least recently used leaves are dropped.

    Parameters
    ----------
    max_depth
        Maximum scope in bits. Longer scopes are cut to it.
    max_nodes
        Maximum number of nodes without the root; 0 for no limit.

    Cost: one step per node on the path, at most one per bit of the address.

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
        """All nodes except the root, the least recently used first."""

    def find(self, address: IpAddress, prefix: int, /, *, now: int) -> Answer | None:
        """Return the answer for a subnet, with the rest of its TTL and the scope of its node; ``None`` if there is none."""
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
        """Store an answer for a subnet, at the depth of its scope or of the subnet, whichever is shorter.

        As in Unbound, each node on the path that has a further node on the path gets the new scope. The node to which a new
        child is added keeps its scope.
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
        """Return the child on a side, after children with expired answers have been dropped."""
        child = node.children[bit]
        while child is not None and child.kept is not None and child.kept.expires < now:
            self._purge(child)
            child = node.children[bit]
        return child

    def _split(self, node: _Node, child: _Node, common: int, leaf: _Node) -> None:
        """Insert a node between a node and its child: the new leaf itself, or a parent of the leaf and the child."""
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
        """Drop the answer of a node. Drop the node too, unless it has two children or is the root."""
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
    """Return the number of leading bits that two prefixes have in common."""
    least = min(length, prefix)
    return least - ((one >> (length - least)) ^ (other >> (prefix - least))).bit_length()
