"""The lines of a backend of HAProxy, and how it chooses by them."""

from __future__ import annotations

from typing import Any, NamedTuple, final

from balancekit.compat import haproxy
from balancekit.proxyconfig._haproxy_lines import Line
from balancekit.proxyconfig._model import Origin, PoolServer

__all__ = ["BackendLines", "Choice"]


class Choice(NamedTuple):
    """How a backend chooses a server."""

    balance: haproxy.Balance
    key: str
    """What is hashed, empty if nothing is."""
    cookie: str
    """The name of the cookie by which clients keep their server, empty without one."""
    unread: str
    """What of it is not modelled, empty if all is."""


@final
class BackendLines:
    """What the lines of a backend say, as far as they have been read."""

    def __init__(self, origin: Origin) -> None:
        self.balance: Line = Line(("balance", "roundrobin"), origin)
        self.directives: dict[str, tuple[str, ...]] = {
            "hash-type": (),
            "hash-balance-factor": (),
            "cookie": (),
        }
        """The words of what read_balance() and cookies need, empty if it is not written."""
        self.allbackups: bool = False
        self.disabled: bool = False
        self.found_later: bool = False
        """Whether there are servers that are known only when the proxy runs."""
        self.servers: dict[str, PoolServer] = {}
        self.numbers: set[int] = set()
        """The ids of servers that have one."""
        self.default_server: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}

    def pool_servers(self) -> tuple[PoolServer, ...]:
        """Return the servers; none is in service if the backend is disabled."""
        servers = self.servers.values()
        return tuple([server.replace(down=True) if self.disabled else server for server in servers])

    def pool_settings(self, choice: Choice) -> dict[str, Any]:
        """Return what export and simulation read of the backend."""
        return self.settings | {
            "balance": self.balance,
            "machine": choice.balance,
            "cookie": choice.cookie,
            "allbackups": self.allbackups,
            "hash-type": self.directives["hash-type"],
        }

    def method(self, key: str) -> str:
        """Return the method as it is written; the type of the hash if a key is hashed."""
        kind = self.directives["hash-type"] if key else ()
        return " ".join((*self.balance.words[1:], *(("hash-type", *kind) if kind else ())))
