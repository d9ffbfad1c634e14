"""Arguments that the schedules refuse."""

from __future__ import annotations

from random import Random
from threading import RLock
from types import SimpleNamespace

import pytest

from balancekit.errors import ConfigurationError
from balancekit.scheduling import (
    LowestFirst,
    ScoreBuckets,
    SmoothWrr,
    StaggeredEdf,
    smooth_cycle,
    staggered_cycle,
    whole_weights,
)


def buckets(items):
    """Return buckets of some items."""
    return ScoreBuckets(items, Random(1), RLock())


def heap(items):
    """Return a heap of some items."""
    return LowestFirst(items, Random(1), RLock())


@pytest.mark.parametrize(
    ("make", "given", "parameter"),
    [
        (SmoothWrr, [], "weights"),
        (smooth_cycle, [], "weights"),
        (StaggeredEdf, [], "weights"),
        (buckets, [], "items"),
        (heap, {}, "items"),
        (buckets, [SimpleNamespace(id="a", inflight=0, low_water=0, weight=0.0)], "items"),
        (staggered_cycle, [-1, 2], "weights"),
        (staggered_cycle, [1.5, 2], "weights"),
        (lambda weights: whole_weights(weights, limit=9), [0], "weights"),
        (lambda weights: whole_weights(weights, limit=9), [0, 1], "weights"),
        (lambda weights: whole_weights(weights, limit=9), [-1, 2], "weights"),
    ],
)
def test_what_has_no_order_is_refused(make, given, parameter):
    """No weights or items, and weights without a meaning, are refused by name at construction."""
    with pytest.raises(ConfigurationError, match=f"^{parameter}="):
        make(given)


def test_a_cycle_may_have_positions_without_turns():
    """A staggered cycle of no weights is empty, and a position of weight zero has no turn."""
    assert staggered_cycle([]) == []
    assert staggered_cycle([0, 2]) == [1, 1]
