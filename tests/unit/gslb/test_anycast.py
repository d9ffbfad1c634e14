"""Anycast: catchments by shortest path, and when a site announces."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from balancekit.errors import ConfigurationError
from balancekit.gslb import Site, Topology, catchments, moved
from balancekit.health import FlapDamping


def random_topology(rng, nodes):
    """Return a connected network."""
    links = {f"n{k}": {f"n{rng.randrange(k)}": rng.randint(1, 4)} for k in range(1, nodes)}
    for _ in range(nodes):
        links[f"n{rng.randrange(1, nodes)}"][f"n{rng.randrange(nodes)}"] = rng.randint(1, 4)
    for node, neighbours in links.items():
        neighbours.pop(node, None)
    return Topology(links=links)


def test_withdrawing_a_site_moves_exactly_its_own_catchment():
    """Withdrawing a site moves only the nodes that reached it, in 50 random networks of 40 nodes."""
    rng = Random(2)
    for _ in range(50):
        network = random_topology(rng, 40)
        sites = rng.sample([f"n{k}" for k in range(40)], 4)
        before = catchments(network, sites)
        assert len(before) == 40
        after = catchments(network, sites[1:])
        assert set(moved(before, after)) == {node for node, site in before.items() if site == sites[0]}


def test_the_nearest_site_is_reached_and_ties_go_by_name():
    """The nearest site is reached and ties go by name, in whatever order the sites are given."""
    network = Topology(links={"x": {"b": 2, "a": 2, "c": 3}})
    assert catchments(network, ["b", "a", "c"])["x"] == "a"
    assert catchments(network, ["c", "b"])["x"] == "b"
    assert catchments(network, []) == {}
    with pytest.raises(ConfigurationError):
        catchments(network, ["mars"])
    with pytest.raises(ConfigurationError):
        Topology(links={"a": {"b": 0}})


def test_the_cost_of_links_counts_and_not_their_number():
    """Two links of cost 1 are nearer than one of cost 3."""
    network = Topology(links={"x": {"a": 3, "m": 1}, "m": {"b": 1}})
    assert catchments(network, ["a", "b"])["x"] == "b"


def test_a_site_withdraws_at_once_and_comes_back_after_the_hold_down():
    """A site withdraws at once below the threshold, and comes back after the hold-down at or above it."""
    site = Site(threshold=0.5, hold_down=30.0, damping=None)()
    assert site.observe(share=0.5, now=0.0)
    assert not site.observe(share=0.49, now=1.0)
    assert not site.observe(share=1.0, now=2.0)
    assert site.deadline == 32.0
    assert not site.advance(now=31.9)
    assert site.advance(now=32.0)
    assert site.deadline is None


def test_a_flapping_site_changes_its_route_few_times():
    """A site that is down 5 s of every 40 s for 20 minutes changes its route at most 10 times with damping.

    Without it, at least 50 times.
    """

    def changes(damping):
        site = Site(hold_down=30.0, damping=damping)()
        seen = [
            site.observe(share=0.0 if second % 40 < 5 else 1.0, now=float(second)) for second in range(1200)
        ]
        return sum(one != other for one, other in pairwise(seen))

    assert changes(None) >= 50
    assert changes(FlapDamping(half_life=300.0, max_suppress=1200.0)) <= 10
