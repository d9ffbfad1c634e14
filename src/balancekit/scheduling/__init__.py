"""Weighted schedules, weighted sampling, and structures that find the item with the lowest load.

=====================  =====================================================================================
:class:`AliasTable`    weighted random draws, O(1)
:class:`SmoothWrr`     smooth weighted round robin, as in nginx
:class:`StaggeredEdf`  a smooth order for many different weights; needs numpy
:class:`ScoreBuckets`  the item with the fewest requests in flight per weight, O(1)
:class:`LowestFirst`   the item with the lowest score of any function, O(log n)
:class:`OpenTotal`     the sum of requests in flight, O(1)
=====================  =====================================================================================

The module has no clock and draws random numbers only from the generator that it is given.
"""

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
