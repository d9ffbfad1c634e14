"""Envoy's policies with keys, as selectors: ring hash and Maglev, with bounded loads.

Tables contain only hosts that may be picked. Envoy removes unhealthy hosts before it normalizes weights. So a change of health
also moves a few keys of healthy hosts. :class:`balancekit.selectors.RingHash` does not have this peculiarity: it uses the next
host on the ring.

A host is placed by the hash of its label: ``address`` in the endpoint's metadata, or the endpoint's id if there is none.

With locality weights there is still one table. Each locality has a share of it, which its hosts divide by their weights.

Source: Envoy 1.40, ``ring_hash`` and ``maglev``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Mapping
from random import Random as Generator
from typing import ClassVar, Final, NamedTuple, final

from balancekit._selection.pickers import NO_KEY
from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.compat.envoy._bounded import within_bounds
from balancekit.compat.envoy._hash import RING_HASHES, key_hash
from balancekit.compat.envoy._localities import by_locality
from balancekit.compat.envoy._tables import Maglev as MaglevSlots
from balancekit.compat.envoy._tables import Ring, maglev, normalised, ring
from balancekit.compat.envoy._unkeyed import in_service
from balancekit.errors import ConfigurationError
from balancekit.loads import InFlight
from balancekit.snapshot import Key, Node, PickContext, Snapshot

__all__ = ["Maglev", "RingHash"]

MAX_RING_SIZE: Final = 8_388_608
MAX_TABLE_SIZE: Final = 5_000_011


class Table(NamedTuple):
    """The ring or table of one snapshot: hosts, their shares, and their positions."""

    nodes: tuple[Node, ...]
    shares: list[float]
    slots: Ring | MaglevSlots


class Hashed(ConstructorRepr, ABC):
    """Base of the two policies with keys."""

    keyed: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def __init__(self, *, use_hostname_for_hashing: bool, hash_balance_factor: int) -> None:
        self._label = _label_function(use_hostname=use_hostname_for_hashing)
        self._factor = _balance_factor(hash_balance_factor)
        self.locality_weights: Mapping[str, int] | None = None
        """Weights of the localities; ``None`` if localities are ignored."""

    def prepare(self, snapshot: Snapshot, /) -> object:
        """Build the table for a snapshot."""
        return snapshot.derive(self._table) if snapshot.eligible else None

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the owner of the key, or the next owner if it is excluded."""
        if not snapshot.eligible:
            return None
        table = snapshot.derive(self._table)
        if not table.nodes:
            return None
        position = ctx.rng.getrandbits(64) if ctx.key is None else key_hash(ctx.key)
        node = _owner(snapshot, table, position, self._factor)
        if node.id in ctx.exclude:
            return _beyond(snapshot, ctx, table, position)
        if ctx.trace is not None:
            ctx.trace.note(NO_KEY if ctx.key is None else f"hash {position:#018x} belongs to {node.id!r}")
        return node

    def picker(self, snapshot: Snapshot, /, *, rng: Generator | None = None) -> Callable[..., Node]:
        """Return a function that picks by key, for a snapshot with eligible nodes."""
        table, factor = snapshot.derive(self._table), self._factor
        nodes, at = table.nodes, table.slots.at

        def pick(key: Key, _now: float = 0.0, /) -> Node:
            return nodes[at(key_hash(key))]

        def pick_within_bounds(key: Key, _now: float = 0.0, /) -> Node:
            return _owner(snapshot, table, key_hash(key), factor)

        return pick_within_bounds if factor else pick

    def _table(self, snapshot: Snapshot) -> Table:
        nodes = in_service(snapshot)
        if self.locality_weights is not None:
            nodes, shares = by_locality(nodes, self.locality_weights)
            if not nodes:
                return Table((), [], MaglevSlots(array("L")))
            return Table(nodes, shares, self._slots([self._label(node) for node in nodes], shares))
        shares = normalised([node.weight for node in nodes] if nodes[0].weight > 0 else [1.0] * len(nodes))
        return Table(nodes, shares, self._slots([self._label(node) for node in nodes], shares))

    @abstractmethod
    def _slots(self, labels: list[str], shares: list[float]) -> Ring | MaglevSlots:
        """Return the ring or table for hosts with these labels and shares."""


