"""Key sources: functions that read a request's key from a header, a cookie or a query field.

Each function returns one that finds the key of a request, whatever the client; ``None`` if there is none. A cookie
that a server has set returns with the next request, so a server can pin its clients.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qs, urlsplit

from balancekit._support import validation as valid
from balancekit._support.headers import HEADER_NAME
from balancekit._support.log import contain_error
from balancekit.errors import ConfigurationError
from balancekit.snapshot import Key

__all__ = ["KeySource", "found_in", "from_cookie", "from_header", "from_query"]

T = TypeVar("T")

KeySource: TypeAlias = Callable[[Any], Key | None]
"""Called with the client's own request; returns its key."""


def found_in(request: Any, what: str, find: Callable[[Any], T], default: T) -> T:
    """Return what a function of the user's finds in a request.

    If it raises, or finds what no request can have, that is logged, and the request goes on.
    """
    try:
        found = find(request)
        if what == "key":
            valid.request(found, 1.0, None)
        else:
            valid.request(None, found, None)
    except Exception:
        contain_error(
            "the %s function of an adapter failed; the request is sent with %s=%r", what, what, default
        )
        return default
    return found


def from_header(name: str) -> KeySource:
    """Take the key from a header.

    Parameters
    ----------
    name
        Name of the header; case does not matter.

    Raises
    ------
    ConfigurationError
        If ``name`` is no name that HTTP allows.

    Example
    -------
    >>> from balancekit.adapters import from_header
    >>> class Request:
    ...     headers = {"X-User": "17"}
    >>> from_header("X-User")(Request())
    '17'
    """
    wanted = _token(name)
    return lambda request: _text(request.headers.get(wanted))


def from_cookie(name: str) -> KeySource:
    """Take the key from a cookie: the first of that name, whatever other cookies hold.

    Parameters
    ----------
    name
        Name of the cookie.

    Raises
    ------
    ConfigurationError
        If ``name`` is no name that HTTP allows.

    Example
    -------
    >>> from balancekit.adapters import from_cookie
    >>> class Request:
    ...     headers = {"Cookie": 'seen={"a": [1]}; user="17"'}
    >>> from_cookie("user")(Request())
    '17'
    """
    wanted = _token(name)

    def key(request: Any) -> Key | None:
        for cookie in (_text(request.headers.get("Cookie")) or "").split(";"):
            found, _, value = cookie.partition("=")
            if found.strip() == wanted:
                return _unquoted(value.strip())
        return None

    return key


def from_query(name: str) -> KeySource:
    """Take the key from a field of the query.

    Parameters
    ----------
    name
        Name of the field, decoded. The first one of that name counts.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty or no string.

    Example
    -------
    >>> from balancekit.adapters import from_query
    >>> class Request:
    ...     url = "http://orders/items?user=17&user=18"
    >>> from_query("user")(Request())
    '17'
    """
    wanted = valid.text("name", name)

    def key(request: Any) -> Key | None:
        found = parse_qs(urlsplit(str(request.url)).query).get(wanted)
        return None if found is None else found[0]

    return key


def _unquoted(value: str) -> str:
    """Return the text that a quoted value of a cookie stands for.

    Quotes are those of ``http.cookies``; any other value is returned as it is.
    """
    if not value.startswith('"'):
        return value
    read = SimpleCookie(f"x={value}").get("x")
    return value if read is None else read.value


def _token(name: str) -> str:
    """Return a name that a header or a cookie can have.

    No request has another one, and clients raise for it.
    """
    if HEADER_NAME.fullmatch(valid.text("name", name)) is None:
        raise ConfigurationError(
            "name", name, "a name as HTTP has them: ASCII letters, digits and !#$%&'*+-.^_`|~"
        )
    return name


def _text(value: str | bytes | None) -> str | None:
    return value.decode("latin-1") if isinstance(value, bytes) else value
