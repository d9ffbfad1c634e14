"""An HAProxy ``backend`` section: the server that gets a request. It does no I/O.

1. A cookie names a server that may serve it. 2. Else the balancing method chooses among the active servers, or without
one among the backups (only the first, without ``allbackups``; ``_table`` has the exception). 3. Else the request waits.

Source: HAProxy 2.6.12; every rule is checked against recorded choices (``tests/oracles``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import cast, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.whole import whole_graph
from balancekit.compat.haproxy._balance import Balance, Structure
from balancekit.compat.haproxy._keys import UrlParam
from balancekit.compat.haproxy._members import (
    MAX_WEIGHT,
    SCALE,
    Group,
    Member,
    Server,
    State,
    Waiter,
    members_of,
)
from balancekit.compat.haproxy._request import Request, first_of
from balancekit.compat.haproxy._ring import Ring
from balancekit.compat.haproxy._table import Table, divisor_of
from balancekit.errors import ConfigurationError, UnknownEndpointError

__all__ = ["Backend"]


@final
class Backend(ConstructorRepr):
    """A ``backend`` section: servers, a balancing method, states, cookies and queues.

    Parameters
    ----------
    servers
        The servers in the order of declaration. Names and ids are unique.
    balance
        The balancing method; round robin if left out.
    cookies
        ``cookie ... insert``: whether a cookie binds a client to its server.
    allbackups
        ``option allbackups``: balance among all backups, not only the first.
    retries
        Attempts after the first, when connections are refused.
    redispatch
        0: no retry goes to another server. ``n`` > 0: every ``n``-th does, and every one if neither a hash nor a cookie chose;
        ``option redispatch 0`` leaves only the latter, as any number above ``retries`` does.
        Negative: ``n`` is ``retries + 1 + redispatch``, which must not be 0, because HAProxy then divides by zero.
    rng
        The random generator of the method ``random``.

    Raises
    ------
    ConfigurationError
        If ``servers`` is empty, has an item that is no ``Server``, or has a name or an id twice; ``balance`` is no
        ``Balance``; ``cookies`` or ``allbackups`` is no bool; ``retries`` is no integer >= 0; or
        ``redispatch`` is no integer, or is ``-(retries + 1)``.

    *When not to use it:* unless choices must equal those of HAProxy.

    Example
    -------
    >>> from balancekit.compat.haproxy import Backend, Server
    >>> backend = Backend([Server(name="a", weight=5), Server(name="b"), Server(name="c")])
    >>> "".join(backend.get() for _ in range(7))
    'aaabaac'
    """

    __slots__ = (
        "_active",
        "_arrivals",
        "_backups",
        "_members",
        "_queue",
        "_redispatch",
        "_retries",
        "_served",
        "balance",
        "cookies",
    )

    @checked_arguments
    def __init__(
        self,
        servers: Iterable[Server],
        balance: Balance | None = None,
        *,
        cookies: bool = False,
        allbackups: bool = False,
        retries: int = 3,
        redispatch: int = 0,
        rng: Random | None = None,
    ) -> None:
        members = members_of(servers)
        if balance is not None and not isinstance(balance, Balance):
            raise ConfigurationError("balance", balance, "a Balance")
        self.balance: Balance = Balance() if balance is None else balance
        self.cookies: bool = valid.flag("cookies", cookies)
        first_only = not valid.flag("allbackups", allbackups)
        self._retries = valid.integer("retries", retries, minimum=0)
        self._redispatch = valid.integer("redispatch", redispatch, minimum=-(10**6))
        if self._retries and self._redispatch == -(self._retries + 1):
            raise ConfigurationError("redispatch", redispatch, f"another number, with {retries} retries")
        self._members: Mapping[str, Member] = {member.server.name: member for member in members}
        self._queue: deque[Waiter] = deque()
        self._served = 0
        self._arrivals = 0
        divisor = divisor_of([member.weight for member in members])
        generator = Random() if rng is None else rng

        def with_structure(group: Group) -> tuple[Group, Structure]:
            return group, self.balance.structure(group, load=lambda: self._served, rng=generator)

        active = Group([member for member in members if not member.server.backup])
        backups = Group([member for member in members if member.server.backup], first_only=first_only)
        self._active: tuple[Group, Structure]
        self._backups: tuple[Group, Structure]
        if self.balance.static:
            table = Table(active, divisor, backups)
            self._active, self._backups = (active, table), (backups, table)
        else:
            self._active, self._backups = with_structure(active), with_structure(backups)

    @checked_arguments
    def request(self, value: str | bytes | None = None, *, cookie: str = "") -> Request:
        """Begin a request.

        Parameters
        ----------
        value
            What ``balance`` hashes: a header's value, a parameter, the request target or the client's address.
            ``None`` if the request has none: it is then balanced in turn. Of a ``str``, the UTF-8 bytes are hashed.
        cookie
            The value of the cookie that the client sent, empty for none.
        """
        if value is not None and not isinstance(value, bytes):
            valid.text("value", value, empty=True, any_text=True)
        hash = None if value is None else self.balance.hash_of(value)
        request = Request(self, hash=hash, cookie=valid.text("cookie", cookie, empty=True, any_text=True))
        self._assign(request, None)
        return request

    @checked_arguments
    def get(self, value: str | bytes | None = None) -> str | None:
        """Serve a request that ends at once. Return the server's name, ``None`` if the request would wait or fail."""
        request = self.request(value)
        name = request.server
        if name is not None or request.waiting:
            request.done()
        return name

    @checked_arguments
    @whole_graph
    def set_state(self, name: str, state: State | str) -> list[Request]:
        """Set a state, as ``set server ... state``. Return the waiting requests that are served now.

        A server that returns from ``maint`` serves waiting requests at once. After ``drain`` or weight 0 it serves them
        when one of its own requests ends.

        Raises
        ------
        UnknownEndpointError, ConfigurationError
            If there is no such server or state.
        """
        member = self._member(name)
        try:
            wanted = State(state)
        except ValueError:
            raise ConfigurationError("state", state, "ready, drain or maint") from None
        back = member.state is State.MAINT
        return self._change(member, lambda: setattr(member, "state", wanted), serve_waiting=back)

    @checked_arguments
    @whole_graph
    def set_health(self, name: str, *, up: bool) -> list[Request]:
        """Mark a server up or down, as health checks do. Return the waiting requests that are served now."""
        member = self._member(name)
        down = not valid.flag("up", up)
        return self._change(member, lambda: setattr(member, "down", down), serve_waiting=True)

    @checked_arguments
    @whole_graph
    def set_weight(self, name: str, weight: int) -> list[Request]:
        """Set a weight from 0 to 256. Static methods accept only 0 and the weight of the configuration."""
        member = self._member(name)
        number = valid.integer("weight", weight, minimum=0, maximum=MAX_WEIGHT)
        if self.balance.static and number not in {0, member.server.weight}:
            raise ConfigurationError("weight", weight, f"0 or {member.server.weight} for a static method")

        def weigh() -> None:
            member.weight = number
            member.effective = number * SCALE

        return self._change(member, weigh, serve_waiting=False)

    @checked_arguments
    def set_share(self, name: str, share: float) -> list[Request]:
        """Set a weight as a share of the weight of the configuration: 1.0 is all of it."""
        configured = self._member(name).server.weight
        part = valid.number("share", share, minimum=0.0)
        return self.set_weight(name, min(MAX_WEIGHT, int(configured * round(part * 100)) // 100))

    @checked_arguments
    def hold(self, name: str, count: int) -> None:
        """Add requests in progress that this object did not choose."""
        member = self._member(name)
        number = valid.integer("count", count, minimum=0)
        member.served += number
        self._served += number
        self._structure_of(member).count_changed(member)

    @property
    def served(self) -> Mapping[str, int]:
        """How many requests are in progress on each server."""
        return {name: member.served for name, member in self._members.items()}

    def _member(self, name: str) -> Member:
        try:
            return self._members[name]
        except (KeyError, TypeError):
            raise UnknownEndpointError(name, tuple(self._members)) from None

    def _structure_of(self, member: Member) -> Structure:
        return (self._backups if member.server.backup else self._active)[1]

    def _change(self, member: Member, change: Callable[[], None], *, serve_waiting: bool) -> list[Request]:
        was, before = member.usable, member.effective
        was_open = member.state is State.READY and not member.down
        change()
        structure = self._structure_of(member)
        if member.usable and not was:
            structure.add(member)
        elif was and not member.usable:
            structure.remove(member, before)
        elif was and member.effective != before:
            structure.reweigh(member, before)
        taken = []
        if was_open and not (member.state is State.READY and not member.down) and self._redispatch:
            taken += self._redistribute(member)
        while serve_waiting and not was and self._may_take(member) and self._queue and not member.full:
            taken.append(self._serve(first_of(self._queue), member))
        return taken

    def _redistribute(self, member: Member) -> list[Request]:
        """Balance again the requests that wait for a removed server, also those with its cookie. Return those served now."""
        moved = [first_of(member.waiting) for _ in range(len(member.waiting))]
        self._structure_of(member).count_changed(member)
        for request in moved:
            request.member, request.waiting, request.direct = None, False, False
            self._balance(request, None)
        return [request for request in moved if request.server is not None]

    def _may_take(self, member: Member) -> bool:
        """Whether a server may serve requests of the backend's queue. A backup may if it would get new requests."""
        if not member.usable or not member.server.backup:
            return member.usable
        group = self._backups[0]
        return not self._active[0].usable and (not group.first_only or group.usable[0] is member)

    def _assign(self, request: Request, avoid: Member | None) -> None:
        bound = self._bound(request) if avoid is None else None
        if bound is not None:
            request.direct = True
            self._place(request, bound)
            return
        self._balance(request, avoid)

    def _balance(self, request: Request, avoid: Member | None) -> None:
        group, structure = self._active
        if not group.usable:
            group, structure = self._backups
        if not group.usable:
            return
        if self._queue and self.balance.method in {"roundrobin", "static-rr", "first"}:
            self._wait(request, self._queue)
            return
        if group.first_only and not isinstance(structure, Table):
            self._place(request, group.usable[0])
            return
        member = self._choose(request, group, structure, avoid)
        if member is None:
            self._wait(request, self._queue)
        else:
            self._place(request, member)

    def _choose(
        self, request: Request, group: Group, structure: Structure, avoid: Member | None
    ) -> Member | None:
        by = self.balance.by
        if by is None or not isinstance(structure, Table | Ring):
            return structure.pick(avoid)
        alone = group.first_only or len(group.usable) == 1
        if alone and not isinstance(by, UrlParam):
            # HAProxy computes no hash here. A request without a value takes no turn either.
            return structure.find(0, avoid)
        return structure.pick(avoid) if request.hash is None else structure.find(request.hash, avoid)

    def _place(self, request: Request, member: Member) -> None:
        """Serve the request by this server, or queue it for this server only."""
        if not member.full:
            self._serve(request, member)
            return
        request.member = member
        self._wait(request, member.waiting)
        self._structure_of(member).count_changed(member)

    def _wait(self, request: Request, queue: deque[Waiter]) -> None:
        self._arrivals += 1
        request.waiting, request.arrival = True, self._arrivals
        queue.append(request)

    def _bound(self, request: Request) -> Member | None:
        known = self._members.values() if self.cookies and request.cookie else ()
        named = (member for member in known if member.server.cookie == request.cookie and member.persistent)
        return next(named, None)

    def _serve(self, request: Request, member: Member) -> Request:
        request.member, request.waiting = member, False
        request.attempts += 1
        member.served += 1
        self._served += 1
        self._structure_of(member).count_changed(member)
        if self.cookies and not request.direct:
            request.set_cookie = member.server.cookie
        return request

    def _release(self, request: Request) -> Member:
        member = cast("Member", request.member)
        request.member = None
        member.served -= 1
        self._served -= 1
        self._structure_of(member).count_changed(member)
        return member

    @checked_arguments
    def on_refused(self, request: Request) -> str | None:
        """Free the slot, and return the server of the next attempt; ``None`` if the retries are used up."""
        member = self._release(request)
        request.set_cookie = None
        if request.attempts > self._retries:
            self._hand_over(member)
            return None
        every = self._redispatch if self._redispatch >= 0 else self._retries + 1 + self._redispatch
        if self._redispatch and (request.attempts % every == 0 or self._may_move(request)):
            self._hand_over(member)
            request.direct = False
            self._assign(request, member)
        else:
            self._serve(request, member)
        return request.server

    def _may_move(self, request: Request) -> bool:
        """Whether neither a cookie nor a hash chose the server, and there are other servers."""
        return not request.direct and self.balance.method != "hash" and len(self._active[0].usable) > 1

    @checked_arguments
    def on_done(self, request: Request) -> list[Request]:
        """Free the slot, and return the waiting requests that are served now."""
        return self._hand_over(self._release(request))

    def _hand_over(self, member: Member) -> list[Request]:
        """Give the free slots of a server to the longest waiting requests of its own queue and of the backend's queue.

        HAProxy compares with ``maxconn`` itself here, so a server without a limit takes none.
        """
        taken: list[Request] = []
        open_to = [member.waiting, self._queue] if self._may_take(member) else [member.waiting]
        while member.served < member.server.maxconn:
            queues = [queue for queue in open_to if queue]
            if not queues:
                break
            longest = min(queues, key=lambda queue: queue[0].arrival)
            taken.append(self._serve(first_of(longest), member))
        return taken

    @checked_arguments
    def on_given_up(self, request: Request) -> None:
        """Take the request out of the queue."""
        queue = self._queue if request.member is None else request.member.waiting
        queue.remove(request)
        request.waiting = False
        if request.member is not None:
            self._structure_of(request.member).count_changed(request.member)
            request.member = None
