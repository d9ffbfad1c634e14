"""TTLs: as long as the answer cannot change, within limits."""

from __future__ import annotations

import math

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = ["Ttl"]

MAX_TTL = 0x7FFF_FFFF
"""The largest TTL (RFC 2181 section 8)."""


class Ttl(Record):
    """Limits of the TTL that follows from what the health machines can still do.

    Parameters
    ----------
    minimum, maximum
        Whole seconds, 0 <= minimum <= maximum.

    Raises
    ------
    ConfigurationError
        If a limit is not a whole number from 0 to 2**31 - 1, or ``minimum`` is above ``maximum``.

    *When not to use it:* a minimum of 0 is clamped by many resolvers, and several caches in a row add up.

    Source: gdnsd's ``MAX/MIN`` TTLs (3.8.1).

    Example
    -------
    >>> from balancekit.gslb import Ttl
    >>> ttl = Ttl(minimum=5, maximum=60)
    >>> ttl.of(2.0), ttl.of(40.9), ttl.of(float("inf"))
    (5, 40, 60)
    """

    minimum: int = 5
    maximum: int = 60

    def _check(self) -> None:
        valid.integer("minimum", self.minimum, minimum=0, maximum=MAX_TTL)
        valid.integer("maximum", self.maximum, minimum=0, maximum=MAX_TTL)
        if self.minimum > self.maximum:
            raise ConfigurationError("minimum", self.minimum, f"at most maximum ({self.maximum})")

    @checked_arguments
    def of(self, seconds: float, /) -> int:
        """Return the TTL for an answer that cannot change for some seconds; infinity: for ever."""
        if seconds == math.inf:
            return self.maximum
        return max(self.minimum, min(self.maximum, int(valid.number("seconds", seconds))))
