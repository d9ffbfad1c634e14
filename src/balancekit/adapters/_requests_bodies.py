"""Answers of requests: the end of a body, however it is read, ends the lease of its request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, ClassVar
from weakref import ref

from balancekit._support.extras import extra
from balancekit._support.interrupts import raised_by_signal

with extra("requests"):
    import urllib3.exceptions
    from requests import PreparedRequest, Response, exceptions

from balancekit.adapters._call import Call
from balancekit.adapters._call_info import CallInfo
from balancekit.adapters._classification import Classification
from balancekit.adapters._requests_errors import BROKEN, classify_error
from balancekit.adapters._time_left import DEADLINE_PASSED

__all__ = ["BalancedResponse", "check_deadline"]


def _no_watcher() -> None:
    """Stand for the reader of a body that is not being read."""


def check_deadline(call: Call, request: PreparedRequest, response: Response | None = None) -> None:
    """Raise if the time of a call is up, and close its answer, if there is one yet."""
    if call.over:
        if response is not None:
            response.close()
        raise exceptions.ReadTimeout(DEADLINE_PASSED, request=request)


def _classify(error: BaseException, request: PreparedRequest) -> Classification:
    """Classify an error of a body."""
    return BROKEN if _is_of_a_chunk(error) else classify_error(error, request)


def _is_of_a_chunk(error: BaseException) -> bool:
    """Return whether an error is that of a chunk of negative size, for which urllib3 has none of its own."""
    return (
        isinstance(error, ValueError)
        and not isinstance(error, exceptions.RequestException | urllib3.exceptions.HTTPError)
        and not raised_by_signal(error)
    )


class BalancedResponse(Response):
    """The answer of an endpoint, as the service's. ``balancekit`` says how it came about.

    A pickled response has been read and remembers nothing of that.
    """

    balancekit: CallInfo | None = None
    _call: Call | None = None
    _reading: ClassVar[bool] = False

    def iter_content(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        """Read the body; parameters as in requests."""
        chunks: Iterator[Any] = super().iter_content(*arguments, **named)
        call = self._call
        if call is None or not call.lease.active:
            return chunks
        watched = self._watched(chunks, call)
        self.__dict__["_watcher"] = ref(watched)
        return watched

    def _reads(self) -> bool:
        """Return whether the body is being read at this moment: an error of it will come out there."""
        watcher = self.__dict__.get("_watcher", _no_watcher)()
        return watcher is not None and watcher.gi_running

    def _watched(self, chunks: Iterator[Any], call: Call) -> Iterator[Any]:
        self.__dict__["_reading"] = True
        try:
            for chunk in chunks:
                yield chunk
                check_deadline(call, self.request)
        except GeneratorExit:  # the caller reads no further; `close` follows
            raise
        except BaseException as error:
            call.broke(_classify(error, self.request))
            self._unwatch()
            if _is_of_a_chunk(error):
                raise exceptions.ChunkedEncodingError(error, request=self.request) from error
            if call.over and isinstance(error, exceptions.ConnectionError):  # of a time-out, by requests
                raise exceptions.ReadTimeout(DEADLINE_PASSED, request=self.request) from error
            raise
        call.whole()
        self._unwatch()

    def _watch(self, call: Call) -> None:
        """End the lease with the body, however it is read."""
        raw = self.raw
        close, release = raw.close, raw.release_conn
        outer = sys.exc_info()[1]

        def closed() -> None:
            try:
                close()
            finally:
                if not self._reads():  # urllib3 closes a body before it raises the error that it found in it
                    call.closed()
                    self._unwatch()

        def released() -> None:
            release()
            if self._reading:
                return
            error = sys.exc_info()[1]  # urllib3 releases a broken connection, too, before it raises
            if isinstance(error, urllib3.exceptions.HTTPError | ValueError) and error is not outer:
                call.broke(_classify(error, self.request))
            else:
                call.whole()
            self._unwatch()

        raw.close, raw.release_conn = closed, released

    def _unwatch(self) -> None:
        """Undo :meth:`_watch`. Otherwise the answer and its body would be in a reference cycle, and would stay for long."""
        watched = getattr(self.raw, "__dict__", {})
        for name in ("close", "release_conn"):
            watched.pop(name, None)
