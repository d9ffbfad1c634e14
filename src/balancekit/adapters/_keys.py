"""Key sources: functions that read a request's key from a header, a cookie or a query field.

Each function returns one that finds the key of a request, whatever the client; ``None`` where there is none. A cookie
that a server has set comes back with the next request, so a server can pin its clients.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from balancekit._support import validation as valid
from balancekit.snapshot import Key

__all__ = ["KeySource", "from_cookie", "from_header", "from_query"]

KeySource: TypeAlias = Callable[[Any], Key | None]
"""Told the client's own request; answers its key."""


def from_header(name: str) -> KeySource:
    """Take the key from a header.

    Example
    -------
    >>> class Request:
    ...     headers = {"X-User": "17"}
    >>> from_header("X-User")(Request())
    '17'
    """
    wanted = valid.text("name", name)
    return lambda request: _text(request.headers.get(wanted))


def from_cookie(name: str) -> KeySource:
    """Take the key from a cookie."""
    wanted = valid.text("name", name)

    def key(request: Any) -> Key | None:
        header = _text(request.headers.get("Cookie"))
        if not header:
            return None
        try:
            found = SimpleCookie(header).get(wanted)
        except CookieError:
            return None
        return None if found is None else found.value

    return key


def from_query(name: str) -> KeySource:
    """Take the key from a field of the query."""
    wanted = valid.text("name", name)

    def key(request: Any) -> Key | None:
        found = parse_qs(urlsplit(str(request.url)).query).get(wanted)
        return None if found is None else found[0]

    return key


def _text(value: str | bytes | None) -> str | None:
    return value.decode("latin-1") if isinstance(value, bytes) else value
