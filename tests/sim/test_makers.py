"""What is given in place of a function that makes balancers."""

from __future__ import annotations

import pytest

from balancekit import ConfigurationError, LoadBalancer, RoundRobin
from balancekit.sim import Exponential, Nodes, Poisson, Server, Site, TierSimulation, simulate
from balancekit.testing import check_balancer

SERVER = Server(service=Exponential(mean=0.1))
NODES = Nodes(count=1, requests_per_second=100.0)
SITES = {"eu": Site(l4=NODES, l7=NODES, servers=1, server=SERVER)}


async def coroutine(endpoints, clock, rng):
    """Return nothing."""


OTHERS = {
    "selector": RoundRobin(),
    "class of selectors": RoundRobin,
    "balancer": LoadBalancer(["a"]),
    "class of balancers": LoadBalancer,
    "fewer parameters": lambda endpoints: LoadBalancer(endpoints),
    "coroutine function": coroutine,
    "text": "RoundRobin",
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_makes_no_balancer_is_refused_with_an_example(other):
    """Anything but a function of endpoints, clock and generator is refused before a run, with what to write."""
    made = OTHERS[other]
    for run in (
        lambda: simulate({"a": SERVER}, Poisson(rate=1.0), balancer=made, requests=10),
        lambda: TierSimulation(SITES, requests_per_second=1.0, balancer=made),
        lambda: check_balancer(made),
    ):
        with pytest.raises(ConfigurationError) as caught:
            run()
        assert caught.value.parameter in {"balancer", "make"}
