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
    """The result of one check of one endpoint.

    Parameters
    ----------
    passed
        Whether the endpoint is healthy.
    detail
        The reason, in words.
    failing
        The dependencies that the endpoint reports as failing. If they fail on most endpoints, they do not count against it.
    answered
        Whether the endpoint answered at all; without an answer, ``failing`` means nothing.

    Raises
    ------
    ConfigurationError
        For an invalid parameter value. If a check raises it, the program is at fault: the runner logs it once and
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

    @property
    def server_name(self) -> str:
        """The name that the certificate is checked for: the host without the zone of an address, which certificates lack."""
        return self.host.partition("%")[0]


class ProbeExchange(Protocol):
    """One exchange, without I/O: the request to send, and the evaluation of the response."""

    @property
    def request(self) -> bytes:
        """The bytes to send after connecting; empty if a connection is enough."""
        ...

    def receive(self, data: bytes, /) -> ProbeResult | None:
        """Take the next bytes of the response, empty at its end; return a result as soon as there is one."""
        ...


@runtime_checkable
class NetworkCheck(Protocol):
    """A check over the network, for every runner."""

    def peer(self, endpoint: Endpoint[object], /) -> Peer:
        """Return the address to connect to."""
        ...

    def exchange(self, endpoint: Endpoint[object], /) -> ProbeExchange:
        """Return what to say."""
        ...


SyncCallable: TypeAlias = Callable[[Endpoint[object], float], object]
"""A user's check for threads, called with the endpoint and the timeout in seconds, which it must keep. It
returns ``True``, ``False`` or a ProbeResult; any exception is a failure. Any other result, or a
``ConfigurationError``, is a programming error: it is logged once and does not count as a result."""

AsyncCallable: TypeAlias = Callable[[Endpoint[object], float], Awaitable[object]]
"""A user's check for asyncio; it is cancelled at the timeout."""
