# Generated from _httpx2_requests.py by tools/make_httpx.py. Change _httpx2_requests.py instead.
"""Requests and errors of the httpx adapter, without I/O."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from functools import lru_cache
from traceback import walk_tb
from typing import Any, Final

from balancekit._support.causes import chain
from balancekit._support.extras import extra

with extra("httpx"):
    import httpx
    from httpx._multipart import MultipartStream

from balancekit.adapters._call import Call
from balancekit.adapters._classification import (
    CANCELLED,
    UNUSABLE,
    Classification,
    RetryScope,
    classify_foreign,
    classify_tunnel,
)
from balancekit.adapters._config import AdapterConfig
from balancekit.adapters._exchange import Rules
from balancekit.adapters._target import Address
from balancekit.adapters._time_left import limit_timeout
from balancekit.errors import UnavailableError
from balancekit.outcome import Outcome

__all__ = [
    "UNPROCESSED",
    "UnusableEndpointError",
    "classify_error",
    "foreign_error",
    "is_url",
    "replayable",
    "rewritten",
    "rules",
    "sleep",
    "with_body",
]


class CallersBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a request, made as it is sent: what it raises is the caller's error, and not the endpoint's."""

    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception:
            self._call.body_raised = True
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with AsyncExitStack() as stack:
            pieces = aiter(self._stream)
            if isinstance(pieces, AsyncGenerator):
                stack.push_async_callback(pieces.aclose)  # or the garbage collector would find it unfinished
            try:
                async for piece in pieces:
                    yield piece
            except Exception:
                self._call.body_raised = True
                raise


def callers_trace(trace: Callable[..., Any], call: Call) -> Callable[..., Any]:
    """Return a trace that does the same: what it raises is the caller's error, and not the endpoint's."""

    async def awaited(step: Coroutine[Any, Any, object]) -> object:
        try:
            return await step
        except Exception:
            call.body_raised = True
            raise

    def traced(*arguments: Any) -> object:
        try:
            step = trace(*arguments)
        except Exception:
            call.body_raised = True
            raise
        return awaited(step) if isinstance(step, Coroutine) else step

    return traced


class UnusableEndpointError(httpx.ConnectError):
    """An endpoint without an address or a transport."""


REFUSED_STREAM: Final = 7
"""An error code of HTTP/2 (RFC 9113, 7)."""
UNPROCESSED: Final = Classification(Outcome.CONNECT_FAILED, RetryScope.REFUSED, "unprocessed")
"""A request that a server has refused before it did anything."""
_BY_ERROR: Final[tuple[tuple[type[Exception], Classification], ...]] = (
    (UnusableEndpointError, UNUSABLE),
    (httpx.PoolTimeout, Classification(Outcome.IGNORED)),
    (httpx.ConnectTimeout, Classification(Outcome.CONNECT_FAILED, RetryScope.UNSENT, "connect")),
    (httpx.ConnectError, Classification(Outcome.CONNECT_FAILED, RetryScope.UNSENT, "connect")),
    (httpx.TimeoutException, Classification(Outcome.TIMEOUT, RetryScope.IDEMPOTENT, "timeout")),
    (httpx.NetworkError, Classification(Outcome.FAILURE, RetryScope.IDEMPOTENT, "disconnect")),
    (httpx.RemoteProtocolError, Classification(Outcome.FAILURE, RetryScope.IDEMPOTENT, "disconnect")),
    (httpx.TransportError, Classification(Outcome.IGNORED)),  # a wrong URL, our own protocol errors
    (httpx.InvalidURL, Classification(Outcome.IGNORED)),
)


def classify_error(error: BaseException, request: httpx.Request) -> Classification:
    """Classify what an error means for the endpoint, and for the request."""
    if not isinstance(error, Exception):
        return CANCELLED
    if isinstance(error, httpx.RemoteProtocolError) and _is_unprocessed(error):
        return UNPROCESSED
    if isinstance(error, httpx.ProxyError):
        return classify_tunnel(str(error))
    for kind, classification in _BY_ERROR:
        if isinstance(error, kind):
            return classification
    return classify_foreign(error, replayable=replayable(request))


def _is_unprocessed(error: httpx.RemoteProtocolError) -> bool:
    """Return whether a server said by HTTP/2 that it has not processed the request (RFC 9113, 8.7).

    That is a stream reset by ``REFUSED_STREAM``, and a ``GOAWAY`` that names no stream; of one that names streams below the
    request's, the client itself sends the request again. The event of ``h2`` is what the client's error was made from.
    """
    event = error.__cause__.args[0] if error.__cause__ is not None and error.__cause__.args else None
    kind = type(event).__name__
    if kind == "StreamReset":
        return bool(getattr(event, "error_code", None) == REFUSED_STREAM)
    return kind == "ConnectionTerminated" and not getattr(event, "last_stream_id", None)


