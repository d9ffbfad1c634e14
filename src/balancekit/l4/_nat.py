"""Source NAT: which local port carries a connection to a server, and when it may carry another.

A balancer that rewrites the source address needs a local port per connection. What must be unique is the pair of
local end and server: so each server has a port space of its own, 64,512 connections for every local address
(``per="server"``). Devices that keep one table for all servers have that number in total (``per="address"``).

A port that was closed rests for TIME_WAIT: the server may still have the old connection and would answer a new one
on the same port with its remains. Ports never used come first, then those that have rested longest.

Source: RFC 5382 (NAT behaviour for TCP), RFC 6056 (port selection), RFC 9293 section 3.6.1 (TIME-WAIT).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.l4.proxy_protocol import Address

__all__ = ["Nat", "NatStats"]

FIRST_PORT: Final = 1_024
LAST_PORT: Final = 65_535
DEFAULT_TIME_WAIT_S: Final = 60.0
"""As Linux has it (``TCP_TIMEWAIT_LEN``)."""

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - a name for the local end, not a socket that listens

Binding: TypeAlias = tuple[str, Address]
"""Server and local end."""


@final
class NatStats(Record):
    """Counts of a NAT table.

    Parameters
    ----------
    open
        Connections that have a port now.
    resting
        Ports that were closed and may not be used yet, as of the last call with a time.
    refused
        Connections for which no port was free so far.
    """

    open: int
    resting: int
    refused: int


class _Ports:
    """The port space of one server, or of all of them."""

    __slots__ = ("leaves", "next", "resting")

    def __init__(self) -> None:
        self.leaves: float | None = None  # when all ports of a server that was forgotten have rested
        self.next: int = 0
        self.resting: deque[tuple[float, Address]] = deque()


@final
class Nat:
    """Local ends leased to connections.

    Parameters
    ----------
    addresses
        Local IP addresses to send from, at least one; the unspecified one, which stands for the system's choice, if left
        out.
    ports
        Local ports; all above 1023 if left out.
    per
        ``"server"``: a port may be in use to several servers at a time. ``"address"``: only to one.
    time_wait
        Seconds that a closed port rests, >= 0.

    Raises
    ------
    ConfigurationError
        If ``addresses`` is empty, or an address is malformed or given twice. If ``ports`` is no range within
        1 to 65535, ``per`` is another word, or ``time_wait`` is negative.

    Notes
    -----
    *Guarantee.* No two open connections have the same local end and server (or local end, with ``per="address"``), and
    none gets a local end that was closed less than ``time_wait`` seconds ago in the same space.

    *When not to use it:* if servers must see the client's address (send the PROXY protocol), or if replies go to
    the client directly (:class:`DsrBook`). Where clients choose when to connect, ports in order can be guessed:
    RFC 6056 describes what that allows.

    Cost: O(1) a call, but for :meth:`forget`; about 300 bytes an open connection. A server's port space is kept, for
    at most 64,512 ports an address that rest, until :meth:`forget`. Not thread-safe.

    Example
    -------
    >>> from balancekit.l4 import Nat
    >>> nat = Nat(["10.0.0.1"], ports=range(5000, 5002))
    >>> nat.open(b"flow 1", "server a", now=0.0), nat.open(b"flow 2", "server b", now=0.0)
    (('10.0.0.1', 5000), ('10.0.0.1', 5000))
    >>> nat.reply("server b", ("10.0.0.1", 5000))
    b'flow 2'
    >>> nat.close(b"flow 1", now=1.0)
    >>> nat.open(b"flow 3", "server a", now=2.0), nat.open(b"flow 4", "server a", now=2.0)
    (('10.0.0.1', 5001), None)
    """

    __slots__ = (
        "_bound",
        "_ends",
        "_flows",
        "_leaving",
        "_now",
        "_per_server",
        "_refused",
        "_spaces",
        "_time_wait",
        "_wide",
    )

    @checked_arguments
    def __init__(
        self,
        addresses: Sequence[str] = (ANY_ADDRESS,),
        *,
        ports: range = range(FIRST_PORT, LAST_PORT + 1),
        per: Literal["server", "address"] = "server",
        time_wait: float = DEFAULT_TIME_WAIT_S,
    ) -> None:
        if isinstance(addresses, str) or not isinstance(addresses, Sequence) or not addresses:
            raise ConfigurationError("addresses", addresses, "a list of IP addresses, at least one")
        try:
            texts = [str(ip_address(valid.text("addresses", address))) for address in addresses]
        except ValueError:
            raise ConfigurationError("addresses", addresses, "a list of IP addresses") from None
        if len(set(texts)) != len(texts):
            raise ConfigurationError("addresses", addresses, "each address once")
        if not isinstance(ports, range) or not ports or not 0 < min(ports) <= max(ports) <= LAST_PORT:
            raise ConfigurationError("ports", ports, f"a range of ports, 1 to {LAST_PORT}")
        if per not in {"server", "address"}:
            raise ConfigurationError("per", per, "'server' or 'address'")
        self._ends = (tuple(texts), ports)
        self._wide = len(texts) * len(ports)
        self._per_server = per == "server"
        self._time_wait = valid.number("time_wait", time_wait, minimum=0.0)
        self._spaces: dict[str, _Ports] = {}
        self._leaving: deque[tuple[float, str]] = deque()
        self._now = -math.inf
        self._flows: dict[bytes, Binding] = {}
        self._bound: dict[Binding, bytes] = {}
        self._refused = 0

    @checked_arguments
    def open(self, flow: bytes, server: str, *, now: float) -> Address | None:
        """Return the local end for a connection to a server; ``None`` if none is free.

        A flow that is open to this server keeps its end, so a retransmitted SYN takes no second one.

        Raises
        ------
        ConfigurationError
            If the flow is open to another server: close it first.
        """
        known = self._flows.get(flow)
        if known is not None:
            if known[0] != server:
                raise ConfigurationError("server", server, f"{known[0]!r}, to which the flow is open")
            return known[1]
        at = valid.number("now", now)
        space = self._space(valid.text("server", server))
        space.leaves = None
        self._let_go(at)
        fresh = space.next < self._wide
        end = self._next(space, at)
        if end is None:
            self._refused += 1
            return None
        # Nothing is called from here on, so no interrupt comes in between.
        if fresh:
            space.next += 1
        else:
            del space.resting[0]
        self._flows[flow] = (server, end)
        self._bound[server, end] = flow
        return end

    @checked_arguments
    def close(self, flow: bytes, *, now: float) -> None:
        """Give the local end of a connection back; it rests first. An unknown flow is no error."""
        at = valid.number("now", now)
        binding = self._flows.get(flow)
        self._let_go(at)
        if binding is not None:
            space = self._space(binding[0])
            # Nothing is called from here on, as in `open`.
            del self._flows[flow], self._bound[binding]
            space.resting += ((at + self._time_wait, binding[1]),)

    @checked_arguments
    def forget(self, server: str, *, now: float) -> int:
        """Close all connections to a server that left, and let go of its ports; return how many were open.

        The ports rest first, as those of any closed connection, also if the server returns meanwhile; the memory
        is returned by the first call after that. An unknown server is no error. O(open connections).
        """
        at = valid.number("now", now)
        valid.text("server", server)
        flows = [flow for flow, (there, _) in self._flows.items() if there == server]
        for flow in flows:
            self.close(flow, now=at)
        space = self._spaces.get(server) if self._per_server else None
        if space is not None and space.leaves is None:
            space.leaves = at + self._time_wait
            self._leaving.append((space.leaves, server))
        self._let_go(at)
        return len(flows)

    @checked_arguments
    def reply(self, server: str, local: Address) -> bytes | None:
        """Return the flow that a packet from a server to a local end belongs to, ``None`` if there is none."""
        return self._bound.get((server, local))

    @checked_arguments
    def free(self, server: str, *, now: float) -> int:
        """Return how many more connections to a server could be opened now."""
        at = valid.number("now", now)
        space = self._spaces.get(self._name(valid.text("server", server)))
        if space is None:
            return self._wide
        return self._wide - space.next + sum(1 for due, _ in space.resting if due <= at)

    def stats(self) -> NatStats:
        """Return what is in use. O(servers + ports that were closed)."""
        resting = sum(due > self._now for space in self._spaces.values() for due, _ in space.resting)
        return NatStats(open=len(self._flows), resting=resting, refused=self._refused)

    def __len__(self) -> int:
        return len(self._flows)

    def __repr__(self) -> str:
        return f"<Nat with {len(self)} connections open>"

    def _let_go(self, now: float) -> None:
        """Drop the port spaces of servers that were forgotten and have rested since."""
        self._now = now
        while self._leaving and self._leaving[0][0] <= now:
            due, server = self._leaving[0]
            space = self._spaces.get(server)
            if space is not None and space.leaves == due:
                del self._spaces[server]
            del self._leaving[0]

    def _space(self, server: str) -> _Ports:
        return self._spaces.setdefault(self._name(server), _Ports())

    def _name(self, server: str) -> str:
        """Return the name of the port space that a server's connections take from."""
        return server if self._per_server else ""

    def _next(self, space: _Ports, now: float) -> Address | None:
        """Return the end to lease next, which stays where it is; ``None`` if none is free."""
        if space.next >= self._wide:
            return space.resting[0][1] if space.resting and space.resting[0][0] <= now else None
        addresses, ports = self._ends
        number, place = space.next // len(addresses), space.next % len(addresses)
        return addresses[place], ports[number]
