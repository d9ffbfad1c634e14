"""What the two balanced transports for httpx2 share: everything but sending and waiting.

Which requests are the service's, the inner transport of an endpoint, the request as the endpoint gets it, and its answer as
the client gets it.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Generic, TypeVar, Unpack

from balancekit._support.display import ConstructorRepr
from balancekit._support.extras import extra

with extra("httpx2"):
    import httpcore2  # noqa: F401 - httpx2 imports it for a first request; a child forked meanwhile would wait for ever
    import httpx2

from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.functions import plain_function
from balancekit._support.interrupts import raise_interrupt
from balancekit.adapters._call import Call, begin_call
from balancekit.adapters._config import AdapterConfig, AdapterOptions
from balancekit.adapters._exchange import Answer
from balancekit.adapters._httpx2_bodies import watch_decoding
from balancekit.adapters._httpx2_requests import UnusableEndpointError, is_url, rewritten
from balancekit.adapters._target import Address, address_of
from balancekit.adapters._transports import TransportPool
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.protocols import ObservableBalancer

__all__ = ["TransportBase"]

InnerTransport = TypeVar("InnerTransport", httpx2.BaseTransport, httpx2.AsyncBaseTransport)

_OTHER_CLIENT: Final = (
    "this transport is for clients of httpx2; for one of {0} import it from balancekit.adapters.{0}"
)


class TransportBase(ConstructorRepr, ABC, Generic[InnerTransport]):
    """The parts of a balanced transport that do not wait.

    Parameters and errors are those of ``BalancedTransport``.
    """

    _sends: ClassVar[str]
    """The method by which an inner transport sends."""

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        *,
        transport_factory: Callable[[Endpoint[Any]], InnerTransport] | None = None,
        fallback: InnerTransport | None = None,
        verify: ssl.SSLContext | None = None,
        drain_timeout: float = 30.0,
        **options: Unpack[AdapterOptions],
    ) -> None:
        self._config = AdapterConfig(balancer, **options)
        if transport_factory is not None:
            plain_function("transport_factory", transport_factory, "a function of an endpoint")
        if verify is not None and not isinstance(verify, ssl.SSLContext):
            raise ConfigurationError("verify", verify, "an ssl.SSLContext")
        self._verify = verify
        self._fallback: InnerTransport | None = (
            None if fallback is None else self._inner("fallback", fallback)
        )
        self._lock = new_lock()
        self._factory: Callable[[Endpoint[Any]], InnerTransport] | None = transport_factory
        self._gives_fallback = fallback is not None
        self._pool: TransportPool[InnerTransport] = TransportPool(
            balancer, self._made, drain_timeout, self._config.clock
        )
        call_in_child(self)

    def after_fork(self) -> None:
        """Make a fallback of its own in a forked child, as the pool does; one that was given is the caller's."""
        if not self._gives_fallback:
            self._fallback = None

    def _made(self, endpoint: Endpoint[Any]) -> InnerTransport:
        if self._factory is None:
            return self._default(endpoint)
        return self._inner("transport_factory", self._factory(endpoint))

    def _inner(self, name: str, value: InnerTransport) -> InnerTransport:
        """Return an inner transport that can send as this one does."""
        if not hasattr(value, self._sends):
            raise ConfigurationError(name, value, f"a transport with {self._sends}")
        return value

    def _default(self, endpoint: Endpoint[Any] | None) -> InnerTransport:
        """Make a transport; for all of them there is one SSL context."""
        with self._lock:
            if self._verify is None:
                self._verify = httpx2.create_ssl_context()
        socket = None if endpoint is None else address_of(endpoint.target).socket
        return self._make(self._verify, socket)

    @abstractmethod
    def _make(self, verify: ssl.SSLContext, socket: str | None) -> InnerTransport:
        """Make an inner transport."""

    def _passes(self, request: httpx2.Request) -> bool:
        if not isinstance(request, httpx2.Request):
            raise TypeError(_OTHER_CLIENT.format(type(request).__module__.partition(".")[0]))
        url = request.url
        return not self._config.matcher.matches(url.raw_host.decode("ascii"), url.port, url.scheme)

    def _other(self) -> InnerTransport:
        """Return the transport of requests that are for other hosts."""
        if self._fallback is None:
            self._fallback = self._default(None)
        return self._fallback

    def _call(self, request: httpx2.Request) -> Call:
        call = begin_call(self._config, request, request.extensions.get("balancekit"))
        call.opening = self._pool.opening
        return call

    def _next(self, request: httpx2.Request, call: Call) -> tuple[InnerTransport, Address, httpx2.Request]:
        """Return the transport of the next attempt, its address, and the request as the endpoint gets it."""
        url = request.url
        try:
            route = self._pool.of(call.lease)
        except Exception as error:
            raise_interrupt()
            raise UnusableEndpointError(call.unusable(error), request=request) from error
        where = route.address
        name = request.extensions.get("sni_hostname")
        if (where.scheme or url.scheme) != "https":
            name = None
        elif name is None:
            name = self._config.matcher.server_name(
                where, logical=url.raw_host.decode("ascii").removesuffix(".")
            )
        inner = route.transports.get(name)
        if inner is None:
            try:
                inner = self._pool.open(route, name)
            except Exception as error:
                raise_interrupt()
                raise UnusableEndpointError(call.unusable(error), request=request) from error
        try:
            return inner, where, rewritten(request, where, name, call, self._config)
        except httpx2.InvalidURL as error:
            if is_url(where.base(url.scheme)):  # with the path of the request it is too long
                raise
            raise UnusableEndpointError(call.unusable(error), request=request) from error

    def _answer(
        self, response: httpx2.Response, where: Address, sent: httpx2.Request
    ) -> Answer[httpx2.Response]:
        """Return what the exchange reads of an answer; an endpoint's own cookies are kept."""
        jars = self._config.jars
        if jars is not None:
            lines = response.headers.get_list("Set-Cookie")
            if lines:
                jars.keep(where, str(sent.url), sent.headers, lines)
                del response.headers["Set-Cookie"]
        return Answer(response, response.status_code, response.headers, where)

    def _hand_over(self, request: httpx2.Request, response: httpx2.Response, call: Call) -> httpx2.Response:
        """Make the endpoint's answer the service's."""
        response.extensions["balancekit"] = call.begun()
        fields = {name.lower(): value for name, value in response.headers.raw}
        if response.is_closed or _has_no_body(request, response, fields):  # it need not be read
            call.whole()
        elif b"content-encoding" in fields:
            watch_decoding(response, call)
        if self._config.rewrite_location:
            location = response.headers.get("Location")
            if location is not None:
                url = request.url
                logical = f"{url.scheme}://{url.netloc.decode('ascii')}"
                back = self._config.matcher.logical_location(location, logical=logical)
                if back != location:
                    response.headers["Location"] = back
        return response


def _has_no_body(request: httpx2.Request, response: httpx2.Response, fields: Mapping[bytes, bytes]) -> bool:
    """Return whether an answer ends with its head (RFC 9112, 6.3)."""
    if request.method == "HEAD" or response.status_code in (204, 304):
        return True
    return fields.get(b"content-length") == b"0" and b"transfer-encoding" not in fields
