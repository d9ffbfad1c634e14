"""In what order the endpoints of a large pool are made, and where they stand when picks go round."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from balancekit import LoadBalancer
from balancekit.loads import ExpectedDelay
from balancekit.routing import Locality
from balancekit.selectors import RoundRobin
from balancekit.testing import Z, chi_square_z


class Made:
    """A load policy that remembers in what order its loads were made."""

    timed = True

    def __init__(self):
        self.made = []

    def __call__(self, node):
        """Make the load of a node that shares with no other."""
        return self.for_pool()(node)

    def for_pool(self):
        """Return a pool of expected delays that adds each load to the list."""
        pool, made = ExpectedDelay().for_pool(), self.made
        make = pool._make

        def remember(shared, node, guess):
            load = make(shared, node, guess)
            made.append(load)
            return load

        pool._make = remember
        return pool


@pytest.mark.parametrize("selector", [None, Locality("eu"), RoundRobin()])
def test_endpoints_that_join_together_are_made_in_the_order_of_their_places(selector):
    """Endpoints that join together are made in the order of their places.

    The list stays as it is, and so do earlier endpoints.
    """
    policy = Made()
    lb = LoadBalancer([f"e{k}" for k in range(40)], selector=selector, load=policy, rng=Random(1))
    places = [load.place for load in policy.made]
    assert len(places) == 40
    assert all(before < after for before, after in pairwise(places))
    assert [one.id for one in lb.stats().endpoints] == [f"e{k}" for k in range(40)]
    assert [load._node.id for load in policy.made] != [f"e{k}" for k in range(40)]
    lb.update([f"e{k}" for k in range(10, 90)])
    later = [load.place for load in policy.made[40:]]
    assert len(later) == 50
    assert all(before < after for before, after in pairwise(later))
    assert [load.place for load in policy.made[:40]] == places
    assert min(later) < places[10]
    assert max(later) > places[30]


def test_places_are_drawn_at_random():
    """Each of 17 endpoints that join is as likely as another to get each place."""
    rng, found = Random(5), Counter()
    for _ in range(3000):
        order = ExpectedDelay().for_pool().joining_order(17, rng)
        assert sorted(order) == list(range(17))
        for place, number in enumerate(order):
            found[place, number] += 1
    assert chi_square_z(found, dict.fromkeys(found, 1.0)) < Z
    assert len(found) == 17 * 17


@pytest.mark.parametrize("count", [1, 16])
def test_few_endpoints_are_made_as_they_are_listed(count):
    """The endpoints of a small pool are made as they are listed.

    No place is drawn, and none is left from before.
    """
    policy, rng = Made(), Random(1)
    pool = policy.for_pool()
    pool.joining_order(30, rng)
    state = rng.getstate()
    assert list(pool.joining_order(count, rng)) == list(range(count))
    assert rng.getstate() == state
    LoadBalancer([f"e{k}" for k in range(count)], load=policy)
    assert [load.place for load in policy.made] == [None] * count


class Overtaken:
    """A selector that lets another change come first, once."""

    thread_safe = True
    act = None

    def select(self, snapshot, ctx):
        """Return the first candidate."""
        return next(iter(snapshot.candidates(ctx)), None)

    def prepare(self, snapshot):
        """Let it come."""
        act, self.act = self.act, None
        if act is not None:
            act()


def test_a_change_that_is_made_again_keeps_what_it_made():
    """A change that another overtakes is prepared again with its endpoints, in their places; nothing more is drawn for them."""
    policy, selector = Made(), Overtaken()
    lb = LoadBalancer(["a", "b"], selector=selector, load=policy, rng=Random(1))
    selector.act = lambda: lb.add("c")
    lb.update(["a", "b", "c", *[f"e{k}" for k in range(30)]])
    made = [load._node.id for load in policy.made]
    assert sorted(made) == sorted(["a", "b", "c", "c", *[f"e{k}" for k in range(30)]])
    assert len(lb.stats().endpoints) == 33
    known = [load.place for load in policy.made[2:] if load.place is not None]
    assert len(known) == 31, "all of the change that was overtaken, and c of neither"
    assert all(before < after for before, after in pairwise(known))
