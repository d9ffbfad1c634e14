"""Probe results, and the two kinds of checks that return them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["AsyncCallable", "NetworkCheck", "Peer", "ProbeExchange", "ProbeResult", "SyncCallable"]


class ProbeResult(Record):
    """What one check of one endpoint found.

    Parameters
    ----------
    passed
        Whether the endpoint is well.
    detail
        In words, for people.
    failing
        The dependencies it says are failing. If they fail nearly everywhere, it is not to blame.
    answered
        Whether it answered at all, so that ``failing`` means something.

    Raises
    ------
    ConfigurationError
        For an invalid parameter value. Raised in a check, it is a mistake of the program: the runner logs it once, and
        reports nothing.
    """

    passed: bool
    detail: str = ""
    failing: tuple[str, ...] = ()
    answered: bool = True

    def _check(self) -> None:
        valid.flag("passed", self.passed)
        valid.text("detail", self.detail, empty=True, any_text=True)
        valid.flag("answered", self.answered)
        names: object = self.failing
        if (
            isinstance(names, str | bytes)
            or not isinstance(names, Collection)
            or not all(isinstance(name, str) for name in names)
        ):
            raise ConfigurationError("failing", names, "names of dependencies: a tuple of strings")
        self.__dict__["failing"] = tuple(names)


class Peer(NamedTuple):
    """The address to connect to."""

    host: str
    port: int
    tls: SSLContext | None = None


class ProbeExchange(Protocol):
    """One conversation, without the wire: what to send, and what the answer means."""

    @property
    def request(self) -> bytes:
        """What to send once connected; nothing if connecting is all."""
        ...

    def receive(self, data: bytes, /) -> ProbeResult | None:
        """Take the next bytes of the answer, none at its end; return a result as soon as there is one."""
        ...


@runtime_checkable
class NetworkCheck(Protocol):
    """A check that talks to an endpoint; every runner can carry it out."""

    def peer(self, endpoint: Endpoint[object], /) -> Peer:
        """Return the address to connect to."""
        ...

    def exchange(self, endpoint: Endpoint[object], /) -> ProbeExchange:
        """Return what to say."""
        ...


SyncCallable: TypeAlias = Callable[[Endpoint[object], float], object]
"""A user's check for threads: called with the endpoint and the timeout in seconds, which it must keep. It
answers ``True``, ``False`` or a ProbeResult; whatever it raises is a failure. Any other answer, or a
``ConfigurationError``, is a mistake of the program: it is logged once, and says nothing about the endpoint."""

AsyncCallable: TypeAlias = Callable[[Endpoint[object], float], Awaitable[object]]
"""A user's check for asyncio; it is cancelled when its time is over."""
