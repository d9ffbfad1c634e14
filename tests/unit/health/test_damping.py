"""Flap damping against its closed forms: papers.md section 8, RFC 2439, vendors' figures."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.health import Damper, Damping, FlapDamping

MINUTE = 60.0
CISCO = FlapDamping(half_life=15 * MINUTE, max_suppress=60 * MINUTE)


def vendor(suppress):
    """Cisco's figures with another threshold, and the ceiling of 12 000 that all of them have."""
    return CISCO.replace(suppress=suppress)


@pytest.mark.parametrize(("penalty", "minutes"), [(2000, 21.226), (3000, 30.0), (6000, 45.0), (12_000, 60.0)])
def test_the_time_to_reuse_is_the_formula(penalty, minutes):
    """The time to reuse is ``half_life * log2(penalty / reuse)``.

    2000 takes 21.226 minutes with a half-life of 15.
    """
    assert CISCO.time_to_reuse(penalty) == pytest.approx(15 * MINUTE * math.log2(penalty / 750), rel=1e-12)
    assert CISCO.time_to_reuse(penalty) / MINUTE == pytest.approx(minutes, abs=5e-4)


def test_the_ceiling_is_what_the_longest_suppression_allows():
    """``reuse * 2 ** (longest / half_life)`` is 12 000 for all vendors' figures."""
    assert CISCO.ceiling == pytest.approx(12_000, rel=1e-12)


@pytest.mark.parametrize(("period", "steady"), [(1, 22_144), (2, 11_328), (5, 4847), (10, 2702)])
def test_the_steady_penalty_is_the_geometric_sum(period, steady):
    """The steady penalty is ``flap / (1 - 2 ** (-period / half_life))``.

    A machine without a low ceiling tends to it.
    """
    high = FlapDamping(half_life=15 * MINUTE, max_suppress=15 * MINUTE * 20)
    assert high.steady_penalty(period * MINUTE) == pytest.approx(steady, abs=0.5)
    damper = high()
    for k in range(2000):
        damper.flap(now=k * period * MINUTE)
    at = 1999 * period * MINUTE
    assert damper.penalty(now=at) == pytest.approx(high.steady_penalty(period * MINUTE), rel=1e-9)


@pytest.mark.parametrize(
    ("suppress", "period", "flaps"),
    [
        *[(2000, 1, 3), (2000, 2, 3), (2000, 5, 3), (2000, 10, 3), (3000, 1, 4), (3000, 2, 4), (3000, 5, 5)],
        *[(3000, 10, None), (6000, 1, 7), (6000, 2, 9), (6000, 5, None), (6000, 10, None)],
    ],
)
def test_the_flap_that_suppresses_is_the_known_one(suppress, period, flaps):
    """The flap that suppresses is that of the reference's table, for thresholds and periods in minutes."""
    damper = vendor(suppress)()
    suppressed = (k + 1 for k in range(500) if damper.flap(now=k * period * MINUTE))
    assert next(suppressed, None) == flaps


@pytest.mark.parametrize(("suppress", "minutes"), [(2000, 15.0), (3000, 8.77), (6000, 3.95)])
def test_the_slowest_period_that_suppresses(suppress, minutes):
    """The slowest period that suppresses is ``half_life * log2(s / (s - flap))``.

    A little faster is suppressed at last, a little slower never.
    """
    config = vendor(suppress)
    assert config.slowest_period / MINUTE == pytest.approx(minutes, abs=5e-3)
    for factor, expected in ((0.99, True), (1.01, False)):
        damper = config()
        assert any(damper.flap(now=k * config.slowest_period * factor) for k in range(2000)) is expected


def test_one_flap_may_be_enough():
    """If one flap is worth the threshold, every period suppresses."""
    assert math.isinf(FlapDamping(flap=2000.0).slowest_period)
    assert FlapDamping(flap=2000.0)().flap(now=5.0)


@given(gaps=st.lists(st.floats(0.0, 200.0), min_size=1, max_size=40), after=st.floats(0.0, 2000.0))
def test_the_penalty_is_the_sum_of_what_is_left_of_each_flap(gaps, after):
    """Closed form to 1e-9 while the ceiling is not met: ``sum(flap * 2 ** (-(t - t_k) / half_life))``."""
    config = FlapDamping(max_suppress=60.0 * 40)
    damper, now, times = config(), 0.0, []
    for gap in gaps:
        now += gap
        times.append(now)
        damper.flap(now=now)
    now += after
    expected = sum(1000.0 * 2.0 ** (-(now - t) / 60.0) for t in times)
    assert damper.penalty(now=now) == pytest.approx(expected, rel=1e-9)


