"""One request's way through an HAProxy backend: served, queued, or refused.

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
    """The backend, as far as its requests need it."""

    def on_refused(self, request: Request, /) -> str | None:
        """Try again, and return the name of the next server."""
        ...

    def on_done(self, request: Request, /) -> list[Request]:
        """Free the slot, and return the waiting requests that are served now."""
        ...

    def on_given_up(self, request: Request, /) -> None:
        """Take the request out of the queue."""
        ...


@final
class Request(StateRepr):
    """One request. Made by ``Backend.request``.

    It is *served* by a server, *waiting* for a slot, or *over*. :meth:`refused` tries again by the rules of
    ``retries`` and ``redispatch``; :meth:`done` frees the slot, which a waiting request may get.
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
        """Whether the cookie decided."""
        self.member: Member | None = None
        self.waiting: bool = False
        """Whether it waits for a slot."""
        self.arrival: int = 0
        """Its number among all that have had to wait."""
        self.attempts: int = 0
        self.set_cookie: str | None = None
        """The cookie's value to set in the answer; ``None`` for none, empty to remove it, as for a server that has no value."""

    @property
    def server(self) -> str | None:
        """The name of the server, ``None`` while it waits or when no server can take it (503)."""
        return None if self.member is None or self.waiting else self.member.server.name

    def refused(self) -> str | None:
        """Try again after the server refused the connection; return the name of the next, ``None`` if there is none.

        A slot that gets free goes to a waiting request, whose :attr:`server` then is no longer ``None``.
        """
        return self._queue.on_refused(self._own())

    def done(self) -> list[Request]:
        """End the request; return the waiting ones that are served now: one as a rule."""
        if self.waiting:
            self._queue.on_given_up(self)
            return []
        return self._queue.on_done(self._own())

    def _own(self) -> Request:
        if self.member is None or self.waiting:
            raise LeaseError("the request has no server")
        return self


def first_of(queue: deque[Waiter]) -> Request:
    """Take the request that has waited longest out of a queue."""
    return cast("Request", queue.popleft())
