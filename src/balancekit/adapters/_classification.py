"""Classification of answers and errors: the outcome for the endpoint, and the scope of retries.

The :class:`~balancekit.outcome.Outcome` is for health and loads, the :class:`RetryScope` for the request.

=========================================  ==========  =========================================
answer                                     outcome     again, elsewhere
=========================================  ==========  =========================================
1xx to 4xx, 501, but for those below       success     never
408                                        failure     if idempotent
421                                        success     if it can be replayed: it was for another
429; 503 with ``Retry-After``              overloaded  if it can be replayed: it was not taken
502, 504; 503 without                      failure     if idempotent
other 5xx                                  failure     never
502, 503, 504 of a proxy to ``CONNECT``    connect     always: no tunnel leads to the endpoint
                                           failed
other refusals of a proxy                  ignored     never: they are for the caller
401, 403 to an endpoint's own credentials  overloaded  if it can be replayed: the key is out
=========================================  ==========  =========================================

Each client's adapter classifies errors, because their classes are the client's. An error before anything was sent has one of
two owners. The *endpoint*: its address cannot be parsed, its transport cannot be made, its name does not resolve. The outcome
is connect failed, and any request goes elsewhere. The *caller*: a bad argument, the client's own full pool, a process without a
free file descriptor. The outcome is ignored, and the caller receives the error.

Source: RFC 9110 sections 9.2.2 (idempotent methods), 10.2.3 and 15; Envoy's ``retriable-4xx`` and ``gateway-error``.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from balancekit._support.interrupts import raised_by_signal
from balancekit.outcome import Outcome, classify_exception

__all__ = [
    "BODY_RAISED",
    "CANCELLED",
    "CUT_OFF",
    "FINE",
    "IDEMPOTENT_METHODS",
    "SHORTAGE",
    "UNDECODABLE",
    "UNUSABLE",
    "Classification",
    "RetryScope",
    "classify_foreign",
    "classify_status",
    "classify_tunnel",
    "classify_unread",
]

IDEMPOTENT_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"})


class RetryScope(enum.Enum):
    """Whether a request may be sent to another endpoint."""

    NEVER = "never"
    UNUSABLE = "unusable"
    """The endpoint has no address or transport to send anything to: any request, and it counts as no attempt."""
    UNSENT = "unsent"
    """Nothing was sent, its body has not been touched: any request."""
    REFUSED = "refused"
    """It was not taken: any request that can be replayed."""
    IDEMPOTENT = "idempotent"
    """It may have been carried out: an idempotent one that can be replayed."""


class Classification(NamedTuple):
    """What an attempt's end means."""

    outcome: Outcome
    retry_scope: RetryScope = RetryScope.NEVER
    reason: str = ""
    """One word for metrics."""

    def widened(self) -> Classification:
        """Return the same, for a status that a route retries: an idempotent request goes elsewhere."""
        if self.retry_scope is not RetryScope.NEVER:
            return self
        return Classification(self.outcome, RetryScope.IDEMPOTENT, self.reason or "route")


FINE: Final = Classification(Outcome.SUCCESS)
CANCELLED: Final = Classification(Outcome.CANCELLED)
UNDECODABLE: Final = Classification(Outcome.FAILURE)
"""A body that is not what its ``Content-Encoding`` says; the caller has its head already."""
BODY_RAISED: Final = Classification(Outcome.IGNORED)
"""The body of the request raised, or a trace of it, whatever the class of the error: one that is read from elsewhere raises a client's
errors, and one that is written to a disk or a pipe those of a system."""
CUT_OFF: Final = Classification(Outcome.IGNORED)
"""The client was closed under the request, by another thread or task: it broke the connection, and has none for another attempt."""
SHORTAGE: Final = Classification(Outcome.IGNORED)
"""No connection could be made, for this process has no file descriptor or memory left."""
UNUSABLE: Final = Classification(Outcome.CONNECT_FAILED, RetryScope.UNUSABLE, "unusable")

