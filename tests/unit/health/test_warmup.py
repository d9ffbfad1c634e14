"""The ramp: its closed form, its steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.health import Warmth, WarmUp


@pytest.mark.parametrize(
    ("aggression", "shares"),
    [(0.5, (0.10, 0.10, 0.25, 0.5625)), (1.0, (0.10, 0.25, 0.50, 0.75)), (2.0, (0.31622776601683794, 0.5))],
)
def test_the_ramp_is_envoys(aggression, shares):
    """The ramp is Envoy's, at 10, 25, 50 and 75 % of the window.

    It is ``max(minimum, (t / window) ** (1 / aggression))``.
    """
    ramp = WarmUp(window=40.0, aggression=aggression)
    for elapsed, share in zip((4.0, 10.0, 20.0, 30.0), shares, strict=False):
        assert ramp.share(elapsed) == pytest.approx(share, rel=1e-9)


@given(
    window=st.floats(0.01, 1e4),
    aggression=st.floats(0.2, 5.0),
    minimum=st.floats(0.0, 1.0),
    began=st.floats(0.0, 1e6),
)
def test_a_warm_up_takes_twenty_steps_and_ends(window, aggression, minimum, began):
    """Driven by its deadlines it never goes down, follows the formula, and is over with the window."""
    machine = WarmUp(window=window, aggression=aggression, min_share=minimum)()
    assert machine.deadline is None
    machine.begin(now=began)
    shares, done = [machine.share], False
    for _ in range(25):
        if done:
            break
        now = machine.deadline
        done = machine.advance(now=now)
        shares.append(machine.share)
        expected = max(minimum, ((now - began) / window) ** (1 / aggression))
        assert machine.share == pytest.approx(1.0 if done else min(1.0, expected), rel=1e-9)
    assert done
    assert machine.state is Warmth.FULL
    assert shares == sorted(shares)
    assert shares[0] == minimum
    assert shares[-1] == 1.0
    assert now == pytest.approx(began + window, rel=1e-9)


def test_a_late_look_skips_steps():
    """A look after the window finds it over; nothing is due before its time."""
    machine = WarmUp(window=10.0)()
    machine.begin(now=5.0)
    assert not machine.advance(now=5.4)
    assert machine.share == 0.1
    assert not machine.advance(now=10.0)
    assert machine.share == pytest.approx(0.5)
    assert machine.advance(now=99.0)
    assert not machine.advance(now=100.0)


def test_an_endpoint_that_is_taken_out_warms_no_more():
    """An endpoint that is ejected warms no more, and its next warm-up begins at the beginning."""
    machine = WarmUp(window=10.0)()
    machine.begin(now=0.0)
    machine.advance(now=5.0)
    machine.stop()
    assert machine.deadline is None
    machine.begin(now=20.0)
    assert machine.share == 0.1


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"window": 0.0}, "window"),
        ({"window": float("inf")}, "window"),
        ({"aggression": 0.0}, "aggression"),
        ({"min_share": 1.1}, "min_share"),
        ({"min_share": False}, "min_share"),
    ],
)
def test_bad_figures_are_refused(options, parameter):
    """Each wrong value raises ConfigurationError at construction, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        WarmUp(**options)
    assert caught.value.parameter == parameter
