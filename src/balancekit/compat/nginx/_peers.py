"""The state of nginx servers, which every method uses.

A server is *eligible* for a request if it is not ``down``, was not tried for this request, is below ``max_conns``, and
has not failed. It has failed if ``fails >= max_fails`` and its window began at most ``fail_timeout`` seconds ago. A failure
begins the window. So does a pick after the window has passed. A success clears the failures only after such a pick; inside
the window it leaves the count. Every failure also lowers the effective weight by ``weight // max_fails``. Each turn of
smooth round robin in which the server takes part raises it by one.

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
        The name that a choice returns, unique in a block.
    address
        The text after ``server``. ``hash ... consistent`` hashes it. The name if left out.
    weight
        A whole number >= 1.
    max_fails
        The number of failures after which the server is not tried, a whole number >= 0; 0 is no limit.
    fail_timeout
        The window in which failures count, and the time for which a failed server is not tried. Seconds, >= 0.
    max_conns
        The most requests in progress, a whole number >= 0; 0 is no limit.
    down
        Whether the server is never tried. Its weight is still part of the sum by which hashes are divided.
    backup
        Whether the server is tried only when no main server is eligible.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty, ``address`` is no string, a number is outside its bounds, or a flag is no bool.

    Example
    -------
    >>> from balancekit.compat.nginx import Server
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
        """The text from which the server's points on the consistent ring are computed."""
        return self.address or self.name


@final
class Peer:
    """The state of one server."""

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
        """Return whether ``max_conns`` requests are in progress."""
        return 0 < self.server.max_conns <= self.conns

    def failed(self, now: float) -> bool:
        """Return whether it had ``max_fails`` failures, and its window has not passed."""
        server = self.server
        return 0 < server.max_fails <= self.fails and now - self.checked <= server.fail_timeout

    def take(self, now: float) -> None:
        """Start a request on it."""
        self.conns += 1
        if now - self.checked > self.server.fail_timeout:
            self.checked = now

    def record_failure(self, now: float) -> None:
        """Count a failure."""
        self.fails += 1
        self.accessed = self.checked = now
        if self.server.max_fails:
            self.effective = max(0, self.effective - self.weight // self.server.max_fails)

    def record_success(self) -> None:
        """Clear the failures if their window had passed when the server was picked."""
        if self.accessed < self.checked:
            self.fails = 0


@final
class Group:
    """The main servers, or the backups. Each group has its own round robin.

    Parameters
    ----------
    peers
        The servers in the order of declaration.
    single
        Whether the block has only one server. It is then tried again despite failures, which are not counted.
    """

    __slots__ = ("peers", "ring", "single", "total")

    def __init__(self, peers: Sequence[Peer], *, single: bool = False) -> None:
        self.peers: tuple[Peer, ...] = tuple(peers)
        self.single: bool = single
        self.total: int = sum(peer.weight for peer in self.peers)
        """The sum of all weights, by which hashes are divided. It includes servers that are down."""
        self.ring: tuple[list[int], list[str]] | None = None
        """The consistent ring, ``None`` until it is first used."""

    def eligible(self, peer: Peer, tried: Collection[Peer], now: float) -> bool:
        """Return whether a request may go to a server."""
        if self.single:
            return not peer.down and not peer.full()
        return not peer.down and peer not in tried and not peer.full() and not peer.failed(now)

    def smooth(self, tried: Collection[Peer], now: float) -> Peer | None:
        """Take one turn of smooth round robin among the eligible servers; return ``None`` if there are none."""
        return self.turn([peer for peer in self.peers if self.eligible(peer, tried, now)])

    @staticmethod
    def turn(among: Iterable[Peer]) -> Peer | None:
        """Take one turn of smooth round robin among the given servers; return ``None`` if there are none.

        The effective weight is added to the credit of each. The server with the most credit is chosen, the first one on a tie.
        The sum of the effective weights is subtracted from its credit. The credit of other servers does not change.
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
        """Return the server at a place from 0 to ``total - 1``. Each server has as many places as its weight. O(n)."""
        for peer in self.peers:
            number -= peer.weight
            if number < 0:
                return peer
        raise AssertionError("the number is less than the sum of weights")

    def fewest(self, tried: Collection[Peer], now: float, busy: Callable[[Peer], int]) -> list[Peer]:
        """Return the eligible servers of the least ``busy / weight``, in the order of declaration."""
        found: list[Peer] = []
        for peer in self.peers:
            if not self.eligible(peer, tried, now):
                continue
            if not found or busy(peer) * found[0].weight < busy(found[0]) * peer.weight:
                found = [peer]
            elif busy(peer) * found[0].weight == busy(found[0]) * peer.weight:
                found.append(peer)
        return found
