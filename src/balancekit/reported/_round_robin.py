"""Round robin by weights that servers report themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import ClassVar, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit.node import Node
from balancekit.outcome import Completion
from balancekit.reported._timed_load import TimedInFlight
from balancekit.reported._weights import ReportedWeights
from balancekit.scheduling import SmoothWrr, StaggeredEdf
from balancekit.snapshot import PickContext, Snapshot

__all__ = ["ReportedRoundRobin"]

MAX_SMOOTH_NODES: Final = 64
"""The most endpoints for a smooth order; above, the order costs O(1) per turn."""
TURNS_LAID_OUT: Final = 64
"""The number of turns computed at once."""
MAX_ROUNDS: Final = 2
"""The turns tried per eligible node before a candidate is sampled at random instead."""


@final
class ReportedRoundRobin(ConstructorRepr):
    """Weighted round robin by reported requests per second per unit of utilization.

    Reports arrive with responses: adapters read them from headers, other code calls ``lease.report_load``.

    Parameters
    ----------
    weights
        The rule from reports to weights; gRPC's rule and figures if left out.
    period
        Seconds between new orders, > 0.

    Raises
    ------
    ConfigurationError
        If ``weights`` is no ``ReportedWeights``, or ``period`` is not > 0.

    *Guarantee.* Between two orders, each endpoint gets its share by weight to within a turn or two. Without reports it is
    plain round robin. Configured weights other than zero are ignored.

    *When to use it:* with servers that know their utilization, and have different speeds or noisy neighbours. *When not:*
    with many hundreds of clients, for which reports are old; with servers that report incorrect figures. For language
    models, use the cache and the queue rather than the CPU.

    Cost: O(1) per pick; O(n) for a new order.
    Source: gRPC proposal A58; Envoy 1.40.0, ``client_side_weighted_round_robin``.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.outcome import LoadReport
    >>> from balancekit.reported import ReportedRoundRobin
    >>> from balancekit.testing import ManualClock
    >>> clock = ManualClock()
    >>> lb = LoadBalancer(["a", "b"], selector=ReportedRoundRobin(), clock=clock)
    >>> for second in range(30):
    ...     with lb.acquire() as lease:
    ...         used = 0.2 if lease.target == "a" else 0.6
    ...         lease.report_load(LoadReport(application_utilization=used, rps=100.0))
    ...     _ = clock.advance(1.0)
    >>> [lb.explain().picked for _ in range(8)].count("a")
    6
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    learns_from_successes: ClassVar[bool] = False
    default_load: ClassVar[TimedInFlight] = TimedInFlight()

    @checked_arguments
    def __init__(self, weights: ReportedWeights | None = None, *, period: float = 1.0) -> None:
        self._machine = (ReportedWeights() if weights is None else weights)()
        self._period = valid.number("period", period, above=0.0)
        self._lock = new_lock()
        self._order: _Order | None = None

    @property
    def weights(self) -> dict[str, float]:
        """The weights of the current order, by endpoint id."""
        order = self._order
        return {} if order is None else dict(order.weights)

    def learn(self, node: Node, completion: Completion, /) -> None:
        """Record the load report of a finished request, if it has one."""
        if completion.load_report is not None:
            with self._lock:
                self._machine.record(node.id, completion.load_report, now=completion.ended_at)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the candidate whose turn it is."""
        candidates = snapshot.candidates(ctx)
        if not candidates:
            return None
        order = self._current(snapshot, ctx.now, ctx.rng)
        if ctx.trace is not None:
            shares = ", ".join([f"{name} {weight:.4g}" for name, weight in order.weights.items()])
            ctx.trace.note(f"weights by reports: {shares}")
        for _ in range(MAX_ROUNDS * len(order.nodes)):
            node = next(order.turns, None) or self._more(order)
            if node.id not in ctx.exclude:
                return node
        return ctx.rng.choices(candidates, [order.weights.get(node.id, 1.0) for node in candidates])[0]

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[[float], Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        random = Random() if rng is None else rng

        def pick(now: float) -> Node:
            order = self._order
            if order is None or order.snapshot is not snapshot or now >= order.due:
                order = self._current(snapshot, now, random)
            return next(order.turns, None) or self._more(order)

        return pick

    def _current(self, snapshot: Snapshot, now: float, rng: Random) -> _Order:
        """Return the order for a snapshot, rebuilt if the weights have changed."""
        with self._lock:
            order = self._order
            if order is not None and order.snapshot is snapshot and now < order.due:
                return order
            if order is None or order.snapshot is not snapshot:
                self._machine.keep([node.id for node in snapshot.members.nodes])
            nodes = _weighted(snapshot.eligible) or list(snapshot.eligible)
            weights = self._machine.weights([node.id for node in nodes], now=now)
            if order is None or weights != order.weights or nodes != order.nodes:
                # A new order starts at a random turn; otherwise each order would favour the heaviest endpoint.
                skipped = 0 if order is None else rng.randrange(len(nodes))
                order = _Order(nodes, weights, skipped)
            order.snapshot, order.due = snapshot, now + self._period
            self._order = order
            return order

    def _more(self, order: _Order) -> Node:
        """Return the next turn; compute more if none is left."""
        with self._lock:
            return next(order.turns, None) or order.lay_out()


@final
class _Order:
    """An order in progress: computed turns, which threads take one by one, and the source of further turns."""

    __slots__ = ("_take", "due", "nodes", "snapshot", "turns", "weights")

    def __init__(self, nodes: list[Node], weights: dict[str, float], skipped: int) -> None:
        make = SmoothWrr if len(nodes) <= MAX_SMOOTH_NODES else StaggeredEdf
        self.nodes, self.weights = nodes, weights
        self.snapshot: Snapshot | None = None
        self.due = 0.0
        self.turns: Iterator[Node] = iter(())
        self._take = make(list(weights.values())).take
        for _ in range(skipped):
            self._take()

    def lay_out(self) -> Node:
        """Compute the next turns, and return the first of them. One thread at a time."""
        turns = iter([self.nodes[self._take()] for _ in range(TURNS_LAID_OUT)])
        first = next(turns)
        self.turns = turns
        return first


def _weighted(nodes: Iterable[Node]) -> list[Node]:
    return [node for node in nodes if node.weight]
