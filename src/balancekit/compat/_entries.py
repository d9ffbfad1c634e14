"""Checks of the entries among which name servers choose."""

from __future__ import annotations

from collections.abc import Iterable, Sized

from balancekit._support import validation as valid
from balancekit.errors import ConfigurationError

__all__ = ["check_entries", "total_weight"]


def check_entries(parameter: str, entries: Sized) -> None:
    """Raise ``ConfigurationError`` if there are no entries."""
    if not len(entries):
        raise ConfigurationError(parameter, entries, "at least one")


def total_weight(parameter: str, weights: Iterable[int]) -> int:
    """Return the sum of weights.

    Raises
    ------
    ConfigurationError
        If a weight is not a whole number >= 0, or no weight is above 0.

    Example
    -------
    >>> total_weight("entries", [0, 3])
    3
    """
    listed = list(weights)
    total = sum(valid.integer("weight", weight, minimum=0) for weight in listed)
    if not total:
        raise ConfigurationError(parameter, listed, "a weight above 0")
    return total
