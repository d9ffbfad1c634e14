# Generated from _httpx2_bodies.py by tools/make_httpx.py. Change _httpx2_bodies.py instead.
"""Bodies of httpx answers: each ends the lease of its request, and is cut at the deadline of the call."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx

from balancekit.adapters._call import Call
from balancekit.adapters._classification import BODY_RAISED, UNDECODABLE, Classification
from balancekit.adapters._httpx_requests import UNPROCESSED, classify_error, foreign_error
from balancekit.adapters._time_left import DEADLINE_PASSED
from balancekit.adapters._watched_decoder import WatchedDecoder
from balancekit.outcome import Outcome

__all__ = ["AsyncBalancedBody", "BalancedBody", "check_deadline", "watch_decoding"]

_BROKEN: Final = Classification(Outcome.FAILURE)


def watch_decoding(response: httpx.Response, call: Call) -> None:
    """End the lease of an encoded answer as a failure if its body cannot be decoded."""
    try:
        decoder = response._get_content_decoder()
        response._decoder = WatchedDecoder(decoder, call, httpx.DecodingError)  # type: ignore[assignment]  # it decodes
    except httpx.DecodingError:  # too many encodings; the caller gets this error with the body
        call.broke(UNDECODABLE)


def check_deadline(call: Call, request: httpx.Request, response: httpx.Response | None = None) -> None:
    """Raise if the time of a call is up, and close its answer, if there is one yet."""
    if call.over:
        if response is not None:
            response.close()
        raise httpx.ReadTimeout(DEADLINE_PASSED, request=request)


def _classify(error: BaseException, request: httpx.Request, call: Call) -> Classification:
    """Classify an error of a body: its request has been processed, whatever the server says."""
    if call.body_raised and isinstance(error, Exception):  # a trace of the caller did
        return BODY_RAISED
    classification = classify_error(error, request)
    return _BROKEN if classification is UNPROCESSED else classification


class BalancedBody(httpx.SyncByteStream):
    """The body of an answer, and the end of its lease."""

    def __init__(self, stream: httpx.SyncByteStream, call: Call, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request
        self._call = call
        self._last = b""

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream:
                self._last = chunk
                yield chunk
                check_deadline(self._call, self._request)
        except GeneratorExit:  # the caller reads no further; `close` follows
            raise
        except BaseException as error:
            found = foreign_error(error, self._request, self._call)
            self._call.broke(_classify(found or error, self._request, self._call))
            if found is None:
                raise
            raise found from error
        self._call.whole()

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._call.closed(self._last)


class AsyncBalancedBody(httpx.AsyncByteStream):
    """The body of an answer, and the end of its lease."""

    def __init__(self, stream: httpx.AsyncByteStream, call: Call, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request
        self._call = call
        self._last = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._pieces():
                self._last = chunk
                yield chunk
        except GeneratorExit:  # the caller reads no further; `aclose` follows
            raise
        except BaseException as error:
            found = foreign_error(error, self._request, self._call)
            self._call.broke(_classify(found or error, self._request, self._call))
            if found is None:
                raise
            raise found from error
        self._call.whole()

    def _pieces(self) -> AsyncIterator[bytes]:
        return aiter(self._stream) if self._call.deadline == math.inf else self._pieces_in_time()

    async def _pieces_in_time(self) -> AsyncIterator[bytes]:
        import anyio  # noqa: PLC0415 - a dependency of the client, needed here only

        pieces = aiter(self._stream)
        while True:
            try:
                with anyio.fail_after(self._call.left()):
                    piece = await anext(pieces, None)
            except TimeoutError as error:
                raise httpx.ReadTimeout(DEADLINE_PASSED, request=self._request) from error
            if piece is None:
                return
            yield piece

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._call.closed(self._last)
