"""Did it fail too often in a row? The simplest trigger, and the quickest.

Source: Envoy ``consecutive_5xx`` (default 5); a success clears the run.
"""

from __future__ import annotations

from balancekit import _validation as valid
from balancekit._record import Record

__all__ = ["ConsecutiveFailures"]


class ConsecutiveFailures(Record):
    """Trip after ``threshold`` failures without a success between them.

    Parameters
    ----------
    threshold
        How many, >= 1.

    *When not to use it:* alone, against an endpoint that fails every other request: it never fails
    twice in a row. The failure-aware load still gives it less.
    """

    threshold: int = 5

    def _check(self) -> None:
        valid.integer("threshold", self.threshold, minimum=1)

    def tripped(self, run: int) -> bool:
        """Answer whether a run of this many failures is too long."""
        return run >= self.threshold
