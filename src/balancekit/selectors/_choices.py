"""Power of d choices: sample two, take the less loaded one.

Two samples instead of one shorten the longest queue from ``log n / log log n`` to ``log log n / log 2``. With
stale loads, a search for the least loaded of all sends every request to the same endpoint; two samples do not.
A black hole, an endpoint that fails at once and so looks idle, gets at most ``2 / n`` of the traffic, even if
the load does not detect it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, ClassVar, NamedTuple, TypeAlias, final

from balancekit._selection.sampling import MAX_REDRAWS, equal_weights, sample, sampler, sampling_table
from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit.loads import CountedLoad, FailureAware
from balancekit.scheduling import AliasTable
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["PowerOfChoices"]

Lighter: TypeAlias = Callable[[Node, Node, float], Node]
"""Returns which of two nodes is less loaded at a time; the first on a tie."""


class Comparison(NamedTuple):
    """What the slow path needs of one snapshot."""

    nodes: Sequence[Node]
    lighter: Lighter
    equal: bool
    """Whether draws are uniform."""


@final
class PowerOfChoices(ConstructorRepr):
    """Sample ``d`` different endpoints by weight, take the one with the least load; the first on a tie.

    Parameters
    ----------
    d
        How many to compare, >= 1. Two give nearly all of the gain. More suit many endpoints with
        fresh loads, and herd when loads are stale.

    Raises
    ------
    ConfigurationError
        If ``d`` is not a whole number >= 1.

    *Guarantee.* The draws are always distinct, so with ``d`` >= 2 an endpoint whose load is above that of every other of
    positive weight is never picked (with repeated draws it is, once in n squared: Envoy issue 11004). So one whose first
    request hangs may not be picked until that ends: set a time-out. At rest, shares are in proportion to weight.

    *When to use it:* loads are stale or shared by many balancers, and endpoints are about equally fast.
    *When not:* endpoints of unequal speed near their capacity, because both samples may be slow
    (:class:`ShortestExpectedDelay`, the default); each request must go to the least loaded endpoint of all
    (:class:`LeastRequest`), or always to the same endpoint (hashing).

    Cost: O(d), two random numbers and one comparison for two. O(n) for picks that draw the same endpoint again and again,
    as most do where one weight dwarfs all others.
    Source: Mitzenmacher 1996; Vvedenskaya, Dobrushin, Karpelevich 1996.

    Example
    -------
    >>> from balancekit import LoadBalancer, PowerOfChoices
    >>> from balancekit.loads import InFlight
    >>> lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=InFlight())
    >>> first, second = lb.acquire(), lb.acquire()
    >>> first.target != second.target
    True
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[FailureAware] = FailureAware()

    def __init__(self, d: int = 2) -> None:
        self.d: int = valid.integer("d", d, minimum=1)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the least loaded of ``d`` candidates sampled by weight."""
        if self.d == 2 and ctx.trace is None:
            table = snapshot.derive(_comparison)
            if table.equal and len(table.nodes) > 2:
                return _lighter_of_two(table, snapshot, ctx)
        best = sample(snapshot, ctx)
        if best is None:
            return None
        least = best.load.value(now=ctx.now)
        _note(ctx, best, least)
        sampled = [best]
        while len(sampled) < self.d:
            node = sample(snapshot, ctx, sampled)
            if node is None:
                break
            sampled.append(node)
            value = node.load.value(now=ctx.now)
            _note(ctx, node, value)
            if value < least:
                best, least = node, value
        return best

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        generator = Random() if rng is None else rng
        nodes, table = sampling_table(snapshot)
        if min(self.d, len(nodes)) == 1:
            return sampler(snapshot, generator)
        lighter = _comparer(nodes)
        if self.d > 2:
            return _several(self.d, snapshot, generator, lighter)
        if table is not None:
            return _two_by_weight(table, snapshot, generator, lighter)
        if lighter is _fewer:
            return _two_by_count(nodes, generator)
        return _two(nodes, generator, lighter)


def _two_by_count(nodes: Sequence[Node], rng: Random) -> Callable[..., Node]:
    """Compare the open leases of two distinct uniform draws; nothing is called but the generator."""
    bits, size, others = rng.getrandbits, len(nodes), len(nodes) - 1

    def pick(_now: float = 0.0, /) -> Node:
        i = bits(30) % size
        a = nodes[i]
        b = nodes[i - 1 - bits(30) % others]  # a negative index wraps: any but i, all alike
        return a if a.inflight <= b.inflight else b

    return pick


def _two(nodes: Sequence[Node], rng: Random, lighter: Lighter) -> Callable[..., Node]:
    bits, size, others = rng.getrandbits, len(nodes), len(nodes) - 1

    def pick(now: float = 0.0, /) -> Node:
        i = bits(30) % size
        return lighter(nodes[i], nodes[i - 1 - bits(30) % others], now)

    return pick


def _two_by_weight(
    table: AliasTable[Node],
    snapshot: Snapshot,
    rng: Random,
    lighter: Lighter,
) -> Callable[..., Node]:
    own, alias, cut, size, random = table.own, table.alias, table.cut, table.size, rng.random

    def pick(now: float = 0.0, /) -> Node:
        x = random() * size
        i = int(x)
        a = own[i] if x < cut[i] else alias[i]
        x = random() * size
        i = int(x)
        b = own[i] if x < cut[i] else alias[i]
        if a is b:
            b = _other(a, snapshot, rng)
        return lighter(a, b, now)

    return pick


def _several(d: int, snapshot: Snapshot, rng: Random, lighter: Lighter) -> Callable[..., Node]:
    more = min(d, len(snapshot.eligible)) - 1
    ctx = PickContext(rng=rng)
    first = snapshot.eligible[0]

    def pick(now: float = 0.0, /) -> Node:
        best = sample(snapshot, ctx) or first
        sampled = [best]
        for _ in range(more):
            node = sample(snapshot, ctx, sampled)
            if node is not None:
                sampled.append(node)
                best = lighter(best, node, now)
        return best

    return pick


def _comparison(snapshot: Snapshot) -> Comparison:
    nodes, table = sampling_table(snapshot)
    return Comparison(nodes, _comparer(nodes) if nodes else _lower_value, table is None)


def _lighter_of_two(table: Comparison, snapshot: Snapshot, ctx: PickContext) -> Node | None:
    """Compare two distinct uniform draws that are not excluded."""
    nodes, bits, exclude = table.nodes, ctx.rng.getrandbits, ctx.exclude
    size = len(nodes)
    first: Node | None = None
    for _ in range(MAX_REDRAWS):
        node = nodes[bits(30) % size]
        if node.id not in exclude and node is not first:
            if first is not None:
                return table.lighter(first, node, ctx.now)
            first = node
    first = sample(snapshot, ctx) if first is None else first
    if first is None:
        return None
    second = sample(snapshot, ctx, (first,))
    return first if second is None else table.lighter(first, second, ctx.now)


def _other(node: Node, snapshot: Snapshot, rng: Random) -> Node:
    """Sample again, without ``node``: itself only if no other has weight."""
    return sample(snapshot, PickContext(rng=rng), (node,)) or node


def _comparer(nodes: Sequence[Node]) -> Lighter:
    """Return the cheapest function that compares the loads of these nodes."""
    loads = [node.load for node in nodes]
    weighted = not equal_weights(nodes)
    if {type(load) for load in loads} == {CountedLoad}:
        return _fewer_by_weight if weighted else _fewer
    pool: Any = getattr(loads[0], "pool", None)
    if hasattr(pool, "comparer") and all(getattr(load, "pool", None) is pool for load in loads):
        comparer: Lighter = pool.comparer(weighted=weighted)
        return comparer
    return _lower_value


def _fewer(a: Node, b: Node, _now: float) -> Node:
    return a if a.inflight <= b.inflight else b


def _fewer_by_weight(a: Node, b: Node, _now: float) -> Node:
    return a if a.inflight * b.weight <= b.inflight * a.weight else b


def _lower_value(a: Node, b: Node, now: float) -> Node:
    return b if b.load.value(now=now) < a.load.value(now=now) else a


def _note(ctx: PickContext, node: Node, value: float) -> None:
    if ctx.trace is not None:
        ctx.trace.note(f"drew {node.id!r}, load {value:.4g}")
