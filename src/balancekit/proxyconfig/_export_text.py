"""Text that enters a configuration: names, addresses and patterns are escaped or refused, weights are made whole."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

__all__ = [
    "Address",
    "address_of",
    "comment",
    "expression",
    "literal",
    "name_of",
    "spans",
    "strong",
    "whole_weights",
]

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]")
PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-_%~=:,@!&")
ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
MAX_DENOMINATOR: Final = 1000
MAX_COMMENT: Final = 300
EXACT: Final = 1e-9


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @property
    def numeric(self) -> bool:
        """Whether it is an IP address, not a name."""
        try:
            ipaddress.ip_address(self.host.strip("[]"))
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def name_of(what: str, text: str) -> str:
    """Return a name that every proxy takes as one word.

    Raises
    ------
    ConfigurationError
        For any other.
    """
    if isinstance(text, str) and NAME.fullmatch(text):
        return text
    raise ConfigurationError(
        what, text, "a letter or _, then letters, digits, '.', '-' and '_', at most 100 characters"
    )


def address_of(endpoint: Endpoint[Any]) -> Address:
    """Return the address of an endpoint: its target, else its id.

    Raises
    ------
    ConfigurationError
        If it is neither ``host:port`` nor ``http://host[:port]``.
    """
    target = getattr(endpoint.target, "url", endpoint.target)
    text = target if isinstance(target, str) else endpoint.id
    wanted = f"host:port or http://host:port, as the target of endpoint {endpoint.id!r}"
    if not text.isprintable():
        raise ConfigurationError("target", text, wanted)
    try:
        found = urlsplit(text if "://" in text else f"//{text}")
        port, host = found.port, found.netloc.rpartition("@")[2]
    except ValueError:
        raise ConfigurationError("target", text, wanted) from None
    host = host[: host.rindex(":")] if port is not None and ":" in host else host
    if port is None and found.scheme == "http":
        port = 80
    plain = found.scheme in {"", "http"} and found.path in {"", "/"} and not (found.query or found.fragment)
    if not plain or not port or "@" in found.netloc or not HOST.fullmatch(host):
        raise ConfigurationError("target", text, wanted)
    return Address(host, port)


def comment(text: str) -> str:
    r"""Return a text for a comment: one line of printable characters.

    Example
    -------
    >>> comment("a\nserver evil;")
    'a?server evil;'
    """
    return "".join([letter if letter.isprintable() else "?" for letter in text])[:MAX_COMMENT]


def literal(text: str) -> str:
    r"""Return an expression that matches a text, without quotes, braces, blanks and other letters that end words.

    Example
    -------
    >>> literal('/a.b"{;')
    '/a\\x2Eb\\x22\\x7B\\x3B'
    """
    return "".join(
        [
            letter
            if letter in PLAIN
            else "".join([f"\\x{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass")])
            for letter in text
        ]
    )


def expression(text: str) -> str:
    r"""Return an expression with the letters that end a quoted word as escapes; it matches the same.

    Example
    -------
    >>> expression('a"\\\\.b')
    'a\\x22\\x5C.b'
    """
    text = ESCAPE.sub(lambda found: rf"\x{ord(found[1]):02X}" if found[1] in "\\\"'" else found[0], text)
    return "".join(
        [
            f"\\x{ord(letter):02X}" if letter in "\"'" or ord(letter) < 32 or ord(letter) == 127 else letter
            for letter in text
        ]
    )


def strong(text: str) -> str:
    """Return a word of HAProxy in strong quotes.

    Raises
    ------
    ConfigurationError
        For control characters, which end lines.
    """
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ConfigurationError("text", text, "text without control characters")
    return "'" + text.replace("'", "'\\''") + "'"


def spans(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return sorted numbers as spans, both ends included.

    Example
    -------
    >>> spans([200, 201, 204])
    [(200, 201), (204, 204)]
    """
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _in_proportion(weights: Sequence[float]) -> list[int]:
    """Return the smallest whole numbers in the proportion of weights, each to a fraction of a small denominator."""
    parts = [Fraction(weight).limit_denominator(MAX_DENOMINATOR) for weight in weights]
    scale = math.lcm(*[part.denominator for part in parts])
    whole = [int(part * scale) for part in parts]
    divisor = math.gcd(*whole) or 1
    return [number // divisor for number in whole]


def whole_weights(weights: Sequence[float], *, most: int) -> tuple[list[int], float]:
    """Return whole weights in the same proportions, and by how much a share is off at most.

    Example
    -------
    >>> whole_weights([1.0, 0.5, 0.0], most=256)
    ([2, 1, 0], 0.0)
    """
    top = max(weights)
    if not top:
        return [0] * len(weights), 0.0
    exact = math.fsum(weights)
    best: tuple[list[int], float] | None = None
    for made in (
        _in_proportion(weights),
        _in_proportion([weight / top for weight in weights]),
        [round(weight / top * most) for weight in weights],
    ):
        if max(made) > most:
            continue
        whole = [max(1, number) if weight else 0 for number, weight in zip(made, weights, strict=True)]
        total = sum(whole)
        off = max(
            [abs(number / total - weight / exact) for number, weight in zip(whole, weights, strict=True)]
        )
        if best is None or off < best[1] - EXACT:
            best = whole, off if off > EXACT else 0.0
    return best if best is not None else ([0] * len(weights), 0.0)
