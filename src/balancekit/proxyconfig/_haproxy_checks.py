"""What HAProxy refuses of lines that an explanation does not follow: arguments that are missing or too many, values, places.

A proxy does not start with such a file, so there are no decisions to explain. Only what every version from 2.6 on refuses is
refused here; what depends on the machine (certificates, users, names that are resolved) is not looked at.

Source: HAProxy 2.6 configuration manual, section 4; ``haproxy -c`` for what is refused.
"""

# ruff: noqa: SIM905 - lists of words are texts here

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Mapping
from typing import Final

from balancekit.proxyconfig._haproxy_lines import Line, Section
from balancekit.proxyconfig._model import ProxyConfigError

__all__ = [
    "FAMILIES",
    "check_bind",
    "check_head",
    "check_host",
    "check_line",
    "check_name",
    "check_removed",
    "check_value",
    "duration",
]

NAME: Final = re.compile(r"[A-Za-z0-9_.:-]+")
DURATION: Final = re.compile(r"([0-9]+)(?:(us|ms|s|m|h|d).*)?")
"""What follows a unit gives no more than a warning."""
MILLISECONDS: Final[Mapping[str, float]] = {
    "us": 1e-3,
    "ms": 1,
    "s": 1e3,
    "m": 60e3,
    "h": 3600e3,
    "d": 86_400e3,
}
MAX_DURATION_MS: Final = 2**31 - 1
MAX_PORT: Final = 65_535

MAX_ARGUMENTS: Final = 64
"""The largest number of arguments of a line."""
ARGUMENTS: Final[Mapping[str, tuple[int, int]]] = {
    **dict.fromkeys("disabled enabled".split(), (0, 0)),
    **dict.fromkeys(
        """mode retries fullconn maxconn backlog monitor-uri default_backend http-reuse id log-format log-tag
        unique-id-format unique-id-header max-keep-alive-queue load-server-state-from-file""".split(),
        (1, 1),
    ),
    **dict.fromkeys(
        """bind use_backend description log option http-check stats compression filter http-request http-response
        http-after-response tcp-request retry-on timeout hash-type cookie""".split(),
        (1, MAX_ARGUMENTS),
    ),
    **dict.fromkeys("errorfile rate-limit".split(), (2, 2)),
    **dict.fromkeys("acl email-alert redirect errorloc errorloc302 errorloc303".split(), (2, MAX_ARGUMENTS)),
}
"""How many arguments a line has at least and at most, by its first word."""
MODES: Final = frozenset("tcp http log spop haterm".split())
TIMEOUTS: Final = frozenset(
    """client server connect check queue http-keep-alive http-request tunnel tarpit client-fin server-fin client-hs
    server-hs""".split()
)
VALUES: Final[Mapping[str, frozenset[str]]] = {
    "mode": MODES,
    "timeout": TIMEOUTS,
    "http-reuse": frozenset("never safe aggressive always".split()),
    "load-server-state-from-file": frozenset("global local none".split()),
    "observe": frozenset("none layer4 layer7".split()),
    "on-error": frozenset("fastinter fail-check sudden-death mark-down".split()),
    "on-marked-down": frozenset({"shutdown-sessions"}),
    "on-marked-up": frozenset({"shutdown-backup-sessions"}),
    "resolve-prefer": frozenset("ipv4 ipv6".split()),
    "verify": frozenset("none required".split()),
    "ws": frozenset("auto h1 h2".split()),
}
"""What the first argument of a line may be, or the value of a word of a server."""
COOKIE_MODES: Final = frozenset("rewrite insert prefix".split())
COOKIE_FLAGS: Final = frozenset("indirect nocache postonly preserve httponly secure dynamic".split())
COOKIE_VALUES: Final = frozenset("domain maxidle maxlife attr".split())
DURATIONS: Final = frozenset("inter fastinter downinter slowstart agent-inter pool-purge-delay".split())
"""Words of a server whose value is a time."""
NOT_ZERO: Final = frozenset("inter fastinter downinter agent-inter".split())
NOT_IN_DEFAULTS: Final = frozenset(
    """use_backend bind server server-template description id declare redirect stick stick-table use-server monitor
    dispatch force-persist ignore-persist capture""".split()
)
NOT_IN_UNNAMED_DEFAULTS: Final = frozenset(
    "acl http-request http-response http-after-response tcp-request tcp-response".split()
)
"""Rules that only a section of defaults with a name may have."""
NOT_IN_FRONTENDS: Final = frozenset("server default-server server-template".split())
REMOVED: Final[Mapping[str, str]] = {
    **dict.fromkeys("reqadd".split(), "http-request add-header"),
    **dict.fromkeys("reqdel reqidel".split(), "http-request del-header"),
    **dict.fromkeys("reqrep reqirep cliexp srvexp".split(), "http-request replace-path or replace-header"),
    **dict.fromkeys("reqdeny reqideny block".split(), "http-request deny"),
    **dict.fromkeys("reqallow reqiallow reqpass reqipass".split(), "http-request allow"),
    **dict.fromkeys("reqtarpit reqitarpit".split(), "http-request tarpit"),
    "rspadd": "http-response add-header",
    **dict.fromkeys("rspdel rspidel".split(), "http-response del-header"),
    **dict.fromkeys("rsprep rspirep".split(), "http-response replace-header"),
    **dict.fromkeys("rspdeny rspideny".split(), "http-response deny"),
    **dict.fromkeys("redisp redispatch".split(), "option redispatch"),
    "appsession": "stick on",
    "monitor-net": "http-request return status 200",
    "clitimeout": "timeout client",
    "contimeout": "timeout connect",
    "srvtimeout": "timeout server",
    "option forceclose": "option httpclose",
    "option http-tunnel": "nothing",
    "option http_proxy": "http-request do-resolve and set-dst",
    "nbproc": "nbthread",
}
"""Lines of versions before 2.6 that no later version starts with, and what they are now, by one or two words."""
REMOVED_FROM_PROXIES: Final[Mapping[str, str]] = {"grace": "grace in the section global"}
"""The same for lines that only the section ``global`` may have."""
TABLE_TYPES: Final = frozenset("ip ipv6 integer string binary".split())
FAMILIES: Final = frozenset(
    "ipv4 ipv6 inet tcp tcp4 tcp6 udp udp4 udp6 quic4 quic6 mptcp mptcp4 mptcp6".split()
)
"""Prefixes of an address with a host and a port."""
LOCAL: Final = frozenset("unix abns abnsz fd sockpair rhttp rev uxdg uxst stream+ipv4 dgram+ipv4".split())
"""Prefixes of other addresses."""


