"""Pure statistics: averages that forget, quantiles of the recent past. They take ``now``; no clocks."""

from __future__ import annotations

from balancekit.stats._ewma import Ewma, PeakEwma
from balancekit.stats._quantile import Quantiles, RecentWindow, quantile, summary

__all__ = ["Ewma", "PeakEwma", "Quantiles", "RecentWindow", "quantile", "summary"]