def foreign_error(error: BaseException, request: httpx.Request, call: Call) -> httpx.TransportError | None:
    """Return the client's error for what is wrong in what a server sent, and is passed on as it is; ``None`` for others.

    That is what ``h2`` finds, which the client may also take for an error of its own, a status of HTTP/2 that is no number,
    and a TLS record that cannot be read on asyncio. What ``h2`` finds wrong in what the client sends was not raised in
    ``receive_data``.
    """
    if call.body_raised:
        return None
    if isinstance(error, ssl.SSLError):
        return httpx.ReadError(str(error), request=request)
    receiving = {"receive_data", "_receive_response"} if isinstance(error, ValueError) else {"receive_data"}
    for cause in chain(error, call.handled):
        if any(frame.f_code.co_name in receiving for frame, _ in walk_tb(cause.__traceback__)):
            return httpx.RemoteProtocolError(str(error), request=request)
    return None


def replayable(request: httpx.Request) -> bool:
    """Return whether the body of a request can be sent again: it is in memory, or a form of files that the client rewinds."""
    stream = request.stream
    if isinstance(stream, MultipartStream):
        return all(_is_read_anew(getattr(field, "file", b"")) for field in stream.fields)
    return isinstance(stream, httpx.ByteStream)


def _is_read_anew(file: Any) -> bool:
    return isinstance(file, str | bytes) or bool(hasattr(file, "seekable") and file.seekable())


def with_body(request: httpx.Request, body: Any) -> httpx.Request:
    """Return a request with another body: bytes, which have a length, or an iterator."""
    headers = request.headers.copy()
    if isinstance(body, bytes):
        headers.pop("Transfer-Encoding", None)
    return httpx.Request(
        request.method, request.url, headers=headers, content=body, extensions=request.extensions
    )


@lru_cache(maxsize=512)
def _parsed(url: str) -> httpx.URL:
    """Parse a URL. That is half of what an attempt costs, and services call the same few again and again."""
    return httpx.URL(url)


def is_url(text: str) -> bool:
    """Return whether the client can parse a URL: it refuses some addresses that others take, such as ``01.2.3.4``."""
    try:
        httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return True


def rewritten(
    request: httpx.Request, where: Address, name: str | None, call: Call, config: AdapterConfig
) -> httpx.Request:
    """Return the request as the endpoint gets it, under a TLS name if any. The caller's stays as it is."""
    url, headers, stream = request.url, httpx.Headers(request.headers), request.stream
    logical = url.netloc.decode("ascii")
    authority = config.matcher.host_header(where, logical=logical)
    bounded = call.deadline != math.inf
    if authority != logical and headers.get("Host") == logical:
        headers["Host"] = authority
    if b"proxy-authorization" in [field.lower() for field, _ in headers.raw]:
        del headers["Proxy-Authorization"]
    if where.headers:
        headers.update(where.headers)
    if bounded and config.propagate_deadline is not None:
        headers[config.propagate_deadline] = str(int(call.left() * 1000.0))
    extensions = dict(request.extensions)
    if name is not None:
        extensions["sni_hostname"] = name
    if "trace" in extensions:
        extensions["trace"] = callers_trace(extensions["trace"], call)
    if bounded:
        given = extensions.get("timeout") or {}
        extensions["timeout"] = {
            kind: limit_timeout(given.get(kind), call) for kind in ("connect", "read", "write", "pool")
        }
    # The constructor would parse headers and body once more.
    sent = httpx.Request.__new__(httpx.Request)
    sent.__dict__.update(request.__dict__)
    sent.url = _parsed(where.base(url.scheme) + url.raw_path.decode("ascii"))
    sent.headers, sent.extensions = headers, extensions
    sent.stream = stream if isinstance(stream, httpx.ByteStream) else CallersBody(stream, call)
    if config.jars is not None:
        config.jars.carry(where, str(sent.url), sent.headers)
    return sent


def rules(request: httpx.Request) -> Rules:
    """Return what the exchange needs to know of the client's classes."""

    def classify(error: BaseException) -> Classification:
        return classify_error(error, request)

    def no_endpoint(error: UnavailableError) -> httpx.ConnectError:
        return httpx.ConnectError(str(error), request=request)

    return Rules(classify, replayable, no_endpoint)


async def sleep(seconds: float) -> None:
    """Wait, on asyncio or trio."""
    import anyio  # noqa: PLC0415 - a dependency of the client, needed here only

    await anyio.sleep(seconds)