def check_head(section: Section) -> None:
    """Refuse a section whose head has a name or further words that HAProxy does not take."""
    kind, *rest = section.words
    if kind == "global" and rest:
        raise ProxyConfigError(section.origin, f"global has no arguments: {' '.join(rest)!r}")
    if kind in {"frontend", "backend", "listen"} and rest:
        check_name(Line(section.words, section.origin), rest[0], f"name of a {kind}")
        if kind != "backend" and len(rest) > 1 and rest[1] != "from":
            raise ProxyConfigError(section.origin, f"{rest[1]!r} behind a name: addresses go into bind")


def check_name(line: Line, name: str, what: str) -> None:
    """Refuse a name with a character that no name has."""
    if not NAME.fullmatch(name):
        raise ProxyConfigError(
            line.origin, f"{name!r} is no {what}: it has letters, digits, '-', '_', '.' and ':'"
        )


def check_removed(line: Line, *, in_global: bool = False) -> None:
    """Refuse a line that HAProxy had before 2.6, and does not start with any more."""
    for word in (line.words[0], " ".join(line.words[:2])):
        instead = REMOVED.get(word) or (None if in_global else REMOVED_FROM_PROXIES.get(word))
        if instead is not None:
            raise ProxyConfigError(line.origin, f"HAProxy 2.6 has no {word}: write {instead} instead")


def check_line(line: Line, section: Section) -> None:
    """Refuse a line of a proxy's section that HAProxy does not start with.

    Parameters
    ----------
    line
        The line.
    section
        The section: ``defaults``, ``frontend``, ``backend`` or ``listen``.
    """
    first, *arguments = line.words
    kind = section.kind
    check_removed(line)
    if kind == "defaults" and not section.name and first in NOT_IN_UNNAMED_DEFAULTS:
        raise ProxyConfigError(line.origin, f"{first} is not allowed in a defaults section without a name")
    if first in (NOT_IN_DEFAULTS if kind == "defaults" else NOT_IN_FRONTENDS if kind == "frontend" else ()):
        raise ProxyConfigError(line.origin, f"{first} is not allowed in a {kind} section")
    least, most = ARGUMENTS.get(first, (0, MAX_ARGUMENTS))
    if not least <= len(arguments) <= most:
        missing = f"{first} has {'no' if not most else least} argument{'' if least == 1 else 's'}"
        raise ProxyConfigError(line.origin, missing if most < MAX_ARGUMENTS else f"{missing} at least")
    if first in VALUES:
        check_value(line, first, arguments[0])
    if first == "timeout":
        if len(arguments) != 2:
            raise ProxyConfigError(line.origin, f"timeout {arguments[0]} has one time")
        duration(line, f"timeout {arguments[0]}", arguments[1])
    if first == "cookie":
        _check_cookie(line, arguments[1:])
    if first == "stick-table":
        _check_table(line, dict(itertools.pairwise(arguments)))
    if first == "id" and not (arguments[0].isascii() and arguments[0].isdecimal() and int(arguments[0][:12])):
        raise ProxyConfigError(line.origin, f"id {arguments[0]} is not a number > 0")


