"""What did a check find? One endpoint, one answer, and for how long it is good."""

from __future__ import annotations

from balancekit import _validation as valid
from balancekit._record import Record
from balancekit.errors import ConfigurationError

__all__ = ["Verdict"]


class Verdict(Record):
    """The result of one check of one endpoint.

    Parameters
    ----------
    passed
        Whether the endpoint is well.
    detail
        In words, for people.
    degraded
        Dependencies that fail here and nearly everywhere: the pool is worse off, this endpoint is not to
        blame.
    holds_for
        Seconds, > 0: an endpoint that is out because of this verdict stays out for so long, unless the next
        check says otherwise. So endpoints come back on trial when checks end, whoever forgot to say so.

    Example
    -------
    >>> Verdict(passed=False, detail="connection refused", holds_for=12.0).passed
    False
    """

    passed: bool
    detail: str = ""
    degraded: tuple[str, ...] = ()
    holds_for: float = 60.0

    def _check(self) -> None:
        valid.flag("passed", self.passed)
        valid.text("detail", self.detail, empty=True)
        if not isinstance(self.degraded, tuple) or not all(isinstance(name, str) for name in self.degraded):
            raise ConfigurationError("degraded", self.degraded, "a tuple of strings")
        valid.number("holds_for", self.holds_for, above=0.0)
