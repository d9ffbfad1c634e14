"""State of an HAProxy server: weight, health, and position in the schedule.

An effective weight is sixteen times the weight. A server is full when it serves ``maxconn`` requests, or when requests
wait for it.

Source: HAProxy 2.6.12, ``include/haproxy/server-t.h``.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, final

from balancekit._support import validation as valid
from balancekit._support.record import Record, field
from balancekit.errors import ConfigurationError

__all__ = ["SCALE", "Group", "Member", "Server", "State", "Waiter", "members_of", "server_ids"]

SCALE: Final = 16
MAX_WEIGHT: Final = 256
MAX_EFFECTIVE: Final = MAX_WEIGHT * SCALE
"""The largest effective weight."""


class State(enum.Enum):
    """The administrative state of a server, as in ``set server ... state``."""

    READY = "ready"
    DRAIN = "drain"
    """It gets no new requests except those that carry its cookie."""
    MAINT = "maint"
    """It gets no new requests at all."""


class Server(Record):
    """A ``server`` line of a backend.

    Parameters
    ----------
    name
        The name that a choice returns, unique in a backend.
    weight
        A whole number from 0 to 256.
    maxconn
        The most requests in progress; 0 is no limit.
    id
        The number that consistent hashing hashes, >= 1. If left out, it is the least free id that is not below the server's
        place in the order of declaration, counted from 1.
    cookie
        The value of the cookie that clients of this server carry; empty for none.
    backup
        Whether it serves only while no active server is usable.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty, ``weight`` is outside 0 to 256, ``maxconn`` is negative, or ``id`` is below 1.
        If ``cookie`` is no string, or ``backup`` no bool.
    """

    name: str = field(kw_only=False)
    weight: int = 1
    maxconn: int = 0
    id: int | None = None
    cookie: str = ""
    backup: bool = False

    def _check(self) -> None:
        valid.text("name", self.name)
        valid.integer("weight", self.weight, minimum=0, maximum=MAX_WEIGHT)
        valid.integer("maxconn", self.maxconn, minimum=0)
        if self.id is not None:
            valid.integer("id", self.id, minimum=1)
        valid.text("cookie", self.cookie, empty=True)
        valid.flag("backup", self.backup)


class Waiter(Protocol):
    """A request in a queue."""

    arrival: int


@final
class Member:
    """The state of one server."""

    __slots__ = (
        "before",
        "down",
        "effective",
        "id",
        "last",
        "npos",
        "rest",
        "serial",
        "served",
        "server",
        "state",
        "tree",
        "waiting",
        "weight",
    )

    def __init__(self, server: Server, id: int) -> None:
        self.server: Server = server
        self.id: int = id
        self.state: State = State.READY
        self.down: bool = False
        """Whether health checks have marked it down."""
        self.weight: int = server.weight
        self.effective: int = server.weight * SCALE
        self.served: int = 0
        self.waiting: deque[Waiter] = deque()
        self.before: int = 0
        """The sum of the effective weights, at the start, of the usable servers declared before it."""

        # The state of round robin: the next position, the remainder, and the position before.
        self.npos: int = 0
        self.rest: int = 0
        self.last: int = 0
        self.tree: object = None
        self.serial: int = 0

    @property
    def usable(self) -> bool:
        """Whether it may get a new request."""
        return self.state is State.READY and not self.down and self.effective > 0

    @property
    def persistent(self) -> bool:
        """Whether it may get a request that carries its cookie."""
        return self.state is not State.MAINT and not self.down

    @property
    def full(self) -> bool:
        """Whether a request would have to wait."""
        return self.server.maxconn > 0 and (bool(self.waiting) or self.served >= self.server.maxconn)


@final
class Group:
    """Servers that are balanced together: the active ones, or the backups.

    Parameters
    ----------
    members
        The servers in the order of declaration.
    first_only
        Whether only the first usable server serves: true of backups without ``allbackups``.
    """

    __slots__ = ("first_only", "members")

    def __init__(self, members: Iterable[Member], *, first_only: bool = False) -> None:
        self.members: Sequence[Member] = tuple(members)
        self.first_only: bool = first_only
        before = 0
        for member in self.usable:
            member.before = before
            before += member.effective

    @property
    def usable(self) -> list[Member]:
        """The servers that may get new requests, in the order of declaration."""
        return [member for member in self.members if member.usable]


def members_of(servers: Iterable[Server]) -> list[Member]:
    """Return the members of a backend: at least one, each name and each given id once."""
    found = list(servers)
    for server in found:
        if not isinstance(server, Server):
            raise ConfigurationError("servers", server, "Server objects")
    if not found:
        raise ConfigurationError("servers", found, "at least one server")
    names = [server.name for server in found]
    ids = [server.id for server in found if server.id is not None]
    for what, values in (("name", names), ("id", ids)):
        for place, value in enumerate(values):
            if value in values[:place]:
                raise ConfigurationError("servers", value, f"each {what} once")
    return list(map(Member, found, server_ids(server.id for server in found)))


def server_ids(given: Iterable[int | None]) -> list[int]:
    """Return an id for every server: the given one, or for ``None`` the least free one from its place on.

    Example
    -------
    >>> server_ids([2, None, None])
    [2, 3, 4]
    """
    listed = list(given)
    used = set(listed)
    found: list[int] = []
    following = 1
    for id in listed:
        if id is None:
            while following in used:
                following += 1
            id = following  # noqa: PLW2901 - the least free id
            used.add(id)
        found.append(id)
        following += 1
    return found
