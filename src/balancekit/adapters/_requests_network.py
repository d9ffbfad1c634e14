"""Connections of urllib3 that are cut at the deadline of a call, between any two reads and writes, and skip interim responses.

requests takes one time-out for a request, and the socket keeps it for each read. A connection here knows by its time-out, a
:class:`TimeLeft`, which call it serves: each read, of heads and bodies, has what is left of the deadline as its time-out.

Cost: a buffer of 8 KiB for a response to a call that has a deadline.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from functools import partial
from typing import Any, Final, final

from balancekit._support.extras import extra

with extra("requests"):
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
    from urllib3.connection import HTTPConnection, HTTPSConnection

from balancekit._support.interrupts import raise_interrupt
from balancekit.adapters._time_left import DEADLINE_PASSED, TimeLeft, addresses_of

__all__ = ["bound_connections"]

MAX_INTERIM: Final = 100
"""Interim responses that are skipped before a final one."""


def bound_connections(manager: PoolManager) -> None:
    """Let deadlines of calls cut the connections of a new pool manager."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class _Bounded:
    """What an HTTP connection of either kind does besides."""

    timeout: float | None
    sock: Any
    port: int | None
    _dns_host: str

    @property
    def response_class(self) -> Callable[..., http.client.HTTPResponse]:
        """Makes responses; read by ``http.client``."""
        timeout = self.timeout
        return partial(_Response, timeout) if isinstance(timeout, TimeLeft) else _FinalResponse

    def _new_conn(self) -> Any:
        """Connect to the first address that accepts, and leave the rest of the deadline to the handshake."""
        timeout, host = self.timeout, self._dns_host
        if not isinstance(timeout, TimeLeft):
            return super()._new_conn()  # type: ignore[misc]  # of the connection
        try:
            sock = self._first_of(addresses_of(host, self.port), timeout)
        finally:
            self._dns_host, self.timeout = host, timeout
        sock.settimeout(timeout.now())
        return sock

    def _first_of(self, addresses: list[str], timeout: TimeLeft) -> Any:
        *others, last = addresses
        for address in others:
            self._dns_host, self.timeout = address, timeout.again()
            try:
                return super()._new_conn()  # type: ignore[misc]  # of the connection
            except Exception:  # the next may accept
                raise_interrupt()
        self._dns_host, self.timeout = last, timeout.again()
        return super()._new_conn()  # type: ignore[misc]  # of the connection

    def send(self, data: Any) -> None:
        """Send, in what is left of the deadline."""
        timeout = self.timeout
        if isinstance(timeout, TimeLeft) and self.sock is not None:
            self.sock.settimeout(_seconds(timeout))
        super().send(data)  # type: ignore[misc]  # of the connection


class _Connection(_Bounded, HTTPConnection):  # type: ignore[misc]  # the class of responses is a property
    """Without TLS."""


class _TlsConnection(_Bounded, HTTPSConnection):  # type: ignore[misc]  # the same
    """With TLS."""


class _Pool(HTTPConnectionPool):
    """Connections to one address."""

    ConnectionCls: Any = _Connection


class _TlsPool(HTTPSConnectionPool):
    """Connections to one address."""

    ConnectionCls: Any = _TlsConnection


def _seconds(timeout: TimeLeft) -> float:
    """Return the time-out of the next operation."""
    if timeout.over:
        raise TimeoutError(DEADLINE_PASSED)
    return timeout.now()


class _FinalResponse(http.client.HTTPResponse):
    """A response without the interim ones before it (RFC 9110, 15.2).

    ``http.client`` skips those of status 100 only. It would return another, such as 103, and take the final one for that of
    the next request on the connection.
    """

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM):
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]  # of http.client
            if not 100 < found[1] < 200 or found[1] == 101:
                return found
            http.client.parse_headers(self.fp)
        raise http.client.BadStatusLine(f"more than {MAX_INTERIM} interim responses")


class _Response(_FinalResponse):
    """A response of which each read has what is left of the deadline."""

    def __init__(self, timeout: TimeLeft, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_InTime(self.fp, sock, timeout))


@final
class _InTime(io.RawIOBase):
    """What a socket sends, until the deadline of a call."""

    def __init__(self, source: io.BufferedReader, sock: Any, timeout: TimeLeft) -> None:
        self._source = source
        self._sock = sock
        self._timeout = timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read once."""
        self._sock.settimeout(_seconds(self._timeout))
        return self._source.readinto1(buffer)

    def close(self) -> None:
        self._source.close()
        super().close()
