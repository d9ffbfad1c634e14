"""What functions and policies of the user return: a standing, an answer and a demand, or an error that names them."""

import math
from fractions import Fraction
from functools import partial
from random import Random

import numpy as np
import pytest

from balancekit import ConfigurationError
from balancekit.compat import gdnsd, route53
from balancekit.gslb import (
    AllUp,
    Answer,
    Client,
    Failover,
    Geo,
    GeoMap,
    HashedOne,
    PrimaryBackup,
    Query,
    ResolverCache,
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
        "Geo": Geo(GeoMap.build(default=["eu"]), {"eu": child}),
    }


@pytest.mark.parametrize("name", ["Failover", "Spill", "Zone"])
@pytest.mark.parametrize("answer", [None, "192.0.2.1", ("192.0.2.1",)], ids=repr)
def test_policies_that_return_something_else_are_named(name, answer):
    """A policy of the user that returns no Answer is named by the policy that asked it."""
    policy = _nested(Stub(answer))[name]
    with pytest.raises(ConfigurationError, match=r"^answer=.*expected an Answer of Stub\.answer\(\)"):
        policy.answer(QUERY, fixed_standings({}), now=0.0, rng=Random(1))


WRONG = {
    "chosen": ["192.0.2.1", b"192.0.2.1", None, 5, ["192.0.2.1"], (5,), ([],), {"192.0.2.1"}],
    "ttl": ["30", True, math.nan, -math.inf, -1.0, None],
    "scope": ["24", True, 24.0, -1, 129, None],
    "exhausted": ["open", True, 0],
}


@pytest.mark.parametrize("name", ["Failover", "Spill", "Zone", "Geo", "ResolverCache"])
@pytest.mark.parametrize(("field", "value"), [(field, value) for field in WRONG for value in WRONG[field]])
def test_an_answer_of_anything_else_is_refused_by_its_field(name, field, value):
    """Ids that are no tuple of texts, of which a text would be read letter by letter, and numbers that are none."""
    answer = Answer(("192.0.2.1",), 30.0)._replace(**{field: value})
    if name == "ResolverCache":
        ask = partial(ResolverCache().store, QUERY, answer)
    else:
        ask = partial(_nested(Stub(answer))[name].answer, QUERY, fixed_standings({}), rng=Random(1))
    with pytest.raises(ConfigurationError, match=rf"^{field}="):
        ask(now=0.0)


def test_a_text_of_ids_is_told_how_one_is_written():
    """The error of an answer whose ids are a text ends with the tuple that was meant."""
    policy = _nested(Stub(Answer("192.0.2.1")))["Zone"]
    with pytest.raises(ConfigurationError, match=r"a tuple of endpoint ids, such as \('192\.0\.2\.1',\)$"):
        policy.answer(QUERY, fixed_standings({}), now=0.0, rng=Random(1))


def test_numbers_of_other_libraries_are_plain_in_an_answer():
    """An answer whose seconds are a Fraction is cached for so many seconds, and stored as a float."""
    cache = ResolverCache()
    cache.store(QUERY, Answer(("192.0.2.1",), Fraction(30), np.int64(24)), now=0.0)
    assert cache.look_up(QUERY, now=10.0).ttl == 20.0


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
