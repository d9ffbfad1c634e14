"""Requests as routes read them: method, host, path, query and headers, as raw text.

Nothing is decoded here. The table's :class:`~balancekit.l7.Spelling` decides once what a path means; the text is
always forwarded as it was received.

Cost: construction is one call and keeps references; headers, cookies and query parameters are indexed when a
route first reads them. Source: RFC 9112 (targets), RFC 9110 5.3 (field values), RFC 6265 (cookies), ASGI
HTTP specification 2.5, PEP 3333.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, final
from urllib.parse import quote

from balancekit._support.arguments import checked_arguments, refuse
from balancekit.errors import ConfigurationError

__all__ = ["Headers", "Request"]

Text: TypeAlias = str | bytes
Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[Text, Text]]
"""Header fields: a mapping, or pairs of names and values in the order received."""

PCHAR: Final = "/!$&'()*+,;=:@-._~"
"""What may stand unescaped in a path (RFC 3986 3.3), besides letters and digits."""


@final
class Request:
    """The parts of an HTTP request that routes read. Immutable by convention; safe to share.

    Parameters
    ----------
    path
        The path as sent, escapes and all, without the query.
    method
        As sent; methods are case-sensitive.
    host
        The authority as sent: name and perhaps port. Empty if there is none.
    query
        What follows the ``?``, as sent.
    headers
        A mapping, or pairs of names and values, text or bytes (read as latin-1).

    Raises
    ------
    ConfigurationError
        If a text is not a ``str``, or the path contains a ``?``.

    *When not to use it:* as a general request object. It has no body, no trailers and no scheme.

    Example
    -------
    >>> from balancekit.l7 import Request
    >>> request = Request("/orders/7", host="eu.shop.test", headers={"X-Beta": "1"})
    >>> request.header("x-beta"), request.target
    ('1', '/orders/7')
    """

    __slots__ = ("_cookies", "_fields", "_parameters", "headers", "host", "method", "path", "query")

    @checked_arguments
    def __init__(
        self, path: str, *, method: str = "GET", host: str = "", query: str = "", headers: Headers = ()
    ) -> None:
        if not (
            path.__class__ is str
            and method.__class__ is str
            and host.__class__ is str
            and query.__class__ is str
        ):
            _refuse(path=path, method=method, host=host, query=query)
        if "?" in path:
            raise ConfigurationError("path", path, "a path without '?'; pass what follows it as query=")
        self.path: str = path
        self.method: str = method
        self.host: str = host
        self.query: str = query
        self.headers: Headers = headers
        self._fields: dict[str, str] | None = None
        self._cookies: dict[str, str] | None = None
        self._parameters: dict[str, str] | None = None

    @classmethod
    @checked_arguments
    def from_asgi(cls, scope: Mapping[str, Any], /) -> Request:
        """Read an ASGI scope of type ``http`` or ``websocket``.

        The path is ``raw_path`` where the server gives it. Without it the decoded ``path`` is escaped again, and
        an encoded slash can no longer be distinguished from a plain one. Several different hosts, in ``Host`` fields or in
        a target with one of its own (RFC 9112 3.2.2), are joined by a comma, which ``Spelling.STRICT`` rejects.

        Example
        -------
        >>> from balancekit.l7 import Request
        >>> scope = {"method": "GET", "path": "/a b", "raw_path": b"/a%20b", "query_string": b"x=1",
        ...          "headers": [(b"host", b"shop.test")]}
        >>> Request.from_asgi(scope)
        <Request GET shop.test/a%20b?x=1>
        """
        raw = scope.get("raw_path")
        authority = ""
        if raw is None:
            path = quote(scope["path"], safe=PCHAR, errors="surrogatepass")
        else:
            authority, path, _ = _split(raw.decode("latin-1"))
        headers = scope.get("headers") or ()
        fields = [value.decode("latin-1") for name, value in headers if name.lower() == b"host"]
        hosts = dict.fromkeys([authority, *fields] if authority else fields)
        return cls(
            path,
            method=scope.get("method", "GET"),
            host=",".join(hosts),
            query=scope.get("query_string", b"").decode("latin-1"),
            headers=headers,
        )

    @classmethod
    @checked_arguments
    def from_wsgi(cls, environ: Mapping[str, Any], /) -> Request:
        """Read a WSGI environment.

        The path is ``RAW_URI`` or ``REQUEST_URI`` where the server gives it. PEP 3333 has only the decoded
        ``PATH_INFO``; it is escaped again, and an encoded slash can no longer be distinguished from a plain one. The server
        has also made one name of ``X-A`` and ``X_A``. A target with a host of its own (RFC 9112 3.2.2) that is not that of
        the ``Host`` field: both are joined by a comma, which ``Spelling.STRICT`` rejects.

        Example
        -------
        >>> from balancekit.l7 import Request
        >>> environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/a b", "QUERY_STRING": "", "HTTP_HOST": "shop.test"}
        >>> Request.from_wsgi(environ)
        <Request GET shop.test/a%20b>
        """
        raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        authority = ""
        if raw:
            authority, path, _ = _split(raw)
        else:
            decoded = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
            path = (
                quote(decoded.encode("latin-1", "replace"), safe=PCHAR) or "/"
            )  # as in URLs (RFC 3986 6.2.3)
        headers = {
            name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")
        }
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if environ.get(name):
                headers[name.replace("_", "-")] = environ[name]
        return cls(
            path,
            method=environ.get("REQUEST_METHOD", "GET"),
            host=",".join(dict.fromkeys(filter(None, (authority, environ.get("HTTP_HOST", ""))))),
            query=environ.get("QUERY_STRING", ""),
            headers=headers,
        )

    @classmethod
    @checked_arguments
    def from_url(cls, url: str, /, *, method: str = "GET", headers: Headers = ()) -> Request:
        """Split an absolute URL, or a path with a query. User information and the fragment are dropped.

        Raises
        ------
        ConfigurationError
            If it is no text.

        Example
        -------
        >>> from balancekit.l7 import Request
        >>> Request.from_url("https://eu.shop.test:8443/orders?id=7#top")
        <Request GET eu.shop.test:8443/orders?id=7>
        """
        if not isinstance(url, str):
            raise ConfigurationError("url", url, "a URL as text")
        host, path, query = _split(url.partition("#")[0])
        return cls(path, method=method, host=host, query=query, headers=headers)

    @property
    def target(self) -> str:
        """The path and the query as sent: what to forward."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def header(self, name: str, /) -> str | None:
        """Return a header's value, ``None`` if it is absent. Several fields of a name are joined by a comma and a blank."""
        try:
            fields = self._fields
            if fields is None:
                fields = self._fields = _fields(self.headers)
            return fields.get(name.lower())
        except Exception as error:
            refuse(error, Request.header, self, name)

    def cookie(self, name: str, /) -> str | None:
        """Return a cookie's value as sent, ``None`` if it is absent. The first of a name counts."""
        cookies = self._cookies
        if cookies is None:
            cookies = self._cookies = _pairs((self.header("cookie") or "").replace(", ", ";"), ";")
        try:
            return cookies.get(name)
        except Exception as error:
            refuse(error, Request.cookie, self, name)

    def parameter(self, name: str, /) -> str | None:
        """Return a query parameter's value as sent, ``None`` if it is absent. The first of a name counts.

        Parameters are separated by ``&`` only; one without ``=`` is present and empty.
        """
        parameters = self._parameters
        if parameters is None:
            parameters = self._parameters = _pairs(self.query, "&")
        try:
            return parameters.get(name)
        except Exception as error:
            refuse(error, Request.parameter, self, name)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.host}{self.target}>"


def _split(url: str) -> tuple[str, str, str]:
    """Return authority, path and query of an absolute URL or of a path."""
    host = ""
    if not url.startswith("/") and "://" in url:
        rest = url.partition("://")[2]
        end = min([place for place in (rest.find("/"), rest.find("?")) if place >= 0], default=len(rest))
        host, url = rest[:end].rpartition("@")[2], rest[end:]
        if not url.startswith("/"):
            url = f"/{url}"
    path, _, query = url.partition("?")
    return host, path, query


def _fields(headers: Headers) -> dict[str, str]:
    found: dict[str, str] = {}
    pairs: Iterable[tuple[Any, Any]] = headers.items() if isinstance(headers, Mapping) else headers
    for name, value in pairs:
        key, text = _text(name).lower(), _text(value)
        before = found.get(key)
        found[key] = text if before is None else f"{before}, {text}"
    return found


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise ConfigurationError("headers", value, "names and values as str or bytes")


def _pairs(text: str, separator: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator):
        name, _, value = part.partition("=")
        if name:
            found.setdefault(name.strip(), value.strip())
    return found


def _refuse(**texts: object) -> None:
    for name, value in texts.items():
        if not isinstance(value, str):
            raise ConfigurationError(name, value, "text (str)")
