"""How the league compares the default with the best other choice of a cell."""

from __future__ import annotations

import math

import pytest

from balancekit.bench._league import CENTRAL, DEFAULT, OTHERS, Cell, Run, best_others, standing

CELL = Cell(scenario="equal", balancers=4, load=0.85)
CHOOSING, MEASURED = (1, 2), (3, 4, 5)


def run(choice, seed, p99, mean=1.0, errors=0.0):
    """Return a run of the cell."""
    return Run(cell=CELL, choice=choice, seed=seed, p99=p99, mean=mean, errors=errors)


def others(**ahead):
    """Return the choosing runs of all others: 2 s, but for those that are given."""
    named = {name.replace("_", " "): figures for name, figures in ahead.items()}
    return [run(other, seed, *named.get(other, (2.0, 2.0))) for other in OTHERS for seed in CHOOSING]


def test_the_best_are_those_of_the_least_averages():
    """The best by p99 and the best by the mean have the least averages. Of equal ones the first name counts."""
    assert best_others(others(random=(1.0, 3.0), least_request=(3.0, 1.0))) == ("random", "least request")
    assert best_others(others()) == (min(OTHERS), min(OTHERS))
    uneven = [one for one in others() if one.choice != "random"] + [
        run("random", 1, 0.1),
        run("random", 2, 5.0),
    ]
    assert best_others(uneven)[0] == min(set(OTHERS) - {"random"})


def test_ratios_are_over_the_seeds_of_the_measurement():
    """The best other is chosen by the seeds that are not measured.

    What it does in the measured ones counts in the ratio alone.
    """
    found = others(random=(1.0, 1.0))
    ratios = (0.5, 1.0, 2.0)
    for seed, ratio in zip(MEASURED, ratios, strict=True):
        found += [run(DEFAULT, seed, 4.0 * ratio, 3.0 * ratio, 0.02), run("random", seed, 4.0, 3.0, 0.01)]
        found += [run(CENTRAL, seed, 1.0)]
    found += [run("least request", seed, 0.01, 0.01) for seed in MEASURED]
    one = standing(CELL, found)
    assert (one.best, one.best_mean) == ("random", "random")
    assert (one.p99, one.mean, one.central) == pytest.approx((1.0, 1.0, 0.25))
    half_width = (
        4.30 * math.log(2.0) / math.sqrt(3.0)
    )  # of the interval of three logarithms: Student's t, 2 degrees
    assert one.p99_high == pytest.approx(math.exp(half_width), rel=0.01)
    assert one.errors == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("load", "p99", "mean", "errors", "good"),
    [
        (0.85, 1.09, 1.09, 0.0, True),
        (0.85, 1.11, 1.0, 0.0, False),
        (0.85, 1.0, 1.11, 0.0, False),
        (0.95, 1.19, 1.19, 0.0, True),
        (0.95, 1.21, 1.0, 0.0, False),
        (0.3, 1.0, 1.0, 1e-6, False),
    ],
)
def test_a_cell_is_good_within_a_tenth_or_a_fifth(load, p99, mean, errors, good):
    """A cell is bad by its p99, its mean or its errors alone, beyond a tenth or a fifth."""
    cell = CELL.replace(load=load)
    found = others(random=(1.0, 1.0))
    for seed in MEASURED:
        found += [run(DEFAULT, seed, p99, mean, errors), run("random", seed, 1.0), run(CENTRAL, seed, 1.0)]
    assert standing(cell, found).good is good


def test_few_pairs_widen_the_interval():
    """With a single pair, the interval has no upper bound."""
    found = others(random=(1.0, 1.0))
    found += [run(DEFAULT, 3, 0.5), run("random", 3, 1.0), run(CENTRAL, 3, 1.0)]
    assert standing(CELL, found).p99_high == math.inf


@pytest.mark.parametrize(
    ("ratios", "undecided"),
    [((0.5, 2.0), True), ((1.0, 1.0), False), ((1.2, 1.2), False), ((0.9, 1.7), False)],
)
def test_a_cell_is_undecided_within_its_bound_by_an_interval_beyond_it(ratios, undecided):
    """A cell is undecided if its ratios are within the bound and the end of an interval is not; never by its ratio alone."""
    found = others(random=(1.0, 1.0))
    for seed, ratio in zip(MEASURED, (*ratios, math.sqrt(ratios[0] * ratios[1])), strict=True):
        found += [run(DEFAULT, seed, ratio), run("random", seed, 1.0), run(CENTRAL, seed, 1.0)]
    assert standing(CELL, found).undecided is undecided
