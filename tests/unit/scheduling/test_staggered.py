"""Staggered earliest deadline first, turn by turn: orders worked out by hand."""

from __future__ import annotations

import math

import pytest

from balancekit import ConfigurationError
from balancekit.scheduling import StaggeredEdf, staggered_cycle


def by_hand(weights: list[int]) -> list[int]:
    """Return the cycle by its definition: turn k of position i is due at (k + phase) / w."""
    classes = {w: [i for i, one in enumerate(weights) if one == w] for w in weights}
    alone = sum(len(members) == 1 for members in classes.values())
    golden = (math.sqrt(5.0) - 1.0) / 2.0 if alone > 8 else 0.0
    ranks = {w: rank for rank, w in enumerate(sorted(classes))}
    due = []
    for i, w in enumerate(weights):
        members = classes[w]
        first = 0.5 if len(members) > 1 else (0.5 + ranks[w] * golden) % 1.0
        phase = (members.index(i) + first) / len(members)
        due += [((k + phase) / w, i) for k in range(w)]
    return [i for _, i in sorted(due)]


@pytest.mark.parametrize(
    "weights",
    [
        [1],
        [3],
        [1, 1, 1],
        [5, 1, 1],
        [1, 5, 1],
        [7, 2, 2, 2],
        [4, 3, 2, 1],
        [1, 2, 3, 4, 5, 6, 7, 8],
        [1, 2, 3, 5, 8, 13, 21, 34, 55],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 1],
    ],
    ids=str,
)
def test_a_cycle_is_the_sort_of_all_due_times(weights: list[int]) -> None:
    """The order is that of ``(k + phase) / w``; up to eight weights of their own all start at half a period."""
    assert staggered_cycle(weights) == by_hand(weights)


@pytest.mark.parametrize("weights", [[5, 1, 1], [7, 2, 2, 2], [2, 2]], ids=str)
def test_the_endless_order_begins_as_the_cycle_repeats(weights: list[int]) -> None:
    """Over whole weights it gives each position its weight in every cycle, across the ends of blocks."""
    turns, cycle = StaggeredEdf(weights), sum(weights)
    taken = [turns.take() for _ in range(cycle * 600)]
    assert taken[:cycle] == staggered_cycle(weights)
    for start in range(0, len(taken), cycle):
        counts = [taken[start : start + cycle].count(position) for position in range(len(weights))]
        assert all(abs(count - weight) <= 1 for count, weight in zip(counts, weights, strict=True))
    for position, weight in enumerate(weights):
        assert abs(taken.count(position) - weight * 600) <= 1


@pytest.mark.parametrize("size", [3, 512, 513, 700])
def test_a_block_has_at_least_two_turns_for_each_of_many(size: int) -> None:
    """Equal weights come each once in every ``n`` turns, whether a block is 1,024 turns or twice the servers."""
    turns = StaggeredEdf([1.5] * size)
    for _ in range(5):
        assert sorted(turns.take() for _ in range(size)) == list(range(size))


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf, 1.1e100])
def test_weights_that_make_no_order_are_refused(weight: float) -> None:
    """Weights of which one is zero or negative, or whose sum is not finite, are refused."""
    with pytest.raises(ConfigurationError, match="weights"):
        StaggeredEdf([1.0, weight])


def test_the_greatest_weights_take_turns() -> None:
    """Ten thousand of the greatest weights take turns, as they add up to a finite number."""
    take = StaggeredEdf([1e100, 1e100] + [5e99] * 9_998).take
    turns = [take() for _ in range(10_000)]
    assert turns.count(0) in {1, 2, 3}
    assert set(turns) <= set(range(10_000))
