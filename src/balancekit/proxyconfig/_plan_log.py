"""Requests of access logs: nginx ``combined``, HAProxy ``httplog``, Envoy's default format.

A line that has another form is counted and left out. Of times, the last one decides what the last hour is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.proxyconfig._model import ProxyRequest

__all__ = ["AccessLog", "read_log"]

MAX_LINE: Final = 16_384
"""The largest number of characters of a line that are read."""
NGINX: Final = re.compile(
    r"(?P<client>[0-9A-Fa-f.:]+) \S+ \S+ \[(?P<time>[^\]]{20,40})\] \"(?P<line>(?:[^\"\\]|\\.)*)\" \d+ \S+"
)
HAPROXY: Final = re.compile(
    r"(?:^|\s)(?P<client>[0-9A-Fa-f.:]+):\d+ \[(?P<time>[^\]]{20,40})\] \S+ \S+ [-+0-9/]+ \S+ [^\"]*\"(?P<line>[^\"]*)"
)
ENVOY: Final = re.compile(
    r"\[(?P<time>[^\]]{20,40})\] \"(?P<line>(?:[^\"\\]|\\.)*)\" \d+ .*?"
    r"\"(?P<client>[^\"]*)\" \"[^\"]*\" \"[^\"]*\" \"(?P<host>[^\"]*)\" \"[^\"]*\"\s*$"
)
TIMES: Final = ("%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S.%f", "%d/%b/%Y:%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f%z")
UNNAMED: Final = "-"
ESCAPED: Final = re.compile(r"(?:\\x[0-9A-F]{2})+")
"""Quotes, backslashes and bytes outside of printable ASCII, as nginx writes them."""
AUTHORITY: Final = re.compile(r"[a-z]+://([^/?]+)", re.IGNORECASE)
"""The authority of a target in absolute form, which HAProxy writes for HTTP/2."""


class AccessLog(NamedTuple):
    """Requests of a log."""

    requests: tuple[ProxyRequest, ...]
    """In order."""
    left_out: int
    """Lines of another form."""


@checked_arguments
def read_log(lines: Iterable[str], *, host: str = "localhost", last_s: float | None = 3600.0) -> AccessLog:
    """Return the requests of an access log.

    Parameters
    ----------
    lines
        Of nginx ``combined``, HAProxy ``httplog``, or Envoy's default format, which names the client only by
        ``X-Forwarded-For``.
    host
        The Host header, where the format has none.
    last_s
        How many seconds before the last line count, in seconds; ``None`` for all.

    Raises
    ------
    ConfigurationError
        If ``last_s`` is negative, or ``lines`` is no iterable of strings.

    Example
    -------
    >>> from balancekit.proxyconfig import read_log
    >>> line = '203.0.113.7 - - [28/Nov/2026:18:00:00 +0000] "GET /a?b HTTP/1.1" 200 5 "-" "curl"'
    >>> read_log([line]).requests[0].target
    '/a?b'
    """
    if last_s is not None:
        valid.number("last_s", last_s, minimum=0.0)
    found: list[tuple[datetime, ProxyRequest]] = []
    left_out = 0
    for line in lines:
        entry = _entry(line[:MAX_LINE].rstrip("\r\n"), host)
        if entry is None:
            left_out += bool(line.strip())
        else:
            found.append(entry)
    if last_s is not None and found:
        last = max(time for time, _ in found)
        found = [(time, request) for time, request in found if (last - time).total_seconds() <= last_s]
    return AccessLog(tuple([request for _, request in found]), left_out)


def _entry(line: str, host: str) -> tuple[datetime, ProxyRequest] | None:
    ours = NGINX.match(line)
    match = ours or ENVOY.match(line) or HAPROXY.search(line)
    if match is None:
        return None
    fields = match.groupdict()
    method, _, rest = fields["line"].partition(" ")
    target = rest.rpartition(" ")[0] or rest
    if ours is not None:
        target = ESCAPED.sub(_unescaped, target)
    authority = AUTHORITY.match(target)
    time = _time(fields["time"])
    client = fields["client"].rpartition(",")[2].strip()
    forwarded = "host" in fields
    if time is None or not method or not target:
        return None
    try:
        ipaddress.ip_address(client)
    except ValueError:
        if not forwarded or client != UNNAMED:
            return None
        client = "127.0.0.1"
        forwarded = False
    return time, ProxyRequest(
        target,
        method=method,
        host=fields.get("host") or (host if authority is None else authority[1]),
        headers=(("X-Forwarded-For", fields["client"]),) if forwarded else (),
        client=client,
    )


def _unescaped(found: re.Match[str]) -> str:
    """Return bytes as text; as they are written if they are none."""
    try:
        return bytes.fromhex(found[0].replace("\\x", "")).decode()
    except UnicodeDecodeError:
        return found[0]


def _time(text: str) -> datetime | None:
    for form in TIMES:
        try:
            found = datetime.strptime(text, form)  # noqa: DTZ007 - made aware below
        except ValueError:
            continue
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return None
