"""Factories and statistics of tests refuse what would make a test pass for nothing."""

from __future__ import annotations

import math

import pytest

from balancekit import ConfigurationError, Endpoint
from balancekit.testing import Z, chi_square_z, make_context, make_nodes, make_snapshot


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: make_nodes(["a", "a"]), "endpoints='a' is not allowed: expected each id once"),
        (
            lambda: make_nodes(["a"], inflight={"b": 1}),
            "inflight='b' is not allowed: expected ids of the nodes: a",
        ),
        (lambda: make_nodes(["a"], inflight={"a": -1}), "inflight=-1"),
        (lambda: make_nodes(["a"], inflight={"a": 1.5}), "inflight=1.5"),
        (lambda: make_snapshot(["a", "a"]), "='a' is not allowed: expected each id once"),
        (lambda: make_snapshot([*make_nodes(["a"]), "a"]), "nodes='a' is not allowed: expected each id once"),
        (lambda: make_snapshot(["a", 5]), "nodes=5 is not allowed: expected ids and nodes"),
        (lambda: make_snapshot([Endpoint("a")]), r"nodes=Endpoint\(.*expected ids and nodes"),
        (lambda: make_snapshot(["a"], down=["b"]), "down='b' is not allowed: expected ids of the nodes: a"),
        (lambda: make_snapshot([], down=["b"]), "down='b'.*there are none"),
        (lambda: make_context(key=["user"]), r"key=\['user'\]"),
        (lambda: make_context(cost=0.0), "cost=0.0"),
        (lambda: make_context(cost=math.nan), "cost=nan"),
        (lambda: chi_square_z({"a": math.nan}, {"a": 1.0, "b": 1.0}), "counts=nan"),
        (lambda: chi_square_z({"a": -1}, {"a": 1.0, "b": 1.0}), "counts=-1"),
        (lambda: chi_square_z({"a": 1}, {"a": math.nan, "b": 1.0}), "weights=nan"),
        (lambda: chi_square_z({"a": 1}, {"a": -1.0, "b": 1.0}), "weights=-1"),
    ],
)
def test_a_wrong_word_in_a_test_is_refused(make, named):
    """An id that no node has, one that two have, and numbers that no balancer would set are named."""
    with pytest.raises(ConfigurationError, match=named):
        make()


@pytest.mark.parametrize("weights", [{"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0, "z": 0.0}])
def test_counts_of_what_has_no_weight_are_infinitely_far(weights):
    """Picks of an endpoint that is not expected are not in proportion, whether it has the weight zero or none."""
    assert chi_square_z({"z": 1}, weights) == math.inf
    assert chi_square_z({"a": 500, "b": 500, "z": 1}, weights) == math.inf
    assert chi_square_z({"a": 500, "b": 500, "z": 0}, weights) < Z


def test_a_snapshot_keeps_the_order_of_ids_and_nodes():
    """Nodes that are given and nodes that are made stand in the order of the arguments."""
    (given,) = make_nodes(["b"])
    nodes = make_snapshot(["a", given, "c"]).members.nodes
    assert [node.id for node in nodes] == ["a", "b", "c"]
    assert nodes[1] is given


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e308])
def test_the_distance_of_counts_does_not_depend_on_the_scale_of_weights(scale):
    """Weights of any size in the same proportions give the same distance."""
    counts = {"a": 60, "b": 40}
    found = chi_square_z(counts, {"a": scale, "b": scale})
    assert found == pytest.approx(chi_square_z(counts, {"a": 1.0, "b": 1.0}))


@pytest.mark.parametrize(("count", "far"), [(0, False), (1, True)])
def test_counts_of_a_vanishing_weight_are_infinitely_far(count, far):
    """A weight whose share is too small for a number expects nothing: one count of it is infinitely far."""
    found = chi_square_z({"a": count, "b": 5}, {"a": 1e-320, "b": 1e300})
    assert (found == math.inf) is far
