"""Standings of a balancer, as name servers ask for them."""

from __future__ import annotations

import pytest

from balancekit import LoadBalancer
from balancekit.adapters.dnslib import BalancerStandings
from balancekit.testing import ManualClock


@pytest.mark.parametrize("step", [0.1, 3600.0, -0.001, -3600.0])
def test_a_reading_is_no_older_than_max_age_whatever_the_clock_does(step: float) -> None:
    """A clock that is set back makes no reading last until it has caught up."""
    lb = LoadBalancer(["a", "b"], clock=ManualClock(10_000.0))
    wall = [10_000.0]
    ask = BalancerStandings(lb, max_age=0.1, up_states=("healthy",), clock=lambda: wall[0])
    assert ask("a").up
    lb.drain("a")
    wall[0] += step
    assert not ask("a").up
