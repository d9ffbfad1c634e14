"""Averages that forget by time: their closed forms."""

from __future__ import annotations

import math

import pytest

from balancekit.stats import Ewma, PeakEwma


@pytest.mark.parametrize("kind", [Ewma, PeakEwma])
def test_the_first_sample_is_believed_whole(kind):
    """The first sample is the average, as there is nothing to average it with."""
    average = kind(decay=10.0)
    assert not average.seen
    average.observe(3.0, now=100.0)
    assert average.seen
    assert average.value(now=100.0) == 3.0


@pytest.mark.parametrize("kind", [Ewma, PeakEwma])
@pytest.mark.parametrize("after", [0.0, 1.0, 6.931471805599453, 10.0, 100.0])
def test_an_old_value_keeps_exp_of_minus_age_over_decay(kind, after):
    """After ``decay * ln 2`` a lower sample moves either average half of the way down."""
    average = kind(decay=10.0)
    average.observe(1.0, now=0.0)
    average.observe(0.0, now=after)
    assert average.value(now=after) == pytest.approx(math.exp(-after / 10.0), abs=1e-12)


def test_up_is_at_once_for_the_peak_and_slow_for_the_other():
    """A higher sample is taken at once by the peak average, and averaged in by the other."""
    symmetric, peak = Ewma(decay=10.0), PeakEwma(decay=10.0)
    for average in (symmetric, peak):
        average.observe(1.0, now=0.0)
        average.observe(5.0, now=1.0)
    assert peak.value(now=1.0) == 5.0
    assert symmetric.value(now=1.0) == pytest.approx(5.0 - 4.0 * math.exp(-0.1), abs=1e-12)


@pytest.mark.parametrize("kind", [Ewma, PeakEwma])
def test_two_samples_forget_as_much_as_one_over_the_same_time(kind):
    """What is forgotten depends on time, not on how many samples came."""
    once, twice = kind(decay=3.0), kind(decay=3.0)
    for average in (once, twice):
        average.observe(8.0, now=0.0)
    twice.observe(2.0, now=1.0)
    for average in (once, twice):
        average.observe(2.0, now=4.0)
    assert once.value(now=4.0) == pytest.approx(twice.value(now=4.0), abs=1e-12)


@pytest.mark.parametrize("kind", [Ewma, PeakEwma])
def test_reading_fades_towards_rest_and_changes_nothing(kind):
    """Asked with a rest value it answers what an idle average is worth; asking twice is the same."""
    average = kind(decay=10.0)
    average.observe(4.0, now=0.0)
    assert average.value(now=10.0, rest=1.0) == pytest.approx(1.0 + 3.0 * math.exp(-1.0), abs=1e-12)
    assert average.value(now=10.0, rest=1.0) == average.value(now=10.0, rest=1.0)
    assert average.value(now=10.0) == 4.0


def test_a_lower_bound_raises_and_never_lowers():
    """A lower bound, such as a timeout, raises the average and never lowers it."""
    average = PeakEwma(decay=10.0)
    average.observe(2.0, now=0.0)
    average.raise_to(1.0, now=1.0)
    assert average.value(now=1.0) == 2.0
    average.raise_to(7.0, now=1.0)
    assert average.value(now=1.0) == 7.0
