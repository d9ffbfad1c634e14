"""A policy tree as a client-side selector."""

from __future__ import annotations

import pytest

from balancekit import LoadBalancer, Outcome, UnavailableError
from balancekit.errors import ConfigurationError
from balancekit.gslb import AllUp, Client, Failover, Geo, GeoMap, PolicySelector, WeightedOne
from balancekit.testing import make_context, make_snapshot

WORLD = GeoMap.build(networks={"10.1.0.0/16": ["us", "eu"]}, default=["eu", "us"])
TREE = Geo(WORLD, {"eu": AllUp(["eu-1", "eu-2"]), "us": WeightedOne({"us-1": 1})})


def test_the_tree_decides_and_retries_go_on_through_it():
    """The client's site is first.

    An endpoint that has been tried is down for the tree, so that the next site follows.
    """
    lb = LoadBalancer(
        ["eu-1", "eu-2", "us-1"],
        selector=PolicySelector(TREE, client=lambda ctx: Client(address=ctx.key)),
    )
    tried = []
    for _ in range(3):
        lease = lb.acquire("10.1.2.3", exclude=tried)
        tried.append(lease.endpoint.id)
        lease.release(Outcome.CONNECT_FAILED)
    assert tried[0] == "us-1"
    assert set(tried[1:]) == {"eu-1", "eu-2"}
    with pytest.raises(UnavailableError):
        lb.acquire("10.1.2.3", exclude=tried)


def test_an_endpoint_that_may_not_be_picked_is_never_picked():
    """An ineligible endpoint is never picked, even where the policy fails open and answers it."""
    selector = PolicySelector(
        Failover([("eu", AllUp(["eu-1"]))], fail_back=None), client=Client(address="10.0.0.1")
    )
    snapshot = make_snapshot(["eu-1"], down=["eu-1"])
    assert selector.select(snapshot, make_context()) is None


def test_members_that_are_not_in_the_pool_are_down():
    """Members of a tree that are not in the pool are down."""
    selector = PolicySelector(TREE, client=Client(address="10.1.0.1"))
    assert selector.select(make_snapshot(["eu-2"]), make_context()).id == "eu-2"


def test_a_wrong_argument_is_named():
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        PolicySelector(TREE, client="10.0.0.1")
    assert caught.value.parameter == "client"
