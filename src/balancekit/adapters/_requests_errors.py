"""Classification of the errors of requests, and bodies that can be sent again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from traceback import walk_tb
from typing import Any, Final, cast

from balancekit._support.causes import chain
from balancekit._support.extras import extra

with extra("requests"):
    import urllib3.exceptions
    from requests import PreparedRequest, exceptions
    from requests.utils import rewind_body

from balancekit.adapters._call import Call
from balancekit.adapters._classification import (
    CANCELLED,
    UNDECODABLE,
    UNUSABLE,
    Classification,
    RetryScope,
    classify_foreign,
    classify_tunnel,
)
from balancekit.outcome import Outcome

__all__ = [
    "BROKEN",
    "PIECE",
    "UnusableEndpointError",
    "classify_attempt",
    "classify_error",
    "in_memory",
    "pieces",
    "replayable",
    "rewind",
    "watched",
]

PIECE: Final = 65_536
"""Bytes of a file that are read at a time."""
TUNNEL_FAILED: Final = "Tunnel connection failed: "
"""How the error of ``http.client`` begins if a proxy refuses ``CONNECT``; its status follows."""
HANDSHAKES: Final = frozenset({"_validate_conn", "_prepare_proxy"})
"""Methods of urllib3's pools that shake hands, the second by the tunnel of a proxy."""
FILES: Final = frozenset({"cert_verify", "ssl_wrap_socket"})
"""Functions of requests and urllib3 that read the files of ``verify`` and ``cert``; the second then shakes hands, by the next."""
SHAKES: Final = "_ssl_wrap_socket_impl"
_UNSENT: Final = Classification(Outcome.CONNECT_FAILED, RetryScope.UNSENT, "connect")
BROKEN: Final = Classification(Outcome.FAILURE, RetryScope.IDEMPOTENT, "disconnect")
_TOO_LATE: Final = Classification(Outcome.TIMEOUT, RetryScope.IDEMPOTENT, "timeout")
_OURS: Final = Classification(Outcome.IGNORED)


class UnusableEndpointError(exceptions.ConnectionError):
    """An endpoint without an address."""


_BY_ERROR: Final[tuple[tuple[type[Exception], Classification], ...]] = (
    (UnusableEndpointError, UNUSABLE),
    (exceptions.ConnectTimeout, _UNSENT),
    (exceptions.SSLError, BROKEN),  # unless it is of the handshake
    (exceptions.Timeout, _TOO_LATE),
    (exceptions.ConnectionError, BROKEN),
    (exceptions.ChunkedEncodingError, BROKEN),
    (urllib3.exceptions.ReadTimeoutError, _TOO_LATE),
    (urllib3.exceptions.HTTPError, BROKEN),
    (exceptions.ContentDecodingError, UNDECODABLE),
    (exceptions.RequestException, _OURS),  # a wrong URL, a wrong header, a body that cannot be decoded
)


def classify_error(error: BaseException, request: PreparedRequest) -> Classification:
    """Classify what an error means for the endpoint, and for the request."""
    if not isinstance(error, Exception):
        return CANCELLED
    if isinstance(error, exceptions.ProxyError):
        return classify_tunnel(_said_by_a_proxy(error))
    if isinstance(error, exceptions.ConnectionError) and error.args:
        reason = getattr(error.args[0], "reason", None)  # of urllib3's MaxRetryError
        if isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
            return _UNSENT  # no connection was made
        if isinstance(error.args[0], urllib3.exceptions.ReadTimeoutError) or _is_of_a_write(error.args[0]):
            return _TOO_LATE  # of a body
        if isinstance(error.args[0], urllib3.exceptions.ClosedPoolError):
            return _OURS
    if isinstance(error, exceptions.InvalidHeader) and _is_of_the_answer(error):
        return BROKEN
    for kind, classification in _BY_ERROR:
        if isinstance(error, kind):
            return classification
    return classify_foreign(error, replayable=replayable(request))


def _said_by_a_proxy(error: exceptions.ProxyError) -> str:
    """Return what a proxy answered in place of a tunnel, in the words of the standard library; empty if it did not answer."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)  # of urllib3's MaxRetryError
    text = str(getattr(reason, "original_error", ""))
    return text if text.startswith(TUNNEL_FAILED) else ""


def classify_attempt(error: BaseException, request: PreparedRequest, call: Call) -> Classification:
    """Classify an error of an attempt, which may be one of the TLS handshake, or of the caller's files for it."""
    if isinstance(error, OSError) and _is_of_a_file(error, call):
        return _OURS
    kinds = exceptions.ConnectionError | exceptions.Timeout
    shaking = isinstance(error, kinds) and not isinstance(error, exceptions.ProxyError)
    return _UNSENT if shaking and _is_of_the_handshake(error, call) else classify_error(error, request)


def _is_of_the_handshake(error: BaseException, call: Call) -> bool:
    """Return whether a TLS handshake failed, was cut or took too long, before anything was sent.

    urllib3 raises the same errors for what is read after the request. They differ in where they were raised.
    """
    return any(
        frame.f_code.co_name in HANDSHAKES
        for cause in chain(error, call.handled)
        for frame, _ in walk_tb(cause.__traceback__)
    )


def _is_of_a_file(error: BaseException, call: Call) -> bool:
    """Return whether a file of certificates or of a key, which the caller named, is missing or cannot be read."""
    for cause in chain(error, call.handled):
        names = {frame.f_code.co_name for frame, _ in walk_tb(cause.__traceback__)}
        if not FILES.isdisjoint(names) and SHAKES not in names:
            return True
    return False


def _is_of_a_write(error: object) -> bool:
    """Return whether the endpoint took no more of a body: urllib3 says that the connection was aborted, by a time-out."""
    return isinstance(error, urllib3.exceptions.ProtocolError) and any(
        isinstance(part, TimeoutError) for part in error.args
    )


def _is_of_the_answer(error: exceptions.InvalidHeader) -> bool:
    """Return whether urllib3 found the header, in an answer; requests itself finds those of the caller."""
    return bool(error.args) and isinstance(error.args[0], urllib3.exceptions.InvalidHeader)


def replayable(request: PreparedRequest) -> bool:
    """Return whether the body of a request can be sent again: it is in memory, or a file that can be rewound."""
    return in_memory(request.body) or isinstance(_position(request), int)


def in_memory(body: object) -> bool:
    """Return whether a body is sent as it is: urllib3 takes buffers, too, unless they can be read like files."""
    if body is None or isinstance(body, str | bytes | bytearray | memoryview):
        return True
    if hasattr(body, "read"):
        return False
    try:
        memoryview(cast("Any", body))
    except TypeError:
        return False
    return True


def watched(pieces: Iterator[bytes], call: Call) -> Iterator[bytes]:
    """Yield the pieces of a body; what it raises is the caller's error, and not the endpoint's."""
    try:
        yield from pieces
    except Exception:
        call.body_raised = True
        raise


def pieces(body: Any) -> Iterator[bytes]:
    """Read a generator or a file, of text or bytes, as requests would. Nothing is read before the first piece is."""
    for piece in iter(partial(body.read, PIECE), body.read(0)) if hasattr(body, "read") else body:
        yield piece.encode() if isinstance(piece, str) else piece


def _position(request: PreparedRequest) -> object:
    return getattr(request, "_body_position", None)


def rewind(request: PreparedRequest) -> None:
    """Go back to where the body of a request began, if it is a file."""
    if isinstance(_position(request), int):
        rewind_body(request)
