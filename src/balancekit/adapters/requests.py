"""Adapter for requests sessions: ``session.mount("http://orders/", BalancedAdapter(balancer))``.

Mind the slash at the end: without it ``http://orders.evil/`` would match as well. The session sees one service; the adapter
sends a copy of each request to an endpoint, over urllib3's pools, which are kept apart by address *and* by the name that
the certificate must have. A lease ends when the body has been read or closed, not when the headers arrive.

Cost: 40 to 50 microseconds a request where requests itself takes 300; ``benchmarks/adapters`` measures the ratio.
Needs the extra ``requests``: urllib3 2.0 or later, for older ones take half a body for a whole one.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Final, Unpack, cast, final
from urllib.parse import SplitResult, urlsplit
from weakref import ref

from balancekit._support.extras import extra

with extra("requests"):
    import urllib3.exceptions
    from requests import PreparedRequest, Response, exceptions
    from requests.adapters import HTTPAdapter
    from requests.structures import CaseInsensitiveDict
    from requests.utils import rewind_body

from balancekit._support import validation as valid
from balancekit._support.signature import spelled
from balancekit.adapters._addresses import AddressCache, reachable
from balancekit.adapters._body_buffer import buffer_body
from balancekit.adapters._call import Call, CallInfo, begin_call
from balancekit.adapters._classification import (
    CANCELLED,
    UNDECODABLE,
    UNUSABLE,
    Classification,
    RetryScope,
    classify_foreign,
)
from balancekit.adapters._config import AdapterConfig, AdapterOptions
from balancekit.adapters._target import Address
from balancekit.errors import ConfigurationError, UnavailableError
from balancekit.outcome import Outcome
from balancekit.protocols import ObservableBalancer

__all__ = ["BalancedAdapter", "BalancedResponse"]

DEADLINE_PASSED: Final = "the deadline of the call has passed"
PIECE: Final = 65_536
"""Bytes of a file that are read at a time."""
_UNSENT: Final = Classification(Outcome.CONNECT_FAILED, RetryScope.UNSENT, "connect")
_BROKEN: Final = Classification(Outcome.FAILURE, RetryScope.IDEMPOTENT, "disconnect")
_OURS: Final = Classification(Outcome.IGNORED)


class UnusableEndpointError(exceptions.ConnectionError):
    """An endpoint without an address."""


_BY_ERROR: Final[tuple[tuple[type[Exception], Classification], ...]] = (
    (UnusableEndpointError, UNUSABLE),
    (exceptions.ProxyError, _OURS),
    (exceptions.ConnectTimeout, _UNSENT),
    (exceptions.SSLError, _UNSENT),
    (exceptions.Timeout, Classification(Outcome.TIMEOUT, RetryScope.IDEMPOTENT, "timeout")),
    (exceptions.ConnectionError, _BROKEN),
    (exceptions.ChunkedEncodingError, _BROKEN),
    (urllib3.exceptions.ReadTimeoutError, Classification(Outcome.TIMEOUT, RetryScope.IDEMPOTENT, "timeout")),
    (urllib3.exceptions.HTTPError, _BROKEN),
    (exceptions.ContentDecodingError, UNDECODABLE),
    (exceptions.RequestException, _OURS),  # a wrong URL, a wrong header, a body that cannot be decoded
)


def classify_error(error: BaseException, request: PreparedRequest) -> Classification:
    """Classify what an error means for the endpoint, and for the request."""
    if not isinstance(error, Exception):
        return CANCELLED
    if isinstance(error, exceptions.ConnectionError) and error.args:
        reason = getattr(error.args[0], "reason", None)  # of urllib3's MaxRetryError: no connection was made
        if isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
            return _UNSENT
    if isinstance(error, exceptions.InvalidHeader) and _is_of_the_answer(error):
        return _BROKEN
    for kind, classification in _BY_ERROR:
        if isinstance(error, kind):
            return classification
    return classify_foreign(error, replayable=replayable(request))


def _no_watcher() -> None:
    """Stand for the reader of a body that is not being read."""


def _check_deadline(call: Call, request: PreparedRequest, response: Response | None = None) -> None:
    """Raise if the time of a call is up, and close its answer, if there is one yet."""
    if call.over:
        if response is not None:
            response.close()
        raise exceptions.ReadTimeout(DEADLINE_PASSED, request=request)


def _is_of_the_answer(error: exceptions.InvalidHeader) -> bool:
    """Return whether urllib3 found the header, in an answer; requests itself finds those of the caller."""
    return bool(error.args) and isinstance(error.args[0], urllib3.exceptions.InvalidHeader)


def replayable(request: PreparedRequest) -> bool:
    """Return whether the body of a request can be sent again: it is in memory, or a file that can be rewound."""
    body = request.body
    return body is None or isinstance(body, str | bytes) or isinstance(_position(request), int)


def _pieces(body: Any) -> Iterator[bytes]:
    """Read a generator or a file, of text or bytes, as requests would."""
    pieces = iter(partial(body.read, PIECE), body.read(0)) if hasattr(body, "read") else iter(body)
    return (piece.encode() if isinstance(piece, str) else piece for piece in pieces)


def _position(request: PreparedRequest) -> object:
    return getattr(request, "_body_position", None)


class _Attempt(PreparedRequest):
    """The copy of a request that one endpoint gets."""

    original: PreparedRequest
    where: Address
    server_name: str | None


class BalancedResponse(Response):
    """The answer of an endpoint, as the service's. ``balancekit`` says how it came about.

    A pickled response has been read and remembers nothing of that.
    """

    balancekit: CallInfo | None = None
    _call: Call | None = None
    _reading: ClassVar[bool] = False

    def iter_content(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        """Read the body; parameters as in requests."""
        chunks: Iterator[Any] = super().iter_content(*arguments, **named)
        call = self._call
        if call is None or not call.lease.active:
            return chunks
        watched = self._watched(chunks, call)
        self.__dict__["_watcher"] = ref(watched)
        return watched

    def _reads(self) -> bool:
        """Return whether the body is being read at this moment: an error of it will come out there."""
        watcher = self.__dict__.get("_watcher", _no_watcher)()
        return watcher is not None and watcher.gi_running

    def _watched(self, chunks: Iterator[Any], call: Call) -> Iterator[Any]:
        self.__dict__["_reading"] = True
        try:
            for chunk in chunks:
                yield chunk
                _check_deadline(call, self.request)
        except GeneratorExit:  # the caller reads no further; `close` follows
            raise
        except BaseException as error:
            call.broke(classify_error(error, self.request))
            if call.over and isinstance(
                error, exceptions.ConnectionError
            ):  # which requests makes of a time-out here
                raise exceptions.ReadTimeout(DEADLINE_PASSED, request=self.request) from error
            raise
        call.whole()


@spelled(AdapterOptions)
@final
class BalancedAdapter(HTTPAdapter):
    """An adapter for ``requests.Session`` that sends each request to an endpoint of a balancer.

    Parameters
    ----------
    balancer
        Its targets are addresses or :class:`~balancekit.adapters.HttpTarget`; no Unix sockets.
    pool_connections
        For how many endpoints connections are kept, >= 1. More endpoints than that open one for each request.
    pool_maxsize
        How many connections are kept for each, >= 1: at least as many as there are threads.
    via_proxy
        Whether ``https`` requests may go through the session's proxies. Plain ones never do: the proxy would see the
        logical name and choose the host itself.
    options
        :class:`~balancekit.adapters.AdapterOptions`: ``service``, ``attempts``, ``budget``, ``key``...

    Raises
    ------
    ConfigurationError
        For a wrong value, or endpoints of which no target is an address.

    *Errors of requests* are the client's own: ``requests.ConnectionError`` from ``UnavailableError`` if no endpoint
    is eligible, and from ``ConfigurationError`` if the target of the last endpoint is no address. There is no ``max_retries``: retries go elsewhere, see ``attempts``.

    Example
    -------
    >>> import requests
    >>> from balancekit import LoadBalancer
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
        super().__init__(
            pool_connections=valid.integer("pool_connections", pool_connections, minimum=1),
            pool_maxsize=valid.integer("pool_maxsize", pool_maxsize, minimum=1),
        )

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
        url = urlsplit(request.url or "")
        if not self._config.matcher.matches(url.hostname or "", url.port, url.scheme):
            with self._config.matcher.passing(url.hostname or ""):
                return super().send(request, stream, timeout, verify, cert, cast("Any", proxies))
        source = self._repeatable(request)
        call = self._begin(request)
        while True:
            try:
                where = self._address(call, request)
                attempt = self._rewritten(source, url, where, call)
                attempt.original = request
                allowed = proxies if self._via_proxy and (where.scheme or url.scheme) == "https" else None
                clipped = _clipped(timeout, call)
                response = super().send(attempt, stream, clipped, verify, cert, cast("Any", allowed))
                _check_deadline(call, request, response)
            except BaseException as error:
                if isinstance(error, exceptions.RequestException):
                    error.request = request
                if call.failed(classify_error(error, source), source, replayable=replayable):
                    _rewind(source)
                    continue
                call.annotate(error)
                raise
            try:
                if call.answered(
                    response.status_code, response.headers, where, source, replayable=replayable
                ):
                    with call.abandoned():
                        response.close()
                    _rewind(source)
                    continue
                return self._hand_over(request, cast("BalancedResponse", response), call)
            except BaseException:
                call.closed()
                response.close()
                raise

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
        body = buffer_body(_pieces(request.body), limit)
        copy.body = cast("Any", body)
        if isinstance(body, bytes):
            copy.headers.pop("Transfer-Encoding", None)
            copy.headers["Content-Length"] = str(len(body))
        return copy

    def _begin(self, request: PreparedRequest) -> Call:
        call, waited = begin_call(self._config, request), 0.0
        while True:
            try:
                call.begin()
            except UnavailableError as error:
                wait = call.patience(error, waited=waited)
                if wait is None:
                    raise exceptions.ConnectionError(str(error), request=request) from error
                time.sleep(wait)
                waited += wait
            else:
                return call

    def _rewritten(self, request: PreparedRequest, url: SplitResult, where: Address, call: Call) -> _Attempt:
        """Return the request as the endpoint gets it. The caller's stays as it is."""
        config, scheme = self._config, url.scheme
        attempt = _Attempt()
        attempt.__dict__.update(request.__dict__)
        attempt.where = where
        attempt.url = where.base(scheme) + request.path_url
        secure = (where.scheme or scheme) == "https"
        attempt.server_name = (
            config.matcher.server_name(where, logical=(url.hostname or "").removesuffix("."))
            if secure
            else None
        )
        attempt.headers = headers = cast("CaseInsensitiveDict[Any]", request.headers.copy())
        headers.pop(
            "Proxy-Authorization", None
        )  # the session adds it to redirects, for a proxy of the environment
        headers.setdefault("Host", config.matcher.host_header(where, logical=url.netloc))
        for name, value in where.headers:
            headers[name] = value
        if config.propagate_deadline is not None and call.deadline != math.inf:
            headers[config.propagate_deadline] = str(int(call.left() * 1000.0))
        if config.jars is not None:
            config.jars.carry(where, attempt.url, headers)
        return attempt

    def build_connection_pool_key_attributes(
        self,
        request: PreparedRequest,
        verify: Any,
        cert: Any = None,
    ) -> tuple[Any, Any]:
        """Keep connections apart by the name that the certificate must have, too."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if isinstance(request, _Attempt) and request.server_name is not None:
            pool["server_hostname"] = pool["assert_hostname"] = request.server_name
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
            logical = "/".join((request.url or "").split("/", 3)[:3])
            location = self._config.matcher.logical_location(response.headers["Location"], logical=logical)
            response.headers["Location"] = location
        _watch(response, call)
        return response

    def close(self) -> None:
        """Close all connections."""
        super().close()


def _watch(response: BalancedResponse, call: Call) -> None:
    """End the lease with the body, however it is read."""
    raw = response.raw
    close, release = raw.close, raw.release_conn
    outer = sys.exc_info()[1]

    def closed() -> None:
        try:
            close()
        finally:
            if (
                not response._reads()
            ):  # urllib3 closes a body in which it finds an error, before it raises that
                call.closed()

    def released() -> None:
        release()
        if response._reading:
            return
        error = sys.exc_info()[1]  # urllib3 lets go of a broken connection too, while the error is on its way
        if isinstance(error, urllib3.exceptions.HTTPError) and error is not outer:
            call.broke(classify_error(error, response.request))
        else:
            call.whole()

    raw.close, raw.release_conn = closed, released
    if call.deadline != math.inf and not raw.chunked and hasattr(raw, "read1"):
        raw.stream = partial(_stream_in_time, raw, call)


def _stream_in_time(
    raw: Any,
    call: Call,
    amount: int = PIECE,
    decode_content: bool | None = None,  # noqa: FBT001 - the signature is urllib3's
) -> Iterator[bytes]:
    """Read a body as its pieces come, and not until so many bytes are there: the deadline is looked at in between."""
    while True:
        socket = getattr(raw.connection, "sock", None)
        if socket is not None:
            socket.settimeout(call.left())
        piece = raw.read1(amount, decode_content=decode_content)
        if not piece:
            return
        yield piece


def _rewind(request: PreparedRequest) -> None:
    if isinstance(_position(request), int):
        rewind_body(request)


def _clipped(timeout: Any, call: Call) -> Any:
    """Return a time-out that ends no later than the call's deadline."""
    if call.deadline == math.inf:
        return timeout
    left = call.left()
    if isinstance(timeout, tuple):
        return tuple(left if part is None else min(part, left) for part in timeout)
    return min(timeout, left) if isinstance(timeout, int | float) else left
