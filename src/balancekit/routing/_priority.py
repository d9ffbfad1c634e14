"""Priority tiers and locality: traffic spills to the next tier gradually.

The *health* of a tier is ``overprovisioning`` times its share of eligible endpoints, at most 1: with 1.4, up to
28 % of a tier may be down before any traffic leaves it. The rest of the traffic spills to the next tier, and so
on. If the health of all tiers together is below 1, their loads are scaled up.

.. code-block:: text

    overprovisioning 1.4     eligible     healthy          loads
    tier 0                   3 of 6       70 %             70 %
    tier 1                   6 of 6       100 %            30 %
    tiers at 1/4 and 1/4                  35 %, 35 %       50 %, 50 %   (scaled by 100 / 70)

All figures are in whole per cent, as in Envoy. With a key the tier depends on the key alone, so a key stays where
it is until its share of the traffic spills.

Source: Envoy 1.40, priority load (``distributeLoad``), overprovisioning factor 140; locality as tiers by zone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from random import Random
from typing import cast, final

from balancekit._selection.grouping import ChildSelectors, Grouping, Learn, MakeSelector
from balancekit._selection.pickers import NO_PICKERS, Pick, Pickers
from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.errors import ConfigurationError, Reason
from balancekit.hashing import hash64
from balancekit.protocols import LoadPolicy
from balancekit.selectors import ShortestExpectedDelay
from balancekit.snapshot import Key, Node, PickContext, Snapshot

__all__ = ["Locality", "Priority", "tier_loads"]


@checked_arguments
def tier_loads(tiers: Sequence[tuple[int, int]], overprovisioning: float = 1.4) -> tuple[int, ...]:
    """Return how many per cent of the traffic each tier gets.

    They add up to 100, or to 0 if no tier is healthy for one.

    Parameters
    ----------
    tiers
        Per tier, best first: how many endpoints are eligible, and how many there are.
    overprovisioning
        From 1 to 10; Envoy's 140 is 1.4 here.

    Raises
    ------
    ConfigurationError
        If a tier is not two whole numbers >= 0, the first at most the second, or for another overprovisioning.

    Example
    -------
    >>> from balancekit.routing import tier_loads
    >>> tier_loads([(3, 6), (6, 6)])
    (70, 30)
    >>> tier_loads([(1, 4), (1, 4)])
    (50, 50)
    """
    sizes = [_tier(tier) for tier in valid.items("tiers", tiers)]
    return _loads(sizes, _overprovisioning(overprovisioning))


def _tier(tier: object) -> tuple[int, int]:
    """Return how many endpoints of a tier are eligible, and how many there are."""
    if not isinstance(tier, tuple | list) or len(tier) != 2:
        raise ConfigurationError("tiers", tier, "pairs of eligible endpoints and all of them, such as (3, 6)")
    size = valid.integer("tiers", tier[1], minimum=0)
    return valid.integer("tiers", tier[0], minimum=0, maximum=size), size


def _overprovisioning(value: float) -> float:
    hint = "; Envoy's 140 is 1.4 here"
    return valid.number("overprovisioning", value, minimum=1.0, maximum=10.0, hint=hint)


def _loads(tiers: Sequence[tuple[int, int]], overprovisioning: float) -> tuple[int, ...]:
    """Return the per cent of each tier, by Envoy's formula."""
    factor = round(100 * overprovisioning)
    health = [min(100, factor * eligible // size) if size else 0 for eligible, size in tiers]
    norm = min(100, sum(health))
    if not norm:
        return (0,) * len(tiers)
    left = 100
    loads = []
    for share in health:
        load = min(left, share * 100 // norm)
        loads.append(load)
        left -= load
    loads[next(k for k, share in enumerate(health) if share)] += left  # what whole numbers leave over
    return tuple(loads)


class _TierSelector(ConstructorRepr, makers=("child",)):
    """Selection by tiers, which are a function of the node; lower ones first."""

    def __init__(
        self,
        child: MakeSelector,
        tier_of: Callable[[Node], int],
        overprovisioning: float,
    ) -> None:
        self._overprovisioning = _overprovisioning(overprovisioning)
        self._children = ChildSelectors(child)
        self._tiers = Grouping(tier_of)
        self.default_load: LoadPolicy = self._children.default_load
        self.thread_safe: bool = self._children.thread_safe
        self.timed: bool = self._children.timed
        if self._children.learns:
            self.learn: Learn = self._children.learn

    def _loads(self, snapshot: Snapshot) -> tuple[tuple[int, int], ...]:
        views = self._tiers.views(snapshot)
        order = sorted(cast("Mapping[int, Snapshot]", views))
        sizes = [(len(views[tier].eligible), len(views[tier].members.nodes)) for tier in order]
        return tuple(zip(order, _loads(sizes, self._overprovisioning), strict=True))

    def _described(self, tier: int, loads: Sequence[tuple[int, int]]) -> str:
        """Return in words which tier was taken, of which loads."""
        return f"tier {tier}, of loads {', '.join(f'{t}: {load} %' for t, load in loads)}"

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Draw the tier, then let its child pick.

        The next tiers pick if it has no endpoint that was not tried, or all are at their limit.
        """
        views, loads = self._tiers.views(snapshot), snapshot.derive(self._loads)
        point = (ctx.rng.randrange(100) if ctx.key is None else hash64(ctx.key) % 100) + 1
        reached, drawn = 0, None
        for tier, load in loads:
            reached += load
            if reached >= point and load:
                drawn = tier
                break
        order = [tier for tier, _ in loads]
        if drawn is not None:
            order = [drawn, *[tier for tier in order if tier != drawn]]
        for tier in order:
            view = views[tier]
            if view.candidates(ctx):
                if ctx.trace is not None:
                    ctx.trace.note(self._described(tier, loads))
                node = self._children.of(tier).select(view, ctx)
                if node is not None:
                    return node
        return None

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast paths of the tiers that are drawn, each as often as its load says."""
        views = self._tiers.views(snapshot)
        found = [
            (load, *self._children.pickers(tier, views[tier], rng))
            for tier, load in snapshot.derive(self._loads)
            if load
        ]
        if not found:  # one of hundreds is less than one per cent
            return NO_PICKERS
        if len(found) == 1:
            return found[0][1:]
        table: list[Pick] = []
        table_by_key: list[Pick | None] = []
        for load, pick, pick_by_key in found:
            if pick is None:
                return NO_PICKERS
            table += [pick] * load
            table_by_key += [pick_by_key] * load
        randrange = rng.randrange

        def draw(now: float = 0.0, /) -> Node | None:
            return table[randrange(100)](now)

        def draw_by_key(key: Key, now: float = 0.0, /) -> Node | None:
            point = hash64(key) % 100
            pick_by_key = table_by_key[point]
            return table[point](now) if pick_by_key is None else pick_by_key(key, now)

        return draw, draw_by_key

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the children."""
        self._children.prepare(self._tiers.views(snapshot))

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return the reasons of the children."""
        return self._children.all_refusals(self._tiers.views(snapshot), ctx)

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return when the first of the children would pick an endpoint."""
        return self._children.soonest(self._tiers.views(snapshot), ctx)


@final
class Priority(_TierSelector):
    """Tiers by ``Endpoint.priority``: the lowest number serves, the next takes over gradually.

    Parameters
    ----------
    child
        Makes the selector of a tier. ``ShortestExpectedDelay`` if left out.
    overprovisioning
        How much more than its share a tier can carry, from 1 to 10.

    Raises
    ------
    ConfigurationError
        If ``overprovisioning`` is outside [1, 10], or ``child`` makes no selector.

    *Guarantee.* Traffic moves to the next tier in proportion to the loss, by Envoy's formula. If a request has
    tried all endpoints of its tier, or all are at their limits, it goes to the next tier.

    *When to use it:* a near and a far site, a primary and a stand-by that can take part of the load. *When
    not:* for a stand-by that must be idle until everything is lost; use :class:`~balancekit.selectors.First`.

    Cost: O(1) plus the child's; O(n) per change of health.
    Source: Envoy 1.40, priority levels.

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer
    >>> from balancekit.routing import Priority
    >>> pool = [Endpoint("near"), Endpoint("far", priority=1)]
    >>> lb = LoadBalancer(pool, selector=Priority())
    >>> {lb.explain().picked for _ in range(20)}
    {'near'}
    """

    def __init__(self, child: MakeSelector = ShortestExpectedDelay, *, overprovisioning: float = 1.4) -> None:
        super().__init__(child, attrgetter("priority"), overprovisioning)


@final
class Locality(_TierSelector):
    """Serve from the own zone; traffic beyond its health spills to the others.

    Parameters
    ----------
    zone
        The zone of the callers, a non-empty string.
    near
        Other zones, nearest first; those not named come last, together. If no endpoint is in any zone that is named, they
        serve alone: ``lb.explain()`` names the zones, so that a misspelt one is seen.
    child
        Makes the selector of a zone. ``ShortestExpectedDelay`` if left out.
    overprovisioning
        As of :class:`Priority`.

    Raises
    ------
    ConfigurationError
        If ``zone`` is empty, ``near`` is no sequence of other zones, each once, or ``overprovisioning`` is
        outside [1, 10]. If ``child`` makes no selector.

    *When to use it:* when crossing zones costs money or milliseconds. *When not:* when callers are spread
    over zones differently from endpoints: a zone with many callers and few endpoints is overloaded, because
    no caller knows of the others.

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer
    >>> from balancekit.routing import Locality
    >>> pool = [Endpoint("a", zone="eu-1"), Endpoint("b", zone="eu-2"), Endpoint("c", zone="us-1")]
    >>> lb = LoadBalancer(pool, selector=Locality("eu-1", near=["eu-2"]))
    >>> [endpoint.id for endpoint in lb.ranking()]
    ['a', 'b', 'c']
    """

    def __init__(
        self,
        zone: str,
        *,
        near: Sequence[str] = (),
        child: MakeSelector = ShortestExpectedDelay,
        overprovisioning: float = 1.4,
    ) -> None:
        order = [valid.text("zone", zone)]
        if isinstance(near, str) or not isinstance(near, Sequence):
            raise ConfigurationError("near", near, "a list of zones")
        for other in near:
            if valid.text("near", other) in order:
                raise ConfigurationError("near", other, "each zone once, and not the own one")
            order.append(other)
        ranks = {name: rank for rank, name in enumerate(order)}
        self._zones = order
        super().__init__(child, partial(_rank, ranks), overprovisioning)

    def _described(self, tier: int, loads: Sequence[tuple[int, int]]) -> str:
        names = [*self._zones, "other zones"]
        present = [known for known, _ in loads]
        text = f"{names[tier]}, of loads {', '.join(f'{names[t]}: {load} %' for t, load in loads)}"
        absent = [zone for rank, zone in enumerate(self._zones) if rank not in present]
        return f"{text}; no endpoint is in {', '.join(absent)}" if absent else text


def _rank(ranks: Mapping[str, int], node: Node) -> int:
    """Return how far the zone of a node is, from 0."""
    return ranks.get(node.zone, len(ranks))
