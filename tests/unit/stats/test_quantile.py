"""Quantiles of the recent past against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.stats import RecentWindow, quantile, summary

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(VALUES, st.floats(0.0, 1.0))
def test_a_quantile_is_numpys(values, share):
    """A quantile is numpy's of type 7, by linear interpolation."""
    assert quantile(sorted(values), share) == pytest.approx(np.quantile(values, share), rel=1e-9, abs=1e-6)


@given(st.lists(st.floats(0.0, 1e6), max_size=50), st.integers(1, 12))
def test_a_window_holds_exactly_the_last(values, size):
    """A window holds exactly the last ``size`` values that were recorded."""
    window = RecentWindow(size=size)
    for value in values:
        window.record(value)
    assert sorted(window.values()) == sorted(values[-size:])


def test_an_empty_window_has_no_quantiles():
    """The quantiles of an empty window are None."""
    assert RecentWindow().read() is None
    assert summary([]) is None


def test_one_value_is_every_quantile():
    """One value is every quantile, and the count says how little that is."""
    read = summary([0.25])
    assert (read.count, read.p50, read.p95, read.p99) == (1, 0.25, 0.25, 0.25)