@given(gaps=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60))
def test_suppression_is_bounded_and_ends_at_the_formula(gaps):
    """Suppressed iff the penalty has reached the threshold and not yet decayed to reuse; never past longest."""
    config = FlapDamping()
    damper, now, penalty, suppressed = config(), 0.0, 0.0, False
    for gap in gaps:
        penalty *= 2.0 ** (-gap / 60.0)
        now += gap
        suppressed = suppressed and penalty > 750.0 * (1 + 1e-9)
        penalty = min(24_000.0, penalty + 1000.0)
        suppressed = suppressed or penalty >= 2000.0
        assert damper.flap(now=now) is suppressed
    if not suppressed:
        return
    assert damper.reuse_at == pytest.approx(now + 60.0 * math.log2(penalty / 750.0), rel=1e-9)
    assert damper.reuse_at <= now + config.max_suppress + 1e-6
    damper.advance(now=damper.reuse_at - 1e-6)
    assert damper.state is Damping.SUPPRESSED
    damper.advance(now=damper.reuse_at)
    assert damper.state is Damping.PENALIZED
    assert damper.penalty(now=damper.reuse_at) == pytest.approx(750.0, rel=1e-9)


def test_no_penalty_exceeds_the_ceiling():
    """A hundred flaps at once are as bad as twenty-four: suppressed for ``longest``."""
    damper = FlapDamping()()
    for _ in range(100):
        damper.flap(now=50.0)
    assert damper.penalty(now=50.0) == 24_000.0
    assert damper.reuse_at == pytest.approx(350.0, rel=1e-12)


def test_at_half_of_reuse_it_is_forgotten():
    """RFC 2439 drops the state at ``reuse / 2``: ours is calm from then on."""
    damper = FlapDamping()()
    damper.flap(now=0.0)
    due = 60.0 * math.log2(1000.0 / 375.0)
    assert damper.deadline == pytest.approx(due, rel=1e-12)
    damper.advance(now=due - 0.001)
    assert damper.state is Damping.PENALIZED
    damper.advance(now=due + 1e-9)
    assert damper.state is Damping.CALM
    assert damper.deadline is None


def test_a_pardon_keeps_the_penalty():
    """An endpoint that is let back because no other is left is not calm: the next flap suppresses again."""
    damper = FlapDamping()()
    for now in (0.0, 1.0, 2.0):
        damper.flap(now=now)
    damper.release(now=3.0)
    assert damper.state is Damping.PENALIZED
    assert damper.flap(now=4.0)


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"suppress": 24_000.0}, "suppress"),
        ({"suppress": 12_000.0, "half_life": 900.0, "max_suppress": 3600.0}, "suppress"),
        ({"suppress": 750.0}, "suppress"),
        ({"reuse": 3000.0}, "suppress"),
        ({"half_life": 0.0}, "half_life"),
        ({"flap": math.nan}, "flap"),
        ({"max_suppress": math.inf}, "max_suppress"),
        ({"half_life": 1e-9}, "max_suppress"),
        ({"reuse": -1.0}, "reuse"),
        ({"flap": True}, "flap"),
        ({"suppress": "2000 times"}, "suppress"),
    ],
)
def test_figures_that_cannot_work_are_refused(options, parameter):
    """Figures that cannot work are refused, above all a threshold that the ceiling cannot reach."""
    with pytest.raises(ConfigurationError) as caught:
        FlapDamping(**options)
    assert caught.value.parameter == parameter


def test_a_ceiling_of_50_000_needs_91_minutes():
    """With a half-life of 15 minutes, a ceiling of 50 000 needs a long suppression.

    It is 90.9 minutes, as RFC 7196 says.
    """
    needed = 15 * MINUTE * math.log2(50_000 / 750)
    assert needed / MINUTE == pytest.approx(90.9, abs=0.05)
    with pytest.raises(ConfigurationError, match="max_suppress >"):
        CISCO.replace(suppress=50_000.0, max_suppress=needed - 1.0)
    assert CISCO.replace(suppress=50_000.0, max_suppress=needed + 1.0).ceiling > 50_000


def test_machines_are_made_by_their_figures():
    """Calling a ``FlapDamping`` makes a ``Damper`` for one endpoint, with its figures and a penalty of its own."""
    policy = FlapDamping(half_life=10.0)
    machine, other = policy(), policy()
    assert isinstance(machine, Damper)
    machine.flap(now=0.0)
    assert machine.penalty(now=10.0) == pytest.approx(policy.flap / 2)
    assert other.penalty(now=10.0) == 0.0


def test_without_a_penalty_there_is_nothing_to_wait_for():
    """A penalty of 0, or at ``reuse``, takes 0 seconds."""
    damping = FlapDamping()
    assert damping.time_to_reuse(0.0) == damping.time_to_reuse(damping.reuse) == 0.0


def test_what_is_due_happens_at_its_deadline() -> None:
    """At exactly ``deadline`` a penalty is forgotten, and not a moment before."""
    damper = CISCO()
    damper.flap(now=0.0)
    due = damper.deadline
    assert due is not None
    damper.advance(now=math.nextafter(due, 0.0))
    assert damper.state is Damping.PENALIZED
    damper.advance(now=due)
    assert damper.state is Damping.CALM
