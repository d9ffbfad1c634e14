"""Sizes of rings and tables for a wanted evenness."""

from __future__ import annotations

import pytest

from balancekit import ConfigurationError
from balancekit.hashing import expected_peak, table_size_for, vnodes_for


@pytest.mark.parametrize("nodes", [2, 3, 10, 1_000])
@pytest.mark.parametrize("imbalance", [0.2, 0.25, 0.5, 1.0, 3.0])
def test_a_ring_has_the_least_number_of_points_that_keeps_the_imbalance(imbalance, nodes):
    """The busiest node is expected at most so far above the mean, and with one point less a node it is not."""
    vnodes = vnodes_for(imbalance, nodes)
    assert expected_peak(nodes, vnodes) <= 1.0 + imbalance
    assert vnodes == 1 or expected_peak(nodes, vnodes - 1) > 1.0 + imbalance


@pytest.mark.parametrize("nodes", [1, 2, 7, 100])
@pytest.mark.parametrize("imbalance", [0.01, 0.1, 0.5, 2.0])
def test_a_table_has_the_least_prime_size_that_keeps_the_imbalance(imbalance, nodes):
    """The size is a prime with a slot for each node, at least nodes / imbalance, and no smaller one is."""
    size = table_size_for(imbalance, nodes)
    least = max(2, nodes, nodes / imbalance)
    primes = [n for n in range(2, size + 1) if all(n % d for d in range(2, int(n**0.5) + 1))]
    assert size == next(prime for prime in primes if prime >= least)


def test_what_no_ring_or_table_keeps_is_refused():
    """An imbalance that takes more than a million points per node, or more slots than a table may have, raises."""
    with pytest.raises(ConfigurationError, match="a million points"):
        vnodes_for(1e-4, 100)
    with pytest.raises(ConfigurationError, match="slots"):
        table_size_for(1e-12, 100)
    for sized in (vnodes_for, table_size_for):
        with pytest.raises(ConfigurationError, match="imbalance"):
            sized(0.0, 10)
        with pytest.raises(ConfigurationError, match="nodes"):
            sized(0.1, 0)


def test_one_node_has_exactly_the_mean():
    """The only node of a ring has exactly the mean, whatever the number of its points."""
    assert expected_peak(1, 1) == pytest.approx(1.0, abs=1e-5)
    assert expected_peak(1, 150) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ConfigurationError, match="vnodes"):
        expected_peak(1, 0)


def test_a_ring_is_sized_up_to_a_million_points_a_node() -> None:
    """What would take more is refused: 2 ** 20 points keep 0.15 %, and 0.13 % would take half as many again."""
    assert expected_peak(10, 1 << 20) == pytest.approx(1.0015, abs=1e-4)
    with pytest.raises(ConfigurationError, match="a million points"):
        vnodes_for(0.0013, nodes=10)
