"""How many empty method calls does this cost? The library's own way to find out, and where results are kept."""

from __future__ import annotations

from balancekit.bench import Timer as Group
from balancekit.bench import Timing as Result
from balancekit.bench import machine

__all__ = ["Group", "Result", "machine"]
