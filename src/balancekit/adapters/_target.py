"""HTTP targets: the address of an endpoint, and its own headers.

A target is a string or an :class:`HttpTarget`::

    10.0.0.1:8080                    the scheme of the request
    https://api.example.com/v1       its own scheme, and a prefix for every path
    unix:/run/orders.sock            a socket

*Names.* With ``authority="auto"``, requests carry the *logical* name if the endpoint's address is a number or a socket
(pods behind one service), and the endpoint's own name if it has one (vendors, regions). The certificate is
always checked against the name in the request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final, final
from urllib.parse import SplitResult, unquote, urlsplit

from balancekit._support import validation as valid
from balancekit._support.headers import HEADER_NAME, secret_headers, without_secrets
from balancekit._support.record import Record, field
from balancekit._support.text import ascii_host, host_of
from balancekit.errors import ConfigurationError

__all__ = ["HEADER_NAME", "Address", "HttpTarget", "address_of"]

SCHEMES: Final = ("http", "https")
PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})
ALLOWED: Final = "'host:port', 'http(s)://host:port/prefix' or 'unix:/path', without a query"

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_BLANK: Final = re.compile(r"[\x00-\x20\x7f]")
_PATH: Final = re.compile(r"(?:/(?:[!$&'()*+,\-./0-9:;=@A-Z_a-z~]|%[0-9A-Fa-f]{2})*)?")
"""Path characters of RFC 3986."""


class HttpTarget(Record):
    """A target with more than an address: headers, an authority or a TLS name of its own.

    Parameters
    ----------
    url
        The address: ``host:port``, a URL with a prefix for every path, or ``unix:/path``.
    headers
        Sent to this endpoint and to no other: API keys. They replace the caller's of the same name, and no repr, log
        or error of this library shows their values.
    authority
        The value of ``Host``; ``None`` for the rule of the adapter.
    server_name
        The name to send in the TLS handshake, and to check the certificate against; ``None`` for the authority.

    Raises
    ------
    ConfigurationError
        For a wrong address, or a header that cannot be sent: a key with the line end of its file, for one. The error
        does not show it; that of a client would.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> from balancekit.adapters import HttpTarget
    >>> Endpoint("key-a", HttpTarget(url="https://api.example.com/v1", headers={"Authorization": "Bearer s3cret"})).target
    HttpTarget(url='https://api.example.com/v1', headers={'Authorization': '***'})
    """

    url: str = field(kw_only=False)
    headers: Mapping[str, str] = _NO_HEADERS
    authority: str | None = None
    server_name: str | None = None

    def _check(self) -> None:
        self.__dict__["headers"] = secret_headers(self.headers)
        valid.text("url", self.url)
        for name in ("authority", "server_name"):
            value = getattr(self, name)
            if value is not None and not _is_authority(valid.text(name, value)):
                raise ConfigurationError(
                    name, value, "a host name in ASCII (A-labels), with or without a port"
                )
        address_of(self)

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        shown = [f"url={self.url!r}"]
        if self.headers:
            shown.append(f"headers={dict.fromkeys(self.headers, '***')!r}")
        names = {"authority": self.authority, "server_name": self.server_name}
        shown += [f"{name}={value!r}" for name, value in names.items() if value is not None]
        return f"HttpTarget({', '.join(shown)})"


@final
class Address:
    """A target, taken apart once."""

    __slots__ = (
        "__weakref__",
        "_base",
        "authority",
        "headers",
        "host",
        "name",
        "netloc",
        "own_authority",
        "port",
        "prefix",
        "scheme",
        "server_name",
        "socket",
    )

    def __init__(self, target: HttpTarget) -> None:
        self.headers: tuple[tuple[str, str], ...] = tuple(target.headers.items())
        self.socket: str | None = None
        """The path of a Unix socket."""
        self.scheme: str | None = None
        """``None`` for that of the request."""
        self.host: str = ""
        """Without brackets; empty for a socket."""
        self.port: int | None = None
        self.netloc: str = ""
        """Host and port as they stand in a URL."""
        self.name: str = ""
        """The host as others know it: without the dot of the root, and without the zone of an address (RFC 6874, 4)."""
        self.own_authority: str = ""
        """The name, and the port."""
        self.prefix: str = ""
        """Of every path, without a slash at its end."""
        if target.url.startswith("unix:"):
            self.socket = target.url.removeprefix("unix:").removeprefix("//")
            if not self.socket.startswith("/") or "\0" in self.socket:
                raise _no_target(target.url)
        else:
            self._locate(target.url)
        self._base: str = f"{self.scheme or ''}://{self.netloc or 'localhost'}{self.prefix}"
        self.authority: str | None = target.authority or (None if self._is_number() else self.own_authority)
        """What ``Host`` says; ``None`` for the logical name."""
        self.server_name: str | None = target.server_name or (
            _bare(self.authority) if self.authority is not None else None
        )
        """The name in the TLS handshake; ``None`` for the logical name."""

    def _locate(self, url: str) -> None:
        try:
            parts = urlsplit(url if "://" in url else f"//{url}")
            self.port, written = parts.port, host_of(parts)
        except ValueError:
            parts, written = SplitResult("", "", "", "", ""), ""
        host = ascii_host(written)
        wrong = parts.query or parts.fragment or "@" in parts.netloc or self.port == 0 or _BLANK.search(url)
        if (
            host is None
            or wrong
            or (parts.scheme and parts.scheme not in SCHEMES)
            or not _is_path(parts.path)
        ):
            raise _no_target(url)
        self.scheme = parts.scheme or None
        self.host = host + "." if written.endswith(".") else host  # which keeps resolvers from search domains
        self.netloc = _netloc(self.host, self.port)
        self.name = host.partition("%")[0]
        self.own_authority = _netloc(self.name, self.port)
        self.prefix = parts.path.rstrip("/")

    def _is_number(self) -> bool:
        if self.socket is not None:
            return True
        try:
            ip_address(self.name)
        except ValueError:
            return False
        return True

    def base(self, scheme: str) -> str:
        """Return what every URL begins with, for a request of a scheme."""
        return self._base if self.scheme is not None else scheme + self._base


def address_of(target: object) -> Address:
    """Take a target apart.

    Raises
    ------
    ConfigurationError
        If it is neither an address nor an HttpTarget.

    Example
    -------
    >>> address_of("https://api.example.com/v1").prefix
    '/v1'
    >>> address_of("10.0.0.1:80").base("http")
    'http://10.0.0.1:80'
    """
    if isinstance(target, HttpTarget):
        return Address(target)
    if isinstance(target, str) and target:
        return Address(HttpTarget(url=target))
    raise ConfigurationError("target", target, f"{ALLOWED}, or an HttpTarget")


def _netloc(host: str, port: int | None) -> str:
    """Return host and port as they stand in a URL."""
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def _is_path(path: str) -> bool:
    """Return whether a prefix is percent-encoded, and leads nowhere else by dot segments (RFC 3986, 5.2.4)."""
    segments = unquote(path).replace("\\", "/").split("/")
    return _PATH.fullmatch(path) is not None and not {".", ".."} & set(segments)


def _no_target(url: str) -> ConfigurationError:
    """Return the error for an address, without the password that may be in it."""
    return ConfigurationError("target", without_secrets(url), ALLOWED)


def _is_authority(text: str) -> bool:
    """Return whether a text is host and port as a header can say them."""
    try:
        parts = urlsplit(f"//{text}")
        host = host_of(parts)
        known = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        known and text.isascii() and parts.netloc == text and "@" not in text and ascii_host(host) is not None
    )


def _bare(authority: str) -> str:
    """Return the host of an authority, without port and brackets."""
    return urlsplit(f"//{authority}").hostname or authority
