"""Factories and statistics of tests refuse what would make a test pass for nothing."""

from __future__ import annotations

import math

import pytest

from balancekit import ConfigurationError
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
