"""Plans are exact, change nothing until applied, and are refused when stale."""

from __future__ import annotations

import json
import math

import pytest

from balancekit import (
    BoundedLoad,
    ConfigurationError,
    Endpoint,
    LoadBalancer,
    MaglevHash,
    RendezvousHash,
    RingHash,
    RoundRobin,
)
from balancekit.cli import main

SELECTORS = {
    "RingHash": RingHash,
    "MaglevHash": lambda: MaglevHash(size=1009),
    "RendezvousHash": RendezvousHash,
    "BoundedLoad": BoundedLoad,
}


def owners(balancer):
    """Return who gets each of 3 000 keys."""
    return [balancer.ranking(key, limit=1)[0].id for key in range(3_000)]


@pytest.mark.parametrize("make", SELECTORS.values(), ids=SELECTORS)
def test_a_plan_says_what_the_update_does(make):
    """A plan has the part of keys that moves and the shares, within five standard deviations of 3 000 keys."""
    balancer = LoadBalancer([Endpoint("a"), Endpoint("b", weight=2), Endpoint("c")], selector=make())
    plan = balancer.plan([Endpoint("a", weight=3), Endpoint("b", weight=2), Endpoint("d")])
    assert (plan.added, plan.removed, plan.reweighted) == (("d",), ("c",), ("a",))
    before = owners(balancer)
    assert [e.id for e in balancer.endpoints] == ["a", "b", "c"]
    plan.apply()
    after = owners(balancer)
    assert [e.id for e in balancer.endpoints] == ["a", "b", "d"]
    moved = sum(one != other for one, other in zip(before, after, strict=True)) / 3_000
    assert abs(moved - plan.moved) <= 5 * math.sqrt(plan.moved * (1 - plan.moved) / 3_000)
    for seen, shares in ((before, plan.before), (after, plan.after)):
        assert math.isclose(sum(shares.values()), 1.0)
        for id, share in shares.items():
            assert abs(seen.count(id) / 3_000 - share) <= 5 * math.sqrt(share * (1 - share) / 3_000)


def test_a_stale_plan_is_refused():
    """A plan made before another change raises, and nothing changes."""
    balancer = LoadBalancer(["a", "b"], selector=RingHash())
    plan = balancer.plan(["a", "c"])
    balancer.add("d")
    with pytest.raises(ConfigurationError, match="plan"):
        plan.apply()
    assert [e.id for e in balancer.endpoints] == ["a", "b", "d"]


def test_a_selector_without_keys_has_shares_only():
    """A plan for a selector without keys has shares only, by weight.

    An endpoint of weight zero has none while another has some.
    """
    balancer = LoadBalancer(["a", Endpoint("b", weight=3)], selector=RoundRobin())
    plan = balancer.plan(["a", Endpoint("b", weight=0)])
    assert plan.moved is None
    assert plan.before == {"a": 0.25, "b": 0.75}
    assert plan.after == {"a": 1.0, "b": 0.0}
    assert "no keys" in repr(plan)
    assert balancer.plan([Endpoint("a", weight=0)]).after == {"a": 1.0}


def test_a_bad_plan_is_refused_like_a_bad_update():
    """A plan with duplicates or wrong types is refused like a wrong update."""
    balancer = LoadBalancer(["a"], selector=RingHash())
    for bad in (["a", "a"], "a", [7]):
        with pytest.raises(ConfigurationError):
            balancer.plan(bad)


def test_the_command_prints_data(capsys, tmp_path):
    """The command prints the plan for lists on the line or in a file, and a size for a wanted imbalance."""
    file = tmp_path / "after"
    file.write_text("a\nb=2\nc\n", encoding="utf-8")
    assert main(["plan", "a,b=2", f"@{file}", "--algorithm", "rendezvous", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["moved"] == pytest.approx(0.25)
    assert data["added"] == ["c"]
    assert main(["plan", "a,b", "a", "--imbalance", "0.25"]) == 0
    assert "vnodes" in capsys.readouterr().out
    assert main(["plan", "a,b", "a", "--algorithm", "maglev", "--imbalance", "0.01"]) == 0
    assert "size" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["a,b=x", "a"], ["a,a", "a"], ["", "a"], ["a", "@nowhere"], ["a", "b", "--vnodes=-1"]]
)
def test_the_command_says_what_is_wrong(words, capsys):
    """A wrong call of the command prints an error on standard error and ends with status 2."""
    assert main(["plan", *words]) == 2
    assert "balancekit plan:" in capsys.readouterr().err
