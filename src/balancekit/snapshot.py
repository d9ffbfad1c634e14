"""What does an algorithm see when it picks?

A :class:`Snapshot`: who is in the pool (:class:`Members`), who of them may be picked (``eligible``), and
per endpoint a :class:`Node` that tells how busy it is *now*. The first two are immutable and replaced
whole; the nodes are live and outlive every snapshot they appear in.

Tables are memoised *on* what they were built from: a ring on the members, a schedule on the snapshot.
So a pick can never combine a new table with old members, a health flip does not rebuild a ring, and a
table dies with its members. The cost of a lookup that finds its table is one dictionary access.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias, TypeVar, cast, final

from balancekit.endpoint import Endpoint
from balancekit.outcome import Completion, Outcome
from balancekit.stats import RecentWindow

__all__ = ["Key", "Load", "Members", "Node", "PickContext", "Snapshot", "Trace"]

Key: TypeAlias = str | bytes | int
"""What a request may be hashed by."""

D = TypeVar("D")

_NO_LOCK: Final = nullcontext()
NO_ATTRIBUTES: Final[Mapping[str, object]] = MappingProxyType({})


class Load(Protocol):
    """How busy is this endpoint? One comparable number; less is better.

    One object per node, driven by the balancer. A selector that compares loads takes any of them.
    """

    def started(self, *, now: float, cost: float) -> None:
        """Hear that a request of this cost was sent to the endpoint."""
        ...

    def finished(self, completion: Completion, /) -> None:
        """Hear how a request ended."""
        ...

    def value(self, *, now: float) -> float:
        """Answer the load at ``now``. Pure: asking twice gives the same answer and changes nothing."""
        ...


class Busy:
    """The part of a node that requests touch.

    Slots of a base class come first in an object: these seven share two cache lines, where the alphabetical
    order of all slots would spread them over four. That is a twentieth of a request at 1 000 endpoints.
    """

    __slots__ = ("alert", "inflight", "level", "load", "standing", "successes", "watch")


@final
class Node(Busy):
    """The runtime record of one endpoint; it lives as long as the endpoint is in the pool.

    Algorithms read it and never write it. ``inflight`` and ``load`` are live: two reads may differ.

    Parameters
    ----------
    endpoint
        The configured facts.
    load
        Makes the node's load, called once with the node.
    lock
        Guards the counters where the interpreter does not (free-threaded builds).
    """

    __slots__ = (
        "capacity",
        "endpoint",
        "freed",
        "id",
        "latency",
        "lock",
        "metadata",
        "outcomes",
        "priority",
        "ramp",
        "reports",
        "settled",
        "trial",
        "weight",
        "zone",
    )

    def __init__(
        self,
        endpoint: Endpoint[object],
        load: Callable[[Node], Load],
        *,
        lock: AbstractContextManager[object] = _NO_LOCK,
    ) -> None:
        self.endpoint: Endpoint[object] = endpoint
        """The configured endpoint, target included."""
        self.id: str = endpoint.id
        self.weight: float = endpoint.weight
        self.priority: int = endpoint.priority
        self.zone: str = endpoint.zone
        self.metadata: Mapping[str, str] = endpoint.metadata
        self.capacity: float = 1.0
        """The weight relative to the mean weight of the pool: what loads divide by."""
        self.ramp: float = 1.0
        """Warm-up share, 0 to 1; 1 when the endpoint takes its full part."""
        self.trial: int = 0
        """How many requests at a time the endpoint takes whatever its ramp is, while it is on trial."""
        self.inflight: int = 0
        """How many leases are open. Changed only by the balancer and the lease itself."""

        # What follows belongs to the balancer and to the structures it feeds; see lease.py.
        self.successes: int = 0
        self.outcomes: dict[Outcome, int] = {}
        self.settled: dict[Outcome, int] = {}
        self.reports: bool = False
        self.alert: bool = False
        self.watch: bool = False
        self.level: int = 0
        self.freed: Callable[[Node], None] = _nobody_listens
        self.lock: AbstractContextManager[object] = lock
        self.latency: RecentWindow | None = None
        # A load may keep here the one number its own picks compare; NaN sends them to `load.value`.
        self.standing: float = 0.0
        self.load: Load = load(self)

    def attend(self, *, alert: bool) -> None:
        """Say whether health or membership wants to hear of plain successes too."""
        self.alert = alert
        self.watch = alert or self.reports or self.level > 0

    def stand(self, level: int) -> None:
        """Say that a structure wants to hear, by ``freed``, when in-flight falls below ``level``."""
        self.level = level
        self.watch = level > 0 or self.alert or self.reports

    def tally(self) -> dict[Outcome, int]:
        """Return how many leases ended how; every outcome is a key."""
        found = dict.fromkeys(Outcome, 0)
        found |= self.outcomes
        found[Outcome.SUCCESS] = self.successes
        return found

    def configure(self, endpoint: Endpoint[object]) -> None:
        """Take over the facts of another endpoint of the same id."""
        self.endpoint = endpoint
        self.weight = endpoint.weight
        self.priority = endpoint.priority
        self.zone = endpoint.zone
        self.metadata = endpoint.metadata

    def __repr__(self) -> str:
        return f"Node({self.id!r}, weight={self.weight:g}, inflight={self.inflight})"


def _nobody_listens(_node: Node) -> None:
    """Stand where no structure asked to hear that a node's in-flight fell below its level."""


@final
class Members:
    """Who is in the pool. Immutable; replaced when membership, weights or other facts change.

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
        self._memo: dict[object, object] = {}

    def derive(self, build: Callable[[Members], D]) -> D:
        """Return ``build(self)``, made once and kept for as long as these members are.

        Threads that ask at the same moment may both build; all of them get the same result. Pass a
        function that stays the same object or compares equal (a module function, a bound method), not a
        fresh ``lambda``.
        """
        return cast("D", _remembered(self._memo, build, self))

    def __repr__(self) -> str:
        return f"Members(version={self.version}, nodes={[node.id for node in self.nodes]})"


@final
class Snapshot:
    """Who may be picked now. Immutable; replaced when members or health change.

    Parameters
    ----------
    members
        Everybody in the pool.
    eligible
        Those who may be picked, in the order of the members.
    draining
        Those who take nothing new, but may be picked for requests that are bound to them.
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
        self._memo: dict[object, object] = {}

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
        return cast("D", _remembered(self._memo, build, self))

    def __repr__(self) -> str:
        flag = ", panic" if self.panic else ""
        return f"Snapshot(version={self.version}, eligible={[node.id for node in self.eligible]}{flag})"


def _remembered(memo: dict[object, object], build: Callable[..., object], source: object) -> object:
    try:
        return memo[build]
    except KeyError:
        return memo.setdefault(build, build(source))


class Trace:
    """What selectors say about their reasons while a pick is being explained."""

    __slots__ = ("notes",)

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Add one sentence."""
        self.notes.append(text)


@final
class PickContext:
    """What one attempt asks for. Key, cost and attributes are shared by a request's attempts.

    Parameters
    ----------
    rng
        The only source of randomness an algorithm may use.
    now
        Seconds of the balancer's clock.
    key
        What keyed algorithms hash; ``None`` if the caller gave none.
    cost
        What the request will cost, 1.0 for an ordinary one.
    exclude
        Ids of endpoints this request has already tried.
    attributes
        Anything else the application wants its own selectors to see.
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
        cost: float = 1.0,
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

    @property
    def plain(self) -> bool:
        """Whether nothing is asked but to pick: no exclusion, cost, attributes or trace."""
        return not self.exclude and self.cost == 1.0 and not self.attributes and self.trace is None
