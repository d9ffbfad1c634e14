"""Hypothesis strategies for the inputs of balancers and selectors.

Their values are small on purpose: a few endpoints with unusual weights find more defects than hundreds with equal ones.
"""

from __future__ import annotations

from typing import Final

from balancekit._support import validation as valid
from balancekit._support.extras import extra

with extra("testing"):
    from hypothesis import HealthCheck
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy

from balancekit.endpoint import Endpoint
from balancekit.outcome import Outcome
from balancekit.snapshot import Key, Snapshot
from balancekit.testing._factories import make_nodes, make_snapshot

__all__ = ["SUPPRESSED_CHECKS", "endpoint_lists", "ids", "keys", "outcomes", "snapshots", "weights"]

SURROGATES: Final = ("\ud800", "user:\udfff")
"""Texts without an encoding in UTF-8, as undecodable file names give them. Any text may be a key."""
SUPPRESSED_CHECKS: Final = (
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    HealthCheck.large_base_example,
    HealthCheck.too_slow,
)
"""Health checks of Hypothesis that are disabled: the laws do not judge how long an algorithm takes."""


def ids(*, max_size: int = 8) -> SearchStrategy[str]:
    """Ids from a small set, so that the same id occurs several times.

    Parameters
    ----------
    max_size
        Number of different ids, >= 1.

    Raises
    ------
    ConfigurationError
        If ``max_size`` is not a whole number >= 1.
    """
    return st.sampled_from([f"e{k}" for k in range(valid.integer("max_size", max_size, minimum=1))])


def weights(*, zero: bool = True) -> SearchStrategy[float]:
    """Typical weights: mostly small whole numbers, some fractions and large numbers; also 0, unless ``zero`` is false."""
    usual = [1.0, 2.0, 3.0, 5.0, 10.0, 0.5, 2.5, 100.0, 1e-3, 1e6]
    return st.sampled_from([0.0, *usual] if zero else usual)


def keys() -> SearchStrategy[Key]:
    """Keys of all types: text, bytes, and integers; also empty ones, lone surrogates, and integers of more than 64 bits."""
    return st.one_of(
        st.text(max_size=12),
        st.binary(max_size=12),
        st.integers(-(2**70), 2**70),
        st.sampled_from(SURROGATES),
    )


def outcomes() -> SearchStrategy[Outcome]:
    """All outcomes."""
    return st.sampled_from(list(Outcome))


@st.composite
def endpoint_lists(draw: st.DrawFn, *, min_size: int = 1, max_size: int = 8) -> list[Endpoint[str]]:
    """Any list of endpoints with different ids, in any order."""
    chosen = draw(st.lists(ids(max_size=max_size), min_size=min_size, max_size=max_size, unique=True))
    return [Endpoint(id, weight=draw(weights())) for id in chosen]


@st.composite
def snapshots(draw: st.DrawFn, *, min_size: int = 0, max_size: int = 6) -> Snapshot:
    """Snapshots as a balancer publishes them. Some endpoints are down, and some have requests in flight.

    Weights are either all positive or all 0.
    """
    chosen = draw(st.lists(ids(max_size=max_size), min_size=min_size, max_size=max_size, unique=True))
    if draw(st.integers(0, 9)):
        shares = {id: draw(weights(zero=False)) for id in chosen}
    else:
        shares = dict.fromkeys(chosen, 0.0)
    busy = {id: draw(st.integers(0, 3)) for id in chosen}
    down = draw(st.sets(st.sampled_from(chosen))) if chosen else set()
    if len(chosen) - len(down) < min_size:
        down = set()
    return make_snapshot(make_nodes(shares, inflight=busy), down=down)
