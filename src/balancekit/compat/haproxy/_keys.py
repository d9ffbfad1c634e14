"""HAProxy's hash keys: the part of a request that the setting ``balance`` names.

Source: HAProxy 2.6.12, ``src/backend.c``.
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit._support.text import to_bytes
from balancekit.compat._routing import split_target
from balancekit.compat.haproxy._samples import split_unquoted
from balancekit.errors import ConfigurationError

__all__ = ["HashedBy", "Header", "Sample", "Source", "Uri", "UrlParam"]


class HashedBy(Protocol):
    """The choice of the part of a request's value that is hashed."""

    def of(self, value: str | bytes) -> bytes | int | None:
        """Return the bytes to hash, a number that needs no hash function, or ``None`` if there is nothing to hash."""
        ...


class Header(Record):
    """``balance hdr(name)``: the header's first value, up to a comma. Requests without it are balanced in turn.

    Parameters
    ----------
    use_domain_only
        Hash only the part between the last two dots: ``shop`` of ``www.shop.test``. HAProxy also reads the byte after the value
        in its memory. If that byte is a dot, HAProxy hashes the part before it; this class never does.

    Raises
    ------
    ConfigurationError
        If ``use_domain_only`` is no bool.

    Example
    -------
    >>> from balancekit.compat.haproxy import Header
    >>> Header().of("a, b"), Header().of(""), Header(use_domain_only=True).of("www.shop.test:80")
    (b'a', None, b'shop')
    """

    use_domain_only: bool = False

    def _check(self) -> None:
        valid.flag("use_domain_only", self.use_domain_only)

    @checked_arguments
    def of(self, value: str | bytes) -> bytes | None:
        """Return the bytes to hash, ``None`` if the first value is empty."""
        first = split_unquoted(to_bytes(value).decode("latin-1"), ",")[0].strip(" \t")
        if not first:
            return None
        end = first.rfind(".", 1) if self.use_domain_only else -1
        if end > 0:
            first = first[first.rfind(".", 0, end - 1) + 1 : end]
        return first.encode("latin-1")


class Sample(Record):
    """``balance hash EXPRESSION`` of HAProxy 2.7 and later: the bytes of the sample.

    Requests without a sample are balanced in turn.

    Example
    -------
    >>> from balancekit.compat.haproxy import Sample
    >>> Sample().of("a,b")
    b'a,b'
    """

    @checked_arguments
    def of(self, value: str | bytes) -> bytes | None:
        """Return the bytes of the sample."""
        return to_bytes(value)


class UrlParam(Record):
    """``balance url_param name``: the parameter's value up to the next ``&``, with its escapes.

    Example
    -------
    >>> from balancekit.compat.haproxy import UrlParam
    >>> UrlParam().of("a%20b&c=d")
    b'a%20b'
    """

    @checked_arguments
    def of(self, value: str | bytes) -> bytes | None:
        """Return the bytes of the value."""
        return to_bytes(value).partition(b"&")[0]


class Uri(Record):
    """``balance uri``: the request target up to the question mark.

    Parameters
    ----------
    whole
        Whether the query is hashed too.
    path_only
        Whether the scheme and the authority of an absolute target are left out.
    length
        How many bytes of the target are hashed at most; 0 is no limit.
    depth
        How many directories are hashed at most; 0 is no limit.

    Raises
    ------
    ConfigurationError
        If a flag is no bool, or ``length`` or ``depth`` is not a whole number >= 0.

    Example
    -------
    >>> from balancekit.compat.haproxy import Uri
    >>> Uri(depth=2).of("/a/b/c?d")
    b'/a/b'
    """

    whole: bool = False
    path_only: bool = False
    length: int = 0
    depth: int = 0

    def _check(self) -> None:
        valid.flag("whole", self.whole)
        valid.flag("path_only", self.path_only)
        valid.integer("length", self.length, minimum=0)
        valid.integer("depth", self.depth, minimum=0)

    @checked_arguments
    def of(self, value: str | bytes) -> bytes | None:
        """Return the bytes to hash."""
        data = to_bytes(value)
        if self.path_only:
            data = split_target(data.decode("latin-1"))[1].encode("latin-1")
        if self.length:
            data = data[: self.length]
        if not self.whole:
            data = data.partition(b"?")[0]
        if self.depth:
            data = b"/".join(data.split(b"/")[: self.depth + 1])
        return data


class Source(Record):
    """``balance source``: the big-endian 32-bit words of the client's address, XORed. No hash function is applied.

    Example
    -------
    >>> from balancekit.compat.haproxy import Source
    >>> hex(Source().of("10.1.2.3"))
    '0xa010203'
    """

    @checked_arguments
    def of(self, value: str | bytes) -> int | None:
        """Return the XOR of the address's words.

        Raises
        ------
        ConfigurationError
            If the value is no IP address.
        """
        try:
            packed = ipaddress.ip_address(value.decode() if isinstance(value, bytes) else value).packed
        except ValueError:
            raise ConfigurationError("key", value, "an IPv4 or IPv6 address") from None
        found = 0
        for start in range(0, len(packed), 4):
            found ^= int.from_bytes(packed[start : start + 4], "big")
        return found
