"""Resolver of a Prometheus ``http_sd`` list.

Only a complete response with status 200 and content type ``application/json`` counts. Any other response is a failure, and
the last good list stays in use. As in Prometheus, proxies named in the environment are not used.

Redirects are followed to ``http`` and ``https`` only, and never from ``https`` to ``http``. A redirect to another origin
is followed without the user's headers, which may be credentials (RFC 9110 section 15.4).
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any, Final, Self, cast, final
from urllib.parse import SplitResult, urlsplit

from balancekit._support import validation as valid
from balancekit._support.calls import checked_call
from balancekit._support.headers import secret_headers, without_secrets
from balancekit._support.text import ascii_host, host_of, with_ascii_host
from balancekit.discovery._refresh import Refresh
from balancekit.discovery._resolution import Resolution
from balancekit.discovery._targets import MAX_LIST_BYTES, InvalidTargetsError, parse_targets
from balancekit.errors import ConfigurationError, brief

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["HttpSdResolver"]

READ_AT_ONCE: Final = 65_536
PORTS: Final = {"http": 80, "https": 443}
FOR_ALL: Final = ("Accept", "X-prometheus-refresh-interval-seconds")
"""The headers sent to any origin, as ``urllib`` spells them."""
TOO_LONG: Final = "the answer took too long"
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_SENDABLE: Final = re.compile(r"[!-~]*")
_BLANK: Final = re.compile(r"[\x00-\x20\x7f]")


@final
class HttpSdResolver:
    """The targets listed by a web service.

    Parameters
    ----------
    url
        An ``http://`` or ``https://`` URL, without user and password: pass an ``Authorization`` header instead.
    timeout
        Seconds for the whole request, > 0, with redirects, all addresses of a host, and handshakes. Only the host lookup by
        the system's resolver cannot be interrupted.
    headers
        Sent with each request, for example an ``Authorization``. Neither ``repr`` nor an error shows their values.
    tls
        The :class:`ssl.SSLContext` that checks certificates; the system's default if left out.
    interval
        Seconds between two requests; also sent in ``X-Prometheus-Refresh-Interval-Seconds``.

    Raises
    ------
    ConfigurationError
        If ``url`` is no such URL, a time is not > 0, a header cannot be sent, or ``tls`` is no
        ``SSLContext``.

    *When not to use it:* if the service is reached through a proxy only, or needs another method than GET. Pass a function that
    uses your client.

    Cost: one request per interval, on a new connection; parsing of the whole list.

    Example
    -------
    >>> from balancekit.discovery import HttpSdResolver
    >>> HttpSdResolver("https://sd.example/orders", headers={"Authorization": "Bearer s3cret"})
    <HttpSdResolver of 'https://sd.example/orders'>
    """

    @checked_call
    def __init__(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
        tls: SSLContext | None = None,
        interval: float = 30.0,
    ) -> None:
        if not _is_web_address(valid.text("url", url)):
            allowed = "an http:// or https:// URL, percent-encoded and without a password: use headers"
            raise ConfigurationError("url", without_secrets(url), allowed)
        limit = valid.seconds("timeout", timeout, above=0.0, long=valid.LONG_TIMEOUT_S)
        self._timeout = min(limit, valid.MAX_WAIT_S)
        self.refresh: Refresh = Refresh(interval=interval, timeout=self._timeout)
        sent = {
            "Accept": "application/json",
            "X-Prometheus-Refresh-Interval-Seconds": f"{self.refresh.interval:g}",
            **secret_headers({} if headers is None else headers),
        }
        self._request = urllib.request.Request(with_ascii_host(url), headers=sent)  # noqa: S310 - the scheme is checked above
        if tls is not None and not hasattr(tls, "wrap_socket"):
            raise ConfigurationError("tls", tls, "an ssl.SSLContext, or None")
        self._tls = tls
        self._last: Resolution | None = None

    def __repr__(self) -> str:
        return f"<HttpSdResolver of {without_secrets(self._request.full_url)!r}>"

    @classmethod
    def parse(cls, address: str, *, interval: str = "30") -> Self:
        """Make one from a URL."""
        try:
            seconds = float(interval)
        except ValueError:
            raise ConfigurationError("interval", interval, "seconds") from None
        return cls(address, interval=seconds)

    def resolve(self) -> Resolution:
        """Request the list from the service.

        Raises
        ------
        OSError
            If it cannot be reached, or answers with an error.
        InvalidTargetsError
            If the response is not a list of targets.
        """
        opened = _Opened(time.monotonic() + self._timeout)
        # No read timeout stops a head that arrives byte by byte; only closing the connection does.
        watchdog = threading.Timer(self._timeout, opened.cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            return self._answer(opened)
        except (HTTPException, OSError, ValueError, InvalidTargetsError) as error:
            if time.monotonic() >= opened.deadline:
                raise TimeoutError(TOO_LONG) from error
            if isinstance(error, OSError | InvalidTargetsError):
                raise
            # No HTTP, or a Location that is no URL.
            raise InvalidTargetsError(f"no answer that HTTP allows: {brief(error)}") from error
        finally:
            watchdog.cancel()

    def _answer(self, opened: _Opened) -> Resolution:
        opener = urllib.request.OpenerDirector()
        for handler in (
            _Http(opened),
            _Https(opened, self._tls),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(),
        ):
            opener.add_handler(handler)
        with cast("HTTPResponse", opener.open(self._request, timeout=self._timeout)) as response:
            if response.status != 200:
                raise InvalidTargetsError(f"status {response.status}, expected 200")
            kind = response.headers.get_content_type()
            if kind != "application/json":
                raise InvalidTargetsError(f"content type {brief(kind)}, expected application/json")
            lengths = set(response.headers.get_all("Content-Length", ()))
            if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
                raise InvalidTargetsError("no answer that HTTP allows: its Content-Length is not one number")
            self._last = parse_targets(_read(response, opened.deadline), before=self._last)
            return self._last


class _Opened:
    """The sockets of one request and its redirects, under one deadline."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._sockets: list[socket.socket] = []

    def left(self) -> float:
        """Return the remaining seconds.

        Raises
        ------
        TimeoutError
            If none are.
        """
        left = self.deadline - time.monotonic()
        if left <= 0.0:
            raise TimeoutError(TOO_LONG)
        return left

    def connect(self, place: tuple[str, int], *_options: object) -> socket.socket:
        """Connect to the first address of a host that accepts, within the remaining time for all of them."""
        error: OSError = OSError(f"no address for {place[0]!r}")
        found = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            try:
                one = socket.socket(family, kind, protocol)
            except OSError as caught:  # for example of a family that the kernel lacks
                error = caught
                continue
            try:
                one.settimeout(self.left())
                one.connect(address)
                one.settimeout(self.left())  # limits the handshake
            except OSError as caught:
                one.close()
                error = caught
            except BaseException:
                one.close()
                raise
            else:
                return one
        raise error

    def add(self, one: socket.socket) -> None:
        """Record a connected socket."""
        self._sockets.append(one)
        self.left()  # a socket connected after the deadline is not used

    def cut(self) -> None:
        """Shut the sockets down, which ends every wait for them."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler):
    """Connections over TCP whose sockets are recorded."""

    def __init__(self, opened: _Opened) -> None:
        super().__init__()
        self._opened = opened

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Open a connection whose socket is noted."""
        return self.do_open(partial(_noted, HTTPConnection, self._opened), req)


