"""The runtime record of one endpoint: its configured facts, and how busy it is now.

Nodes are live and outlive every snapshot they appear in. Requests and the balancer write them, algorithms read them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, final

from balancekit._support.display import StateRepr
from balancekit.endpoint import Endpoint
from balancekit.outcome import Completion, Outcome
from balancekit.stats import RecentWindow

__all__ = [
    "ALL_CALLBACKS",
    "LOAD_CALLBACK",
    "NO_CALLBACKS",
    "AnswerFigures",
    "Assignments",
    "HotFields",
    "Load",
    "Node",
]

NO_CALLBACKS: Final = 0
"""A plain success is counted, and that is all."""
LOAD_CALLBACK: Final = 1
"""Its load records it, and nothing else does."""
ALL_CALLBACKS: Final = 2
"""Health, or a structure that counts what is in flight, may have to record it too."""

_NO_LOCK: Final = nullcontext()

_exhaust: Final[Callable[[Iterable[None]], None]] = deque[None](maxlen=0).extend


@final
class Assignments(StateRepr):
    """Attributes of many objects, to be set in one step.

    Kept in three columns, not in a row for each: rows are tuples, and thousands of them start a full collection of
    garbage, which stops every thread.
    """

    __slots__ = ("_names", "_objects", "_values")

    def __init__(self) -> None:
        self._objects: list[object] = []
        self._names: list[str] = []
        self._values: list[object] = []

    def add(self, target: object, name: str, value: object) -> None:
        """Set an attribute of an object, too."""
        self._objects.append(target)
        self._names.append(name)
        self._values.append(value)

    def apply(self) -> None:
        """Set them all, or none if it is interrupted.

        The loop runs in C, where no signal handler and, under the interpreter lock, no other thread can come in
        between.
        """
        _exhaust(map(setattr, self._objects, self._names, self._values))


@final
class AnswerFigures(StateRepr):
    """How fast answers of an endpoint came, where requests say so: recent values, and tokens since it joined."""

    __slots__ = ("first_byte", "speed", "tokens")

    def __init__(self) -> None:
        self.first_byte: RecentWindow = RecentWindow()
        """Seconds to the first byte."""
        self.speed: RecentWindow = RecentWindow()
        """Tokens a second, after the first one, of one answer."""
        self.tokens: int = 0


class Load(Protocol):
    """How busy an endpoint is, as one comparable number; less is better.

    One object per node, driven by the balancer. A selector that compares loads takes any of them. Methods are called
    from the threads of requests, several at once, under no lock; they must not wait. One that raises is logged.

    Optional hooks, each a protocol of :mod:`balancekit.protocols`: ``SupportsFastSuccess``, ``SupportsReset``. An
    attribute ``needs_start = False`` says that ``started`` does nothing and need not be called, ``needs_end = False`` the
    same of ``finished`` and ``succeeded``.
    """

    def started(self, *, now: float, cost: float) -> None:
        """Record that a request of this cost was sent to the endpoint."""
        ...

    def finished(self, completion: Completion, /) -> None:
        """Record how a request ended."""
        ...

    def value(self, *, now: float) -> float:
        """Return the load at ``now``. Pure: two calls return the same and change nothing."""
        ...


class ComparedFields:
    """The fields of a node that a pick reads of each candidate.

    Slots of a base class come first in an object, in alphabetical order: these mostly share a cache line with the
    reference count and the type, which a pick touches as well.
    """

    __slots__ = ("inflight", "latency_estimate")


class CountedFields(ComparedFields):
    """The fields that every request reads and writes of the node that was picked."""

    __slots__ = ("callbacks", "successes")


class PickedFields(CountedFields):
    """The fields that plain requests read of it beside these: the last that fit in the cache line."""

    __slots__ = ("capacity", "load")


class HotFields(PickedFields):
    """The fields that requests touch if more than the load records them: they are in the next one."""

    __slots__ = ("health_watching", "low_water")


@final
class Node(HotFields):
    """The runtime record of one endpoint; it lives as long as the endpoint is in the pool.

    Algorithms read it and never write it, but for the fields that are marked as theirs. ``inflight`` and ``load`` are
    live: two reads may differ.

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
        "answers",
        "costed",
        "endpoint",
        "id",
        "latency",
        "leaving",
        "lock",
        "metadata",
        "needs_completion",
        "on_low_water",
        "open_cost",
        "outcomes",
        "priority",
        "ramp",
        "reported",
        "restorations",
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
        """Warm-up share, 0 to 1; 1 when the endpoint takes its full share."""
        self.trial: int = 0
        """How many requests at a time the endpoint takes whatever its ramp is, while it is on trial."""
        self.restorations: int = 0
        """How often health has let the endpoint back: what its process remembered may be gone."""
        self.inflight: int = 0
        """How many leases are open. Changed only by the balancer and the lease itself."""
        self.costed: int = 0
        """How many of them were given a cost; each of the others costs 1."""
        self.open_cost: float = 0.0
        """The sum of the costs that were given; exactly zero when no such lease is open, whatever was rounded."""

        # What follows belongs to the balancer and to the structures it feeds; see lease.py.
        self.successes: int = 0
        self.outcomes: dict[Outcome, int] = {}
        self.reported: Mapping[Outcome, int] = {}
        self.needs_completion: bool = False
        self.health_watching: bool = False
        self.leaving: bool = False  # set in the step that publishes a drain or a removal, and by nothing else
        self.callbacks: int = NO_CALLBACKS
        self.low_water: int = 0
        self.on_low_water: Callable[[Node], None] = _ignore
        self.lock: AbstractContextManager[object] = lock
        self.answers: AnswerFigures | None = None
        """How fast its answers came; ``None`` before a request has said so."""
        self.latency: RecentWindow | None = None
        # A load may keep here the one number its own picks compare; NaN sends them to `load.value`.
        self.latency_estimate: float = 0.0
        self.load: Load = load(self)

    def set_watch(self, *, health_watching: bool) -> None:
        """Say whether health needs to know of plain successes; an endpoint that leaves reports them in any case."""
        self.health_watching = health_watching or self.leaving
        self.callbacks = self._callbacks()
        if self.low_water > 0:  # another thread may have said so between reading and writing
            self.callbacks = ALL_CALLBACKS

    def notify_below(self, low_water: int) -> None:
        """Call ``on_low_water`` from now on whenever in-flight falls below ``low_water``."""
        self.low_water = low_water
        self.callbacks = self._callbacks()
        if self.health_watching:  # the same: or the ends of a removed node would not be counted
            self.callbacks = ALL_CALLBACKS

    def _callbacks(self) -> int:
        if self.health_watching or self.low_water > 0:
            return ALL_CALLBACKS
        return LOAD_CALLBACK if self.needs_completion else NO_CALLBACKS

    def tally(self) -> dict[Outcome, int]:
        """Return how many leases ended how; every outcome is a key."""
        found = dict.fromkeys(Outcome, 0)
        found |= self.outcomes
        found[Outcome.SUCCESS] = self.successes
        return found

    def __repr__(self) -> str:
        return f"Node({self.id!r}, weight={self.weight:g}, inflight={self.inflight})"


def _ignore(_node: Node) -> None:
    """Stand where no structure wants low-water calls."""