@final
class RingHash(Hashed):
    """Envoy's ``RING_HASH``: a key belongs to the owner of the first ring entry at or after its hash.

    Keys are ``str`` or ``bytes``. An ``int`` counts as a 64-bit hash. A request without a key goes to a random host by share.

    *Guarantee.* The owners are those of Envoy, for the same hosts in the same order with the same weights.

    *When to use it:* to send a key to the same host as an Envoy in front of the same hosts. *When not to use it:* otherwise.
    :class:`balancekit.selectors.RingHash` does not depend on the order of hosts, and is not rebuilt when health changes.

    Parameters
    ----------
    minimum_ring_size, maximum_ring_size
        Bounds of the number of entries, 1 to 8,388,608.
    hash_function
        Hash function of the entries, ``"XX_HASH"`` or ``"MURMUR_HASH_2"``. Keys are always hashed with xxHash64.
    use_hostname_for_hashing
        Whether the label of a host is ``hostname`` in its metadata instead of ``address``.
    hash_balance_factor
        Maximum load of a host in percent of its fair share of the requests in progress, >= 100; 0 for no bound.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds, a size is above 8 388 608, or the minimum size is above the maximum.

    Cost: O(log r) per pick for r entries, or O(n) if the owner is overloaded; O(r log r) per snapshot.
    Source: Envoy 1.40.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.compat.envoy import RingHash
    >>> lb = LoadBalancer(["127.0.0.1:18081", "127.0.0.1:18082", "127.0.0.1:18083"], selector=RingHash())
    >>> with lb.acquire("user-80509") as lease, lb.acquire(b"user-80509") as another:
    ...     lease.target == another.target
    True
    """

    @checked_arguments
    def __init__(
        self,
        *,
        minimum_ring_size: int = 1024,
        maximum_ring_size: int = MAX_RING_SIZE,
        hash_function: str = "XX_HASH",
        use_hostname_for_hashing: bool = False,
        hash_balance_factor: int = 0,
    ) -> None:
        if hash_function not in RING_HASHES:
            raise ConfigurationError("hash_function", hash_function, " or ".join(map(repr, RING_HASHES)))
        self._place = RING_HASHES[hash_function]
        self._maximum = valid.integer(
            "maximum_ring_size", maximum_ring_size, minimum=1, maximum=MAX_RING_SIZE
        )
        self._minimum = valid.integer(
            "minimum_ring_size", minimum_ring_size, minimum=1, maximum=self._maximum
        )
        super().__init__(
            use_hostname_for_hashing=use_hostname_for_hashing, hash_balance_factor=hash_balance_factor
        )

    def _slots(self, labels: list[str], shares: list[float]) -> Ring:
        return ring(labels, shares, minimum=self._minimum, maximum=self._maximum, place=self._place)


@final
class Maglev(Hashed):
    """Envoy's ``MAGLEV``: a key belongs to the owner of the table slot at its hash modulo the table size.

    *Guarantee.* The owners are those of Envoy, for the same hosts and weights in any order.

    *When to use it:* to send a key to the same host as an Envoy. *When not to use it:* otherwise. ``balancekit.MaglevHash``
    builds its table many times faster, and does not rebuild it when health changes.

    Parameters
    ----------
    table_size
        Number of slots, a prime number up to 5 000 011.
    use_hostname_for_hashing, hash_balance_factor
        See :class:`RingHash`.

    Raises
    ------
    ConfigurationError
        If ``table_size`` is no such prime number, or another parameter is outside its bounds.

    Cost: O(1) per pick; about ``m ln m`` steps per snapshot for m slots. 65 537 slots cost as much as about 500 000 empty calls.
    Source: Envoy 1.40; Eisenbud and others, NSDI 2016.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.compat.envoy import Maglev
    >>> lb = LoadBalancer(["127.0.0.1:18081", "127.0.0.1:18082"], selector=Maglev(table_size=251))
    >>> with lb.acquire("user-80509") as lease, lb.acquire(b"user-80509") as another:
    ...     lease.target == another.target
    True
    """

    @checked_arguments
    def __init__(
        self,
        *,
        table_size: int = 65_537,
        use_hostname_for_hashing: bool = False,
        hash_balance_factor: int = 0,
    ) -> None:
        self._size = valid.integer("table_size", table_size, minimum=2, maximum=MAX_TABLE_SIZE)
        if any(self._size % factor == 0 for factor in range(2, int(self._size**0.5) + 1)):
            raise ConfigurationError("table_size", table_size, "a prime number")
        super().__init__(
            use_hostname_for_hashing=use_hostname_for_hashing, hash_balance_factor=hash_balance_factor
        )

    def _slots(self, labels: list[str], shares: list[float]) -> MaglevSlots:
        return maglev(labels, shares, size=self._size)


def _owner(snapshot: Snapshot, table: Table, position: int, factor: int) -> Node:
    owner = table.slots.at(position)
    if factor:
        owner = within_bounds(
            owner,
            position,
            active=[node.inflight for node in table.nodes],
            total=sum([node.inflight for node in snapshot.members.nodes]),
            shares=table.shares,
            factor=factor,
        )
    return table.nodes[owner]


def _beyond(snapshot: Snapshot, ctx: PickContext, table: Table, position: int) -> Node | None:
    """Return the next owner that is not excluded. Here the choice differs from Envoy, which may retry at the same host."""
    owners, start = table.slots.owners, table.slots.start(position)
    untried = {index for index, node in enumerate(table.nodes) if node.id not in ctx.exclude}
    if untried:
        for step in range(len(owners)):
            owner = owners[(start + step) % len(owners)]
            if owner in untried:
                return table.nodes[owner]
    candidates = snapshot.candidates(ctx)
    return ctx.rng.choice(candidates) if candidates else None


def _label_function(*, use_hostname: bool) -> Callable[[Node], str]:
    return _hostname if valid.flag("use_hostname_for_hashing", use_hostname) else _address


def _address(node: Node) -> str:
    return node.metadata.get("address", node.id)


def _hostname(node: Node) -> str:
    return node.metadata.get("hostname", "")


def _balance_factor(value: int) -> int:
    if value == 0 and not isinstance(value, bool):
        return 0
    return valid.integer("hash_balance_factor", value, minimum=100)
