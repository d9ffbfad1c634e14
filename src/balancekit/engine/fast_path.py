"""The fast path and the slow path of a request.

A request is *plain* if it has no exclusion, no cost and no attributes. The *fast path* serves plain requests. It reads one
reference to an immutable :data:`FastPath`, picks, and opens a lease. It takes no lock, creates no context object, and
reads the clock only if time is needed. Its code is inlined in ``LoadBalancer.acquire``.

The *short path*, in :func:`acquire`, serves requests with an exclusion, a cost or attributes. It calls the selector
directly, with a context.

The *slow path* serves every other request: when something is due, when a lease was lost, when an endpoint is in slow
start, when the user wrote the selector, when a load needs to be notified of starts, in debug mode, and when the other
paths picked no endpoint.

Cost of the short path: at most 12 Python calls and two objects (lease, context), about 40 empty method calls in addition
to the selector. The cost does not grow with the number of endpoints unless the selector's cost does.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Collection, Mapping
from random import Random
from types import FrameType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, final

from balancekit._selection.pickers import NO_PICKERS, Pick, Pickers
from balancekit._support import validation as valid
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.log import contain_error
from balancekit._support.validation import MAX_COST
from balancekit.engine.state import PoolState, empty
from balancekit.errors import MissingKeyError, SelectorError, UnavailableError
from balancekit.lease import FREE_THREADED, Lease, LeaseExtras, LeaseOwner, OpenCostLease, OpenLease
from balancekit.node import Node
from balancekit.protocols import Clock
from balancekit.snapshot import DEFAULT_COST, NO_ATTRIBUTES, Key, PickContext, Snapshot, Trace

__all__ = [
    "DEFAULT_COST",
    "Current",
    "Engine",
    "FastPath",
    "Published",
    "Select",
    "acquire",
    "check_request",
    "context",
    "open_cost_lease",
    "open_lease",
]

Select: TypeAlias = Callable[[Snapshot, PickContext], Node | None]

_new: Final = object.__new__
_SETS: Final = frozenset({set, frozenset})
_COLLECTIONS: Final = frozenset({set, frozenset, tuple, list})


class Published(NamedTuple):
    """Everything that requests read of one state of the pool. It is replaced as a whole with each new state."""

    pickers: Pickers
    """The picks of plain requests on the slow path."""
    fast: Pickers
    """The picks of plain requests on the fast path. Without a pick, such requests take the slow path."""
    select: Select | None
    """The ``select`` method that the short path calls. ``None`` sends those requests to the slow path."""
    now: Clock
    """The clock of the balancer."""
    clock: Clock | None
    """The clock to read before a plain pick; ``None`` if no plain request needs the time."""
    deadline: float
    """The time at which something is due. From then on, requests take the slow path."""
    owner: LeaseOwner
    """The owner of new leases. While it has lost leases, requests take the slow path."""
    state: PoolState
    """The state that all the other fields were made from."""
    sound: bool = True
    """Whether the pickers are the last ones that the selector made. If not, they are rebuilt with the next request."""

    def postponed(self, other: Published) -> bool:
        """Return whether this differs from ``other`` in the deadline alone, and nothing is due at once."""
        return (
            self.deadline > -math.inf
            and self.state is other.state
            and self.pickers is other.pickers
            and self.fast is other.fast
            and self.select is other.select
            and self.owner is other.owner
            and self.sound is other.sound
        )


FastPath: TypeAlias = tuple[
    Pick | None, Pick | None, Clock | None, float, deque[Lease[object]], LeaseOwner, Published
]
"""The tuple that a plain request reads: pick, pick by key, clock, deadline, lost leases, owner, and :class:`Published`.
It is a plain tuple because unpacking a named tuple would double the cost of an acquire."""


def fast_path(published: Published) -> FastPath:
    """Return the tuple that plain requests read, from what is published."""
    return (
        *published.fast,
        published.clock,
        published.deadline,
        published.owner.lost,
        published.owner,
        published,
    )


@final
class Current:
    """The one reference that requests read and that a change swaps.

    Parameters
    ----------
    owner
        The owner of leases until the first change.
    """

    __slots__ = ("fast",)

    def __init__(self, owner: LeaseOwner) -> None:
        self.fast: FastPath = fast_path(
            Published(NO_PICKERS, NO_PICKERS, None, _no_time, None, -math.inf, owner, empty())
        )

    @property
    def published(self) -> Published:
        """Everything that is published now."""
        return self.fast[-1]


class Engine(Protocol):
    """The part of the runtime that the slow path uses."""

    @property
    def current(self) -> Current:
        """The reference to everything that is published."""
        ...

    @property
    def rng(self) -> Random:
        """The generator of the balancer."""
        ...

    @property
    def debug(self) -> bool:
        """Whether leases record the line of code that acquired them."""
        ...

    @property
    def key_required(self) -> bool:
        """Whether requests without a key are refused."""
        ...

    def wake(self) -> float:
        """Do what is due and return the time."""
        ...

    def select(self, published: Published, ctx: PickContext) -> Node | None:
        """Call the selector."""
        ...

    def open(self, node: Node, *, now: float, cost: float, site: str | None) -> Lease[object]:
        """Open a lease on the slow path."""
        ...

    def unavailable(self, published: Published, ctx: PickContext) -> UnavailableError:
        """Return the error to raise when no endpoint was picked."""
        ...


def open_lease(node: Node, owner: LeaseOwner, started_at: float) -> Lease[object]:
    """Open a lease on a node. ``LoadBalancer.acquire`` has an inlined copy."""
    lease: Lease[object] = OpenLease()
    lease._started_at = started_at
    lease._owner = owner
    lease.node = node
    if FREE_THREADED:
        with node.lock:
            node.inflight += 1
            lease._open = node
        return lease
    node.inflight += 1
    lease._open = node  # no signal and no other thread comes between these two
    return lease


def open_cost_lease(node: Node, owner: LeaseOwner, started_at: float, cost: float) -> Lease[object]:
    """Open a lease for a request with a cost. :func:`acquire` has an inlined copy."""
    lease: Lease[object] = OpenCostLease()
    lease._started_at = started_at
    lease._owner = owner
    lease.node = node
    lease._extras = extras = LeaseExtras()
    extras.cost = cost
    if FREE_THREADED:
        with node.lock:
            node.inflight += 1
            node.costed += 1
            node.open_cost += cost
            lease._open = node
        return lease
    node.inflight += 1
    node.costed += 1
    node.open_cost += cost
    lease._open = node  # no signal and no other thread comes between these four
    return lease


def acquire(
    engine: Engine,
    key: Key | None,
    cost: float,
    exclude: Collection[str],
    attributes: Mapping[str, object] | None,
    *,
    checked: bool = False,
) -> Lease[Any]:
    """Open a lease on the short path, or on the slow path if that is not possible.

    ``checked`` means that the arguments have already been validated.
    """
    if not checked:
        exclude = check_request(key, cost, exclude, attributes)
    if key is None and engine.key_required:
        raise MissingKeyError
    pick, pick_by_key, clock, deadline, lost, owner, published = engine.current.fast
    select = published.select
    plain = not exclude and cost is DEFAULT_COST and attributes is None
    if select is None or lost:
        return _acquire(engine, key, cost, exclude, attributes, plain=plain)
    now = published.now()
    if now >= deadline:
        return _acquire(engine, key, cost, exclude, attributes, plain=plain)
    try:
        if not plain:
            ctx = _new(PickContext)  # inlined: a call with keyword arguments would cost twice as much
            ctx.rng = engine.rng
            ctx.now = now
            ctx.key = key
            ctx.cost = cost
            ctx.exclude = exclude
            ctx.attributes = NO_ATTRIBUTES if attributes is None else attributes
            ctx.trace = None
            node = select(published.state.snapshot, ctx)
        elif key is not None and pick_by_key is not None:
            node = pick_by_key(key, now)
        else:
            node = None if pick is None else pick(now)
    except Exception:  # the slow path calls the selector again and reports the error
        raise_interrupt()
        node = None
    if node is None or node.id in exclude:
        return _acquire(engine, key, cost, exclude, attributes, plain=plain)
    # The rest is an inlined copy of open_lease() and open_cost_lease().
    lease: Lease[object] = OpenLease() if cost is DEFAULT_COST else OpenCostLease()
    if clock is not None:
        lease._started_at = now
    lease._owner = owner
    lease.node = node
    if cost is DEFAULT_COST:
        node.inflight += 1
        lease._open = node
        return lease
    lease._extras = extras = LeaseExtras()
    extras.cost = cost = float(cost)
    node.inflight += 1
    node.costed += 1
    node.open_cost += cost
    lease._open = node
    return lease


def _acquire(
    engine: Engine,
    key: Key | None,
    cost: float,
    exclude: Collection[str],
    attributes: Mapping[str, object] | None,
    *,
    plain: bool,
) -> Lease[object]:
    """Open a lease on the slow path: do what is due, pick, check the pick, notify load and observers."""
    now = engine.wake()
    published = engine.current.published
    node = _pick(published.pickers, key, now) if plain else None
    if node is None:
        ctx = context(engine, key, cost, exclude, attributes, now)
        node = engine.select(published, ctx)
        if node is None:
            raise engine.unavailable(published, ctx)
    return engine.open(node, now=now, cost=float(cost), site=_caller() if engine.debug else None)


def check_request(key: object, cost: Any, exclude: Any, attributes: object) -> Collection[str]:
    """Validate the arguments of a request and return its exclusions. A set is returned unchanged.

    Raises
    ------
    ConfigurationError
        If ``key`` is no ``str``, ``bytes``, ``int`` or ``None``, ``cost`` no number > 0 and <= 1e12, ``exclude`` no collection of
        ids, or ``attributes`` no mapping. The error names the first of them.
    """
    if (
        (cost is not DEFAULT_COST and not (cost.__class__ is float and 0.0 < cost <= MAX_COST))
        or (key is not None and key.__class__ is not str)
        or (attributes is not None and attributes.__class__ is not dict)
    ):
        valid.request(key, cost, attributes)
    kind: object = exclude.__class__
    if kind not in _COLLECTIONS:
        return valid.exclusions(exclude)
    if not exclude:
        return ()
    for id in exclude:
        if id.__class__ is not str:
            return valid.ids("exclude", exclude)
    found: Collection[str] = exclude if kind in _SETS else frozenset(exclude)
    return found


def context(
    engine: Engine,
    key: Key | None,
    cost: float,
    exclude: Collection[str],
    attributes: Mapping[str, object] | None,
    now: float,
    trace: Trace | None = None,
) -> PickContext:
    """Return the context with which a selector is called.

    Raises
    ------
    MissingKeyError
        If the request has no key and the balancer was made with ``on_missing_key="refuse"``.
    """
    if key is None and engine.key_required:
        raise MissingKeyError
    return PickContext(
        rng=engine.rng,
        now=now,
        key=key,
        cost=float(cost),
        exclude=exclude,
        attributes=NO_ATTRIBUTES if attributes is None else attributes,
        trace=trace,
    )


def _pick(pickers: Pickers, key: Key | None, now: float) -> Node | None:
    """Return the node that a picker picks; ``None`` if there is no picker for the request, or if it raises."""
    pick, pick_by_key = pickers
    try:
        if key is not None and pick_by_key is not None:
            return pick_by_key(key, now)
        return None if pick is None else pick(now)
    except SelectorError:
        raise
    except Exception:  # from a load or a random generator of the user; the selector is called instead
        contain_error("a picker failed: %r", pickers)
        return None


def _no_time() -> float:
    """Return NaN: the clock until the first state is published."""
    return math.nan


def _caller() -> str:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("balancekit."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown place"
