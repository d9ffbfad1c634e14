"""Servers of HAProxy: their addresses, their options, and ``server-template``.

Source: HAProxy 2.6 configuration manual, sections 5.2 and 11.2.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from balancekit.proxyconfig._haproxy_checks import FAMILIES, check_host, check_value
from balancekit.proxyconfig._haproxy_lines import Line, whole_number
from balancekit.proxyconfig._haproxy_words import SERVER_EFFECTS, SERVER_FLAGS, SERVER_NUMBERS, SERVER_VALUES
from balancekit.proxyconfig._model import MAX_SERVERS, Pool, ProxyConfigError

__all__ = ["check_references", "server_address", "server_options", "template_servers"]

MAX_PORT: Final = 65_535


def server_address(line: Line, address: str) -> str:
    """Return the address of a server without its family.

    Raises
    ------
    ProxyConfigError
        For a port that is none; one with a sign is added to that of the request.
    """
    family, at, rest = address.partition("@")
    if at and family in {"fd", "udp", "udp4", "udp6"}:
        raise ProxyConfigError(line.origin, f"{address}: a server has no {family}@")
    if at and family in {"ipv4", "ipv6", "inet", "unix"}:
        address = rest
    check = not at or family in FAMILIES
    host, colon, port = address.rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if address.startswith("/") or family in {"unix", "abns", "fd", "sockpair"} or not colon or bare:
        if check and not address.startswith("/"):
            check_host(line, address, family if at else "")
        return address
    if check and host not in {"", "*"}:
        check_host(line, host, family if at else "")
    number = port.removeprefix("+").removeprefix("-")
    if port and not (number.isascii() and number.isdecimal() and int(number[:6]) <= MAX_PORT):
        raise ProxyConfigError(line.origin, f"{address}: a port is at most {MAX_PORT}")
    return address


def template_servers(line: Line) -> list[Line] | None:
    """Return the servers of a ``server-template`` as lines; ``None`` if the resolver finds them, by a name.

    Raises
    ------
    ProxyConfigError
        If it has no prefix, number and address, or too many servers.
    """
    if len(line.words) < 4:
        raise ProxyConfigError(
            line.origin, "server-template has a prefix, a number or a range, and an address"
        )
    prefix, count, address = line.words[1:4]
    low, dash, high = count.partition("-")
    first = whole_number(line, low, 1)
    last = whole_number(line, high, first) if dash else first
    first = first if dash else 1
    try:
        ipaddress.ip_address(address.rpartition(":")[0].strip("[]") or address)
    except ValueError:
        return None
    if last - first >= MAX_SERVERS:
        raise ProxyConfigError(line.origin, f"more than {MAX_SERVERS} servers in a backend")
    return [
        Line(("server", f"{prefix}{number}", address, *line.words[4:]), line.origin)
        for number in range(first, last + 1)
    ]


def server_options(line: Line, given: Sequence[str], note: Callable[[Line, str], None]) -> dict[str, Any]:
    """Return the options behind an address; list the words that are not known.

    Raises
    ------
    ProxyConfigError
        For a value that is missing, or no whole number where one is expected.
    """
    found: dict[str, Any] = {}
    words = list(given)
    while words:
        word = words.pop(0)
        if word in SERVER_FLAGS:
            found[word.removeprefix("no-")] = not word.startswith("no-")
            if word == "enabled":
                found["disabled"] = False
        elif word in SERVER_VALUES or word.startswith("set-proxy-v2-tlv-fmt("):
            if not words:
                raise ProxyConfigError(line.origin, f"{word} needs a value")
            value = words.pop(0)
            check_value(line, word, value)
            if word in SERVER_EFFECTS:
                note(Line((word, value), line.origin), SERVER_EFFECTS[word])
            found[word] = whole_number(line, value, SERVER_NUMBERS[word]) if word in SERVER_NUMBERS else value
        else:
            note(Line((word,), line.origin), "")
    return found


def check_references(pools: Mapping[str, Pool], resolvers: Collection[str]) -> None:
    """Refuse servers with the name of a server to track, or of resolvers, that does not exist.

    Raises
    ------
    ProxyConfigError
        For the first.
    """
    for pool in pools.values():
        for server in pool.servers:
            track, named = server.options.get("track"), server.options.get("resolvers")
            if track:
                backend, slash, name = track.rpartition("/")
                tracked = pools.get(backend if slash else pool.name)
                found = [one for one in tracked.servers if one.name == name] if tracked is not None else []
                if not found:
                    raise ProxyConfigError(server.origin, f"track {track!r}: there is no such server")
                if not {"check", "agent-check", "track"} & {*found[0].options}:
                    raise ProxyConfigError(server.origin, f"track {track!r}: that server has no check")
                if server.options.get("check"):
                    raise ProxyConfigError(server.origin, "a server with track has no check of its own")
            if named and named not in resolvers:
                raise ProxyConfigError(server.origin, f"there is no section of resolvers {named!r}")