UNREACHABLE: Final = frozenset((502, 503, 504))
"""Statuses with which a proxy says that it cannot reach the server (RFC 9110 15.6.3 to 15.6.5)."""
_SOCKS_REPLY: Final = re.compile(
    "could not connect: (Network unreachable|Host unreachable|Connection refused|TTL expired)"
)
"""Replies 3 to 6 of RFC 1928, in the words of httpcore."""
_STATUS: Final = re.compile(r"(?<![^ ])[1-5][0-9]{2}(?![^ ])")
_REFUSED_KEY: Final = Classification(Outcome.OVERLOADED, RetryScope.REFUSED, "credentials")
_OVERLOADED: Final = Classification(Outcome.OVERLOADED, RetryScope.REFUSED, "overloaded")
_GATEWAY: Final = Classification(Outcome.FAILURE, RetryScope.IDEMPOTENT, "gateway")
_BROKEN: Final = Classification(Outcome.FAILURE)
_BY_STATUS: Final[Mapping[int, Classification]] = {
    408: Classification(Outcome.FAILURE, RetryScope.IDEMPOTENT, "timeout"),
    421: Classification(Outcome.SUCCESS, RetryScope.REFUSED, "misdirected"),
    429: _OVERLOADED,
    501: FINE,
    502: _GATEWAY,
    503: _GATEWAY,
    504: _GATEWAY,
}


def classify_status(
    status: int, *, retry_after: float | None = None, own_credentials: bool = False
) -> Classification:
    """Classify an answer by its status.

    Parameters
    ----------
    status
        Of the answer.
    retry_after
        The ``Retry-After`` of the answer, in seconds; ``None`` if it has none.
    own_credentials
        Whether the endpoint has headers of its own, so that a 401 or 403 is about those.

    Example
    -------
    >>> classify_status(503).outcome, classify_status(503, retry_after=5.0).outcome
    (<Outcome.FAILURE: 'failure'>, <Outcome.OVERLOADED: 'overloaded'>)
    """
    if status < 400:
        return FINE
    if status == 503 and retry_after is not None:
        return _OVERLOADED
    if own_credentials and status in (401, 403):
        return _REFUSED_KEY
    return _BY_STATUS.get(status) or (_BROKEN if status >= 500 else FINE)


def classify_unread(status: int) -> Outcome:
    """Return the outcome of an answer that is not read to its end: its status's, but no success. 0 stands for no answer.

    Example
    -------
    >>> classify_unread(200), classify_unread(503)
    (<Outcome.CANCELLED: 'cancelled'>, <Outcome.FAILURE: 'failure'>)
    """
    outcome = classify_status(status).outcome
    return Outcome.CANCELLED if outcome is Outcome.SUCCESS else outcome


def classify_tunnel(text: str) -> Classification:
    """Classify the error of a proxy that opened no tunnel, by the status, or reply of SOCKS, that its text has.

    Nothing was sent to the endpoint. A proxy that could not reach it answers 502, 503 or 504, or replies 3 to 6 of SOCKS.
    Anything else, such as a 407 without credentials, concerns the caller and the proxy.

    Example
    -------
    >>> classify_tunnel("502 Bad Gateway").outcome, classify_tunnel("407 Proxy Authentication Required").outcome
    (<Outcome.CONNECT_FAILED: 'connect_failed'>, <Outcome.IGNORED: 'ignored'>)
    """
    found = _STATUS.search(text)
    if (found is not None and int(found[0]) in UNREACHABLE) or _SOCKS_REPLY.search(text):
        return Classification(Outcome.CONNECT_FAILED, RetryScope.UNSENT, "connect")
    return Classification(Outcome.IGNORED)


def classify_foreign(error: Exception, *, replayable: bool) -> Classification:
    """Classify an error that is not one of the client's own.

    Those of the operating system concern the endpoint, unless they may come from a body that is made as it is sent. All
    others come from this process: a closed event loop, a header that cannot be encoded, a transport that is none, an
    alarm that the program has set.

    Example
    -------
    >>> classify_foreign(ConnectionResetError(), replayable=True).outcome
    <Outcome.CONNECT_FAILED: 'connect_failed'>
    >>> classify_foreign(RuntimeError("Event loop is closed"), replayable=True).outcome
    <Outcome.IGNORED: 'ignored'>
    """
    theirs = replayable and isinstance(error, OSError) and not raised_by_signal(error)
    return Classification(classify_exception(error) if theirs else Outcome.IGNORED)
