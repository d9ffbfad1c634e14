"""Envoy's policies without keys, as selectors: round robin, least request and random.

If weights differ, round robin and least request are earliest-deadline schedules (``_deadlines.py``). In that of least request, the
weight is divided by the number of active requests. The weight of a host that is warming up is multiplied by its ``ramp``. A schedule
is also used if a host is warming up.

Source: Envoy 1.40, ``round_robin``, ``least_request`` and ``random``.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random as Generator
from typing import ClassVar, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.compat.envoy._deadlines import Deadlines
from balancekit.errors import ConfigurationError
from balancekit.loads import InFlight
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["LeastRequest", "Random", "RoundRobin", "in_service"]

START_BITS: Final = 32
"""Number of bits of the random number of picks that are skipped when a schedule starts."""

MIN_RAMP: Final = 1e-9
"""Minimum share of the weight in a schedule. With less, the next deadline of a host would never be reached."""


def in_service(snapshot: Snapshot) -> tuple[Node, ...]:
    """Return the eligible nodes of weight above 0, or all eligible nodes if all weights are 0."""
    return tuple([node for node in snapshot.eligible if node.weight > 0]) or snapshot.eligible


@final
class RoundRobin(ConstructorRepr):
    """Envoy's ``ROUND_ROBIN``: round robin from a random start, or by earliest deadline if weights differ.

    *Guarantee.* In a cycle of the schedule, the picks of each host are in proportion to its weight.

    *When to use it:* to predict or continue the choices of an Envoy. *When not to use it:* otherwise.
    :class:`~balancekit.selectors.SmoothWeightedRoundRobin` spreads the picks of a heavy endpoint more evenly.

    Parameters
    ----------
    start
        Number of picks that are skipped at the beginning, >= 0; random if left out, as in Envoy.

    Raises
    ------
    ConfigurationError
        If ``start`` is not a whole number >= 0.

    Cost: O(1) per pick, O(log n) if weights differ, and O(n) more with exclusions.
    Source: Envoy 1.40.

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer
    >>> from balancekit.compat.envoy import RoundRobin
    >>> pool = [Endpoint("a", weight=4), Endpoint("b", weight=2), Endpoint("c")]
    >>> lb = LoadBalancer(pool, selector=RoundRobin(start=0))
    >>> leases = [lb.acquire() for _ in range(7)]
    >>> "".join(lease.target for lease in leases)
    'abaacba'
    """

    keyed: ClassVar[bool] = False
    default_load: ClassVar[InFlight] = InFlight()

    @checked_arguments
    def __init__(self, *, start: int | None = None) -> None:
        self._start = None if start is None else valid.integer("start", start, minimum=0)
        self._turn: int | None = None
        self._order = _Order(_ramp_only)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the next candidate."""
        nodes = snapshot.derive(in_service)
        if not _any_left(nodes, ctx):
            return _any_host(snapshot, ctx)
        if self._start is None:
            self._start = ctx.rng.getrandbits(START_BITS)
        if self._order.follows(snapshot, nodes, self._start):
            return self._order.pick(ctx)
        turn = self._start if self._turn is None else self._turn
        while True:
            node = nodes[turn % len(nodes)]
            turn += 1
            if node.id not in ctx.exclude:
                self._turn = turn
                return node


