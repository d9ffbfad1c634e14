"""Direct server return: what a balancer cannot know when replies do not pass it.

With direct return the balancer forwards packets to servers and the servers answer the client themselves. That relieves
the balancer of the larger direction. It also hides everything that replies show: their bytes, their time, their
status, and the server's end of the connection.

=====================  ============  ================
known of an endpoint   through us    direct return
=====================  ============  ================
packets, bytes in      yes           yes
connections opened     yes           yes
connections closed     yes           by the client's FIN and idle times only
bytes out              yes           no
latency, status        yes           no
=====================  ============  ================

So with direct return, balance by hash or by connections opened. A selector that compares latencies or failures has no
data, and health needs active checks.

Source: Katran and IPVS (``ip_vs_dr``), which see one direction only.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import repeat
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = ["DsrBook", "Traffic"]

INBOUND_SIGNALS: Final = frozenset({"connections opened", "bytes in"})
REPLY_SIGNALS: Final = frozenset({"connections closed", "bytes out", "latency", "status"})


@final
class Traffic(Record):
    """Observed traffic of an endpoint.

    Parameters
    ----------
    opened
        Connections whose first packet was seen.
    bytes_in
        Bytes from clients.
    bytes_out
        Bytes to clients; ``None`` with direct return, which is not zero.
    """

    opened: int
    bytes_in: int
    bytes_out: int | None


@final
class DsrBook:
    """Counts of traffic that distinguish unknown from zero.

    Parameters
    ----------
    direct
        Ids of endpoints that answer clients directly; all others answer through the balancer.

    Raises
    ------
    ConfigurationError
        If ``direct`` is not a collection of ids.

    *When not to use it:* where all replies pass the balancer; ``LoadBalancer.stats`` knows more.

    Notes
    -----
    Cost: O(1) a call; memory for every endpoint that was counted until :meth:`forget`. Not thread-safe.

    Example
    -------
    >>> from balancekit.l4 import DsrBook
    >>> book = DsrBook(direct=["a"])
    >>> book.received("a", 1_500, opened=True)
    >>> book.traffic("a")
    Traffic(opened=1, bytes_in=1500, bytes_out=None)
    >>> "latency" in book.signals("a"), "latency" in book.signals("b")
    (False, True)
    """

    __slots__ = ("_bytes_in", "_bytes_out", "_direct", "_opened")

    @checked_arguments
    def __init__(self, direct: Collection[str]) -> None:
        self._direct = valid.ids("direct", direct)
        self._opened: dict[str, int] = {}
        self._bytes_in: dict[str, int] = {}
        self._bytes_out: dict[str, int] = {}

    @checked_arguments
    def received(self, owner: str, size: int, *, opened: bool = False) -> None:
        """Count bytes from a client to an endpoint; ``opened`` with the first packet of a connection."""
        received = self._bytes_in.get(owner, 0) + valid.integer("size", size, minimum=0)
        self._opened[owner] = self._opened.get(owner, 0) + valid.flag("opened", opened)
        self._bytes_in[owner] = received

    @checked_arguments
    def sent(self, owner: str, size: int) -> None:
        """Count bytes from an endpoint to a client.

        Raises
        ------
        ConfigurationError
            If the endpoint answers directly: a reply that passes the balancer shows that it does not.
        """
        if owner in self._direct:
            raise ConfigurationError("owner", owner, "an endpoint whose replies pass the balancer")
        self._bytes_out[owner] = self._bytes_out.get(owner, 0) + valid.integer("size", size, minimum=0)

    @checked_arguments
    def signals(self, owner: str) -> frozenset[str]:
        """Return what can be known of an endpoint, and so what it can be chosen by."""
        return INBOUND_SIGNALS if owner in self._direct else INBOUND_SIGNALS | REPLY_SIGNALS

    @checked_arguments
    def traffic(self, owner: str) -> Traffic:
        """Return what was seen of an endpoint."""
        return Traffic(
            opened=self._opened.get(owner, 0),
            bytes_in=self._bytes_in.get(owner, 0),
            bytes_out=None if owner in self._direct else self._bytes_out.get(owner, 0),
        )

    @checked_arguments
    def forget(self, owner: str) -> None:
        """Drop the counts of an endpoint that left; if it returns, it starts from zero. An unknown one is no error.

        Whether it answers directly is not forgotten.
        """
        # One call in C, so that an interrupt finds all counts or none.
        list(map(dict.pop, (self._bytes_out, self._bytes_in, self._opened), repeat(owner), repeat(None)))

    def __repr__(self) -> str:
        return f"<DsrBook of {len(self._opened)} endpoints>"
