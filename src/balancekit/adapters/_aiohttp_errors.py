"""Classification of the errors of aiohttp, and bodies that can be sent again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from traceback import walk_tb
from typing import Final

from balancekit._support.causes import chain
from balancekit._support.extras import extra

with extra("aiohttp"):
    import aiohttp
    from aiohttp import ClientRequest, ClientSession, hdrs
    from aiohttp.payload import AsyncIterablePayload, Payload

from balancekit.adapters._call import Call
from balancekit.adapters._classification import (
    BODY_RAISED,
    CANCELLED,
    UNUSABLE,
    Classification,
    RetryScope,
    classify_foreign,
)
from balancekit.outcome import Outcome

__all__ = ["UnusableEndpointError", "classify_error", "replayable", "watch_body"]

_UNSENT: Final = Classification(Outcome.CONNECT_FAILED, RetryScope.UNSENT, "connect")
_OURS: Final = Classification(Outcome.IGNORED)
_NO_DECODER: Final = re.compile(r"\((\w+)\)\. Please install")
"""In the message of aiohttp for an encoding that needs another package."""
PAYLOADS: Final = frozenset({"aiohttp.formdata", "aiohttp.multipart", "aiohttp.payload"})
"""Modules that write the bodies of requests."""


class UnusableEndpointError(aiohttp.ClientConnectionError):
    """An endpoint without an address."""


_BY_ERROR: Final[tuple[tuple[type[Exception], Classification], ...]] = (
    (UnusableEndpointError, UNUSABLE),
    (aiohttp.ClientProxyConnectionError, _OURS),
    (aiohttp.ClientHttpProxyError, _OURS),
    (aiohttp.ClientConnectorError, _UNSENT),
    (aiohttp.ClientConnectorCertificateError, _UNSENT),
    (aiohttp.ConnectionTimeoutError, _UNSENT),
    (aiohttp.ServerFingerprintMismatch, _UNSENT),
    (aiohttp.ServerTimeoutError, Classification(Outcome.TIMEOUT, RetryScope.IDEMPOTENT, "timeout")),
    (asyncio.TimeoutError, CANCELLED),  # the caller's total time-out, or the deadline
    (aiohttp.ServerConnectionError, Classification(Outcome.FAILURE)),  # aiohttp comes back by itself
    (aiohttp.ClientOSError, Classification(Outcome.FAILURE)),  # the same
    (
        aiohttp.ClientConnectionResetError,
        Classification(Outcome.FAILURE, RetryScope.IDEMPOTENT, "disconnect"),
    ),
    (aiohttp.ClientPayloadError, Classification(Outcome.FAILURE)),
    (aiohttp.ClientResponseError, Classification(Outcome.FAILURE, RetryScope.IDEMPOTENT, "disconnect")),
    (aiohttp.ClientError, _OURS),
)


def classify_error(error: BaseException, call: Call, session: ClientSession) -> Classification:
    """Classify what an error of the client means for the endpoint, and for the request."""
    if not isinstance(error, Exception):
        return CANCELLED
    if session.closed:  # under the request, which it broke
        return _OURS
    if isinstance(error, aiohttp.ConnectionTimeoutError) and _waited_for_the_pool(error, call):
        return _OURS
    if isinstance(error, aiohttp.ClientResponseError) and _has_no_decoder(error):
        return _OURS
    if _is_of_the_body(error, call):
        return BODY_RAISED
    for kind, classification in _BY_ERROR:
        if isinstance(error, kind):
            return classification
    return classify_foreign(error, replayable=True)


def _waited_for_the_pool(error: BaseException, call: Call) -> bool:
    """Return whether a connection timed out because all those of the session were in use.

    aiohttp raises the same error as for a server that does not accept. The two differ in where the wait was cancelled.
    """
    return any(
        frame.f_code.co_name == "_wait_for_available_connection"
        for cause in chain(error, call.handled)
        for frame, _ in walk_tb(cause.__traceback__)
    )


def _is_of_the_body(error: BaseException, call: Call) -> bool:
    """Return whether the body of the request raised: aiohttp says of it what it says of a connection that breaks.

    The two differ in what the payload called, its source or the writer of the connection.
    """
    for cause in chain(error, call.handled):
        modules = [frame.f_globals.get("__name__") for frame, _ in walk_tb(cause.__traceback__)]
        begun = next((place for place, name in enumerate(modules) if name in PAYLOADS), None)
        if begun is not None:
            source = next((name for name in modules[begun:] if name not in PAYLOADS), "")
            return source != "aiohttp.http_writer"
    return False


def watch_body(body: object, call: Call) -> None:
    """Note in a call if a body that is made as it is sent raises what aiohttp does not pass on, such as a cancellation."""
    # The class is abstract, so that the second test is slow.
    if body.__class__ is not bytes and isinstance(body, AsyncIterablePayload):
        pieces = body._iter  # noqa: SLF001 - where aiohttp keeps them
        if pieces is not None:
            body._iter = _WatchedPieces(pieces, call)  # noqa: SLF001 - the same


class _WatchedPieces:
    """The pieces of a body. The client ends it by cancelling the task that sends it, and nothing else is the client's."""

    __slots__ = ("_call", "_pieces")

    def __init__(self, pieces: AsyncIterator[bytes], call: Call) -> None:
        self._pieces = pieces
        self._call = call

    def __aiter__(self) -> _WatchedPieces:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            raise
        except BaseException:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                self._call.body_raised = True
            raise


def _has_no_decoder(error: aiohttp.ClientResponseError) -> bool:
    """Return whether the caller got the encoding that it requested, and aiohttp lacks the package that decodes it."""
    encoding = _NO_DECODER.search(error.message)
    if encoding is None:
        return False
    accepted = error.request_info.headers.get(hdrs.ACCEPT_ENCODING, "").lower().split(",")
    return not {encoding[1], "*"}.isdisjoint([one.partition(";")[0].strip() for one in accepted])


def replayable(request: ClientRequest) -> bool:
    """Return whether the body of a request can be sent again: it has not been used up."""
    body: object = request.body
    return not isinstance(body, Payload) or not body.consumed