@final
class LeastRequest(ConstructorRepr):
    """Envoy's ``LEAST_REQUEST``: the least busy of a few random hosts, or a schedule by earliest deadline if weights differ.

    If weights are equal, ``choice_count`` random hosts are compared, among which one host may occur twice. A later host is chosen only if it
    has fewer requests in progress. With ``selection_method="FULL_SCAN"``, a random host with the fewest requests is chosen.

    If weights differ, the weight of a host in the schedule is ``weight / (active + 1) ** active_request_bias``. It is computed when the
    host is picked, and holds until its next deadline.

    *When not to use it:* with different weights, to protect hosts from overload. A host that has become idle is not picked before its
    deadline, and a host that hangs is still picked at its deadline.

    Parameters
    ----------
    choice_count
        Number of random hosts, >= 2.
    selection_method
        ``"N_CHOICES"`` or ``"FULL_SCAN"``.
    active_request_bias
        Exponent of the number of active requests, >= 0. With 0, the schedule is weighted round robin.
    start
        See :class:`RoundRobin`; for different weights.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, ``start`` is negative, or ``selection_method`` is unknown.

    Cost: O(choice_count) per pick, O(n) for a full scan or with exclusions, O(log n) if weights differ.
    Source: Envoy 1.40.

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer
    >>> from balancekit.compat.envoy import LeastRequest
    >>> lb = LoadBalancer(["a", "b"], selector=LeastRequest(selection_method="FULL_SCAN"))
    >>> first, second = lb.acquire(), lb.acquire()
    >>> sorted([first.target, second.target])
    ['a', 'b']
    """

    keyed: ClassVar[bool] = False
    default_load: ClassVar[InFlight] = InFlight()

    @checked_arguments
    def __init__(
        self,
        *,
        choice_count: int = 2,
        selection_method: str = "N_CHOICES",
        active_request_bias: float = 1.0,
        start: int | None = None,
    ) -> None:
        methods = {"N_CHOICES": self._least_drawn, "FULL_SCAN": _least_of_all}
        if selection_method not in methods:
            raise ConfigurationError("selection_method", selection_method, " or ".join(map(repr, methods)))
        self._unweighted: Callable[[tuple[Node, ...], Generator], Node] = methods[selection_method]
        self._choices = valid.integer("choice_count", choice_count, minimum=2)
        self._bias = valid.number("active_request_bias", active_request_bias, minimum=0.0)
        self._start = None if start is None else valid.integer("start", start, minimum=0)
        self._order = _Order(self._activity)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the least busy of random candidates, or the candidate with the earliest deadline."""
        nodes = snapshot.derive(in_service)
        if not _any_left(nodes, ctx):
            return _any_host(snapshot, ctx)
        if self._start is None:
            self._start = ctx.rng.getrandbits(START_BITS)
        if self._order.follows(snapshot, nodes, self._start):
            return self._order.pick(ctx)
        if ctx.exclude:
            nodes = tuple([node for node in nodes if node.id not in ctx.exclude])
        return self._unweighted(nodes, ctx.rng)

    def _least_drawn(self, nodes: tuple[Node, ...], rng: Generator) -> Node:
        best = rng.choice(nodes)
        for _ in range(self._choices - 1):
            node = rng.choice(nodes)
            if node.inflight < best.inflight:
                best = node
        return best

    def _activity(self, node: Node) -> float:
        return float((node.inflight + 1) ** self._bias) / max(node.ramp, MIN_RAMP)


@final
class Random(ConstructorRepr):
    """Envoy's ``RANDOM``: a random host. All hosts are equally likely, whatever their weights.

    *When not to use it:* with weights, because this policy ignores them.

    Cost: O(1) per pick; O(n) with exclusions. Source: Envoy 1.40.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.compat.envoy import Random
    >>> LoadBalancer(["a"], selector=Random()).acquire().target
    'a'
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return a random candidate."""
        return _any_host(snapshot, ctx)


@final
class _Order:
    """The schedule of one snapshot. There is none while all weights are equal and no host is warming up."""

    def __init__(self, stretch: Callable[[Node], float]) -> None:
        self._stretch = stretch
        self._snapshot: Snapshot | None = None
        self._nodes: tuple[Node, ...] = ()
        self._deadlines: Deadlines | None = None

    def follows(self, snapshot: Snapshot, nodes: tuple[Node, ...], start: int) -> bool:
        """Return whether there is a schedule for a snapshot. Make the schedule if the snapshot is new."""
        if snapshot is not self._snapshot:
            self._snapshot, self._nodes, self._deadlines = snapshot, nodes, None
            weights = [node.weight for node in nodes]
            if len(set(weights)) > 1 or (weights[0] > 0 and any(node.ramp != 1.0 for node in nodes)):
                self._deadlines = Deadlines(weights, stretch=self._stretch_of, start=start)
        return self._deadlines is not None

    def pick(self, ctx: PickContext) -> Node:
        """Return the node with the earliest deadline that is not excluded."""
        nodes, deadlines = self._nodes, self._deadlines
        if deadlines is None:
            raise AssertionError("no schedule")
        skip = [index for index, node in enumerate(nodes) if node.id in ctx.exclude] if ctx.exclude else ()
        return nodes[deadlines.pick(skip)]

    def _stretch_of(self, index: int) -> float:
        return self._stretch(self._nodes[index])


def _ramp_only(node: Node) -> float:
    return 1.0 / max(node.ramp, MIN_RAMP)


def _least_of_all(nodes: tuple[Node, ...], rng: Generator) -> Node:
    fewest = min(node.inflight for node in nodes)
    return rng.choice([node for node in nodes if node.inflight == fewest])


def _any_left(nodes: tuple[Node, ...], ctx: PickContext) -> bool:
    """Return whether a node is left that is not excluded."""
    if not ctx.exclude:
        return bool(nodes)
    return any(node.id not in ctx.exclude for node in nodes)


def _any_host(snapshot: Snapshot, ctx: PickContext) -> Node | None:
    candidates = snapshot.candidates(ctx)
    return ctx.rng.choice(candidates) if candidates else None
