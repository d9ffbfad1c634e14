"""Probes: TCP connect, HTTP status and body, and reported dependencies.

Each check is a value that holds the address, the request and the evaluation of the response; the runners do the I/O.
The address is the endpoint's target, if that is ``"host:port"`` or a URL, or the result of the ``address`` that you
pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from balancekit._support import validation as valid
from balancekit._support.functions import plain_function
from balancekit._support.headers import secret_headers
from balancekit._support.record import Record, field
from balancekit._support.text import ascii_host, host_of
from balancekit.checks._http import BadAnswerError, Response, get
from balancekit.checks._result import Peer, ProbeExchange, ProbeResult
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

__all__ = ["DeepCheck", "HttpCheck", "TcpCheck"]

WELL: Final = frozenset({"ok", "up", "pass", "passing", "healthy", "true"})
"""The status words of a healthy dependency (Spring, RFC draft health+json, Consul)."""
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_PORTS: Final = {"http": 80, "https": 443}

AddressOf = Callable[[Endpoint[Any]], str]


class TcpCheck(Record):
    """Passed if a connection is accepted.

    Parameters
    ----------
    address
        Returns ``"host:port"`` or a URL for an endpoint; its target if left out.

    Raises
    ------
    ConfigurationError
        If ``address`` is no plain function.

    *When not to use it:* alone, against a process that may hang; the operating system accepts connections for it.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> from balancekit.checks import TcpCheck
    >>> TcpCheck().peer(Endpoint("a", "10.0.0.1:8080"))[:2]
    ('10.0.0.1', 8080)
    """

    address: AddressOf | None = None

    def _check(self) -> None:
        _check_address(self.address)

    def peer(self, endpoint: Endpoint[object], /) -> Peer:
        """Return the address to connect to."""
        return _peer(_address(self.address, endpoint), None)

    def exchange(self, endpoint: Endpoint[object], /) -> ProbeExchange:
        """Return what to say: nothing."""
        return _Accepted()


class HttpCheck(Record):
    r"""Passed if a GET is answered with an expected status and, if configured, an expected body.

    Parameters
    ----------
    path
        Beginning with ``/``.
    statuses
        The expected statuses.
    body
        The text that the first 64 KiB of the body must contain; ``None`` accepts any body.
    headers
        Sent besides ``Host``, ``Connection`` and ``Accept``. Neither ``repr`` nor an error shows their values.
    host
        The ``Host`` header; host and port of the address if left out.
    address
        As for :class:`TcpCheck`. An ``https`` URL is checked over TLS.
    tls
        The :class:`ssl.SSLContext` to use for TLS; the system's default if left out.

    Raises
    ------
    ConfigurationError
        If ``path``, ``host`` or a header cannot be sent, a status is outside 200 to 599, or ``body`` is no
        text. If ``address`` is no plain function, or ``tls`` is no ``SSLContext``.

    *When not to use it:* if the answer depends on something that all endpoints share, such as a database. All endpoints would
    fail at once; use :class:`DeepCheck`.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> from balancekit.checks import HttpCheck
    >>> check = HttpCheck("/healthz", statuses={200}, body="ok")
    >>> check.exchange(Endpoint("a", "http://10.0.0.1:8080")).request.split(b"\r\n")[:2]
    [b'GET /healthz HTTP/1.1', b'Host: 10.0.0.1:8080']
    """

    path: str = field(default="/", kw_only=False)
    statuses: Collection[int] = range(200, 300)
    body: str | bytes | None = None
    headers: Mapping[str, str] = NO_HEADERS
    host: str | None = None
    address: AddressOf | None = None
    tls: Any = None

    def __repr__(self) -> str:
        return _shown(self)

    def _check(self) -> None:
        _check_http(self)
        if isinstance(self.body, str):
            valid.text("body", self.body, empty=True)
        elif self.body is not None and not isinstance(self.body, bytes):
            raise ConfigurationError("body", self.body, "a string, bytes or None")

    def peer(self, endpoint: Endpoint[object], /) -> Peer:
        """Return the address to connect to."""
        return _peer(_address(self.address, endpoint), self.tls)

    def exchange(self, endpoint: Endpoint[object], /) -> ProbeExchange:
        """Return what to say."""
        wanted = self.body.encode() if isinstance(self.body, str) else self.body
        return _Exchange(
            _request(self, endpoint), lambda answer: self._judge(answer, wanted), whole=bool(wanted)
        )

    def _judge(self, answer: Response, wanted: bytes | None) -> ProbeResult:
        if answer.status not in self.statuses:
            return ProbeResult(passed=False, detail=f"status {answer.status}")
        if wanted and wanted not in answer.body:
            return ProbeResult(passed=False, detail="the body does not contain what it should")
        return ProbeResult(passed=True, detail=f"status {answer.status}")


class DeepCheck(Record):
    r"""Passed if a GET is answered with JSON in which every named dependency is healthy.

    The response is an object that contains an object of dependencies. Each dependency is ``true``, a word such as
    ``"ok"``, ``"up"`` or ``"pass"``, or an object with such a ``status``. An endpoint that reports a failing
    dependency fails the check, *unless the same dependency fails on most endpoints*. Then the pool is degraded, and
    ejecting endpoints would not help (see :class:`SharedDependencies`).

    Parameters
    ----------
    path
        Beginning with ``/``.
    member
        The name of the object of dependencies.
    statuses
        Expected if all dependencies are healthy; if one is not, any status is accepted.
    headers, host, address, tls
        As for :class:`HttpCheck`.

    Raises
    ------
    ConfigurationError
        If ``path``, ``member``, ``host`` or a header cannot be sent, or a status is outside 200 to 599. If
        ``address`` is no plain function, or ``tls`` is no ``SSLContext``.

    *When not to use it:* if endpoints do not report their dependencies; use :class:`HttpCheck`.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> from balancekit.checks import DeepCheck
    >>> talk = DeepCheck().exchange(Endpoint("a", "10.0.0.1:8080"))
    >>> body = b'{"dependencies": {"db": "down", "cache": "ok"}}'
    >>> talk.receive(b"HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)).failing
    ('db',)
    """

    path: str = field(default="/health", kw_only=False)
    member: str = "dependencies"
    statuses: Collection[int] = range(200, 300)
    headers: Mapping[str, str] = NO_HEADERS
    host: str | None = None
    address: AddressOf | None = None
    tls: Any = None

    def __repr__(self) -> str:
        return _shown(self)

    def _check(self) -> None:
        _check_http(self)
        valid.text("member", self.member)

    def peer(self, endpoint: Endpoint[object], /) -> Peer:
        """Return the address to connect to."""
        return _peer(_address(self.address, endpoint), self.tls)

    def exchange(self, endpoint: Endpoint[object], /) -> ProbeExchange:
        """Return what to say."""
        return _Exchange(_request(self, endpoint), self._judge, whole=True)

    def _judge(self, answer: Response) -> ProbeResult:
        try:
            named = json.loads(answer.body)[self.member]
            failing = tuple(sorted([str(name) for name, status in named.items() if not _well(status)]))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            detail = f"status {answer.status}, and no object {self.member!r} of dependencies"
            return ProbeResult(passed=False, detail=detail)
        if failing:
            return ProbeResult(passed=False, detail=f"failing: {', '.join(failing)}", failing=failing)
        return ProbeResult(passed=answer.status in self.statuses, detail=f"status {answer.status}")


class _Accepted:
    """An exchange without a request; a connection is enough."""

    request = b""

    def receive(self, _data: bytes, /) -> ProbeResult:
        return ProbeResult(passed=True, detail="connected")


class _Exchange:
    """An exchange of one request and one response."""

    def __init__(self, request: bytes, judge: Callable[[Response], ProbeResult], *, whole: bool) -> None:
        self.request = request
        self._judge = judge
        self._whole = whole
        self._answer = Response()

    def receive(self, data: bytes, /) -> ProbeResult | None:
        try:
            self._answer.feed(data)
        except BadAnswerError as error:
            return ProbeResult(passed=False, detail=str(error), answered=False)
        if self._answer.ended or (self._answer.status and not self._whole):
            return self._judge(self._answer)
        return None


def _well(status: object) -> bool:
    if isinstance(status, dict):
        return _well(status.get("status"))
    return status is True or (isinstance(status, str) and status.lower() in WELL)


def _request(check: HttpCheck | DeepCheck, endpoint: Endpoint[object]) -> bytes:
    host = _netloc(_address(check.address, endpoint) if check.host is None else f"//{check.host}")
    return get(host, check.path, tuple(check.headers.items()))


def _address(address: AddressOf | None, endpoint: Endpoint[object]) -> str:
    found: object = endpoint.target if address is None else address(endpoint)
    if isinstance(found, str):
        return found if "//" in found else f"//{found}"
    raise ConfigurationError("address", found, 'a string such as "10.0.0.1:8080", or a URL')


_HOST_AND_PORT: Final = "host and port, or an http(s) URL"


def _netloc(address: str, parameter: str = "address") -> str:
    """Return the value of ``Host``: host and port of an address, the host in A-labels."""
    try:
        parts = urlsplit(address)
        host, port = ascii_host(host_of(parts)), parts.port
    except ValueError:
        host = port = None
    if host is None:
        raise ConfigurationError(parameter, address.removeprefix("//"), _HOST_AND_PORT)
    host = host.partition("%")[0]  # a zone is known here only (RFC 6874, 4)
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def _peer(address: str, tls: Any) -> Peer:
    try:
        parts = urlsplit(address)
        port, host = parts.port or _PORTS.get(parts.scheme), ascii_host(host_of(parts))
    except ValueError:
        raise ConfigurationError("address", address.removeprefix("//"), _HOST_AND_PORT) from None
    if host is None or port is None:
        raise ConfigurationError("address", address.removeprefix("//"), _HOST_AND_PORT)
    return Peer(host, port, _tls(tls) if parts.scheme == "https" else None)


def _tls(tls: Any) -> Any:
    return _default_tls() if tls is None else tls


@cache
def _default_tls() -> Any:
    """Return the TLS context of all checks without one of their own.

    Reading the system's certificates takes tens of milliseconds.
    """
    import ssl  # noqa: PLC0415 - it costs 10 ms, and most checks inside a network are plain

    return ssl.create_default_context()


def _check_address(address: object) -> None:
    if address is not None:
        plain_function("address", address, "a function from an endpoint to its address, or None")


def _shown(check: HttpCheck | DeepCheck) -> str:
    """Return the text of ``repr``, without the values of headers, which may be keys."""
    facts = {name: getattr(check, name) for name in check._fields}
    facts["headers"] = dict.fromkeys(check.headers, "***")
    return f"{type(check).__name__}({', '.join([f'{name}={value!r}' for name, value in facts.items()])})"


def _check_http(check: HttpCheck | DeepCheck) -> None:
    path = valid.text("path", check.path)
    if not path.startswith("/") or any(not " " < letter < "\x7f" for letter in path):
        raise ConfigurationError("path", path, "a path that begins with / and is percent-encoded")
    statuses: object = check.statuses
    if not isinstance(statuses, Collection) or isinstance(statuses, str | bytes) or not len(statuses):
        raise ConfigurationError("statuses", statuses, "a collection of HTTP statuses")
    for status in statuses:
        valid.integer("statuses", status, minimum=200, maximum=599)
    if check.host is not None:
        if set("/?#@") & set(valid.text("host", check.host)):
            raise ConfigurationError("host", check.host, _HOST_AND_PORT)
        _netloc(f"//{check.host}", "host")
    get("-", path, tuple(secret_headers(check.headers).items()))
    _check_address(check.address)
    if check.tls is not None and not hasattr(check.tls, "wrap_socket"):
        raise ConfigurationError("tls", check.tls, "an ssl.SSLContext, or None")
