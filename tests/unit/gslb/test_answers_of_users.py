"""What functions and policies of the user return: a standing, an answer and a demand, or an error that names them."""

import math
from random import Random

import pytest

from balancekit import ConfigurationError
from balancekit.compat import gdnsd, route53
from balancekit.gslb import (
    AllUp,
    Answer,
    Client,
    Failover,
    HashedOne,
    PrimaryBackup,
    Query,
    Rotation,
    Soa,
    Spill,
    WeightedOne,
    WeightedSubset,
    Zone,
    fixed_standings,
)

QUERY = Query(name="www.example.com", client=Client(address="192.0.2.53"))
SOA = Soa(primary="ns1.example.com", contact="admin.example.com")
SITES = {"eu": AllUp(["a"]), "us": AllUp(["b"])}
POLICIES = {
    "AllUp": AllUp(["a"]),
    "PrimaryBackup": PrimaryBackup("a", "b"),
    "Rotation": Rotation(["a", "b"]),
    "HashedOne": HashedOne(["a", "b"]),
    "WeightedOne": WeightedOne({"a": 1, "b": 2}),
    "WeightedSubset": WeightedSubset({"a": 1, "b": 2}),
    "Failover": Failover(SITES, overprovisioning=1.5),
    "Spill": Spill(SITES, {"eu": 10, "us": 10}, lambda site: 5.0),
    "Zone": Zone("example.com", SOA, {"www": AllUp(["192.0.2.1"])}),
    "gdnsd.Simplefo": gdnsd.Simplefo("a", "b"),
    "route53.RecordOrder": route53.RecordOrder(lambda client: ["a", "b"], ["a", "b"]),
}


class Stub:
    """A policy of the user."""

    def __init__(self, answer):
        self.result = answer

    def answer(self, *arguments, **options):
        return self.result

    def members(self):
        return frozenset({"192.0.2.1"})


@pytest.mark.parametrize("standing", [None, True, "up", (True, 5.0)], ids=repr)
@pytest.mark.parametrize("name", POLICIES)
def test_standings_that_return_something_else_are_named(name, standing):
    """Each policy refuses what is no Standing, whatever it reads of it."""
    with pytest.raises(ConfigurationError, match=r"^standings=.*expected a function that returns a Standing"):
        POLICIES[name].answer(QUERY, lambda _: standing, now=0.0, rng=Random(1))


def _nested(child):
    return {
        "Failover": Failover({"eu": child}),
        "Spill": Spill({"eu": child}, {"eu": 10}, lambda site: 5.0),
        "Zone": Zone("example.com", SOA, {"www": child}),
    }


@pytest.mark.parametrize("name", ["Failover", "Spill", "Zone"])
@pytest.mark.parametrize("answer", [None, "192.0.2.1", ("192.0.2.1",)], ids=repr)
def test_policies_that_return_something_else_are_named(name, answer):
    """A policy of the user that returns no Answer is named by the policy that asked it."""
    policy = _nested(Stub(answer))[name]
    with pytest.raises(ConfigurationError, match=r"^answer=.*expected an Answer of Stub\.answer\(\)"):
        policy.answer(QUERY, fixed_standings({}), now=0.0, rng=Random(1))


def test_a_policy_that_chooses_a_stranger_is_named():
    """A zone has no address of an endpoint that is none of the policy's members."""
    zone = _nested(Stub(Answer(("192.0.2.9",), math.inf)))["Zone"]
    with pytest.raises(ConfigurationError, match=r"^answer='192\.0\.2\.9'"):
        zone.answer(QUERY, fixed_standings({}), now=0.0, rng=Random(1))


@pytest.mark.parametrize("demand", [None, "5", math.nan, math.inf, True], ids=repr)
def test_a_demand_that_is_no_number_is_named(demand):
    """A demand of a site that is no finite number is an error that names it."""
    policy = Spill(SITES, {"eu": 10, "us": 10}, lambda site: demand)
    with pytest.raises(ConfigurationError, match=r"^demand="):
        policy.answer(QUERY, fixed_standings({}), now=0.0, rng=Random(1))
