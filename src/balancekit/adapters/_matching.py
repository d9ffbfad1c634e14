"""Matching of URLs with a service, and the names that endpoints are addressed by.

Cost: a comparison of host names; a redirect to another authority costs a walk over the endpoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, final
from urllib.parse import SplitResult, urlsplit

from balancekit._support import validation as valid
from balancekit._support.text import ascii_host, host_of, plain
from balancekit.adapters._target import PORTS, Address, address_of
from balancekit.errors import ConfigurationError
from balancekit.protocols import ObservableBalancer

__all__ = ["ServiceMatcher"]

AUTHORITIES: Final = ("auto", "logical", "endpoint")


@final
class ServiceMatcher:
    """The service of an adapter.

    Parameters
    ----------
    service
        Host, or host and port, of the URLs to balance; ``None`` for all URLs.
    authority
        Which name endpoints are addressed by: ``"auto"``, ``"logical"`` or ``"endpoint"``.
    balancer
        Its endpoints are searched when a redirect names one of them.

    Raises
    ------
    ConfigurationError
        For a service that is no host, or an unknown authority.
    """

    __slots__ = ("_authority", "_balancer", "_hostname", "_port")

    def __init__(self, service: object, authority: str, balancer: ObservableBalancer[Any]) -> None:
        self._hostname, self._port = _service(service)
        if not isinstance(authority, str) or (authority := plain(authority)) not in AUTHORITIES:
            raise ConfigurationError("authority", authority, f"one of {', '.join(AUTHORITIES)}")
        self._authority = authority
        self._balancer = balancer

    def matches(self, host: str, port: int | None, scheme: str) -> bool:
        """Return whether a URL names the service; its host is in A-labels."""
        if self._hostname is None:
            return True
        if host != self._hostname and host.lower().removesuffix(".") != self._hostname:
            return False
        return self._port is None or self._port == (PORTS.get(scheme) if port is None else port)

    @contextmanager
    def passing(self, host: str) -> Iterator[None]:
        """Note on an error of a request that is for another host that it was not balanced."""
        try:
            yield
        except Exception as error:
            error.add_note(
                f"balancekit: {host!r} is not the service {self._hostname!r}, so this request was not balanced"
            )
            raise

    def host_header(self, address: Address, *, logical: str) -> str:
        """Return the ``Host`` header for an address."""
        if self._authority == "logical":
            return logical
        if self._authority == "endpoint":
            return address.authority or address.own_authority or logical
        return address.authority or logical

    def server_name(self, address: Address, *, logical: str) -> str:
        """Return the name that the certificate must have."""
        if self._authority == "logical":
            return logical
        if self._authority == "endpoint":
            return address.server_name or address.name or logical
        return address.server_name or logical

    def logical_location(self, location: str, *, logical: str) -> str:
        """Return the target of a redirect, with the logical address in place of an endpoint's.

        Parameters
        ----------
        location
            The header of the answer.
        logical
            Scheme and authority of the request, ``http://orders``.
        """
        try:
            there = urlsplit(location)
        except ValueError:
            return location  # no URL: the caller gets it as it is
        scheme = there.scheme or logical.partition(":")[0]
        wanted = _place(there, scheme)
        if wanted is None:
            return location
        for endpoint in self._balancer.endpoints:
            try:
                known = address_of(endpoint.target)
            except ConfigurationError:
                continue
            place = ascii_host(known.host) or "", known.port or PORTS[known.scheme or scheme]
            if (known.scheme or scheme) == scheme and place == wanted:
                rest = there._replace(scheme="", netloc="").geturl()
                inside = known.prefix and (rest + "/").startswith(f"{known.prefix}/")
                return logical + (rest.removeprefix(known.prefix) if inside else rest)
        return location


def _place(url: SplitResult, scheme: str) -> tuple[str, int] | None:
    """Return host and port of a URL, that of the scheme if none is written; ``None`` if no endpoint can be meant."""
    try:
        port = url.port or PORTS.get(scheme)
    except ValueError:
        return None
    host = ascii_host(host_of(url))
    return None if not host or port is None or "@" in url.netloc else (host, port)


def _service(name: object) -> tuple[str | None, int | None]:
    if name is None:
        return None, None
    allowed = "a host such as 'orders', or host and port"
    text = valid.text("service", name)
    try:
        parts = urlsplit(f"//{text}")
        host, port = host_of(parts), parts.port
    except ValueError:
        raise ConfigurationError("service", name, allowed) from None
    known = ascii_host(host)
    if known is None or parts.path or parts.query or parts.fragment or "@" in text or port == 0:
        raise ConfigurationError("service", name, allowed)
    return known, port
