"""Placement: exact shares, few moves, distinct priorities."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from balancekit import ConfigurationError
from balancekit.ha import place, priorities_for

NODES = ["lb1", "lb2", "lb3"]


def test_a_lost_node_moves_exactly_its_own_addresses():
    """Ten addresses on three nodes, for every node that is lost: the others' addresses stay where they are."""
    addresses = [f"192.0.2.{100 + k}" for k in range(10)]
    before = place(addresses, NODES)
    for lost in NODES:
        after = place(addresses, [node for node in NODES if node != lost])
        for address in addresses:
            holder, *others = before[address]
            assert after[address][0] == (others[0] if holder == lost else holder)
    assert {ranking[0] for ranking in before.values()} == set(NODES)


@pytest.mark.parametrize("weights", [None, {"lb1": 1.0, "lb2": 2.0, "lb3": 5.0}])
def test_shares_are_the_weights(weights):
    """The shares of 10 000 addresses are the weights, within 5 standard deviations of a binomial."""
    count = 10_000
    holders = Counter(
        ranking[0] for ranking in place([f"v{k}" for k in range(count)], NODES, weights=weights).values()
    )
    whole = sum((weights or dict.fromkeys(NODES, 1.0)).values())
    for node in NODES:
        share = (weights or dict.fromkeys(NODES, 1.0))[node] / whole
        assert abs(holders[node] - count * share) <= 5 * math.sqrt(count * share * (1 - share))


def test_every_node_computes_the_same_from_the_same_lists():
    """Every node computes the same placement from the same lists, in whatever order they are."""
    addresses = [f"v{k}" for k in range(50)]
    assert place(addresses, NODES) == place(reversed(addresses), NODES[::-1])


def test_priorities_are_ranks():
    """Priorities are 254 for the first of a ranking and ``step`` less for each next one. Per address all differ."""
    rankings = place([f"v{k}" for k in range(20)], NODES)
    priorities = {node: priorities_for(rankings, node) for node in NODES}
    wide = {node: priorities_for(rankings, node, step=80) for node in NODES}
    for address, ranking in rankings.items():
        assert [priorities[node][address] for node in ranking] == [254, 253, 252]
        assert [wide[node][address] for node in ranking] == [254, 174, 94]


def test_wrong_arguments_are_refused_by_name():
    """A wrong argument is refused by a ``ConfigurationError`` that names the parameter."""
    for nodes in ([], ["a", "a"]):
        with pytest.raises(ConfigurationError, match="nodes"):
            place(["v"], nodes)
    for weights in ({"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "b": 0.0}):
        with pytest.raises(ConfigurationError):
            place(["v"], ["a", "b"], weights=weights)
    rankings = place(["v"], ["a", "b"])
    with pytest.raises(ConfigurationError, match="node"):
        priorities_for(rankings, "c")
    for step in (0, 254):
        with pytest.raises(ConfigurationError, match="step"):
            priorities_for(rankings, "a", step=step)
    assert sorted(priorities_for(rankings, node, step=253)["v"] for node in "ab") == [1, 254]
