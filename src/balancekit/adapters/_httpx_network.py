# Generated from _httpx2_network.py by tools/make_httpx.py. Change _httpx2_network.py instead.
"""Network streams and pools of connections of httpx transports.

*Streams* of blocking transports are cut at the deadline of a call, between any two reads. httpx takes one time-out for a
request and gives it to each read of its socket. Between two of these reads there is a stream, an interface that its
connection pool lets others implement. :func:`bound_streams` puts one before the pool's own.

*Pools* may lose a place for each request that is cancelled, by its caller or a deadline, after it got a new connection and before
that one was made (issue 1093 of httpcore). Nothing ever removes such a connection, and in the end every request
to the endpoint times out in the pool. :func:`reclaim` and :func:`reclaim_async` remove it.

Cost: one Python call for each read and write of a socket; O(connections) for each attempt that ends in an error.
"""

from __future__ import annotations

from typing import Any, Final, final

import httpx

from balancekit._support.interrupts import raise_interrupt
from balancekit.adapters._time_left import DEADLINE_PASSED, TimeLeft, addresses_of

__all__ = ["bound_streams", "reclaim", "reclaim_async"]

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


def reclaim(transport: httpx.BaseTransport) -> None:
    """Remove connections that no request has and that were never made, after an attempt that ended in an error."""
    pool: Any = getattr(transport, "_pool", None)
    if _lost(pool):
        with pool._optional_thread_lock:
            closing = _serve_waiting(pool)
        pool._close_connections(closing)


async def reclaim_async(transport: httpx.AsyncBaseTransport) -> None:
    """Do the same; tasks that wait for a connection get one."""
    pool: Any = getattr(transport, "_pool", None)
    if _lost(pool):
        await pool._close_connections(_serve_waiting(pool))


def _lost(pool: Any) -> list[Any]:
    """Return what no request has and was never made; nothing of another kind of pool."""
    requests, connections = getattr(pool, "_requests", None), getattr(pool, "_connections", None)
    if not isinstance(requests, list) or not isinstance(connections, list):
        return []
    taken = {id(request.connection) for request in list(requests)}
    found = [_unmade(one) for one in list(connections) if id(one) not in taken]
    return [one for one in found if one is not None]


def _unmade(connection: Any) -> Any:
    """Return what a connection waits for to be made, which may be one to a proxy; ``None`` if it was made or has failed."""
    while hasattr(connection, "_connection"):
        if connection._connection is None:
            return None if connection._connect_failed else connection
        connection = connection._connection
    return None


def _serve_waiting(pool: Any) -> Any:
    """Remove what was lost, and give its places to requests that wait; return what is to be closed."""
    for connection in _lost(pool):
        connection._connect_failed = True  # by which a pool knows that it has nothing to wait for
    return pool._assign_requests_to_connections()


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
