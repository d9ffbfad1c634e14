"""Plans of updates: what a change of endpoints would move, compared as a selector would see it."""

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
    """Compare two lists of endpoints as a selector would see them."""
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
    """See that the endpoints are those a plan was made for.

    Raises
    ------
    ConfigurationError
        If they are not.
    """
    if list(present) != list(planned):
        raise ConfigurationError(
            "plan", "made for other endpoints", "a new plan for the endpoints there are now"
        )


def _weights(endpoints: Sequence[Endpoint[object]]) -> dict[str, float]:
    """Return the weights of those that own keys: all alike if no weight is positive."""
    weighted = {endpoint.id: endpoint.weight for endpoint in endpoints if endpoint.weight}
    return weighted or {endpoint.id: 1.0 for endpoint in endpoints}


def _by_weight(weights: Mapping[str, float]) -> dict[str, float]:
    whole = sum(weights.values())
    return {id: weight / whole for id, weight in weights.items()}
