# Generated from _httpx2_network.py by tools/make_httpx.py. Change _httpx2_network.py instead.
"""Network streams of blocking httpx transports that are cut at the deadline of a call, between any two reads.

httpx takes one time-out for a request and gives it to each read of its socket. Between two of these reads there is a stream,
an interface that its connection pool lets others implement. :func:`bound_streams` puts one before the pool's own.

Cost: one Python call for each read and write of a socket.
"""

from __future__ import annotations

from typing import Any, Final, final

import httpx

from balancekit._support.interrupts import raise_interrupt
from balancekit.adapters._time_left import DEADLINE_PASSED, TimeLeft, addresses_of

__all__ = ["bound_streams"]

PIECE: Final = 65_536
"""Bytes of a request that are written at a time while a deadline runs: the client writes each by as many sends as it takes."""


def bound_streams(transport: httpx.BaseTransport) -> None:
    """Let deadlines of calls cut what an ``HTTPTransport`` reads and writes; another transport stays as it is."""
    pool: Any = getattr(transport, "_pool", None)
    backend = getattr(pool, "_network_backend", None)
    if (
        isinstance(transport, httpx.HTTPTransport)
        and backend is not None
        and not isinstance(backend, _Backend)
    ):
        pool._network_backend = _Backend(backend)


def _seconds(timeout: float | None) -> float | None:
    """Return the time-out of the next operation."""
    if not isinstance(timeout, TimeLeft):
        return timeout
    if timeout.over:
        raise httpx.ReadTimeout(DEADLINE_PASSED)
    return timeout.now()


@final
class _Backend:
    """What makes streams, by another that does."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *arguments: Any, **options: Any
    ) -> _Stream:
        *others, last = addresses_of(host, port) if isinstance(timeout, TimeLeft) else (host,)
        for address in others:
            try:
                return _Stream(
                    self._inner.connect_tcp(address, port, _seconds(timeout), *arguments, **options)
                )
            except Exception:  # the next may accept
                raise_interrupt()
        return _Stream(self._inner.connect_tcp(last, port, _seconds(timeout), *arguments, **options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, *arguments: Any, **options: Any
    ) -> _Stream:
        return _Stream(self._inner.connect_unix_socket(path, _seconds(timeout), *arguments, **options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


@final
class _Stream:
    """A connection, by the stream of the client."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._inner.read(max_bytes, _seconds(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not isinstance(timeout, TimeLeft):
            self._inner.write(buffer, timeout)
            return
        for place in range(0, len(buffer), PIECE):
            self._inner.write(buffer[place : place + PIECE], _seconds(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        try:
            return _Stream(self._inner.start_tls(ssl_context, server_hostname, _seconds(timeout)))
        except BaseException:
            self._inner.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