class _Https(urllib.request.HTTPSHandler):
    """Connections over TLS whose sockets are recorded."""

    def __init__(self, opened: _Opened, tls: SSLContext | None) -> None:
        super().__init__(context=tls)
        self._opened, self._tls = opened, tls

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Open a connection whose socket is noted."""
        return self.do_open(partial(_noted, HTTPSConnection, self._opened), req, context=self._tls)


def _noted(kind: type[HTTPConnection], opened: _Opened, *host: Any, **options: Any) -> HTTPConnection:
    connection = kind(*host, **options)
    connect = connection.connect

    def note() -> None:
        connect()
        opened.add(connection.sock)

    connection.connect = note  # type: ignore[method-assign]  # called by http.client when it sends
    connection._create_connection = opened.connect  # type: ignore[attr-defined]  # noqa: SLF001 - `connect` calls it
    return connection


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirect handler that keeps only the format's headers for another origin."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request that follows a redirect.

        Raises
        ------
        InvalidTargetsError
            If it leads from ``https`` to ``http`` or to another scheme, or has a password.
        """
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        if there.scheme not in PORTS or (here.scheme == "https" and there.scheme == "http"):
            raise InvalidTargetsError(
                f"a redirect from {here.scheme}: to {brief(there.scheme)}, which is not followed"
            )
        if "@" in there.netloc:
            raise InvalidTargetsError("a redirect with a user or password, which is not followed")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and _origin(here) != _origin(there):
            following.headers = {name: value for name, value in following.headers.items() if name in FOR_ALL}
        return following


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        rest = parts._replace(scheme="", netloc="").geturl()
        host = ascii_host(host_of(parts))
        known = parts.scheme in PORTS and host is not None and parts.port != 0 and "@" not in parts.netloc
        return known and _SENDABLE.fullmatch(rest) is not None and _BLANK.search(url) is None
    except ValueError:  # brackets without an address, or an invalid port
        return False


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of a URL; the port defaults to that of the scheme."""
    return url.scheme, url.hostname, url.port or PORTS.get(url.scheme)


def _read(response: HTTPResponse, deadline: float) -> bytes:
    """Read a whole response, up to the size limit and the deadline."""
    parts: list[bytes] = []
    size = 0
    while data := response.read1(READ_AT_ONCE):
        parts.append(data)
        size += len(data)
        if size > MAX_LIST_BYTES:
            raise InvalidTargetsError(f"more than {MAX_LIST_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError(TOO_LONG)
    if response.length:
        raise InvalidTargetsError(f"{response.length} bytes of the answer are missing")
    return b"".join(parts)
