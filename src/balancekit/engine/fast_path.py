"""The fast path of a request, and the slow path beside it.

A request is *plain* if it names no exclusion, cost or attributes. A plain request reads one reference that holds one
immutable :class:`FastPath`, picks and opens a lease: no lock, no context object, and no clock unless time is needed.
``LoadBalancer.acquire`` has that written out; :func:`acquire` does the same for a request with a key, and is the slow
path for everything else: an exclusion, a cost, attributes, something that is due, a lost lease, a selector without a
picker, a load that must be told of starts, a balancer for debugging.

Cost of the slow path: at most 12 Python calls and three objects (lease, context, exclusions), flat in the number of
endpoints for every selector that is.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Collection, Mapping
from random import Random
from types import FrameType
from typing import NamedTuple, Protocol, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.log import log_error
from balancekit.engine.state import PoolState, empty
from balancekit.errors import MissingKeyError, SelectorError, UnavailableError
from balancekit.lease import FREE_THREADED, Lease, LeaseOwner
from balancekit.node import Node
from balancekit.protocols import Clock
from balancekit.snapshot import DEFAULT_COST, NO_ATTRIBUTES, Key, PickContext, Trace

__all__ = [
    "DEFAULT_COST",
    "Current",
    "Engine",
    "FastPath",
    "Pick",
    "Published",
    "acquire",
    "context",
    "open_lease",
]

Pick: TypeAlias = Callable[..., Node]


class Published(NamedTuple):
    """All that requests read of one state of the pool. A new state is a new one of these."""

    pick: Pick | None
    """Picks for a plain request without a key; ``None`` sends it to the slow path."""
    clock: Clock | None
    """To be read before a pick; ``None`` if no request needs the time."""
    deadline: float
    """From when on something is due, so that requests take the slow path."""
    owner: LeaseOwner
    """Of new leases. While it has lost leases, requests take the slow path."""
    pick_by_key: Pick | None
    """Picks for a plain request with a key, if the selector hashes keys."""
    picker: Pick | None
    """Picks for any plain request, whatever keeps it from the fast path."""
    state: PoolState
    """The state that all of it was made from."""
    sound: bool = True
    """Whether the picker is known to be the last that the selector made; if not, it is made anew when due."""


FastPath: TypeAlias = tuple[Pick | None, Clock | None, float, deque[Lease[object]], LeaseOwner, Published]
"""What a plain request reads, in one reference: the first fields of what is published, the lost leases of its owner,
and all of it. A plain tuple, because unpacking a named one costs as much again as the rest of an acquire."""


def fast_path(published: Published) -> FastPath:
    """Return what plain requests read of what is published."""
    return (
        published.pick,
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
        self.fast: FastPath = fast_path(Published(None, None, -math.inf, owner, None, None, empty()))

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
    def keyed(self) -> bool:
        """Whether picks hash the key of a request."""
        ...

    @property
    def key_required(self) -> bool:
        """Whether requests without a key are refused."""
        ...

    def wake(self) -> float:
        """Do what is due and return the time."""
        ...

    def select(self, published: Published, ctx: PickContext) -> Node | None:
        """Ask the selector."""
        ...

    def open(self, node: Node, *, now: float, cost: float, site: str | None) -> Lease[object]:
        """Open a lease that is not an ordinary one."""
        ...

    def unavailable(self, published: Published, ctx: PickContext) -> UnavailableError:
        """Return the error to raise when no endpoint was picked."""
        ...


def open_lease(node: Node, owner: LeaseOwner, started_at: float) -> Lease[object]:
    """Open a lease on a node. ``LoadBalancer.acquire`` has this written out."""
    lease: Lease[object] = Lease()
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


def acquire(
    engine: Engine,
    key: Key | None,
    cost: float,
    exclude: Collection[str],
    attributes: Mapping[str, object] | None,
    *,
    checked: bool = False,
) -> Lease[object]:
    """Open a lease for a request that is not plain, that has a key, or that something stands in the way of.

    ``checked`` says that the arguments have been validated.
    """
    plain = not exclude and cost is DEFAULT_COST and attributes is None
    if plain and key is not None:
        pick, clock, deadline, lost, owner, published = engine.current.fast
        now = math.nan if clock is None else clock()
        pick_by_key = published.pick_by_key
        if not lost and not now >= deadline:
            node = None
            try:
                if pick_by_key is not None:
                    node = pick_by_key(key, now)
                elif pick is not None and isinstance(key, str | bytes | int) and key.__class__ is not bool:
                    node = pick(now)
            except Exception:  # the slow path finds out why
                node = None
            if node is not None:  # what follows is open_lease(), written out
                lease: Lease[object] = Lease()
                lease._started_at = now
                lease._owner = owner
                lease.node = node
                node.inflight += 1
                lease._open = node
                return lease
    if not checked:
        if cost is not DEFAULT_COST or key is not None or attributes is not None:
            valid.request(key, cost, attributes)
        if exclude:
            exclude = valid.ids("exclude", exclude)
    if key is None and engine.key_required:
        raise MissingKeyError
    now = engine.wake()
    published = engine.current.published
    node = None
    picker = published.picker if plain else None
    if picker is not None:
        node = _pick(picker, key if engine.keyed else None, now, keyed=engine.keyed)
    if node is None:
        ctx = context(engine, key, cost, exclude, attributes, now)
        node = engine.select(published, ctx)
        if node is None:
            raise engine.unavailable(published, ctx)
    return engine.open(node, now=now, cost=float(cost), site=_caller() if engine.debug else None)


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


def _pick(picker: Pick, key: Key | None, now: float, *, keyed: bool) -> Node | None:
    """Pick by the picker; ``None`` if the request lacks a key, or if the picker fails."""
    if keyed and key is None:
        return None
    try:
        return picker(key, now) if keyed else picker(now)
    except SelectorError:
        raise
    except Exception:  # a load or a generator of the user; the selector is asked instead
        log_error("picker %r failed", picker)
        return None


def _caller() -> str:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("balancekit."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown place"
