"""Standings: what may be one, and numbers of other classes in them."""

from __future__ import annotations

import copy
import math
import pickle
from decimal import Decimal
from fractions import Fraction
from random import Random

import numpy as np
import pytest

from balancekit import ConfigurationError
from balancekit.gslb import AllUp, Client, Failover, Query, Soa, Standing, Zone, standings_of
from balancekit.testing import make_snapshot

ZONE = Zone(
    "example.com",
    Soa(primary="ns1.example.com", contact="admin.example.com"),
    {
        "www": AllUp(["192.0.2.1"]),
        "spare": Failover([("a", AllUp(["192.0.2.1"])), ("b", AllUp(["192.0.2.2"]))]),
    },
)


@pytest.mark.parametrize("name", ["www", "spare"])
@pytest.mark.parametrize("until", [Decimal(40), Fraction(40), np.float32(40), np.int64(40), 40], ids=repr)
def test_until_may_be_a_number_of_any_class(name, until):
    """A time of another class is stored as a float, and bounds the TTL of an answer as a float does."""
    standing = Standing(up=True, until=until)
    assert type(standing.until) is float
    query = Query(name=f"{name}.example.com", client=Client(address="192.0.2.53"))
    reply = ZONE.answer(query, lambda _: standing, now=0.0, rng=Random(1))
    plain = ZONE.answer(query, lambda _: Standing(up=True, until=40.0), now=0.0, rng=Random(1))
    assert reply == plain


@pytest.mark.parametrize(
    ("parameter", "values"),
    [("up", {"up": 1}), ("up", {"up": "no"}), ("up", {"up": None})]
    + [
        ("until", {"up": True, "until": until})
        for until in (None, "40", math.nan, True, Decimal("NaN"), 10**400)
    ],
)
def test_what_is_no_standing_is_refused_where_it_is_made(parameter, values):
    """A wrong value is named when the standing is made, and not in the middle of an answer."""
    with pytest.raises(ConfigurationError, match=rf"^{parameter}="):
        Standing(**values)


def test_the_standings_of_a_snapshot_are_what_may_be_picked():
    """What may be picked is up, all else down; each until its bound, if it has one."""
    ask = standings_of(
        make_snapshot(["a", "b", "ejected"], down=["ejected"]),
        until={"a": 5.0, "ejected": 7.0, "gone": 9.0},
    )
    assert [ask(id) for id in ("a", "b")] == [Standing(up=True, until=5.0), Standing(up=True)]
    assert [ask(id) for id in ("ejected", "gone", "stranger")] == [
        Standing(up=False, until=7.0),
        Standing(up=False, until=9.0),
        Standing(up=False),
    ]
    assert standings_of(make_snapshot(["a"]))("a") == Standing(up=True)


def test_a_standing_is_a_pair_that_can_be_copied():
    """A standing unpacks, compares with a tuple, and survives pickle, copies and a replaced field."""
    standing = Standing(up=True, until=Decimal(5))
    up, until = standing
    assert (up, until) == standing == (True, 5.0)
    for again in (pickle.loads(pickle.dumps(standing)), copy.copy(standing), copy.deepcopy(standing)):
        assert again == standing
        assert type(again) is Standing
    assert standing._replace(up=False) == (False, 5.0)
    assert Standing(up=False).until == math.inf
