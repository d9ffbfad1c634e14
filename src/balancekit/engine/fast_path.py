"""The fast path and the slow path of a request.

A request is *plain* if it names no exclusion, cost or attributes. A plain request reads one reference that holds one
immutable :class:`FastPath`, picks and opens a lease: no lock, no context object, and no clock unless time is needed.
``LoadBalancer.acquire`` has that written out. :func:`acquire` takes the *short* path for an exclusion, a cost or
attributes: it calls the selector itself, with a context. Everything else goes the long way: something that is due, a
lost lease, an endpoint in slow start, a selector of the user, a load that wants to know of starts, a balancer for
debugging, a request that nothing was picked for.

Cost of the short path: about 40 empty method calls beyond the selector's own, at most 12 Python calls and two objects
(lease, context), flat in the number of endpoints for every selector that is.
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
    """All that requests read of one state of the pool. A new state is a new one of these."""

    pickers: Pickers
    """Picks for any plain request, whatever keeps it from the fast path."""
    fast: Pickers
    """The same if plain requests may take the fast path, else none."""
    select: Select | None
    """Called by requests on the fast path; ``None`` sends them to the slow path."""
    now: Clock
    """The clock of the balancer."""
    clock: Clock | None
    """To be read before a plain pick; ``None`` if no plain request needs the time."""
    deadline: float
    """From when on something is due, so that requests go the long way."""
    owner: LeaseOwner
    """Of new leases. While it has lost leases, requests go the long way."""
    state: PoolState
    """The state that all of it was made from."""
    sound: bool = True
    """Whether the pickers are known to be the last that the selector made; if not, they are rebuilt when due."""

    def postponed(self, other: Published) -> bool:
        """Answer whether this is another one but for when something is due, and nothing is due now."""
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
"""What a plain request reads, in one reference: the picks without and by key, clock and deadline, the lost leases of the
owner, the owner, and all that is published. A plain tuple, because unpacking a named one costs as much again as the rest
of an acquire."""


def fast_path(published: Published) -> FastPath:
    """Return what plain requests read of what is published."""
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
    """The one reference that requests read, and that a change swaps.

    Parameters
    ----------
    owner
        Of the first leases.
    """

    __slots__ = ("fast",)

    def __init__(self, owner: LeaseOwner) -> None:
        self.fast: FastPath = fast_path(
            Published(NO_PICKERS, NO_PICKERS, None, _no_time, None, -math.inf, owner, empty())
        )

    @property
    def published(self) -> Published:
        """What is published."""
        return self.fast[-1]


class Engine(Protocol):
    """What the slow path needs of the runtime."""

    @property
    def current(self) -> Current:
        """What is published."""
        ...

    @property
    def rng(self) -> Random:
        """The generator of the balancer."""
        ...

    @property
    def debug(self) -> bool:
        """Whether leases remember where they were acquired."""
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
        """Open a lease that is not an ordinary one."""
        ...

    def unavailable(self, published: Published, ctx: PickContext) -> UnavailableError:
        """Return the error to raise when no endpoint was picked."""
        ...


def open_lease(node: Node, owner: LeaseOwner, started_at: float) -> Lease[object]:
    """Open a lease on a node. ``LoadBalancer.acquire`` has this written out."""
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
    """Open a lease of a request that was given a cost. :func:`acquire` has this written out."""
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
    """Open a lease for a request that is not plain, or that something stands in the way of.

    ``checked`` says that the arguments have been validated.
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
            ctx = _new(PickContext)  # written out: keyword arguments would cost twice as much
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
    except Exception:  # the long way finds out why
        raise_interrupt()
        node = None
    if node is None or node.id in exclude:
        return _acquire(engine, key, cost, exclude, attributes, plain=plain)
    # What follows is open_lease() and open_cost_lease(), written out.
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
    """Open a lease the long way: do what is due, pick with every check, notify all that observe."""
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
    """Return the exclusions of a request, all of it validated; a set is returned as it is.

    Raises
    ------
    ConfigurationError
        Naming the first argument that is none.
    """
    if (
        (cost is not DEFAULT_COST and not (cost.__class__ is float and 0.0 < cost < math.inf))
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
    """Return what a selector sees of a request.

    Raises
    ------
    MissingKeyError
        If the request has no key and the balancer refuses that.
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
    """Pick by a picker; ``None`` if there is none for the request, or if it fails."""
    pick, pick_by_key = pickers
    try:
        if key is not None and pick_by_key is not None:
            return pick_by_key(key, now)
        return None if pick is None else pick(now)
    except SelectorError:
        raise
    except Exception:  # a load or a generator of the user; the selector is called instead
        contain_error("a picker failed: %r", pickers)
        return None


def _no_time() -> float:
    """Stand where no balancer has set its clock."""
    return math.nan


def _caller() -> str:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("balancekit."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown place"
