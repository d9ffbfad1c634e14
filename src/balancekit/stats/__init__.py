"""Pure statistics: averages that forget, quantiles of the recent past. They take ``now``; no clocks."""

from __future__ import annotations

from balancekit.stats._ewma import Ewma, PeakEwma
from balancekit.stats._quantile import Quantiles, RecentWindow, quantile, summary
from balancekit.stats._robust import MAD_SCALE, deviation, median

__all__ = [
    "MAD_SCALE",
    "Ewma",
    "PeakEwma",
    "Quantiles",
    "RecentWindow",
    "deviation",
    "median",
    "quantile",
    "summary",
]
