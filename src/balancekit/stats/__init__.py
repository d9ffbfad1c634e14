"""Pure statistics: moving averages, quantiles of recent values, median and deviation.

Functions that depend on the time take it as ``now``, in seconds of any monotonic clock. The package reads no clock.
"""

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
