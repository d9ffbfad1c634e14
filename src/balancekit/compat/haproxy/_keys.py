"""HAProxy's hash keys: the part of a request named after ``balance``.

Source: HAProxy 2.6.12, ``src/backend.c``.
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit._support.text import to_bytes
from balancekit.errors import ConfigurationError

__all__ = ["HashedBy", "Header", "Source", "Uri", "UrlParam"]


class HashedBy(Protocol):
    """A way to get from what was asked to what is hashed."""

    def of(self, value: str) -> bytes | int | None:
        """Return the bytes to hash, a number that needs no hash function, or ``None`` for nothing."""
        ...


class Header(Record):
    """``balance hdr(name)``: the header's value. Without the header, requests take turns."""

    @checked_arguments
    def of(self, value: str) -> bytes | None:
        """Return the bytes of the value."""
        return to_bytes(value)


class UrlParam(Record):
    """``balance url_param name``: the raw value up to the next ``&``."""

    @checked_arguments
    def of(self, value: str) -> bytes | None:
        """Return the bytes of the value."""
        return to_bytes(value.partition("&")[0])


class Uri(Record):
    """``balance uri``: the request target up to the question mark.

    Parameters
    ----------
    whole
        With the query.
    length
        Look at so many bytes only; 0 is all.
    depth
        Stop before the slash after so many directories; 0 is all.

    Example
    -------
    >>> Uri(depth=2).of("/a/b/c?d")
    b'/a/b'
    """

    whole: bool = False
    length: int = 0
    depth: int = 0

    def _check(self) -> None:
        valid.flag("whole", self.whole)
        valid.integer("length", self.length, minimum=0)
        valid.integer("depth", self.depth, minimum=0)

    @checked_arguments
    def of(self, value: str) -> bytes | None:
        """Return the bytes of the part that counts."""
        data = to_bytes(value)
        if self.length:
            data = data[: self.length]
        if not self.whole:
            data = data.partition(b"?")[0]
        if self.depth:
            data = b"/".join(data.split(b"/")[: self.depth + 1])
        return data


class Source(Record):
    """``balance source``: the client's address as big-endian words, XORed; no hash function.

    Example
    -------
    >>> hex(Source().of("10.1.2.3"))
    '0xa010203'
    """

    @checked_arguments
    def of(self, value: str) -> int | None:
        """Return the number.

        Raises
        ------
        ConfigurationError
            If the value is no IP address.
        """
        try:
            packed = ipaddress.ip_address(value).packed
        except ValueError:
            raise ConfigurationError("key", value, "an IPv4 or IPv6 address") from None
        found = 0
        for start in range(0, len(packed), 4):
            found ^= int.from_bytes(packed[start : start + 4], "big")
        return found
