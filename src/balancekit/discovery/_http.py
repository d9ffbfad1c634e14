"""Resolver of a Prometheus ``http_sd`` list.

Only a complete answer with status 200 and content type ``application/json`` counts; everything else is a failure and
the last good list stays in use. Proxies named in the environment are not used, as in Prometheus. Redirects are followed
to ``http`` and ``https`` only and never from ``https`` to ``http``; to another origin they are followed without the
headers of the user, which may be credentials (RFC 9110 section 15.4).
"""

from __future__ import annotations

import contextlib
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
from balancekit._support.headers import secret_headers
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
"""The headers that any origin gets, as ``urllib`` writes them."""
_REFRESH: Final = Refresh()


@final
class HttpSdResolver:
    """The targets that a web service lists.

    Parameters
    ----------
    url
        ``http://`` or ``https://``.
    timeout
        Seconds for the whole answer, > 0.
    headers
        Sent with each question, for example an ``Authorization``. Neither ``repr`` nor an error shows their values.
    tls
        How to check certificates; the system's way if left out.
    interval
        What the service is told in ``X-Prometheus-Refresh-Interval-Seconds``, and how often it is asked.
    """

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
            raise ConfigurationError("url", url, "an http:// or https:// URL")
        self._timeout = valid.number("timeout", timeout, above=0.0)
        self.refresh: Refresh = Refresh(interval=interval, timeout=self._timeout)
        sent = {
            "Accept": "application/json",
            "X-Prometheus-Refresh-Interval-Seconds": f"{self.refresh.interval:g}",
            **secret_headers({} if headers is None else headers),
        }
        self._request = urllib.request.Request(url, headers=sent)  # noqa: S310 - the scheme is checked above
        self._tls = tls

    @classmethod
    def parse(cls, address: str, *, interval: str = "30") -> Self:
        """Make one from a URL."""
        try:
            return cls(address, interval=float(interval))
        except ValueError as error:
            raise ConfigurationError("source", address, f"usable settings ({error})") from error

    def resolve(self) -> Resolution:
        """Ask the service.

        Raises
        ------
        OSError
            If it cannot be asked, or answers with an error.
        InvalidTargetsError
            If the answer is no list of targets.
        """
        deadline = time.monotonic() + self._timeout
        opened: list[socket.socket] = []
        # A head that comes letter by letter is read as long as letters come; only its connection can be cut.
        watchdog = threading.Timer(self._timeout, _cut, [opened])
        watchdog.daemon = True
        watchdog.start()
        try:
            return self._answer(deadline, opened)
        except (HTTPException, OSError, ValueError, InvalidTargetsError) as error:
            if time.monotonic() >= deadline:
                raise TimeoutError("the answer took too long") from error
            if isinstance(error, OSError | InvalidTargetsError):
                raise
            # No HTTP, or a Location that is no URL.
            raise InvalidTargetsError(f"no answer that HTTP allows: {brief(error)}") from error
        finally:
            watchdog.cancel()

    def _answer(self, deadline: float, opened: list[socket.socket]) -> Resolution:
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
                raise InvalidTargetsError(f"content type {kind}, expected application/json")
            return parse_targets(_read(response, deadline))


class _Http(urllib.request.HTTPHandler):
    """Connections over TCP whose sockets are noted."""

    def __init__(self, opened: list[socket.socket]) -> None:
        super().__init__()
        self._opened = opened

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Ask by a connection whose socket is noted."""
        return self.do_open(partial(_noted, HTTPConnection, self._opened), req)


class _Https(urllib.request.HTTPSHandler):
    """Connections over TLS whose sockets are noted."""

    def __init__(self, opened: list[socket.socket], tls: SSLContext | None) -> None:
        super().__init__(context=tls)
        self._opened, self._tls = opened, tls

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Ask by a connection whose socket is noted."""
        return self.do_open(partial(_noted, HTTPSConnection, self._opened), req, context=self._tls)


def _noted(
    kind: type[HTTPConnection], opened: list[socket.socket], *host: Any, **options: Any
) -> HTTPConnection:
    connection = kind(*host, **options)
    connect = connection.connect

    def note() -> None:
        connect()
        opened.append(connection.sock)

    connection.connect = note  # type: ignore[method-assign]  # called by http.client when it sends
    return connection


def _cut(opened: list[socket.socket]) -> None:
    for one in opened:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects that lead to another origin lose every header but those of the format."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request that follows a redirect.

        Raises
        ------
        InvalidTargetsError
            If it leads from ``https`` to ``http``, or to neither.
        """
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        if there.scheme not in PORTS or (here.scheme == "https" and there.scheme == "http"):
            raise InvalidTargetsError(
                f"a redirect from {here.scheme}: to {brief(there.scheme)}, which is not followed"
            )
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and _origin(here) != _origin(there):
            following.headers = {name: value for name, value in following.headers.items() if name in FOR_ALL}
        return following


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an address, or a port that is none
        return False


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of a URL; the port is that of the scheme if none is written."""
    return url.scheme, url.hostname, url.port or PORTS.get(url.scheme)


def _read(response: HTTPResponse, deadline: float) -> bytes:
    """Read a whole answer, not more than is sensible and not longer than is allowed."""
    parts: list[bytes] = []
    size = 0
    while data := response.read1(READ_AT_ONCE):
        parts.append(data)
        size += len(data)
        if size > MAX_LIST_BYTES:
            raise InvalidTargetsError(f"more than {MAX_LIST_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("the answer took too long")
    if response.length:
        raise InvalidTargetsError(f"{response.length} bytes of the answer are missing")
    return b"".join(parts)
