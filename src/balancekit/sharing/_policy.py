"""Loads that include the requests in flight of other processes.

Each process has its own balancer and its own load. The processes share the number of open leases per endpoint. So a
load that reads ``node.inflight`` reads the sum over all processes. A pick reads only memory of its own process. An
exchange, by a mapped file or a store, updates the sums.

Cost of a plain pick with two choices: two empty method calls more with a file, none with a store
(``benchmarks/sharing.py``). Once per ``period``, one pick adds up the rows of the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol, cast, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.record import Policy, field
from balancekit.errors import ConfigurationError
from balancekit.loads import CountedLoad, InFlight, InFlightCost
from balancekit.node import Node
from balancekit.protocols import LoadPolicy, SupportsForget, SupportsPoolLoad, Sweep
from balancekit.sharing._exchange import NO_PLACE, Exchange
from balancekit.sharing._load import SharedLoad
from balancekit.sharing._store import require_store

__all__ = ["Shared", "SharedPool", "SharedStore"]

SWEEP_S: Final = 0.25
"""Seconds between two full publications of all counts while picks refresh the sums."""


class SharedStore(Protocol):
    """A store through which processes on several hosts exchange counts, such as ``RedisStore``."""

    def exchange(self) -> Exchange:
        """Return the exchange of one pool."""
        ...


class Shared(Policy):
    """Load policy that applies another load to the open leases of all sharing processes.

    Parameters
    ----------
    load
        The load policy to apply. Its loads must read requests in flight.
    file
        For the workers of one host: a name, or a path on a local file system. Workers of one user that pass the same name
        share their counts.
    store
        For several hosts: a ``RedisStore`` or an ``AsyncRedisStore``. Pass either this or ``file``.
    period
        With a file: seconds between refreshes of the sums, > 0. With many endpoints and workers the pauses are longer, so
        that refreshes use at most 1 % of a processor.
    max_workers, max_endpoints
        With a file: the number of its rows, and of endpoints in each. The process that creates the file decides. The
        counts of further workers and endpoints are not shared, and a warning is logged.

    *Guarantee.* The open leases of a process that has ended for any reason are no longer counted after one second with
    a file, and after ``ttl`` with a store. Open leases of a removed endpoint are counted under its id until they end,
    unless other endpoints need its place in the file. A process never waits for another one.

    *When to use it:* with ``PowerOfChoices``, if each of several workers gets a share of the traffic.

    *When not to use it:* in a single process. With selectors that pick the least loaded of all endpoints: all processes
    would pick the same endpoint until the sums of a store are refreshed. With the default selector, which learns more
    from its own requests.

    Cost: ``16 * max_workers * max_endpoints`` bytes of memory for all workers together.

    Source: own measurement, ``benchmarks/sharing.py``; Mitzenmacher 2000, *How useful is old information?*

    Raises
    ------
    ConfigurationError
        If both or neither of ``file`` and ``store`` are given, ``load`` is no load policy or one that does not read
        requests in flight, ``file`` is no path, ``store`` is no store, or a number is outside its bounds. The
        constructor of the balancer raises it if the file cannot be used.

    Example
    -------
    >>> import tempfile
    >>> from balancekit import LoadBalancer, PowerOfChoices
    >>> from balancekit.loads import InFlight
    >>> from balancekit.sharing import Shared
    >>> from balancekit.testing import ManualClock
    >>> policy, clock = Shared(InFlight(), file=f"{tempfile.mkdtemp()}/checkout"), ManualClock()
    >>> one = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=policy, clock=clock)
    >>> other = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=policy, clock=clock)
    >>> mine = one.acquire()
    >>> _ = clock.advance(0.002)
    >>> other.acquire().target != mine.target
    True
    """

    timed: ClassVar[bool] = True

    load: LoadPolicy = field(default=InFlight(), kw_only=False)
    file: str | os.PathLike[str] | None = None
    store: SharedStore | None = None
    period: float = 0.002
    max_workers: int = 128
    max_endpoints: int = 256

    def _check(self) -> None:
        load: object = self.load
        if isinstance(load, type) and issubclass(load, Policy):
            raise ConfigurationError("load", load, f"an instance: {load.__name__}()")
        if not callable(load) or isinstance(load, InFlightCost | Shared):
            raise ConfigurationError(
                "load", self.load, "a load policy that reads requests in flight, such as InFlight()"
            )
        if (self.file is None) == (self.store is None):
            raise ConfigurationError("file", self.file, "either file= or store=")
        if self.file is not None:
            valid.path("file", self.file, allowed="a name or a path")
        if self.store is not None:
            require_store(self.store)
        valid.number("period", self.period, above=0.0)
        valid.integer("max_workers", self.max_workers, minimum=1, maximum=65_536)
        valid.integer("max_endpoints", self.max_endpoints, minimum=1, maximum=1_000_000)

    def for_pool(self) -> SharedPool:
        """Return the shared state for the loads of one pool."""
        if self.store is not None:
            return SharedPool(self.load, self.store.exchange())
        from balancekit.sharing._file import FileExchange  # noqa: PLC0415 - needs numpy

        assert self.file is not None
        exchange = FileExchange(
            self.file, period=self.period, max_workers=self.max_workers, max_endpoints=self.max_endpoints
        )
        return SharedPool(self.load, exchange)

    def __call__(self, node: Node) -> SharedLoad:
        """Return the load of a node that is alone in its pool."""
        return self.for_pool()(node)


@final
class SharedPool(StateRepr, prints=("version",)):
    """The shared state of the loads of one pool.

    Parameters
    ----------
    policy
        The load of one process.
    exchange
        The source of the other processes' loads.
    """

    __slots__ = (
        "__weakref__",
        "_forget",
        "_inner",
        "_left",
        "_lock",
        "_placeless",
        "_replaced",
        "_sweep",
        "comparing",
        "deadline",
        "due",
        "exchange",
        "last_pick",
        "loads",
        "version",
    )

    def __init__(self, policy: LoadPolicy, exchange: Exchange) -> None:
        self._inner: LoadPolicy = policy.for_pool() if isinstance(policy, SupportsPoolLoad) else policy
        shared: object = self._inner
        self._sweep = shared if isinstance(shared, Sweep) else None
        self._forget = shared.forget if isinstance(shared, SupportsForget) else None
        self._lock: Any = new_lock()
        self.comparing: bool = False
        """Whether a selector compares nodes with the pool's function."""
        self.exchange: Exchange = exchange
        self.deadline: float = -math.inf
        """The time at which :meth:`advance` is due."""
        self.due: float = -math.inf
        """The time of the next refresh of the sums."""
        self.loads: dict[str, SharedLoad] = {}
        """The loads by endpoint id. Copy it before iterating; other threads change it."""
        self._replaced: dict[Node, SharedLoad] = {}
        """The load that each new node replaces, until the balancer has forgotten one of the two nodes."""
        self._left: dict[Node, SharedLoad] = {}
        """The loads of nodes that have left or may leave. They publish their open leases until these have ended."""
        self._placeless: dict[Node, SharedLoad] = {}
        """The loads without a location. They get the locations of nodes that leave."""
        self.version: int = 0
        """Grows with every change of ``loads``."""
        self.last_pick: SharedLoad | None = None
        """The load of the last pick; its published count includes a request that may have gone to another endpoint."""
        call_in_child(self)

    def __call__(self, node: Node) -> SharedLoad:
        """Return the load of one node."""
        load = SharedLoad(self, node, self._inner)
        with self._lock:
            before = self.loads.get(node.id)
            if before is not None:
                self._part_with(before)
                self._replaced[node] = before
            self._add(load)
        self.exchange.log_notes()
        return load

    def forget(self, node: Node) -> None:
        """Remove a node."""
        if self._forget is not None:
            self._forget(node)
        with self._lock:
            load = self.loads.get(node.id)
            before = self._replaced.pop(node, None)
            if load is not None and load.node is node:
                self._part_with(load)
                if before is not None:  # the change of the target was dropped: the old node stays
                    self._take_back(before)
            self._replace(node, before)
            left = self._left.get(node)
            if left is not None and not node.inflight:
                self._drop(left)
        self.exchange.log_notes()

    def _replace(self, node: Node, before: SharedLoad | None) -> None:
        """Set what the successors of a node replace to ``before``, because the node itself is gone."""
        for one in [one for one, other in self._replaced.items() if other.node is node]:
            del self._replaced[one]
            if before is not None:
                self._replaced[one] = before

    def _add(self, load: SharedLoad) -> None:
        if self.exchange.full:
            self._drop_ended()
        while self.exchange.full and self._left:  # endpoints that serve have priority
            self._drop(next(iter(self._left.values())))
        load.place = self.exchange.join(load.node.id)
        self._show(load)

    def _show(self, load: SharedLoad) -> None:
        if load.place is NO_PLACE:
            self._placeless[load.node] = load
        self.loads[load.node.id] = load
        self.version += 1
        self.due = self.deadline = -math.inf

    def _take_back(self, load: SharedLoad) -> None:
        if self._left.pop(load.node, None) is None:
            self._add(load)
        else:
            self._show(load)

    def _part_with(self, load: SharedLoad) -> None:
        """Move a load to those that leave; its count is kept until its leases have ended."""
        self._left[load.node] = load
        self._placeless.pop(load.node, None)
        del self.loads[load.node.id]
        self.version += 1

    def _drop_ended(self) -> None:
        """Release the counts of nodes that have left and have no lease."""
        undecided = {load.node for load in self._replaced.values()}
        for load in list(self._left.values()):
            if not load.node.inflight and load.node not in undecided:
                self._drop(load)

    def _drop(self, load: SharedLoad) -> None:
        """Release the location of a load. If a load has none, it gets this one."""
        place, load.place = load.place, NO_PLACE
        del self._left[load.node]
        if place is not NO_PLACE:
            self.exchange.leave(load.node.id, place)
            if self._placeless:
                node, waiting = next(iter(self._placeless.items()))
                waiting.place = self.exchange.join(node.id)
                del self._placeless[node]
                waiting.publish()

    def rejoin(self) -> None:
        """Let all loads join again, because the exchange has lost their locations."""
        with self._lock:
            self._rejoin()

    def _rejoin(self) -> None:
        loads = list(self.loads.values()) + list(self._left.values())
        for load in loads:
            load.place = NO_PLACE
        for load in loads:
            load.place = self.exchange.join(load.node.id)
            load.publish()

    def leaving(self) -> dict[str, int]:
        """Return the open leases of nodes that have left, by endpoint id."""
        found: dict[str, int] = {}
        for node in list(self._left):
            found[node.id] = found.get(node.id, 0) + node.inflight
        return found

    def advance(self, *, now: float) -> None:
        """Publish all counts and refresh the sums, for selectors that compare values."""
        self.refresh(now)
        self.deadline = self.due if not self.comparing else max(self.due, now + SWEEP_S)
        if self._sweep is not None:
            if now >= self._sweep.deadline:
                self._sweep.advance(now=now)
            self.deadline = min(self.deadline, self._sweep.deadline)

    def refresh(self, now: float) -> None:
        """Publish all counts and refresh the sums."""
        self.due = math.inf  # other threads continue with the current sums
        try:
            self.exchange.hold(self, now)
            for load in list(self.loads.values()) + list(self._left.values()):
                load.publish()
            if self._left and self._lock.acquire(blocking=False):
                try:
                    self._drop_ended()
                finally:
                    self._lock.release()
            self.due = self.exchange.refresh(self, now)
        finally:
            if self.due == math.inf:
                self.due = now + SWEEP_S

    def after_fork(self) -> None:
        """Forget the locations of the parent without writing to them. The child's balancer creates new nodes and loads."""
        for load in (*self.loads.values(), *self._left.values()):
            load.place = NO_PLACE
        self.loads.clear()
        self._left.clear()
        self._placeless.clear()
        self._replaced.clear()
        self.version += 1
        self.last_pick = None
        self.exchange.after_fork()

    def comparer(self, *, weighted: bool) -> Callable[[Node, Node, float], Node]:
        """Return a function that returns the less loaded of two nodes and counts the coming request for it.

        On a tie it returns the first.
        """
        self.comparing = True
        counted = {type(load.inner) for load in list(self.loads.values())} == {CountedLoad}
        if not counted:
            return self._comparer(_lower_value)
        return self._comparer(_fewer_by_weight) if weighted else self._fewer()

    def _comparer(self, compare: Callable[[Node, Node, float], Node]) -> Callable[[Node, Node, float], Node]:
        def lighter(a: Node, b: Node, now: float) -> Node:
            if now >= self.due:
                self.refresh(now)
            chosen = compare(a, b, now)
            self.count(chosen)
            return chosen

        return lighter

    def _fewer(self) -> Callable[[Node, Node, float], Node]:
        def lighter(a: Node, b: Node, now: float) -> Node:
            if now >= self.due:
                self.refresh(now)
            chosen = a if a.inflight + a.latency_estimate <= b.inflight + b.latency_estimate else b
            # The rest is count(), inlined.
            load: Any = chosen.load
            last = self.last_pick
            if last is not None and last is not load:
                words, index = last.place
                words[index] = last.node.inflight
            self.last_pick = load
            words, index = load.place
            words[index] = chosen.inflight + 1
            return chosen

        return lighter

    def count(self, node: Node) -> None:
        """Publish the count of a picked node with its new request, and correct the count of the node picked before."""
        last = self.last_pick
        if last is not None:
            last.publish()
        self.last_pick = load = cast("SharedLoad", node.load)
        words, index = load.place
        words[index] = node.inflight + 1


def _lower_value(a: Node, b: Node, now: float) -> Node:
    return b if b.load.value(now=now) < a.load.value(now=now) else a


def _fewer_by_weight(a: Node, b: Node, _now: float) -> Node:
    left = (a.inflight + a.latency_estimate) * b.weight
    return a if left <= (b.inflight + b.latency_estimate) * a.weight else b
