"""Plans of updates: the keys and shares that a change of endpoints would move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.planning import Plan, SupportsStructure

__all__ = ["make_plan", "require_unchanged"]


def make_plan(
    selector: object,
    before: Sequence[Endpoint[object]],
    after: Sequence[Endpoint[object]],
    apply: Callable[[], None],
) -> Plan:
    """Return the plan of a change from one list of endpoints to another.

    A selector with ``structure`` computes the moved keys and the shares. For any other, shares are those of the weights.
    """
    was, then = _weights(before), _weights(after)
    moved: float | None = None
    shares = [_by_weight(was), _by_weight(then)]
    if isinstance(selector, SupportsStructure):
        one, other = selector.structure(was), selector.structure(then)
        moved, shares = one.moved(other), [one.shares(), other.shares()]
    old, new = {e.id: e.weight for e in before}, {e.id: e.weight for e in after}
    return Plan(
        moved=moved,
        before={e.id: shares[0].get(e.id, 0.0) for e in before},
        after={e.id: shares[1].get(e.id, 0.0) for e in after},
        added=tuple([id for id in new if id not in old]),
        removed=tuple([id for id in old if id not in new]),
        reweighted=tuple([id for id in new if old.get(id, new[id]) != new[id]]),
        apply=apply,
    )


def require_unchanged(present: Sequence[Endpoint[object]], planned: Sequence[Endpoint[object]]) -> None:
    """Check that the endpoints are those that a plan was made for.

    Raises
    ------
    ConfigurationError
        If the present endpoints differ from those of the plan.
    """
    if list(present) != list(planned):
        raise ConfigurationError(
            "plan", "made for other endpoints", "a new plan, made for the present endpoints"
        )


def _weights(endpoints: Sequence[Endpoint[object]]) -> dict[str, float]:
    """Return the positive weights by id; 1.0 for every endpoint if no weight is positive."""
    weighted = {endpoint.id: endpoint.weight for endpoint in endpoints if endpoint.weight}
    return weighted or {endpoint.id: 1.0 for endpoint in endpoints}


def _by_weight(weights: Mapping[str, float]) -> dict[str, float]:
    whole = sum(weights.values())
    return {id: weight / whole for id, weight in weights.items()}
