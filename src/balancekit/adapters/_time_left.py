"""Time-outs of single reads and writes that end with the deadline of their call.

The blocking clients pass a time-out, as it was given, to each read and write of a socket. A :class:`TimeLeft` knows its
call: its value, read before each read of a socket, is the remaining time. So a response that drips is cut at the deadline,
whatever part of it drips, and however short each wait is.

Cost: one look at the clock for each read and write of a call that has a deadline.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final, Self, final

from balancekit._support.text import with_zone

if TYPE_CHECKING:
    from balancekit.adapters._call import Call

__all__ = ["DEADLINE_PASSED", "TimeLeft", "addresses_of", "limit_timeout"]

DEADLINE_PASSED: Final = "the deadline of the call has passed"


@final
class TimeLeft(float):
    """A time-out in seconds, as it was when the attempt began, of a call with a deadline. A copy is a plain number."""

    __slots__ = ("_call",)

    _call: Call

    def __new__(cls, seconds: float, call: Call) -> Self:
        self = super().__new__(cls, seconds)
        self._call = call
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return float, (float(self),)

    def __sub__(self, seconds: float) -> Self:
        """Return what is left of it after so many seconds: urllib3 takes those of connecting from its total."""
        return type(self)(float(self) - seconds, self._call)

    @property
    def over(self) -> bool:
        """Whether the time of the call is up."""
        return self._call.over

    def now(self) -> float:
        """Return the seconds for which the next read or write may wait."""
        return min(float(self), self._call.left())

    def again(self) -> Self:
        """Return the same of the next attempt to connect."""
        return type(self)(self.now(), self._call)


def limit_timeout(seconds: float | None, call: Call) -> TimeLeft:
    """Return a time-out that ends no later than the deadline of a call, which has one."""
    left = call.left()
    return TimeLeft(left if seconds is None else min(seconds, left), call)


def addresses_of(host: str, port: int | None) -> list[str]:
    """Return the addresses of a host, to be tried one after the other.

    A client would give each of them the whole time-out.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the client says it in its own words
        return [host]
    return [with_zone(address) for *_, address in found] or [host]
