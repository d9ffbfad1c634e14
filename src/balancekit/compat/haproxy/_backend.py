"""An HAProxy ``backend`` section: which server gets a request.

Sans-IO. The order of decisions: a cookie of a server that may still serve it; the balancing method among the active servers,
or else the backups (only the first without ``allbackups``, but see ``_table`` for static methods); the queue.

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
        In the order of declaration; names and ids only once.
    balance
        The method; round robin if left out.
    cookies
        ``cookie ... insert``: whether clients are bound to servers by a cookie.
    allbackups
        ``option allbackups``: balance among all backups, not only the first.
    retries
        Attempts after the first, when connections are refused.
    redispatch
        Of so many retries, one may go to another server; 0 is never, negative counts from the last. Each does if there are
        others, and neither a hash nor a cookie chose. Not ``-(retries + 1)``, by which HAProxy divides by zero.
    rng
        For ``random``.

    Raises
    ------
    ConfigurationError
        For a wrong value of any of these, or no server.

    *When not to use it:* for anything but doing as HAProxy does.

    Example
    -------
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

        def arranged(group: Group) -> tuple[Group, Structure]:
            return group, self.balance.structure(group, load=lambda: self._served, rng=generator)

        active = Group([member for member in members if not member.server.backup])
        backups = Group([member for member in members if member.server.backup], first_only=first_only)
        self._active: tuple[Group, Structure]
        self._backups: tuple[Group, Structure]
        if self.balance.static:
            table = Table(active, divisor, backups)
            self._active, self._backups = (active, table), (backups, table)
        else:
            self._active, self._backups = arranged(active), arranged(backups)

    @checked_arguments
    def request(self, value: str | bytes | None = None, *, cookie: str = "") -> Request:
        """Begin a request.

        Parameters
        ----------
        value
            What ``balance`` hashes: a header's value, a parameter, the request target, the client's address.
            ``None`` if the request has none; it then takes a turn. Text stands for its UTF-8 bytes.
        cookie
            The value of the cookie the client sent, empty for none.
        """
        if value is not None and not isinstance(value, bytes):
            valid.text("value", value, empty=True, any_text=True)
        hash = None if value is None else self.balance.hash_of(value)
        request = Request(self, hash=hash, cookie=valid.text("cookie", cookie, empty=True, any_text=True))
        self._assign(request, None)
        return request

    @checked_arguments
    def get(self, value: str | bytes | None = None) -> str | None:
        """Serve a request that ends at once; return the server's name, ``None`` if it would wait or fail."""
        request = self.request(value)
        name = request.server
        if name is not None or request.waiting:
            request.done()
        return name

    @checked_arguments
    @whole_graph
    def set_state(self, name: str, state: State | str) -> list[Request]:
        """``set server ... state``; return the waiting requests that are served now.

        A server that returns from ``maint`` takes on requests that wait; after ``drain``, or after weight 0, it does so when
        one of its own ends.

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
        return self._change(member, lambda: setattr(member, "state", wanted), grab=back)

    @checked_arguments
    @whole_graph
    def set_health(self, name: str, *, up: bool) -> list[Request]:
        """Take a server out, or let it in again, as health checks do."""
        member = self._member(name)
        down = not valid.flag("up", up)
        return self._change(member, lambda: setattr(member, "down", down), grab=True)

    @checked_arguments
    @whole_graph
    def set_weight(self, name: str, weight: int) -> list[Request]:
        """``set weight``: a whole number from 0 to 256; of static methods, 0 or the weight of the configuration."""
        member = self._member(name)
        number = valid.integer("weight", weight, minimum=0, maximum=MAX_WEIGHT)
        if self.balance.static and number not in {0, member.server.weight}:
            raise ConfigurationError("weight", weight, f"0 or {member.server.weight} for a static method")

        def weigh() -> None:
            member.weight = number
            member.effective = number * SCALE

        return self._change(member, weigh, grab=False)

    @checked_arguments
    def set_share(self, name: str, share: float) -> list[Request]:
        """``set weight ...%``: a share of the weight of the configuration, 1.0 for all of it."""
        configured = self._member(name).server.weight
        part = valid.number("share", share, minimum=0.0)
        return self.set_weight(name, min(MAX_WEIGHT, int(configured * round(part * 100)) // 100))

    @checked_arguments
    def hold(self, name: str, count: int) -> None:
        """Count requests in progress that were not chosen here."""
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

    def _change(self, member: Member, change: Callable[[], None], *, grab: bool) -> list[Request]:
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
        while grab and not was and self._may_take(member) and self._queue and not member.full:
            taken.append(self._serve(first_of(self._queue), member))
        return taken

    def _redistribute(self, member: Member) -> list[Request]:
        """Rebalance what waits for a server that is taken out, whatever its cookie; return what is served then."""
        moved = [first_of(member.waiting) for _ in range(len(member.waiting))]
        self._structure_of(member).count_changed(member)
        for request in moved:
            request.member, request.waiting, request.direct = None, False, False
            self._balance(request, None)
        return [request for request in moved if request.server is not None]

    def _may_take(self, member: Member) -> bool:
        """Whether a server may take requests from the queue of the backend: a backup only if it would be given new ones."""
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
            # Nothing is hashed, nor is a turn taken where there is nothing to hash.
            return structure.find(0, avoid)
        return structure.pick(avoid) if request.hash is None else structure.find(request.hash, avoid)

    def _place(self, request: Request, member: Member) -> None:
        """Serve the request, or let it wait for this very server, as a hash or a cookie demands."""
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
        """Free the slot, and return the server that is tried next; ``None`` if the retries are used up."""
        member = self._release(request)
        request.set_cookie = None
        if request.attempts > self._retries:
            self._hand_over(member)
            return None
        every = self._redispatch if self._redispatch >= 0 else self._retries + 1 + self._redispatch
        if self._redispatch and (request.attempts % every == 0 or self._any_will_do(request)):
            self._hand_over(member)
            request.direct = False
            self._assign(request, member)
        else:
            self._serve(request, member)
        return request.server

    def _any_will_do(self, request: Request) -> bool:
        """Whether nothing speaks for the server that refused: neither a cookie nor a hash, and there are others."""
        return not request.direct and self.balance.method != "hash" and len(self._active[0].usable) > 1

    @checked_arguments
    def on_done(self, request: Request) -> list[Request]:
        """Free the slot, and return the waiting requests that are served now."""
        return self._hand_over(self._release(request))

    def _hand_over(self, member: Member) -> list[Request]:
        """Give free slots to the requests that have waited longest, for this server or in the queue of the backend."""
        taken: list[Request] = []
        open_to = [member.waiting, self._queue] if self._may_take(member) else [member.waiting]
        while not member.server.maxconn or member.served < member.server.maxconn:
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
