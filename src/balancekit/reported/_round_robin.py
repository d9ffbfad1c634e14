"""Round robin by weights that servers report themselves."""

from __future__ import annotations

from random import Random
from typing import ClassVar, Final, final

from balancekit._support import validation as valid
from balancekit.loads import InFlight
from balancekit.node import Node
from balancekit.outcome import Completion
from balancekit.reported._weights import ReportedWeights
from balancekit.scheduling import SmoothWrr, StaggeredEdf
from balancekit.snapshot import PickContext, Snapshot

__all__ = ["ReportedRoundRobin"]

MAX_SMOOTH_NODES: Final = 64
"""Up to this many endpoints the order is smooth; above, an order of O(1) a turn."""
MAX_ROUNDS: Final = 2
"""Turns to take, per eligible node, before a candidate is sampled at random instead."""


@final
class ReportedRoundRobin:
    """Each endpoint in turn, in proportion to requests per second for each unit of its own utilization.

    Reports come with answers: adapters read them from headers, other code calls ``lease.report_load``.

    Parameters
    ----------
    weights
        How reports become weights; gRPC's rule and figures if left out.
    period
        Seconds between new orders, > 0.

    *Guarantee.* Between two orders each endpoint gets its share of the weights to within a turn or two. Without
    reports, plain round robin. Configured weights are not looked at, besides zero.

    *When to use it:* servers of different speed, or with neighbours that take from it, which know their own
    utilization. *When not:* many hundreds of clients, to each of which reports are old; servers that report
    wrongly. For language models see the cache and the queue rather than the CPU.

    Cost: O(1) per pick up to a new order; that one O(n).
    Source: gRPC proposal A58; Envoy 1.40.0, ``client_side_weighted_round_robin``.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.outcome import LoadReport
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

    thread_safe: ClassVar[bool] = False
    default_load: ClassVar[InFlight] = InFlight()

    def __init__(self, weights: ReportedWeights | None = None, *, period: float = 1.0) -> None:
        self._machine = (ReportedWeights() if weights is None else weights)()
        self._period = valid.number("period", period, above=0.0)
        self._snapshot: Snapshot | None = None
        self._due = 0.0
        self._weights: dict[str, float] = {}
        self._order: SmoothWrr | StaggeredEdf | None = None
        self._nodes: list[Node] = []

    @property
    def weights(self) -> dict[str, float]:
        """The weights of the present order, by endpoint id."""
        return dict(self._weights)

    def learn(self, node: Node, completion: Completion, /) -> None:
        """Take note of the load report of a finished request, if it has one."""
        if completion.load_report is not None:
            self._machine.record(node.id, completion.load_report, now=completion.ended_at)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the candidate whose turn it is."""
        candidates = snapshot.candidates(ctx)
        if not candidates:
            return None
        if snapshot is not self._snapshot or ctx.now >= self._due:
            self._arrange(snapshot, ctx.now, ctx.rng)
        assert self._order is not None
        if ctx.trace is not None:
            shares = ", ".join([f"{name} {weight:.4g}" for name, weight in self._weights.items()])
            ctx.trace.note(f"weights by reports: {shares}")
        for _ in range(MAX_ROUNDS * len(self._nodes)):
            node = self._nodes[self._order.take()]
            if node.id not in ctx.exclude:
                return node
        return ctx.rng.choices(candidates, [self._weights.get(node.id, 1.0) for node in candidates])[0]

    def _arrange(self, snapshot: Snapshot, now: float, rng: Random) -> None:
        """Make the order anew, unless nothing has changed."""
        if snapshot is not self._snapshot:
            self._machine.keep([node.id for node in snapshot.members.nodes])
        nodes = [node for node in snapshot.eligible if node.weight] or list(snapshot.eligible)
        weights = self._machine.weights([node.id for node in nodes], now=now)
        if self._order is None or weights != self._weights or nodes != self._nodes:
            first = self._order is None
            make = SmoothWrr if len(nodes) <= MAX_SMOOTH_NODES else StaggeredEdf
            self._order = make(list(weights.values()))
            for _ in range(
                0 if first else rng.randrange(len(nodes))
            ):  # or each order would favour the heaviest
                self._order.take()
            self._weights, self._nodes = weights, nodes
        self._snapshot, self._due = snapshot, now + self._period
