"""Labels with unknown values (ids of endpoints, reasons), up to a limit."""

from __future__ import annotations

from typing import Final, final

__all__ = ["MAX_LABELLED_ENDPOINTS", "MAX_REASONS", "OTHER", "SeriesNames"]

MAX_LABELLED_ENDPOINTS: Final = 500
"""The most endpoints with a series of their own; the others share ``endpoint="other"``."""
MAX_REASONS: Final = 50
"""The most reasons with a series of their own; balancekit and its adapters use some twenty."""
OTHER: Final = "other"
"""The label of endpoints and reasons without a series of their own."""


@final
class SeriesNames:
    """The labels that one collector has assigned to endpoints or reasons.

    Parameters
    ----------
    limit
        The most values with a label of their own.

    Example
    -------
    >>> names = SeriesNames()
    >>> names.label("10.0.0.1:80"), "10.0.0.1:80" in names
    ('10.0.0.1:80', True)
    """

    __slots__ = ("_given", "_limit")

    def __init__(self, limit: int = MAX_LABELLED_ENDPOINTS) -> None:
        self._limit = limit
        self._given: set[str] = set()

    def label(self, endpoint: str) -> str:
        """Return the label of an endpoint: its id, or the common label beyond the limit."""
        if endpoint in self._given:
            return endpoint
        if len(self._given) >= self._limit:
            return OTHER
        self._given.add(endpoint)
        return endpoint

    def forget(self, endpoint: str) -> None:
        """Free the place of a removed endpoint."""
        self._given.discard(endpoint)

    def without(self, labels: set[str]) -> set[str]:
        """Return the assigned labels without some."""
        return self._given - labels

    def __contains__(self, endpoint: str) -> bool:
        return endpoint in self._given
