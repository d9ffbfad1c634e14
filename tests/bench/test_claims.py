"""When a claim holds, and that the tolerances are as rare as they say."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from balancekit.bench import Claim, Column, Findings, Table, Timer
from balancekit.bench._claims import Z, batch_error, chi_square, chi_square_limit, joined, student

RARE = math.erfc(Z / math.sqrt(2.0)) / 2.0
"""How often a normal variable is more than five standard deviations above its mean."""


def tail(density, start, end, steps=400_000):
    """Integrate a density numerically."""
    x = np.linspace(start, end, steps + 1)
    y = density(x)
    return float((y[1:] + y[:-1]).sum() * (x[1] - x[0]) / 2.0)


@pytest.mark.parametrize("freedom", [10, 19, 50, 400])
def test_students_factor_is_as_rare_as_z(freedom):
    """The tail of Student's t beyond the factor is that of the normal beyond five."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    found = tail(lambda x: scale * (1.0 + x * x / freedom) ** (-(freedom + 1) / 2), student(freedom), 2_000.0)
    # The expansion is a little short at few degrees: less than twice as often as one in 3.5 million.
    assert RARE * 0.9 <= found <= RARE * (2.0 if freedom < 19 else 1.2)


@pytest.mark.parametrize("freedom", [2, 9, 99])
def test_the_chi_square_limit_is_as_rare_as_z(freedom):
    """The tail of chi-square beyond the limit is that of the normal beyond five, or a little rarer."""
    half, start = freedom / 2.0, chi_square_limit(freedom) * freedom
    found = tail(
        lambda x: np.exp((half - 1.0) * np.log(x) - x / 2.0 - half * math.log(2.0) - math.lgamma(half)),
        start,
        start + 400.0,
    )
    assert RARE / 6.0 <= found <= RARE * 1.5


def test_chi_square_of_counts_is_pearsons():
    """The chi-square of counts is Pearson's, as computed by hand: (10^2 / 50 + 10^2 / 50) / 1."""
    assert chi_square([60, 40], [0.5, 0.5]) == pytest.approx(4.0)


def test_batches_know_the_error_of_a_mean():
    """The error of a mean of independent values is the textbook's, widened by Student's factor."""
    values = np.random.default_rng(1).normal(size=200_000)
    exact = student(19) / Z / math.sqrt(200_000)
    assert batch_error(values) == pytest.approx(exact, rel=5.0 / math.sqrt(2 * 19))


@pytest.mark.parametrize(
    ("measured", "holds"),
    [(1.0, True), (1.4999, True), (0.5001, True), (1.5001, False), (0.4999, False), (math.nan, False)],
)
def test_a_claim_holds_within_five_standard_errors(measured, holds):
    """A claim holds within five standard errors to either side, and never for a value that is not a number."""
    assert Claim.near("name", "text", measured, 1.0, 0.1).holds is holds


def test_an_exact_claim_allows_rounding_and_nothing_else():
    """An exact claim has an error of zero and allows rounding only."""
    assert Claim.near("name", "text", 0.1 + 0.2, 0.3, 0.0).holds
    assert not Claim.near("name", "text", 0.3001, 0.3, 0.0).holds
    assert Claim.near("name", "text", 0.3, 0.3, 0.0).allowed == "exactly"


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(-math.inf, 2.0, "at most 2.0"), (2.0, math.inf, "at least 2.0"), (1.0, 2.0, "1.0 to 2.0")],
)
def test_what_is_allowed_in_words(low, high, says):
    """The text of what is allowed tells one-sided claims from two-sided ones."""
    claim = Claim(name="n", text="t", measured=1.5, right=None, low=low, high=high, form=".1f")
    assert claim.allowed == says
    assert claim.data()["low"] == (None if low == -math.inf else low)


def test_tables_of_one_name_become_one():
    """Tables of one name become one: parts add rows, and claims stay in order."""
    table = Table(
        name="t", title="T", columns=(Column(name="a", form=".1f"), Column(name="b")), rows=((1.0, "x"),)
    )
    parts = [
        Findings(
            claims=(Claim.near(str(k), "", 0.0, 0.0, 1.0),), tables=(table.replace(rows=((float(k), "y"),)),)
        )
        for k in range(3)
    ]
    found = joined(parts)
    assert [claim.name for claim in found.claims] == ["0", "1", "2"]
    assert [row["a"] for row in found["t"].where(b="y")] == [0.0, 1.0, 2.0]
    assert Column(name="a", form=".1f").text(None) == "-"


class TestBusyMachine:
    """Figures of speed that other programs spoil."""

    def test_what_is_not_judged_fails_nothing(self):
        """A claim outside its range holds if it is not judged, and says so."""
        claim = Claim(name="n", text="t", measured=9.0, right=None, low=0.0, high=1.0)
        assert (claim.holds, claim.verdict) == (False, "fails")
        assert (claim.replace(judged=False).holds, claim.replace(judged=False).verdict) == (
            True,
            "not judged",
        )
        assert claim.replace(measured=0.5).verdict == "holds"
        assert claim.data()["judged"] is True

    @pytest.mark.parametrize(("wall", "busy"), [(1.0, False), (1.2, False), (1.6, True), (4.0, True)])
    def test_a_timer_that_waits_for_the_processor_is_busy(self, monkeypatch, wall, busy):
        """A timer reports a busy processor above a quarter more time on the wall than at work."""
        work = iter(range(10**6))
        at = [0.0]

        def at_work():
            at[0] = next(work) * 1e-3
            return at[0]

        monkeypatch.setattr(time, "thread_time", at_work)
        monkeypatch.setattr(time, "perf_counter", lambda: at[0] * wall)
        timer = Timer(rounds=3, milliseconds=1.0)
        timer.run()
        assert timer.busy is busy


@pytest.mark.parametrize(("cold", "runs"), [(False, 1 + 1 + 3 * 2), (True, 1 + 1 + 3)])
def test_each_timed_run_follows_one_that_is_not_timed(monkeypatch, cold, runs):
    """A case runs once first, once to find how often to run it, and twice a round: the second is timed. Cold, once a round."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(time, "thread_time", lambda: next(ticks) * 1e-3)
    called = []
    timer = Timer(rounds=3, milliseconds=1.0, cold=cold)
    timer.add("a call", "call()", call=lambda: called.append(None))
    timer.run()
    assert len(called) == runs