def _check_table(line: Line, options: Mapping[str, str]) -> None:
    """Refuse a table of clients without a type or a size. ``options`` are the words, each with the one behind it."""
    if "type" not in options or "size" not in options:
        raise ProxyConfigError(line.origin, "a stick-table has a type and a size")
    if options["type"] not in TABLE_TYPES:
        known = ", ".join(sorted(TABLE_TYPES))
        raise ProxyConfigError(line.origin, f"type {options['type']!r} of a stick-table is none of {known}")


def _check_cookie(line: Line, given: list[str]) -> None:
    """Refuse words behind the name of a cookie that HAProxy does not take, or not together."""
    found = set()
    words = list(given)
    while words:
        word = words.pop(0)
        found.add(word)
        if word in COOKIE_VALUES:
            if not words:
                raise ProxyConfigError(line.origin, f"{word} needs a value")
            value = words.pop(0)
            if word in {"maxidle", "maxlife"}:
                duration(line, word, value)
        elif word not in COOKIE_FLAGS | COOKIE_MODES:
            raise ProxyConfigError(line.origin, f"{word!r} is no word of a cookie")
    modes = sorted(found & COOKIE_MODES)
    if len(modes) > 1 or {"rewrite", "indirect"} <= found:
        raise ProxyConfigError(
            line.origin, f"a cookie is not {' and '.join(modes)}{' and indirect' * (len(modes) < 2)}"
        )


def check_value(line: Line, word: str, value: str) -> None:
    """Refuse the value of a word, of a line or of a server, that it cannot have."""
    if word in VALUES and value not in VALUES[word]:
        known = ", ".join(sorted(VALUES[word]))
        raise ProxyConfigError(line.origin, f"{word} {value!r} is none of {known}")
    if word in DURATIONS and not duration(line, word, value) and word in NOT_ZERO:
        raise ProxyConfigError(line.origin, f"{word} {value} is not a time > 0")


def duration(line: Line, what: str, text: str) -> float:
    """Return a time in milliseconds, which is what a number without a unit counts."""
    found = DURATION.fullmatch(text)
    if found is None:
        raise ProxyConfigError(line.origin, f"{what} {text!r} is no time, such as 500, 5s or 2m")
    value = float(found[1][:20]) * MILLISECONDS[found[2] or "ms"]
    if value > MAX_DURATION_MS:
        raise ProxyConfigError(line.origin, f"{what} {text} is more than {MAX_DURATION_MS} ms")
    return value


def check_host(line: Line, host: str, family: str) -> None:
    """Refuse a host that looks like an address and is none, or one of the other family; names are not resolved."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        version = ipaddress.ip_address(bare).version
    except ValueError:
        if re.fullmatch(r"[0-9]+([.][0-9]+){3,}", bare) or host.startswith("["):
            raise ProxyConfigError(line.origin, f"{host!r} is no address") from None
        return
    if family.endswith(("4", "6")) and not family.endswith(str(version)):
        raise ProxyConfigError(line.origin, f"{host!r} is no address of {family}")


def check_bind(line: Line, address: str) -> None:
    """Refuse an address of a ``bind`` that HAProxy does not listen on."""
    family, at, rest = address.partition("@")
    if address.startswith("/") or (at and family in LOCAL) or not address:
        return
    if at and family not in FAMILIES:
        raise ProxyConfigError(line.origin, f"{family}@ is no family of addresses")
    host, colon, ports = (rest if at else address).rpartition(":")
    if not colon:
        raise ProxyConfigError(line.origin, f"{address!r} has no port: write :{address} for a port alone")
    if host == ":":
        raise ProxyConfigError(line.origin, f"{address!r} has no host: write [::] for any")
    first, dash, last = ports.partition("-")
    numbers = [int(part[:6]) if part.isascii() and part.isdecimal() else 0 for part in (first, last or first)]
    if not 0 < numbers[0] <= numbers[1] <= MAX_PORT or (dash and not last):
        raise ProxyConfigError(line.origin, f"{address!r} has no port from 1 to {MAX_PORT}, or range of them")
    if host not in {"", "*", "::"}:
        check_host(line, host, family if at else "")
