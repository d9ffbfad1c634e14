"""The type of findings, and helpers of all linters."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Final

from balancekit._support.record import Record
from balancekit.errors import printable
from balancekit.proxyconfig._model import Origin, PoolServer

__all__ = ["MIN_POINTS", "LintFinding", "is_loopback", "repeated", "seconds_of"]

MIN_POINTS: Final = 50
"""The least points of a server on a ring. With fewer, shares differ by more than about a seventh."""
TIME: Final = re.compile(r"([0-9]{1,12})(us|ms|s|m|h|d)?")
UNIT_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class LintFinding(Record):
    """A line that does not have the effect that it seems to have.

    Parameters
    ----------
    origin
        The file and the line.
    rule
        The name of the rule.
    text
        The actual effect.
    advice
        What to write instead.
    """

    origin: Origin
    rule: str
    text: str
    advice: str

    def __str__(self) -> str:
        return printable(f"{self.origin}: {self.rule}: {self.text}. {self.advice}.")


def seconds_of(text: str, *, unit: str) -> float | None:
    """Return a time in seconds; ``None`` if the text is no time.

    Example
    -------
    >>> seconds_of("500", unit="ms"), seconds_of("2m", unit="ms"), seconds_of("x", unit="s")
    (0.5, 120.0, None)
    """
    found = TIME.fullmatch(text)
    return None if found is None else int(found[1]) * UNIT_S[found[2] or unit]


def is_loopback(address: str) -> bool:
    """Return whether an address to listen on can be reached from the same machine only."""
    if address.startswith(("unix:", "unix@", "/")):
        return True
    host = address.rpartition(":")[0].strip("[]") or address
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def repeated(servers: Iterable[PoolServer]) -> Iterator[LintFinding]:
    """Yield a finding for every server whose address is already in its pool."""
    first: dict[str, PoolServer] = {}
    for server in servers:
        if server.address in first and not server.backup and not server.down:
            yield LintFinding(
                origin=server.origin,
                rule="repeated-server",
                text=f"{server.address} is also in line {first[server.address].origin.line}: it gets two shares, and its "
                "failures are counted apart",
                advice="Write it once, with a weight",
            )
        first.setdefault(server.address, server)
