"""One request in an HAProxy backend: served, queued, or refused.

Source: HAProxy 2.6.12, ``src/stream.c`` and ``src/queue.c``.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol, cast, final

from balancekit._support.display import StateRepr
from balancekit.compat.haproxy._members import Member, Waiter
from balancekit.errors import LeaseError

__all__ = ["Queue", "Request", "first_of"]


class Queue(Protocol):
    """The methods of a backend that its requests call."""

    def on_refused(self, request: Request, /) -> str | None:
        """Try again, and return the name of the next server, ``None`` if there is none."""
        ...

    def on_done(self, request: Request, /) -> list[Request]:
        """Free the slot, and return the waiting requests that are served now."""
        ...

    def on_given_up(self, request: Request, /) -> None:
        """Take the request out of the queue."""
        ...


@final
class Request(StateRepr):
    """One request, made by ``Backend.request``.

    A server serves it, or it waits for a slot, or it has ended. :meth:`refused` tries again by the rules of ``retries``
    and ``redispatch``. :meth:`done` frees the slot; a waiting request may then get it.
    """

    __slots__ = (
        "_queue",
        "arrival",
        "attempts",
        "cookie",
        "direct",
        "hash",
        "member",
        "set_cookie",
        "waiting",
    )

    def __init__(self, queue: Queue, *, hash: int | None, cookie: str) -> None:
        self._queue = queue
        self.hash: int | None = hash
        self.cookie: str = cookie
        self.direct: bool = False
        """Whether its cookie chose the server."""
        self.member: Member | None = None
        self.waiting: bool = False
        """Whether it waits for a slot."""
        self.arrival: int = 0
        """Its place in the order in which requests began to wait, from 1; 0 if it has never waited."""
        self.attempts: int = 0
        self.set_cookie: str | None = None
        """The cookie's value to set in the answer. ``None`` sets none. Empty removes it: the server has no cookie value."""

    @property
    def server(self) -> str | None:
        """The name of the server, ``None`` while it waits or when no server can take it (503)."""
        return None if self.member is None or self.waiting else self.member.server.name

    def refused(self) -> str | None:
        """Try again after the server refused the connection. Return the next server's name, ``None`` if there is none.

        If the slot gets free, a waiting request may get it; its :attr:`server` then is no longer ``None``.

        Raises
        ------
        LeaseError
            If the request waits or has ended.
        """
        return self._queue.on_refused(self._served())

    def done(self) -> list[Request]:
        """End the request. Return the waiting requests that are served now, usually one at most.

        Raises
        ------
        LeaseError
            If the request has ended.
        """
        if self.waiting:
            self._queue.on_given_up(self)
            return []
        return self._queue.on_done(self._served())

    def _served(self) -> Request:
        if self.member is None or self.waiting:
            raise LeaseError("the request has no server")
        return self


def first_of(queue: deque[Waiter]) -> Request:
    """Remove the longest waiting request from a queue, and return it."""
    return cast("Request", queue.popleft())
