"""Requests in flight, for selectors whose picks need the time."""

from __future__ import annotations

from typing import ClassVar

from balancekit.loads import InFlight

__all__ = ["TimedInFlight"]


class TimedInFlight(InFlight):
    """``InFlight`` in a balancer that reads its clock: a plain pick receives the time.

    *When not to use it:* with selectors that need no time; ``InFlight`` saves two clock readings per request.

    Example
    -------
    >>> TimedInFlight.timed, InFlight.timed
    (True, False)
    """

    timed: ClassVar[bool] = True
