"""Adapter for requests sessions: ``session.mount("http://orders/", BalancedAdapter(balancer))``.

Keep the slash at the end: without it ``http://orders.evil/`` would match as well. The session sees one service. The adapter
sends a copy of each request to an endpoint, over urllib3's pools, which are kept apart by address *and* by the name in
the certificate. A lease ends when the body has been read or closed, not when the headers arrive.

Cost: 40 to 50 microseconds a request where requests itself takes 300; ``benchmarks/adapters`` measures the ratio.
Needs the extra ``requests``, with urllib3 2.0 or later: older versions accept half a body as a whole one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NoReturn, Unpack, cast, final
from urllib.parse import SplitResult, urlsplit

from balancekit._support.display import ConstructorRepr
from balancekit._support.extras import extra

with extra("requests"):
    from requests import PreparedRequest, Response, exceptions
    from requests.adapters import HTTPAdapter
    from requests.structures import CaseInsensitiveDict
    from urllib3 import ProxyManager, Timeout

from balancekit._support import validation as valid
from balancekit._support.fork import call_in_child
from balancekit._support.log import log_change
from balancekit._support.signature import spelled
from balancekit.adapters._addresses import AddressCache, reachable
from balancekit.adapters._body_buffer import buffer_body
from balancekit.adapters._call import Call, begin_call
from balancekit.adapters._classification import Classification
from balancekit.adapters._config import AdapterConfig, AdapterOptions
from balancekit.adapters._exchange import Answer, Rules, carry_out, exchange
from balancekit.adapters._requests_bodies import BalancedResponse, check_deadline
from balancekit.adapters._requests_errors import (
    UnusableEndpointError,
    classify_attempt,
    in_memory,
    pieces,
    replayable,
    rewind,
    watched,
)
from balancekit.adapters._requests_network import bound_connections
from balancekit.adapters._target import PORTS, Address
from balancekit.adapters._time_left import limit_timeout
from balancekit.errors import ConfigurationError, UnavailableError
from balancekit.protocols import ObservableBalancer

__all__ = ["BalancedAdapter", "BalancedResponse"]

_INHERITED: Final[list[object]] = []
"""Pools of the parent, in a forked child: to close them would wait for locks that another thread may have held."""


class _Attempt(PreparedRequest):
    """The copy of a request that one endpoint gets."""

    original: PreparedRequest
    where: Address
    server_name: str | None


@spelled(AdapterOptions)
@final
class BalancedAdapter(ConstructorRepr, HTTPAdapter):
    """An adapter for ``requests.Session`` that sends each request to an endpoint of a balancer.

    Parameters
    ----------
    balancer
        Its targets are addresses or :class:`~balancekit.adapters.HttpTarget`; no Unix sockets.
    pool_connections
        The number of endpoints whose connections are kept, >= 1. Further endpoints get a new connection for each request.
    pool_maxsize
        The number of connections kept for each endpoint, >= 1: at least the number of threads.
    via_proxy
        Whether ``https`` requests may go through the session's proxies. Plain ones never do: the proxy would see the
        logical name and choose the host itself. If a proxy answers ``CONNECT`` with 502, 503 or 504, it cannot reach the
        endpoint, and the request goes to another.
    options
        :class:`~balancekit.adapters.AdapterOptions`: ``service``, ``attempts``, ``budget``, ``key``...

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer, or none of its targets is an address; ``pool_connections`` or ``pool_maxsize`` is no
        integer >= 1; ``via_proxy`` is no bool; or an option is not allowed (see
        :class:`~balancekit.adapters.AdapterOptions`).

    *Errors of requests* are the client's own: ``requests.ConnectionError`` from ``UnavailableError`` if no endpoint
    is eligible, and from ``ConfigurationError`` if the target of the last endpoint is not an address. There is no
    ``max_retries``: retries go elsewhere, see ``attempts``.

    *When not to use it:* in a program on asyncio, which a request would block; use the adapters of httpx2, httpx or aiohttp.

    Example
    -------
    >>> import requests
    >>> from balancekit import LoadBalancer
    >>> from balancekit.adapters.requests import BalancedAdapter
    >>> session = requests.Session()
    >>> session.mount("http://orders/", BalancedAdapter(LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"])))
    """

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        *,
        pool_connections: int = 256,
        pool_maxsize: int = 32,
        via_proxy: bool = False,
        **options: Unpack[AdapterOptions],
    ) -> None:
        self._config = AdapterConfig(balancer, **options)
        self._via_proxy = valid.flag("via_proxy", via_proxy)
        self._config.check(reachable)
        self._addresses = AddressCache(balancer)
        self._used = False
        super().__init__(
            pool_connections=valid.integer("pool_connections", pool_connections, minimum=1),
            pool_maxsize=valid.integer("pool_maxsize", pool_maxsize, minimum=1),
        )
        call_in_child(self)

    def after_fork(self) -> None:
        """Use no connection of the parent's in a forked child: what both write on it would be mixed up."""
        _INHERITED.append((self.poolmanager, dict(self.proxy_manager)))
        self.proxy_manager.clear()
        self.init_poolmanager(self._pool_connections, self._pool_maxsize)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a BalancedAdapter cannot be copied or pickled: mount a new one on each session")

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the signature is requests'
        timeout: Any = None,
        verify: Any = True,  # noqa: FBT002 - the same
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request to an endpoint, and to another if that fails and it may be."""
        self._used = True
        url = urlsplit(request.url or "")
        if not self._config.matcher.matches(url.hostname or "", url.port, url.scheme):
            with self._config.matcher.passing(url.hostname or ""):
                return super().send(request, stream, timeout, verify, cert, cast("Any", proxies))
        source = self._repeatable(request)
        call = begin_call(self._config, request)

        def send() -> Answer[Response]:
            if len(call.tried) > 1:
                rewind(source)
            where = self._address(call, request)
            attempt = self._rewritten(source, url, where, call)
            attempt.original = request
            allowed = proxies if self._via_proxy and (where.scheme or url.scheme) == "https" else None
            clipped = _clipped(timeout, call)
            try:
                response = HTTPAdapter.send(
                    self, attempt, stream, clipped, verify, cert, cast("Any", allowed)
                )
            except exceptions.InvalidProxyURL:
                raise
            except exceptions.InvalidURL as error:  # urllib3 knows no such host
                raise UnusableEndpointError(call.unusable(error), request=request) from error
            check_deadline(call, request, response)
            return Answer(response, response.status_code, response.headers, where)

        def hand_over(response: Response) -> Response:
            answer = self._hand_over(request, cast("BalancedResponse", response), call)
            if not stream and (request.hooks or {}).get("response"):
                _ = answer.content  # the session would read it after its hooks, of which one may raise
            return answer

        steps = exchange(call, source, _rules(request, source, call))
        return carry_out(call, steps, send, Response.close, hand_over)

    def _address(self, call: Call, request: PreparedRequest) -> Address:
        try:
            return self._addresses.of(call.lease.endpoint)
        except ConfigurationError as error:
            raise UnusableEndpointError(call.unusable(error), request=request) from error

    def _repeatable(self, request: PreparedRequest) -> PreparedRequest:
        """Return the request, or a copy whose body has been read ahead."""
        limit = self._config.buffer_body
        if not limit or replayable(request):
            return request
        copy = request.copy()
        body = buffer_body(pieces(request.body), limit)
        copy.body = cast("Any", body)
        if isinstance(body, bytes):
            copy.headers.pop("Transfer-Encoding", None)
            copy.headers["Content-Length"] = str(len(body))
        return copy

    def _rewritten(self, request: PreparedRequest, url: SplitResult, where: Address, call: Call) -> _Attempt:
        """Return the request as the endpoint gets it. The caller's stays as it is."""
        config, scheme = self._config, url.scheme
        attempt = _Attempt()
        attempt.__dict__.update(request.__dict__)
        attempt.where = where
        attempt.url = where.base(scheme) + request.path_url
        if not in_memory(request.body):
            attempt.body = cast("Any", watched(pieces(request.body), call))
        secure = (where.scheme or scheme) == "https"
        attempt.server_name = (
            config.matcher.server_name(where, logical=(url.hostname or "").removesuffix("."))
            if secure
            else None
        )
        attempt.headers = headers = cast("CaseInsensitiveDict[Any]", request.headers.copy())
        # The session adds it to redirects, for a proxy of the environment.
        headers.pop("Proxy-Authorization", None)
        headers.setdefault("Host", config.matcher.host_header(where, logical=_authority(url)))
        for name, value in where.headers:
            headers[name] = value
        if config.propagate_deadline is not None and call.deadline != math.inf:
            headers[config.propagate_deadline] = str(int(call.left() * 1000.0))
        if config.jars is not None:
            config.jars.carry(where, attempt.url, headers)
        return attempt

    def init_poolmanager(
        self,
        connections: int,
        maxsize: int,
        block: bool = False,  # noqa: FBT001, FBT002 - the signature is requests'
        **pool_kwargs: Any,
    ) -> None:
        """Make the connections such that deadlines cut them."""
        super().init_poolmanager(connections, maxsize, block, **pool_kwargs)
        bound_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Return the manager of a proxy, whose connections deadlines cut, except those by SOCKS."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if type(manager) is ProxyManager:
            bound_connections(manager)
        return manager

    def build_connection_pool_key_attributes(
        self,
        request: PreparedRequest,
        verify: Any,
        cert: Any = None,
    ) -> tuple[Any, Any]:
        """Keep connections apart by the name that the certificate must have, too."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if isinstance(request, _Attempt):
            if request.server_name is not None:
                pool["server_hostname"] = pool["assert_hostname"] = request.server_name
            if ":" in host["host"]:  # urllib3 takes zones in brackets only
                host["host"] = f"[{host['host']}]"
        return host, pool

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        """Make the endpoint's answer the service's: URL, request and cookies are the caller's."""
        if not isinstance(req, _Attempt):
            return super().build_response(req, resp)
        jars = self._config.jars
        if jars is not None:
            jars.keep(req.where, req.url or "", req.headers, resp.headers.getlist("Set-Cookie"))
            resp.headers.discard("Set-Cookie")
            del resp._original_response.msg["Set-Cookie"]  # where the session looks
        response = BalancedResponse()
        response.__dict__.update(super().build_response(req.original, resp).__dict__)
        return response

    def _hand_over(self, request: PreparedRequest, response: BalancedResponse, call: Call) -> Response:
        response._call = call
        response.balancekit = call.begun()
        if self._config.rewrite_location and "Location" in response.headers:
            url = urlsplit(request.url or "")
            logical = f"{url.scheme}://{_authority(url)}"
            location = self._config.matcher.logical_location(response.headers["Location"], logical=logical)
            response.headers["Location"] = location
        response._watch(call)
        raw = response.raw
        if raw.length_remaining == 0:
            # There is no body to read; the session may fail before it looks.
            if (
                raw.chunked and request.method != "HEAD"
            ):  # a 204 or 304, after which urllib3 would wait for chunks
                call.whole()
                raw.close()
            raw.drain_conn()
        return response

    def close(self) -> None:
        """Close all connections, and log a warning if there was no request.

        requests never uses an adapter mounted without a scheme.
        """
        super().close()
        if not self._used:
            log_change(
                "an adapter was closed without a request; mount it as 'http://NAME/', with scheme and slash",
                bad=True,
            )


def _authority(url: SplitResult) -> str:
    """Return what ``Host`` says of a URL: neither a user and password, nor the port that the scheme means anyway."""
    host = url.netloc.rpartition("@")[2]
    return host.removesuffix(f":{PORTS[url.scheme]}") if url.scheme in PORTS else host


def _rules(request: PreparedRequest, source: PreparedRequest, call: Call) -> Rules:
    """Return what the exchange needs to know of the client's classes; errors show the caller's request."""

    def classify(error: BaseException) -> Classification:
        if isinstance(error, exceptions.RequestException):
            error.request = request
        return classify_attempt(error, source, call)

    def no_endpoint(error: UnavailableError) -> exceptions.ConnectionError:
        return exceptions.ConnectionError(str(error), request=request)

    return Rules(classify, replayable, no_endpoint)


def _clipped(timeout: Any, call: Call) -> Any:
    """Return a time-out that ends no later than the call's deadline."""
    if call.deadline == math.inf:
        return timeout
    if isinstance(timeout, tuple):
        return tuple(_limited(part, call) for part in timeout)
    if isinstance(timeout, Timeout):
        begun = timeout.clone()
        begun.start_connect()  # its read time-out is known from then on
        resolve = Timeout.resolve_default_timeout
        return Timeout(
            total=None if timeout.total is None else _limited(resolve(timeout.total), call),
            connect=_limited(resolve(begun.connect_timeout), call),
            read=_limited(resolve(begun.read_timeout), call),
        )
    return _limited(timeout, call)


def _limited(timeout: Any, call: Call) -> Any:
    """Return one time-out, in seconds or none, within the deadline; what is neither is left to requests to refuse."""
    return limit_timeout(timeout, call) if timeout is None or isinstance(timeout, int | float) else timeout
