"""Snapshots: an algorithm's view of the pool.

A :class:`Snapshot` holds the endpoints in the pool (:class:`Members`) and those of them that may be picked
(``eligible``), each as a :class:`~balancekit.node.Node` that shows how busy it is *now*. The first two are immutable
and replaced whole; the nodes are live and outlive every snapshot they appear in.

Tables are memoised *on* what they were built from: a ring on the members, a schedule on the snapshot.
So a pick can never combine a new table with old members, a health flip does not rebuild a ring, and a
table dies with its members. The cost of a lookup that finds its table is one dictionary access.
"""

from __future__ import annotations

import copyreg
import random
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, final

from balancekit._support.display import StateRepr
from balancekit.node import Node

__all__ = ["Key", "Members", "Node", "PickContext", "Snapshot", "Trace"]

Key: TypeAlias = str | bytes | int
"""What a request may be hashed by."""

D = TypeVar("D")

DEFAULT_COST: Final = 1.0
"""The cost of a request that names none. Balancers know it by identity: ``True`` equals it, but is no cost."""
NO_ATTRIBUTES: Final[Mapping[str, object]] = MappingProxyType({})


@final
class Members:
    """The endpoints in the pool. Immutable; replaced when membership, weights or other facts change.

    Parameters
    ----------
    nodes
        In the order of configuration.
    version
        Grows with every change.
    """

    __slots__ = ("_memo", "nodes", "version")

    def __init__(self, nodes: tuple[Node, ...], *, version: int = 0) -> None:
        self.nodes: tuple[Node, ...] = nodes
        self.version: int = version
        self._memo: dict[object, Any] = {}

    def derive(self, build: Callable[[Members], D]) -> D:
        """Return ``build(self)``, made once and kept for as long as these members are.

        Threads that call it at the same moment may both build; all of them get the same result. Pass a
        function that stays the same object or compares equal (a module function, a bound method), not a
        fresh ``lambda``.
        """
        found: D = _remembered(self._memo, build, self)
        return found

    def __repr__(self) -> str:
        return f"Members(version={self.version}, nodes={[node.id for node in self.nodes]})"


@final
class Snapshot:
    """The endpoints that may be picked now. Immutable; replaced when members or health change.

    Parameters
    ----------
    members
        All endpoints in the pool.
    eligible
        Those that may be picked, in the order of the members.
    draining
        Those that take nothing new, but may be picked for requests that are bound to them.
    version
        Grows with every change.
    panic
        True if health is being ignored because too few endpoints are healthy.
    """

    __slots__ = ("_memo", "draining", "eligible", "members", "panic", "version")

    def __init__(
        self,
        members: Members,
        eligible: tuple[Node, ...],
        *,
        draining: tuple[Node, ...] = (),
        version: int = 0,
        panic: bool = False,
    ) -> None:
        self.members: Members = members
        self.eligible: tuple[Node, ...] = eligible
        self.draining: tuple[Node, ...] = draining
        self.version: int = version
        self.panic: bool = panic
        self._memo: dict[object, Any] = {}

    def candidates(self, ctx: PickContext) -> tuple[Node, ...]:
        """Return the eligible nodes this request has not tried. O(1) without exclusions, else O(n)."""
        exclude = ctx.exclude
        if not exclude:
            return self.eligible
        return tuple([node for node in self.eligible if node.id not in exclude])

    def derive(self, build: Callable[[Snapshot], D]) -> D:
        """Return ``build(self)``, made once and kept for as long as this snapshot is.

        As :meth:`Members.derive`, for what depends on health too: schedules, sub-snapshots.
        """
        found: D = _remembered(self._memo, build, self)
        return found

    def __repr__(self) -> str:
        flag = ", panic" if self.panic else ""
        return f"Snapshot(version={self.version}, eligible={[node.id for node in self.eligible]}{flag})"


def _remembered(memo: dict[object, Any], build: Callable[..., object], source: object) -> Any:
    try:
        return memo[build]
    except KeyError:
        return memo.setdefault(build, build(source))


class Trace(StateRepr):
    """The reasons that selectors give while a pick is being explained."""

    __slots__ = ("notes",)

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Add one sentence."""
        self.notes.append(text)


@final
class PickContext(StateRepr, prints=("key", "cost", "exclude", "attributes", "now", "trace")):
    """The request of one attempt. Key, cost and attributes are shared by a request's attempts.

    Parameters
    ----------
    rng
        The only source of randomness an algorithm may use.
    now
        Seconds of the balancer's clock.
    key
        What keyed algorithms hash; ``None`` if the caller gave none.
    cost
        The cost of the request, 1.0 for an ordinary one.
    exclude
        Ids of endpoints that this request has already tried.
    attributes
        Any other values of the application for its own selectors.
    trace
        Where to note reasons while a pick is being explained, else ``None``.
    """

    __slots__ = ("attributes", "cost", "exclude", "key", "now", "rng", "trace")

    def __init__(
        self,
        *,
        rng: random.Random,
        now: float = 0.0,
        key: Key | None = None,
        cost: float = DEFAULT_COST,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] = NO_ATTRIBUTES,
        trace: Trace | None = None,
    ) -> None:
        self.rng: random.Random = rng
        self.now: float = now
        self.key: Key | None = key
        self.cost: float = cost
        self.exclude: Collection[str] = exclude
        self.attributes: Mapping[str, object] = attributes
        self.trace: Trace | None = trace

    def excluding(self, ids: Collection[str]) -> PickContext:
        """Return the context of the same request with further endpoints excluded: for selectors that call another again.

        Example
        -------
        >>> import random
        >>> from balancekit import PickContext
        >>> ctx = PickContext(rng=random.Random(1), key="user:1", exclude={"a"})
        >>> sorted(ctx.excluding({"b"}).exclude), ctx.excluding({"b"}).key
        (['a', 'b'], 'user:1')
        """
        return PickContext(
            rng=self.rng,
            now=self.now,
            key=self.key,
            cost=self.cost,
            exclude={*self.exclude, *ids},
            attributes=self.attributes,
            trace=self.trace,
        )

    def __reduce__(self) -> tuple[object, ...]:
        facts = (self.now, self.key, self.cost, self.exclude, dict(self.attributes), self.trace)
        return _context_again, (self.rng, *facts)

    @property
    def plain(self) -> bool:
        """Whether nothing is requested but a pick: no exclusion, cost, attributes or trace."""
        return not self.exclude and self.cost == 1.0 and not self.attributes and self.trace is None


def _context_again(rng: random.Random, *facts: Any) -> PickContext:
    """Make a context that was pickled or copied."""
    names = ("now", "key", "cost", "exclude", "attributes", "trace")
    return PickContext(rng=rng, **dict(zip(names, facts, strict=True)))


def _refuse_copy(_node: Node) -> NoReturn:
    raise TypeError(
        "a Node cannot be copied or pickled: it lives in one balancer, and selectors, loads and snapshots that were used hold "
        "nodes; construct another selector, from the same arguments, in each process"
    )


copyreg.pickle(Node, _refuse_copy)
