"""State of nginx servers: the bookkeeping under every method.

A server is *eligible* for a request when it is not ``down``, has not been tried for this request, is below
``max_conns``, and has not failed: ``fails >= max_fails`` with the last look less than ``fail_timeout`` ago.
A success clears failures only if the server was picked again after its window had passed; a success
inside the window leaves the count. Every failure also takes ``weight // max_fails`` off the effective
weight, which comes back by one each time smooth round robin passes over the server.

Source: nginx 1.22.1, ``ngx_http_upstream_round_robin.c``; behaviour as recorded from the server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.record import Record, field

__all__ = ["Group", "Peer", "Server"]

DISTANT_PAST_S: Final = -1e18


class Server(Record):
    """A ``server`` line of an upstream block.

    Parameters
    ----------
    name
        What picks answer.
    address
        The text after ``server``, the label of ``hash ... consistent``; the name if left out.
    weight
        A whole number >= 1.
    max_fails
        Failures that take the server out, a whole number >= 0; 0 counts none.
    fail_timeout
        Seconds, >= 0: the window of failures, and how long the server then is left alone.
    max_conns
        Requests in progress at most, a whole number >= 0; 0 is no limit.
    down
        Never tried; it keeps its part of what hashes are taken modulo.
    backup
        Tried only when no main server is eligible.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty, ``address`` is no string, a number is outside its bounds, or a flag is no bool.

    Example
    -------
    >>> Server(name="a", weight=5).label
    'a'
    """

    name: str = field(kw_only=False)
    address: str = ""
    weight: int = 1
    max_fails: int = 1
    fail_timeout: float = 10.0
    max_conns: int = 0
    down: bool = False
    backup: bool = False

    def _check(self) -> None:
        valid.text("name", self.name)
        valid.text("address", self.address, empty=True)
        valid.integer("weight", self.weight, minimum=1)
        valid.integer("max_fails", self.max_fails, minimum=0)
        valid.number("fail_timeout", self.fail_timeout, minimum=0.0)
        valid.integer("max_conns", self.max_conns, minimum=0)
        valid.flag("down", self.down)
        valid.flag("backup", self.backup)

    @property
    def label(self) -> str:
        """The text whose points lie on the consistent ring."""
        return self.address or self.name


@final
class Peer:
    """What nginx keeps of one server."""

    __slots__ = ("accessed", "checked", "conns", "current", "down", "effective", "fails", "server", "weight")

    def __init__(self, server: Server) -> None:
        self.server: Server = server
        self.weight: int = server.weight
        self.effective: int = server.weight
        self.current: int = 0
        self.conns: int = 0
        self.down: bool = server.down
        self.fails: int = 0
        self.accessed: float = DISTANT_PAST_S
        self.checked: float = DISTANT_PAST_S

    def full(self) -> bool:
        """Return whether there are as many requests in progress as may be."""
        return 0 < self.server.max_conns <= self.conns

    def failed(self, now: float) -> bool:
        """Return whether it has failed too often of late."""
        server = self.server
        return 0 < server.max_fails <= self.fails and now - self.checked <= server.fail_timeout

    def take(self, now: float) -> None:
        """Start a request on it."""
        self.conns += 1
        if now - self.checked > self.server.fail_timeout:
            self.checked = now

    def blame(self, now: float) -> None:
        """Count a failure."""
        self.fails += 1
        self.accessed = self.checked = now
        if self.server.max_fails:
            self.effective = max(0, self.effective - self.weight // self.server.max_fails)

    def praise(self) -> None:
        """Count a success: it clears failures whose window had passed when it was picked."""
        if self.accessed < self.checked:
            self.fails = 0


@final
class Group:
    """The main servers, or the backups: they have their own turns.

    Parameters
    ----------
    peers
        In the order of declaration.
    single
        Whether this is the only server altogether: it is then always tried and never blamed.
    """

    __slots__ = ("peers", "ring", "single", "total")

    def __init__(self, peers: Sequence[Peer], *, single: bool = False) -> None:
        self.peers: tuple[Peer, ...] = tuple(peers)
        self.single: bool = single
        self.total: int = sum(peer.weight for peer in self.peers)
        """The sum of all weights, also of those that are down: what hashes are taken modulo."""
        self.ring: tuple[list[int], list[str]] | None = None
        """The consistent ring, once it has been needed."""

    def eligible(self, peer: Peer, tried: Collection[Peer], now: float) -> bool:
        """Return whether a request may go to a server."""
        if self.single:
            return not peer.down and not peer.full()
        return not peer.down and peer not in tried and not peer.full() and not peer.failed(now)

    def smooth(self, tried: Collection[Peer], now: float) -> Peer | None:
        """Take one smooth round-robin turn among the eligible."""
        return self.turn([peer for peer in self.peers if self.eligible(peer, tried, now)])

    @staticmethod
    def turn(among: Iterable[Peer]) -> Peer | None:
        """Take one smooth round-robin turn among some; ``None`` among none.

        Each credit grows by the effective weight, the richest serves (the first declared on a tie) and
        pays the sum. Those left out keep their credit.
        """
        best: Peer | None = None
        total = 0
        for peer in among:
            peer.current += peer.effective
            total += peer.effective
            if peer.effective < peer.weight:
                peer.effective += 1
            if best is None or peer.current > best.current:
                best = peer
        if best is not None:
            best.current -= total
        return best

    def at(self, number: int) -> Peer:
        """Return the server at a place, each being as wide as its weight. O(n)."""
        for peer in self.peers:
            number -= peer.weight
            if number < 0:
                return peer
        raise AssertionError("the number is less than the sum of weights")

    def fewest(self, tried: Collection[Peer], now: float, busy: Callable[[Peer], int]) -> list[Peer]:
        """Return the eligible of least ``busy / weight``, in the order of declaration."""
        found: list[Peer] = []
        for peer in self.peers:
            if not self.eligible(peer, tried, now):
                continue
            if not found or busy(peer) * found[0].weight < busy(found[0]) * peer.weight:
                found = [peer]
            elif busy(peer) * found[0].weight == busy(found[0]) * peer.weight:
                found.append(peer)
        return found
