"""Values of the labels ``endpoint`` and ``reason``, up to a limit, so that the number of series is bounded."""

from __future__ import annotations

from typing import Final, final

__all__ = ["MAX_LABELLED_ENDPOINTS", "MAX_REASONS", "OTHER", "SeriesNames"]

MAX_LABELLED_ENDPOINTS: Final = 500
"""Endpoints of a balancer that have series of their own. The others share ``endpoint="other"``."""
MAX_REASONS: Final = 50
"""Reasons that have series of their own. The library uses about twenty."""
OTHER: Final = "other"
"""The label of endpoints and reasons without a series of their own."""


@final
class SeriesNames:
    """The values that one collector has used for a label.

    Parameters
    ----------
    limit
        The largest number of different values.

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
        """Remove the value of an endpoint, so that another one may use its place."""
        self._given.discard(endpoint)

    def without(self, labels: set[str]) -> set[str]:
        """Return the used values that are not in ``labels``."""
        return self._given - labels

    def __contains__(self, endpoint: str) -> bool:
        return endpoint in self._given
