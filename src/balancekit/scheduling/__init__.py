"""Weighted schedules: pure orders over positions and items."""

from __future__ import annotations

from balancekit.scheduling._alias import AliasTable
from balancekit.scheduling._integers import whole_weights
from balancekit.scheduling._lowest_first import LowestFirst, Ranked
from balancekit.scheduling._open_total import OpenTotal
from balancekit.scheduling._score_buckets import ScoreBuckets
from balancekit.scheduling._smooth_wrr import SmoothWrr, smooth_cycle
from balancekit.scheduling._staggered_edf import StaggeredEdf, staggered_cycle

__all__ = [
    "AliasTable",
    "LowestFirst",
    "OpenTotal",
    "Ranked",
    "ScoreBuckets",
    "SmoothWrr",
    "StaggeredEdf",
    "smooth_cycle",
    "staggered_cycle",
    "whole_weights",
]
