"""Requests and answers of the routing machines: a request line and headers in, a pool or a status out.

Text stands for bytes by latin-1. Nothing here belongs to one server.
"""

from __future__ import annotations

import re
from typing import Any, Final

from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit._support.text import to_bytes
from balancekit.errors import ConfigurationError

__all__ = ["RawRequest", "Routed", "compiled", "raw_bytes", "split_target"]

GROUP: Final = re.compile(r"(?<!\\)\(\?<(?![=!])")
"""Where PCRE and RE2 name a group as Python does not."""
SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)")


class RawRequest(Record):
    """A request as it arrives on a connection.

    Parameters
    ----------
    target
        As in the request line: a path, an absolute URL or ``*``.
    host
        The Host header; ``None`` if there is none.
    method, http
        The other words of the request line.
    headers
        The other headers, in order.

    Example
    -------
    >>> RawRequest(target="/a", host="shop.test").values("Host")
    ('shop.test',)
    """

    target: str = "/"
    host: str | None = None
    method: str = "GET"
    http: str = "1.1"
    headers: tuple[tuple[str, str], ...] = ()

    @checked_arguments
    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of a header, in order, without the blanks around them; names have no case."""
        wanted = name.lower()
        every = (("host", self.host),) if self.host is not None else ()
        return tuple([value.strip(" \t") for key, value in (*every, *self.headers) if key.lower() == wanted])


class Routed(Record):
    """What a server does with a request.

    Parameters
    ----------
    pool
        The pool that gets it; ``None`` if the server answers by itself.
    path
        The path as the server reads it; ``None`` where the server shows none.
    status
        The status of the server's own answer.
    location
        Where a redirect points.
    """

    pool: str | None = None
    path: str | None = None
    status: int | None = None
    location: str | None = None


def raw_bytes(text: str) -> bytes:
    r"""Return the bytes that a text stands for: those of latin-1, or of UTF-8 if it has other characters.

    Example
    -------
    >>> raw_bytes(chr(233)), raw_bytes(chr(8364))
    (b'\xe9', b'\xe2\x82\xac')
    """
    return text.encode("latin-1") if text.isascii() or max(text) <= "\xff" else to_bytes(text)


def split_target(target: str) -> tuple[str | None, str]:
    """Return the authority of an absolute target, ``None`` if it is none, and what follows it.

    Example
    -------
    >>> split_target("http://h/a?b"), split_target("/a?http://h"), split_target("http://h")
    (('h', '/a?b'), (None, '/a?http://h'), ('h', ''))
    """
    found = SCHEME.match(target)
    return (None, target) if found is None else (found[2], target[found.end() :])


def compiled(parameter: str, expression: Any, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile an expression over bytes that stand as latin-1; without case, that of ASCII letters only.

    Raises
    ------
    ConfigurationError
        If it does not compile.
    """
    try:
        return re.compile(GROUP.sub("(?P<", expression), re.ASCII | (re.IGNORECASE if ignore_case else 0))
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        raise ConfigurationError(parameter, expression, f"a regular expression ({error})") from None
