"""What selectors say of a pick in an explanation, and what they refuse at construction."""

from __future__ import annotations

import pytest

from balancekit import (
    ConfigurationError,
    Endpoint,
    LeastRequest,
    LoadBalancer,
    PowerOfChoices,
    RingHash,
    ShortestExpectedDelay,
)
from balancekit.loads import InFlight


@pytest.mark.parametrize(
    ("selector", "note"),
    [
        (LeastRequest(), "'b' has 0 in flight at weight 2"),
        (ShortestExpectedDelay(), "'b' has the shortest expected delay: 0"),
    ],
    ids=["least request", "shortest expected delay"],
)
def test_an_explanation_has_the_figures_of_the_pick(selector: object, note: str) -> None:
    """The only endpoint left is named with what it was picked by."""
    lb = LoadBalancer(["a", Endpoint("b", weight=2.0)], selector=selector, load=InFlight())  # type: ignore[arg-type]
    assert lb.explain(exclude=["a"]).notes == (note,)


@pytest.mark.parametrize("vnodes", [0, -1, 1.5, True, "many"])
def test_a_ring_refuses_wrong_points_at_construction(vnodes: object) -> None:
    """Not with the first pick: ``vnodes`` is a whole number >= 1."""
    with pytest.raises(ConfigurationError) as caught:
        RingHash(vnodes=vnodes)  # type: ignore[arg-type]
    assert caught.value.parameter == "vnodes"


@pytest.mark.parametrize("d", [0, -1, 1.5, True])
def test_choices_refuse_a_wrong_number_at_construction(d: object) -> None:
    """``d`` is a whole number >= 1."""
    with pytest.raises(ConfigurationError) as caught:
        PowerOfChoices(d)  # type: ignore[arg-type]
    assert caught.value.parameter == "d"
