"""The right figures are right: published values, other formulas, and simulation without our library."""

from __future__ import annotations

import math

import numpy as np
import pytest

from balancekit.bench import _theory as theory
from balancekit.hashing import expected_peak


@pytest.mark.parametrize(("nodes", "share"), [(3, 0.48), (4, 0.256), (5, 0.128)])
def test_the_largest_arc(nodes, share):
    """The largest arc of over 60 % has the probability ``n * 0.4 ** (n - 1)``, and that of a simulation."""
    assert theory.largest_arc_over(nodes, 0.6) == pytest.approx(nodes * 0.4 ** (nodes - 1))
    points = np.sort(np.random.default_rng(1).random((40_000, nodes)), axis=1)
    arcs = np.diff(points, axis=1, append=points[:, :1] + 1.0)
    seen = float((arcs.max(axis=1) > 0.6).mean())
    assert abs(seen - share) <= 5 * math.sqrt(share * (1 - share) / 40_000) + 5e-4


@pytest.mark.parametrize(
    ("nodes", "points", "peak"),
    [
        (3, 1, 1.833),
        (3, 150, 1.070),
        (5, 150, 1.097),
        (10, 150, 1.129),
        (100, 150, 1.217),
        (1000, 150, 1.286),
    ],
)
def test_the_busiest_of_a_ring(nodes, points, peak):
    """The busiest node of a ring is as in the reference's table, and as the library's own integral."""
    mean, _ = theory.peak_moments(nodes, points)
    assert mean == pytest.approx(peak, abs=6e-4)
    assert mean == pytest.approx(expected_peak(nodes, points), abs=2e-5)


@pytest.mark.parametrize(("nodes", "points"), [(5, 1), (10, 30), (50, 150)])
def test_how_far_the_busiest_strays(nodes, points):
    """The spread of the busiest is that of Dirichlet shares drawn by numpy.

    Mean and deviation agree within five standard errors.
    """
    drawn = np.random.default_rng(2).gamma(points, size=(20_000, nodes))
    peaks = drawn.max(axis=1) / drawn.sum(axis=1) * nodes
    mean, spread = theory.peak_moments(nodes, points)
    assert abs(peaks.mean() - mean) <= 5 * spread / math.sqrt(20_000)
    # A maximum has a heavy right tail: the error of its spread is up to twice that of a normal variable.
    assert abs(peaks.std() / spread - 1) <= 2 * 5 / math.sqrt(2 * 20_000)


@pytest.mark.parametrize(
    ("load", "mean"), [(0.5, 1.007), (0.7, 1.074), (0.8, 1.205), (0.9, 1.669), (0.95, 2.651)]
)
def test_the_central_queue(load, mean):
    """The central queue is the M/M/10 of the tables, and its tail integrates to the mean."""
    assert theory.many_servers_mean(10, load) == pytest.approx(mean, abs=6e-4)
    times = np.linspace(0.0, 120.0, 60_001)
    tail = np.array([theory.many_servers_tail(10, load, time) for time in times])
    assert float((tail[1:] + tail[:-1]).sum() * 0.001) == pytest.approx(mean, abs=2e-3)


def test_quantiles_of_known_tails():
    """The quantiles of known tails are M/M/1 at 0.8: 4.605 / 0.2, and M/M/10 at 0.9: 6.250."""
    assert theory.quantile(lambda t: math.exp(-0.2 * t), 0.99) == pytest.approx(23.026, abs=1e-3)
    assert theory.quantile(lambda t: theory.many_servers_tail(10, 0.9, t), 0.99) == pytest.approx(
        6.250, abs=1e-3
    )


@pytest.mark.parametrize(
    ("load", "mean"), [(0.5, 1.325), (0.7, 2.020), (0.8, 2.922), (0.9, 5.660), (0.95, 11.155)]
)
def test_round_robin(load, mean):
    """Round robin is the E10/M/1 of the tables, and with one server M/M/1."""
    assert theory.round_robin_mean(10, load) == pytest.approx(mean, abs=6e-4)
    assert theory.round_robin_mean(1, load) == pytest.approx(1.0 / (1.0 - load))


@pytest.mark.parametrize(("load", "error"), [(0.5, 0.0054), (0.8, 0.0445), (0.9, 0.19)])
def test_daleys_error(load, error):
    """Daley's error for a million requests is that of the reference, with 11 percent for the time in the system."""
    assert theory.single_server_error(load, 10**6) / 1.11 == pytest.approx(error, rel=0.02)
