"""Reader of HAProxy's backends: ``balance``, ``hash-type``, ``cookie``, ``server``, ``server-template``.

Source: HAProxy 2.6 configuration manual, sections 4 and 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple, final

from balancekit.compat import haproxy
from balancekit.proxyconfig._haproxy_balance import read_balance
from balancekit.proxyconfig._haproxy_checks import check_name
from balancekit.proxyconfig._haproxy_decide import BackendChooser, backend_server, hashed_of
from balancekit.proxyconfig._haproxy_lines import Line
from balancekit.proxyconfig._haproxy_notes import Notes
from balancekit.proxyconfig._haproxy_servers import server_address, server_options, template_servers
from balancekit.proxyconfig._model import MAX_SERVERS, Origin, Pool, PoolServer, ProxyConfigError

__all__ = ["read_backend"]

NAMED_BY_ONE: Final = frozenset({"retries", "fullconn", "http-check", "mode"})
NAMED_BY_TWO: Final = frozenset({"timeout", "option"})
"""Settings of a backend that are kept for ``lint`` and ``simulate``, by their first word or their first two."""
MAX_WEIGHT: Final = 256


def read_backend(name: str, origin: Origin, lines: Iterable[Line], notes: Notes) -> Pool:
    """Return a backend as a pool.

    Parameters
    ----------
    name, origin
        The name, and the head of the section.
    lines
        Its lines, after those of its defaults.
    notes
        Gets the lines that are not modelled.

    Raises
    ------
    ProxyConfigError
        For a line that HAProxy refuses.
    """
    written = _BackendLines(origin, notes)
    for line in lines:
        written.add(line)
    choice = written.choice()
    balance, key, cookie, unread = choice
    servers = written.pool_servers()
    start = None
    if servers and not unread and not written.found_later:
        start = partial(BackendChooser, servers, balance, key, cookie, allbackups=written.allbackups)
    return Pool(
        name=name,
        origin=origin,
        method=written.method(key),
        servers=servers,
        key=key,
        deterministic=balance.method != "random",
        start=start,
        key_of=partial(hashed_of, key) if key else None,
        settings=written.pool_settings(choice),
    )


class _Choice(NamedTuple):
    """How a backend chooses a server."""

    balance: haproxy.Balance
    key: str
    """What is hashed, empty if nothing is."""
    cookie: str
    """The name of the cookie by which clients keep their server, empty without one."""
    unread: str
    """What of it is not modelled, empty if all is."""


@final
class _BackendLines:
    """The content of a backend's lines, as far as they have been read."""

    def __init__(self, origin: Origin, notes: Notes) -> None:
        self._notes = notes
        self._balance = Line(("balance", "roundrobin"), origin)
        self._directives: dict[str, tuple[str, ...]] = {
            "hash-type": (),
            "hash-balance-factor": (),
            "cookie": (),
        }
        """The words of what read_balance() and cookies need, empty if it is not written."""
        self._disabled = False
        self._servers: dict[str, PoolServer] = {}
        self._ids: set[int] = set()
        """The ids of servers that have one."""
        self._default_server: dict[str, Any] = {}
        self._settings: dict[str, Any] = {}
        self._used: list[Line] = []
        """Lines that name the server of some requests."""
        self.allbackups: bool = False
        self.found_later: bool = False
        """Whether there are servers that are known only when the proxy runs."""

    def add(self, line: Line) -> None:
        """Read one line."""
        first = line.words[0]
        if first == "balance":
            self._balance = line if len(line.words) > 1 else Line(("balance", "roundrobin"), line.origin)
        elif first in self._directives:
            if len(line.words) < 2:
                raise ProxyConfigError(line.origin, f"{first} needs a value")
            self._directives[first] = line.words[1:]
            self._settings[f"{first}.origin"] = line.origin
        elif first == "option" and line.words[1:2] == ("allbackups",):
            self.allbackups = True
        elif first in {"no", "default"} and line.words[1:2] == ("option",):
            self.allbackups = self.allbackups and line.words[2:3] != ("allbackups",)
            self._settings.pop(" ".join(line.words[1:3]), None)
        elif first == "default-server":
            self._default_server |= server_options(line, line.words[1:], self._notes.add)
        elif first == "server":
            self._add_server(line)
        elif first == "server-template":
            servers = template_servers(line)
            self.found_later = self.found_later or servers is None
            for one in servers or ():
                self._add_server(one)
        elif first == "use-server":
            self._add_use_server(line)
        elif first in {"disabled", "enabled"}:
            self._disabled = first == "disabled"
        elif first in NAMED_BY_ONE | NAMED_BY_TWO:
            length = 2 if first in NAMED_BY_TWO else 1
            self._settings[" ".join(line.words[:length])] = " ".join(line.words[length:]) or True

    def _add_use_server(self, line: Line) -> None:
        if len(line.words) < 4 or line.words[2] not in {"if", "unless"}:
            raise ProxyConfigError(line.origin, "use-server has a server, if or unless, and a condition")
        self._used.append(line)

    def _add_server(self, line: Line) -> None:
        if len(line.words) < 3:
            raise ProxyConfigError(line.origin, "a server has a name and an address")
        name, address = line.words[1:3]
        check_name(line, name, "name of a server")
        if name in self._servers:
            raise ProxyConfigError(line.origin, f"a second server {name!r}")
        if len(self._servers) >= MAX_SERVERS:
            raise ProxyConfigError(line.origin, f"more than {MAX_SERVERS} servers in a backend")
        address = server_address(line, self._notes.expanded(address))
        self._notes.add_unknown(line)
        options = {**self._default_server, **server_options(line, line.words[3:], self._notes.add)}
        weight = options.pop("weight", 1)
        if weight > MAX_WEIGHT:
            raise ProxyConfigError(line.origin, f"weight is 0 to {MAX_WEIGHT}")
        number = options.get("id")
        if number is not None and (not 0 < number < 2**31 or number in self._ids):
            raise ProxyConfigError(line.origin, f"id {number} is not a number > 0 that no other server has")
        self._ids |= {number} if number else set()
        server = self._servers[name] = PoolServer(
            name=name,
            address=address,
            origin=line.origin,
            weight=weight,
            backup=bool(options.pop("backup", False)),
            down=bool(options.pop("disabled", False)),
            options=options,
        )
        backend_server(server)

    def choice(self) -> _Choice:
        """Return how the backend chooses; note what of it is not modelled."""
        directives, settings, notes = self._directives, self._settings, self._notes
        balance, key, unread = read_balance(self._balance, directives, settings)
        if unread:
            notes.add(self._balance, f"{unread} is not modelled: it decides which server serves")
        if key.lower() == "hdr(x-forwarded-for)" and "option forwardfor" in settings:
            notes.add(
                self._balance,
                "requests without that header are hashed by the one that option forwardfor adds",
            )
        if settings.get("mode", "tcp") != "http":
            if key and key != "source":
                notes.add(self._balance, "outside of mode http servers take turns")
                balance, key = haproxy.Balance(), ""
            return _Choice(balance, key, "", unread)
        cookie = directives["cookie"][0] if directives["cookie"] else ""
        if "dynamic" in directives["cookie"][1:]:
            line = Line(("cookie", *directives["cookie"]), settings["cookie.origin"])
            notes.add(line, "values of dynamic cookies are not computed: no client is bound by them")
        if cookie and "insert" not in directives["cookie"][1:]:
            unread = unread or "cookies that are not inserted are not modelled"
            notes.add(Line(("cookie", *directives["cookie"]), settings["cookie.origin"]), unread)
        return _Choice(balance, key, cookie, unread)

    def pool_servers(self) -> tuple[PoolServer, ...]:
        """Return the servers; none is in service if the backend is disabled.

        Raises
        ------
        ProxyConfigError
            If a line names another one.
        """
        for line in () if self.found_later else self._used:
            if line.words[1] not in self._servers and "%" not in line.words[1]:
                raise ProxyConfigError(
                    line.origin, f"use-server names {line.words[1]!r}, which is no server here"
                )
        servers = self._servers.values()
        return tuple([server.replace(down=True) if self._disabled else server for server in servers])

    def pool_settings(self, choice: _Choice) -> dict[str, Any]:
        """Return what export and simulation read of the backend."""
        return self._settings | {
            "balance": self._balance,
            "machine": choice.balance,
            "cookie": choice.cookie,
            "allbackups": self.allbackups,
            "hash-type": self._directives["hash-type"],
        }

    def method(self, key: str) -> str:
        """Return the method as it is written; the type of the hash if a key is hashed."""
        kind = self._directives["hash-type"] if key else ()
        return " ".join((*self._balance.words[1:], *(("hash-type", *kind) if kind else ())))
