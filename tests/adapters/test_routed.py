"""Routed clients and middlewares: pools by route, timeouts, attempts and statistics per route."""

from __future__ import annotations

import asyncio
import errno
import io
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from http.client import HTTPMessage

import httpx
import httpx2
import pytest
import requests
import trio

from balancekit import LoadBalancer, Outcome
from balancekit.adapters import (
    RequestOptions,
    RouteStatistics,
    _routing,
    asgi,
    from_header,
    request_options,
    wsgi,
)
from balancekit.adapters.routed_httpx import RoutedTransport as HttpxTransport
from balancekit.adapters.routed_httpx2 import AsyncRoutedTransport, RoutedTransport
from balancekit.adapters.routed_requests import RoutedAdapter
from balancekit.errors import ConfigurationError
from balancekit.l7 import Request, Route, RouteTable, Split, exact, header, prefix
from balancekit.testing import ManualClock

pytestmark = pytest.mark.toy_servers("a", "b", "c", "d")


@pytest.fixture
def servers(toy_servers):
    """Four toy servers: ``a`` and ``b`` in one pool, ``c`` in another, ``d`` in a third."""
    return toy_servers


def table_of(servers, **options):
    """Return a table over three pools; ``options`` are for the route of the first."""
    api = LoadBalancer([servers["a"].address, servers["b"].address])
    web, beta = LoadBalancer([servers["c"].address]), LoadBalancer([servers["d"].address])
    return RouteTable(
        [
            Route("beta", beta, headers=[header("x-beta").is_("1")]),
            Route("old", web, path=exact("/old"), rewrite="/status"),
            Route("api", api, path=prefix("/api"), **options),
            Route("split", Split({web: 1, beta: 1}), path=prefix("/split")),
            Route("site", web, host="shop.test"),
        ]
    )


class Clients:
    """One way to send, for each client."""

    @staticmethod
    def httpx2(table, **options):
        client = httpx2.Client(transport=RoutedTransport(table, **options))
        return client, client._transport, httpx2

    @staticmethod
    def httpx(table, **options):
        client = httpx.Client(transport=HttpxTransport(table, **options))
        return client, client._transport, httpx

    @staticmethod
    def requests(table, **options):
        session = requests.Session()
        session.trust_env = False
        adapter = RoutedAdapter(table, **options)
        session.mount("http://", adapter)
        return session, adapter, requests


@pytest.fixture(params=["httpx2", "httpx", "requests"])
def make(request):
    """Make a client of each kind; return it with its transport and its module."""
    return getattr(Clients, request.param)


def test_requests_go_to_the_pool_of_their_route(servers, make):
    """Path, header and host choose the pool.

    A rewritten path and the query arrive, and statistics count each route.
    """
    client, transport, _ = make(table_of(servers))
    with client:
        assert {client.get("http://shop.test/api/x").text for _ in range(8)} <= {"a", "b"}
        assert client.get("http://shop.test/x").text == "c"
        assert client.get("http://shop.test/api", headers={"X-Beta": "1"}).text == "d"
        answer = client.get("http://shop.test/old?code=418")
        assert answer.status_code == 418
        assert str(answer.url) == "http://shop.test/old?code=418"
        counted = {stats.route: (stats.requests, stats.failures) for stats in transport.stats()}
        assert counted == {"api": (8, 0), "site": (1, 0), "beta": (1, 0), "old": (1, 0)}
        assert all(0 < s.latency.p50 <= s.latency.p95 <= s.latency.p99 < 30 for s in transport.stats())


def test_requests_without_a_route_are_the_clients_error(servers, make):
    """Without a route, or with a rejected target, the client raises its own error with the reason.

    It is counted and nothing is sent.
    """
    client, transport, _ = make(table_of(servers))
    with client:
        with pytest.raises(Exception, match=r"no route takes GET other\.test/x") as info:
            client.get("http://other.test/x")
        assert isinstance(
            info.value, httpx2.LocalProtocolError | httpx.LocalProtocolError | requests.exceptions.InvalidURL
        )
        with pytest.raises(Exception, match="encoded '/'"):
            client.get("http://shop.test/a%2Fb")
        assert [(stats.route, stats.requests) for stats in transport.stats()] == [("no route", 2)]
    assert not any(server.received for server in servers)


def test_attempts_and_statuses_to_retry_are_the_routes(servers, make):
    """With ``attempts=2`` a failing endpoint costs a retry, with 1 the answer is its; ``retry_on`` adds statuses."""
    for attempts, retry_on, status, expected in (
        (2, (), 502, {"b"}), (1, (), 502, {"b", 502}), (2, (500,), 500, {"b"}), (2, (), 500, {"b", 500}),
    ):  # fmt: skip
        servers["a"].behave(f"/status?code={status}")
        api = LoadBalancer([servers["a"].address, servers["b"].address], health=None)
        table = RouteTable([Route("api", api, attempts=attempts, retry_on=retry_on)])
        client, transport, _ = make(table)
        with client:
            answers = [client.get("http://x/") for _ in range(12)]
            got = {a.text if a.status_code == 200 else a.status_code for a in answers}
            (stats,) = transport.stats()
        assert got == expected
        assert (stats.retries > 0) is (expected == {"b"})
        assert (stats.failures > 0) is (expected != {"b"})


def test_the_timeout_is_the_routes(servers, make):
    """A route's timeout ends a request that hangs; another route of the same client waits."""
    table = RouteTable([
        Route("short", LoadBalancer([servers["a"].address]), path=prefix("/slow"), timeout=0.2),
        Route("long", LoadBalancer([servers["b"].address]), timeout=20.0),
    ])  # fmt: skip
    client, transport, module = make(table)
    kind = requests.exceptions.Timeout if module is requests else module.TimeoutException
    servers["a"].behave("/hang")
    servers["b"].behave("/slow?seconds=0.4")
    with client:
        with pytest.raises(kind):
            client.get("http://x/slow")
        assert client.get("http://x/").status_code == 200
        assert {stats.route: stats.failures for stats in transport.stats()} == {"short": 1, "long": 0}


def test_keys_keep_their_side_of_a_split(servers, make):
    """The adapter's key decides the side: one user always gets one pool, many users get both."""
    client, _, _ = make(table_of(servers), key=from_header("X-User"))
    with client:
        sides = [
            {client.get("http://x/split", headers={"X-User": str(user)}).text for _ in range(3)}
            for user in range(12)
        ]
    assert all(len(side) == 1 for side in sides)
    assert set().union(*sides) == {"c", "d"}


def test_the_requests_own_options_are_stronger(servers):
    """``extensions`` of one request come before the route's attempts."""
    servers["a"].behave("/status?code=502")
    api = LoadBalancer([servers["a"].address, servers["b"].address], health=None)
    transport = RoutedTransport(RouteTable([Route("api", api, attempts=2)]))
    with httpx2.Client(transport=transport) as client:
        options = {"balancekit": RequestOptions(attempts=1)}
        assert {client.get("http://x/", extensions=options).status_code for _ in range(12)} == {200, 502}


def test_the_options_of_a_block_are_stronger(servers, make):
    """What ``request_options`` says around a call comes before the route's attempts, in each client."""
    servers["a"].behave("/status?code=502")
    api = LoadBalancer([servers["a"].address, servers["b"].address], health=None)
    client, _, _ = make(RouteTable([Route("api", api, attempts=2)]))
    with client, request_options(attempts=1):
        assert {client.get("http://x/").status_code for _ in range(12)} == {200, 502}


@pytest.mark.parametrize("own", [5, "attempts", {"attempts": 0}])
def test_wrong_options_of_a_request_are_refused(own):
    """A request whose own options are none raises ConfigurationError, as with one pool."""
    transport = RoutedTransport(RouteTable([Route("site", LoadBalancer(POOL))]))
    with httpx2.Client(transport=transport) as client, pytest.raises(ConfigurationError):
        client.get("http://x/", extensions={"balancekit": own})


@pytest.mark.parametrize("module", [httpx2, httpx])
def test_a_pool_that_cannot_be_closed_keeps_no_other_open(module):
    """``close`` closes the transports of all pools, and then raises what one of them raised."""
    closed = []

    class Inner(module.BaseTransport):
        def __init__(self, pool):
            self.pool = pool

        def handle_request(self, request):
            return module.Response(200)

        def close(self):
            closed.append(self.pool)
            raise OSError("cannot be closed")

    pools = [LoadBalancer(POOL), LoadBalancer(POOL)]
    table = RouteTable([Route("a", pools[0], path=prefix("/a")), Route("b", pools[1])])
    kind = RoutedTransport if module is httpx2 else HttpxTransport
    client = module.Client(transport=kind(table, make_transport=Inner))
    for path in ("/a", "/b"):
        client.get(f"http://x{path}")
    with pytest.raises(OSError, match="cannot be closed"):
        client.close()
    assert len(closed) == 2


def test_a_new_table_is_used_at_once(servers):
    """``replace`` sends the next request to the new pool."""
    table = RouteTable([Route("site", LoadBalancer([servers["a"].address]))])
    with httpx2.Client(transport=RoutedTransport(table)) as client:
        assert client.get("http://x/").text == "a"
        table.replace([Route("site", LoadBalancer([servers["b"].address]))])
        assert client.get("http://x/").text == "b"


def test_async_clients_route_too(servers):
    """``AsyncRoutedTransport`` answers as the sync one does, errors included, and shares its statistics."""
    statistics = RouteStatistics()

    async def main():
        transport = AsyncRoutedTransport(table_of(servers), statistics=statistics)
        async with httpx2.AsyncClient(transport=transport) as client:
            answers = await asyncio.gather(*[client.get("http://shop.test/api") for _ in range(10)])
            assert {answer.text for answer in answers} <= {"a", "b"}
            with pytest.raises(httpx2.LocalProtocolError, match="no route"):
                await client.get("http://other.test/")
        return transport.stats()

    assert asyncio.run(main()) == statistics.stats()
    assert [(stats.route, stats.requests) for stats in statistics.stats()] == [("api", 10), ("no route", 1)]


@pytest.mark.parametrize(
    "options",
    [{"table": "x"}, {"table": RouteTable([]), "statistics": 3}, {"table": RouteTable([]), "key": 3}],
)
def test_wrong_options_are_refused(options):
    """A wrong option of a routed adapter is refused by its name."""
    with pytest.raises(ConfigurationError, match=list(options)[-1]):
        RoutedTransport(**options)


# ---------------------------------------------------------------------- middlewares


POOL = ["10.0.0.1:80", "10.0.0.2:80"]


def scope(path="/", **options):
    """Return an ASGI scope."""
    headers = [(b"host", options.pop("host", b"shop.test"))]
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "headers": headers,
        **options,
    }


def run_asgi(app, table, asked):
    """Send one request through the middleware; return the messages and the middleware."""
    sent = []

    async def send(message):
        sent.append(message)

    edge = asgi.RoutingMiddleware(app, table)
    asyncio.run(edge(asked, None, send))
    return sent, edge


@pytest.mark.parametrize(
    ("status", "outcome", "failures"), [(200, "success", 0), (404, "success", 0), (503, "failure", 1)]
)
def test_asgi_picks_and_releases(status, outcome, failures):
    """The application finds match and lease; the lease ends with it, by the status; the route is counted."""
    pool = LoadBalancer(POOL)

    async def app(scope_, receive, send):
        routed = scope_["balancekit"]
        assert routed.match.route.name == "site"
        assert routed.lease.target in POOL
        assert pool.stats().inflight == 1
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sent, edge = run_asgi(app, RouteTable([Route("site", pool)]), scope())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert pool.stats().inflight == 0
    assert {o.value for o, count in pool.stats().outcomes.items() if count} == {outcome}
    assert [(s.route, s.requests, s.failures) for s in edge.stats()] == [("site", 1, failures)]


@pytest.mark.parametrize(("status", "outcome"), [(200, Outcome.SUCCESS), (503, Outcome.FAILURE)])
@pytest.mark.parametrize("error", [None, ValueError("x"), asyncio.CancelledError()], ids=repr)
def test_what_an_asgi_application_does_after_its_answer_is_not_part_of_the_request(error, status, outcome):
    """Background tasks run without the lease, which ended with the last piece of the body; what they raise passes through."""
    pool = LoadBalancer(POOL)
    inflight = []

    async def app(scope_, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        inflight.append(pool.stats().inflight)
        await send({"type": "http.response.body"})
        inflight.append(pool.stats().inflight)
        if error is not None:
            raise error

    with nullcontext() if error is None else pytest.raises(type(error)):
        run_asgi(app, RouteTable([Route("site", pool)]), scope())
    assert inflight == [1, 0]
    assert {one: count for one, count in pool.stats().outcomes.items() if count} == {outcome: 1}


def test_asgi_releases_when_the_application_fails():
    """An exception passes through, the lease ends as a failure; a cancelled request as cancelled."""
    pool = LoadBalancer(POOL)

    async def app(scope_, receive, send):
        raise scope_["error"]

    for error, outcome in ((ValueError("x"), "failure"), (asyncio.CancelledError(), "cancelled")):
        with pytest.raises(type(error)):
            run_asgi(app, RouteTable([Route("site", pool)]), scope(error=error))
        assert pool.stats().inflight == 0
        assert outcome in {o.value for o, count in pool.stats().outcomes.items() if count}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("x"), Outcome.FAILURE),
        (ConnectionRefusedError("x"), Outcome.CONNECT_FAILED),
        (httpx.ReadTimeout("x"), Outcome.TIMEOUT),
        (httpx.PoolTimeout("x"), Outcome.IGNORED),
        (OSError(errno.EMFILE, "x"), Outcome.IGNORED),
        (urllib.error.HTTPError("http://a/x", 404, "X", HTTPMessage(), None), Outcome.SUCCESS),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("where", ["asgi", "wsgi", "wsgi body"])
def test_an_error_of_the_application_means_what_it_means_elsewhere(where, error, outcome):
    """What an application raises is classified as in a ``with`` block: its own full pool blames no endpoint; the request has failed."""
    pool = LoadBalancer(POOL)
    table = RouteTable([Route("site", pool)])

    async def app(scope_, receive, send):
        raise error

    def wsgi_app(environ_, start_response):
        if where == "wsgi":
            raise error
        return (_raise(error) for _ in range(1))

    if where == "asgi":
        edge = asgi.RoutingMiddleware(app, table)
        with pytest.raises(type(error)):
            asyncio.run(edge(scope(), None, None))
    else:
        edge = wsgi.RoutingMiddleware(wsgi_app, table)
        with pytest.raises(type(error)):
            list(edge(environ(), lambda *_: None))
    assert {kind for kind, count in pool.stats().outcomes.items() if count} == {outcome}
    assert pool.stats().inflight == 0
    assert [(s.requests, s.failures) for s in edge.stats()] == [(1, 1)]


def _raise(error):
    raise error


def test_a_server_that_cancels_on_trio_blames_no_endpoint():
    """On trio the lease of a cancelled request ends as cancelled, as on asyncio."""
    pool = LoadBalancer(POOL)

    async def app(scope_, receive, send):
        await trio.sleep_forever()

    async def main():
        with trio.move_on_after(0.01):
            await asgi.RoutingMiddleware(app, RouteTable([Route("site", pool)]))(scope(), None, None)

    trio.run(main)
    assert {o.value for o, count in pool.stats().outcomes.items() if count} == {"cancelled"}


@pytest.mark.parametrize("where", ["start", "body", "receive", "websocket"])
def test_a_client_that_hangs_up_on_an_asgi_application_blames_no_endpoint(where):
    """The OSError of ``send``, or what an application raises after a disconnect, ends the lease as cancelled."""
    pool = LoadBalancer(POOL)

    async def app(scope_, receive, send):
        if where in {"receive", "websocket"}:
            assert (await receive())["type"].endswith(".disconnect")
            raise RuntimeError("the client has gone")  # as frameworks do
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async def receive():
        return {"type": "websocket.disconnect" if where == "websocket" else "http.disconnect"}

    async def send(message):
        if where == "start" or message["type"] == "http.response.body":
            raise ConnectionResetError

    edge = asgi.RoutingMiddleware(app, RouteTable([Route("site", pool)]))
    with pytest.raises((ConnectionResetError, RuntimeError)):
        asyncio.run(edge(scope(), receive, send))
    assert {o.value for o, count in pool.stats().outcomes.items() if count} == {"cancelled"}
    assert [s.failures for s in edge.stats()] == [0]


def test_an_asgi_application_that_receives_its_body_and_fails_has_failed():
    """Only a disconnect makes an error of the application none of the endpoint's."""
    pool = LoadBalancer(POOL)

    async def app(scope_, receive, send):
        await receive()
        raise OSError

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    with pytest.raises(OSError):
        asyncio.run(asgi.RoutingMiddleware(app, RouteTable([Route("site", pool)]))(scope(), receive, None))
    assert {o.value for o, count in pool.stats().outcomes.items() if count} == {"failure"}


@pytest.mark.parametrize("where", ["call", "body"])
def test_a_server_that_ends_a_wsgi_application_blames_no_endpoint(where):
    """``SystemExit`` of a server that stops its worker, in the application or its body, ends the lease as cancelled."""
    pool = LoadBalancer(POOL)

    def app(environ_, start_response):
        if where == "call":
            raise SystemExit
        start_response("200 OK", [])
        return (sys.exit() for _ in range(1))

    edge = wsgi.RoutingMiddleware(app, RouteTable([Route("site", pool)]))
    with pytest.raises(SystemExit):
        list(edge(environ(), lambda *rest: None))
    assert {o.value for o, count in pool.stats().outcomes.items() if count} == {"cancelled"}


@pytest.mark.parametrize(("path", "status"), [("/x", 404), ("/a%2fb", 400), ("/empty", 503)])
def test_asgi_answers_by_itself(path, status):
    """404 without a route, 400 for a rejected target, 503 if the pool is empty; the application does not run."""
    table = RouteTable(
        [
            Route("a", LoadBalancer(POOL), path=prefix("/a")),
            Route("e", LoadBalancer([], allow_empty=True), path=prefix("/empty")),
        ]
    )
    sent, _ = run_asgi(print, table, scope(path))
    assert sent[0]["status"] == status
    closed, _ = run_asgi(print, table, scope(path, type="websocket"))
    assert [message["type"] for message in closed] == ["websocket.close"]


@pytest.mark.parametrize("clock", [time.monotonic, time.time, ManualClock()])
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_pool_that_is_back_soon_says_when(kind, clock):
    """The 503 of both middlewares has a Retry-After where the pool knows one, whatever clock the pool has."""
    pool, found = LoadBalancer(POOL[:1], clock=clock), []
    pool.acquire().release(Outcome.OVERLOADED, retry_after=1000.0)
    table = RouteTable([Route("site", pool)])
    if kind == "asgi":
        sent, _ = run_asgi(print, table, scope())
        found += [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    else:
        wsgi.RoutingMiddleware(print, table)(environ(), lambda _status, headers: found.extend(headers))
    seconds = {name.lower(): value for name, value in found}["retry-after"]
    assert 990 <= int(seconds) <= 1000


def test_asgi_passes_on_what_is_no_request():
    """Lifespan events reach the application untouched."""
    seen = []

    async def app(scope_, receive, send):
        seen.append(scope_)

    run_asgi(app, RouteTable([]), {"type": "lifespan"})
    assert seen == [{"type": "lifespan"}]


def environ(path="/"):
    """Return a WSGI environment."""
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "RAW_URI": path,
        "QUERY_STRING": "",
        "HTTP_HOST": "shop.test",
    }


def test_wsgi_picks_and_releases():
    """The lease ends when the body has been read, or closed unread; errors end it as failures."""
    pool = LoadBalancer(POOL)
    statuses = []

    def app(environ_, start_response):
        assert environ_["balancekit"].lease.target in POOL
        start_response("200 OK", [])
        yield b"x"
        if environ_["PATH_INFO"] == "/fail":
            raise ValueError("x")

    edge = wsgi.RoutingMiddleware(app, RouteTable([Route("site", pool)]))
    body = edge(environ(), lambda status, headers: statuses.append(status))
    assert pool.stats().inflight == 1
    assert list(body) == [b"x"]
    assert pool.stats().inflight == 0
    edge(environ(), lambda *_: None).close()
    with pytest.raises(ValueError, match="x"):
        list(edge(environ("/fail"), lambda *_: None))
    assert {o.value: count for o, count in pool.stats().outcomes.items() if count} == {
        "success": 1, "cancelled": 1, "failure": 1
    }  # fmt: skip
    assert [(s.route, s.requests, s.failures) for s in edge.stats()] == [("site", 3, 1)]


def raising(_):
    """Find nothing."""
    raise LookupError("no such header")


@pytest.mark.parametrize("find", [raising, lambda _: [1]], ids=["raises", "finds no key"])
@pytest.mark.parametrize("split", [False, True])
def test_a_key_function_that_fails_loses_no_request(servers, make, find, split, caplog):
    """What it raises, or finds that is no key, is logged, and the request is sent without a key."""
    pool = LoadBalancer([servers["a"].address])
    target = Split({pool: 1, LoadBalancer([servers["a"].address]): 1}) if split else pool
    client, _, _ = make(RouteTable([Route("site", target)]), key=find)
    with client:
        assert client.get("http://shop.test/").status_code == 200
    assert "the key function of an adapter failed" in caplog.text


@pytest.mark.parametrize("find", [raising, lambda _: [1]], ids=["raises", "finds no key"])
def test_a_key_function_that_fails_loses_no_request_of_a_middleware(find, caplog):
    """The application of either middleware runs with a lease that has no key, and the reason is logged."""
    pool, ran = LoadBalancer(POOL), []

    async def app(scope_, receive, send):
        ran.append(scope_["balancekit"].lease.target)

    async def send(_message):
        pass

    def wsgi_app(environ_, start_response):
        ran.append(environ_["balancekit"].lease.target)
        start_response("200 OK", [])
        return []

    table = RouteTable([Route("site", pool)])
    asyncio.run(asgi.RoutingMiddleware(app, table, key=find)(scope(), None, send))
    wsgi.RoutingMiddleware(wsgi_app, table, key=find)(environ(), lambda *_: None).close()
    assert len(ran) == 2
    assert caplog.text.count("the key function of an adapter failed") == 2
    assert pool.stats().inflight == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [("/x", "404 Not Found"), ("/a%2fb", "400 Bad Request"), ("/empty", "503 Service Unavailable")],
)
def test_wsgi_answers_by_itself(path, status):
    """The WSGI middleware answers 404, 400 and 503 without running the application, as the ASGI one does."""
    table = RouteTable(
        [
            Route("a", LoadBalancer(POOL), path=prefix("/a")),
            Route("e", LoadBalancer([], allow_empty=True), path=prefix("/empty")),
        ]
    )
    statuses = []
    body = wsgi.RoutingMiddleware(print, table)(
        environ(path), lambda status, headers: statuses.append(status)
    )
    assert statuses == [status]
    assert b"".join(body)


@pytest.mark.parametrize("kind", [asgi.RoutingMiddleware, wsgi.RoutingMiddleware])
def test_what_is_no_application_is_refused(kind):
    """A middleware around what cannot be called is refused when it is made, not by the first request."""
    with pytest.raises(ConfigurationError, match="app"):
        kind(None, RouteTable([Route("site", LoadBalancer(["10.0.0.1:80"]))]))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, Outcome.CANCELLED), (404, Outcome.CANCELLED), (429, Outcome.OVERLOADED), (503, Outcome.FAILURE)],
)
@pytest.mark.parametrize(
    "where", ["asgi, client gone", "asgi, cancelled", "wsgi, in the body", "wsgi, unread"]
)
def test_an_answer_that_is_not_read_to_its_end_fails_by_its_status(where, status, outcome):
    """What a client does not read to its end is no success; a status that is a failure is one all the same, as in the clients."""
    pool = LoadBalancer(POOL)
    table = RouteTable([Route("site", pool)])

    async def app(scope_, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def send(message):
        if message["type"] == "http.response.body":
            raise OSError("x") if where == "asgi, client gone" else asyncio.CancelledError

    if where.startswith("asgi"):
        with pytest.raises((OSError, asyncio.CancelledError)):
            asyncio.run(asgi.RoutingMiddleware(app, table)(scope(), None, send))
    else:
        edge = wsgi.RoutingMiddleware(lambda _environ, start: start(f"{status} X", []) or [b"x", b"y"], table)
        body = edge(environ(), lambda *_answer: None)
        if where == "wsgi, in the body":
            next(iter(body))
        body.close()
    assert pool.stats().inflight == 0
    assert {one: count for one, count in pool.stats().outcomes.items() if count} == {outcome: 1}


# ---------------------------------------------------------------------- pools that have left


class Closable:
    """The transport of a pool; its answer keeps a lease open if the path ends in ``/open``."""

    before = staticmethod(lambda _request: None)
    """Called by each request before it has a lease."""

    def __init__(self, module, pool, closed):
        self.module, self.pool, self.closed, self.leases = module, pool, closed, []

    def _answer(self, request):
        self.before(request)
        lease = self.pool.acquire()
        if str(request.url).endswith("/open"):
            self.leases.append(lease)
        else:
            lease.release()
        return lease

    def handle_request(self, request):
        self._answer(request)
        return self.module.Response(200)

    async def handle_async_request(self, request):
        return self.handle_request(request)

    def send(self, request, *_rest):
        self._answer(request)
        response = requests.Response()
        response.status_code, response.raw = 200, io.BytesIO()
        return response

    def close(self):
        self.closed.append(self)
        raise OSError("cannot be closed")

    async def aclose(self):
        self.close()


@pytest.fixture(params=["httpx2", "httpx", "requests", "httpx2 async"])
def sending(request, monkeypatch):
    """Return a function that makes one client of each kind: from a table, a function that sends; and its transports."""
    monkeypatch.setattr(_routing, "LOOK_EVERY_S", 0.0)

    def made(table):
        transports, closed = [], []

        def inner(module):
            def make(pool):
                transports.append(Closable(module, pool, closed))
                return transports[-1]

            return make

        if request.param == "requests":
            session = requests.Session()
            session.mount("http://shop.test/", RoutedAdapter(table, make_adapter=inner(requests)))
            send = session.get
        elif request.param == "httpx2 async":
            client = httpx2.AsyncClient(transport=AsyncRoutedTransport(table, make_transport=inner(httpx2)))
            send = lambda url: asyncio.run(client.get(url))  # noqa: E731 - as the others
        else:
            module, kind = (httpx, HttpxTransport) if request.param == "httpx" else (httpx2, RoutedTransport)
            send = module.Client(transport=kind(table, make_transport=inner(module))).get
        return send, transports, closed

    return made


def test_the_connections_of_a_pool_that_has_left_the_table_are_closed(sending, caplog):
    """Of twenty tables one after the other only the last pool keeps its transport; one that cannot be closed is logged."""
    table = RouteTable([])
    send, transports, closed = sending(table)
    for _ in range(20):
        table.replace([Route("site", LoadBalancer(POOL))])
        assert send("http://shop.test/").status_code == 200
    assert len(transports) == 20
    assert closed == transports[:-1]
    assert "a pool that has left the table" in caplog.text


def test_a_pool_that_the_table_still_has_keeps_its_connections(sending):
    """A pool of another route, of a split, and that of ``no_match`` are not closed when a route is added."""
    pools = [LoadBalancer(POOL) for _ in range(4)]
    kept = [Route("a", pools[0], path=prefix("/a")), Route("b", Split({pools[1]: 1}), path=prefix("/b"))]
    table = RouteTable(kept, no_match=pools[2])
    send, transports, closed = sending(table)
    for path in ("a", "b", "c"):
        send(f"http://shop.test/{path}")
    table.replace([*kept, Route("d", pools[3], path=prefix("/d"))])
    for path in ("a", "b", "c", "d", "a"):
        send(f"http://shop.test/{path}")
    assert len(transports) == 4
    assert closed == []


def test_a_pool_that_has_left_is_closed_once_nothing_is_in_flight(sending):
    """What streams when its pool leaves the table is not cut off."""
    old, new = LoadBalancer(POOL), LoadBalancer(POOL)
    table = RouteTable([Route("site", old)])
    send, transports, closed = sending(table)
    send("http://shop.test/open")
    table.replace([Route("site", new)])
    for _ in range(3):
        send("http://shop.test/")
    assert closed == []
    transports[0].leases[0].release()
    for _ in range(3):
        send("http://shop.test/")
    assert closed == transports[:1]


def test_a_pool_is_not_closed_under_a_request_that_is_on_its_way_there(sending):
    """The transport that a request was matched to stays until its lease has ended, whatever others send meanwhile."""
    table = RouteTable([Route("site", LoadBalancer(POOL))])
    send, transports, closed = sending(table)
    send("http://shop.test/")
    (old,) = transports

    def overtaken(_request):
        del old.before
        table.replace([Route("site", LoadBalancer(POOL))])
        with ThreadPoolExecutor(1) as pool:
            for _ in range(3):
                pool.submit(send, "http://shop.test/").result(10)
        assert closed == []

    old.before = overtaken
    assert send("http://shop.test/").status_code == 200
    send("http://shop.test/")
    assert closed == [old]


@pytest.mark.parametrize("again", [False, True])
def test_a_transport_that_is_found_while_it_is_taken_is_kept(again, monkeypatch):
    """A request that finds a transport between the look at its pool and its taking keeps it, or has one of its own."""
    monkeypatch.setattr(_routing, "LOOK_EVERY_S", 0.0)
    old = LoadBalancer(POOL)
    table = RouteTable([Route("site", old)])
    router = _routing.Router(table, lambda _pool: object())
    request = Request("/", host="shop.test")
    match = router.match(request)
    with router.sending(match, None) as first:
        pass
    table.replace([Route("site", LoadBalancer(POOL))])
    held = []
    stats = LoadBalancer.stats

    def looked_at(pool):
        found = stats(pool)
        if not held:
            held.append(old.acquire())
        elif again:
            with router.sending(match, None) as other:
                held.append(other)
        return found

    monkeypatch.setattr(LoadBalancer, "stats", looked_at)
    assert list(router.leave()) == ([first] if again else [])
    monkeypatch.undo()
    assert router.transports() == ([held[1]] if again else [first])
    assert router.departed
    held[0].release()
    router._look_at = 0.0
    assert len(list(router.leave())) == 1
    assert router.transports() == []
    assert not router.departed


def test_a_pool_that_comes_back_has_a_transport_again(sending):
    """A table that goes back to an earlier pool sends there through a new transport."""
    first, second = LoadBalancer(POOL), LoadBalancer(POOL)
    table = RouteTable([Route("site", first)])
    send, transports, closed = sending(table)
    for pool in (first, second, first):
        table.replace([Route("site", pool)])
        send("http://shop.test/")
    assert [transport.pool for transport in transports] == [first, second, first]
    assert closed == transports[:2]


# ---------------------------------------------------------------------- HEAD and WebSockets


@pytest.mark.parametrize(("path", "status"), [("/x", 404), ("/a%2fb", 400), ("/empty", 503)])
def test_a_head_request_that_is_refused_has_no_body(path, status):
    """Its Content-Length is that of the answer to GET; some servers would send a body, and end the connection's framing."""
    table = RouteTable(
        [
            Route("a", LoadBalancer(POOL), path=prefix("/a")),
            Route("e", LoadBalancer([], allow_empty=True), path=prefix("/empty")),
        ]
    )
    sent, _ = run_asgi(print, table, scope(path, method="HEAD"))
    assert [sent[0]["status"], sent[1]["body"]] == [status, b""]
    assert int(dict(sent[0]["headers"])[b"content-length"]) > 0
    answered = []
    edge = wsgi.RoutingMiddleware(print, table)
    body = edge({**environ(path), "REQUEST_METHOD": "HEAD"}, lambda *answer: answered.append(answer))
    assert b"".join(body) == b""
    assert int(answered[0][0][:3]) == status
    assert int(dict(answered[0][1])["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("method", "status", "outcome"),
    [
        ("HEAD", 200, Outcome.SUCCESS),
        ("HEAD", 503, Outcome.FAILURE),
        ("GET", 204, Outcome.SUCCESS),
        ("GET", 304, Outcome.SUCCESS),
        ("GET", 200, Outcome.CANCELLED),
    ],
)
def test_a_wsgi_answer_without_a_body_need_not_be_read(method, status, outcome):
    """A server that closes the answer to HEAD, a 204 or a 304 without reading it has had all of it."""
    pool = LoadBalancer(POOL)
    edge = wsgi.RoutingMiddleware(
        lambda _environ, start: start(f"{status} X", []) or [], RouteTable([Route("site", pool)])
    )
    edge({**environ(), "REQUEST_METHOD": method}, lambda *_answer: None).close()
    assert {one: count for one, count in pool.stats().outcomes.items() if count} == {outcome: 1}


@pytest.mark.parametrize(("path", "status"), [("/x", 404), ("/a%2fb", 400), ("/empty", 503)])
def test_a_websocket_is_refused_with_a_status_where_the_server_can_send_one(path, status):
    """With the extension of ASGI for it the client sees 404, 400 or 503, as for any other request."""
    table = RouteTable(
        [
            Route("a", LoadBalancer(POOL), path=prefix("/a")),
            Route("e", LoadBalancer([], allow_empty=True), path=prefix("/empty")),
        ]
    )
    asked = scope(path, type="websocket", extensions={"websocket.http.response": {}})
    sent, _ = run_asgi(print, table, asked)
    assert [message["type"] for message in sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert sent[0]["status"] == status
    assert sent[1]["body"]


ACCEPT = {"type": "websocket.accept"}


def denial(status):
    """Return the messages that deny a WebSocket with a status."""
    return [
        {"type": "websocket.http.response.start", "status": status, "headers": []},
        {"type": "websocket.http.response.body", "body": b""},
    ]


def ended(code):
    """Return the message that ends a WebSocket with a code."""
    return {"type": "websocket.close", "code": code}


@pytest.mark.parametrize(
    ("messages", "outcome"),
    [
        ([ACCEPT, ended(1000)], Outcome.SUCCESS),
        ([ACCEPT, {"type": "websocket.close"}], Outcome.SUCCESS),
        ([ACCEPT, ended(1008)], Outcome.SUCCESS),
        ([ACCEPT, ended(1011)], Outcome.FAILURE),
        ([ACCEPT, ended(1012)], Outcome.FAILURE),
        ([ACCEPT, ended(1013)], Outcome.FAILURE),
        ([ACCEPT, ended(1014)], Outcome.FAILURE),
        ([ended(1008)], Outcome.SUCCESS),
        ([ended(1011)], Outcome.FAILURE),
        (denial(403), Outcome.SUCCESS),
        (denial(429), Outcome.OVERLOADED),
        (denial(503), Outcome.FAILURE),
    ],
    ids=str,
)
def test_the_lease_of_a_websocket_ends_as_its_answer_says(messages, outcome):
    """A denial counts by its status, an end by whether its code names an error of the server; then the lease has ended."""
    pool, inflight = LoadBalancer(POOL), []

    async def app(scope_, receive, send):
        for message in messages:
            await send(message)
        inflight.append(pool.stats().inflight)

    run_asgi(app, RouteTable([Route("site", pool)]), scope(type="websocket"))
    assert inflight == [0]
    assert {one: count for one, count in pool.stats().outcomes.items() if count} == {outcome: 1}


def test_the_latency_of_a_websocket_is_that_of_its_answer():
    """A session of any length counts with the time until it was accepted, for its route and as first byte of its endpoint."""
    pool = LoadBalancer(POOL)
    table = RouteTable([Route("site", pool)])
    seen = []

    async def app(scope_, receive, send):
        await send(ACCEPT)
        seen.extend(edge.stats())

    edge = asgi.RoutingMiddleware(app, table)

    async def send(_message):
        pass

    asyncio.run(edge(scope(type="websocket"), None, send))
    assert [(one.route, one.requests, one.failures) for one in seen] == [("site", 1, 0)]
    assert [(one.route, one.requests) for one in edge.stats()] == [("site", 1)]
    assert sum(one.first_byte is not None for one in pool.stats().endpoints) == 1


class TestManyNames:
    """Route statistics of tables that are replaced."""

    def test_the_routes_are_bounded(self):
        """One more than 1,000 replaces the route whose last request is the oldest; the others keep their counts."""
        statistics = RouteStatistics()
        for number in range(1_000):
            statistics.record(f"route-{number}", latency=0.1, failed=False)
        statistics.record("route-0", latency=0.1, failed=True)
        for number in range(1_000, 3_000):
            statistics.record(f"route-{number}", latency=0.1, failed=False)
            statistics.record("route-0", latency=0.1, failed=False)
            statistics.record(None, latency=0.1, failed=False)
        found = statistics.stats()
        assert len(found) == 1_000
        assert {one.route for one in found} == {
            "route-0",
            "no route",
            *(f"route-{number}" for number in range(2_002, 3_000)),
        }
        assert [one.requests for one in found if one.route in {"route-0", "no route"}] == [2_002, 2_000]

    def test_a_known_route_replaces_none(self):
        """Requests of routes that are counted forget no other route."""
        statistics = RouteStatistics()
        for _ in range(2):
            for number in range(1_000):
                statistics.record(f"route-{number}", latency=0.1, failed=False)
        assert {one.requests for one in statistics.stats()} == {2}
        assert len(statistics.stats()) == 1_000


def test_no_request_is_counted_as_less_than_one_attempt():
    """A request that tried no endpoint, or one, adds no retry; one that tried three adds two."""
    statistics = RouteStatistics()
    for attempts in (0, 1, 3):
        statistics.record("a", latency=0.1, failed=True, attempts=attempts)
    assert (statistics.stats()[0].requests, statistics.stats()[0].retries) == (3, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency": -0.1},
        {"latency": float("nan")},
        {"attempts": -1},
        {"failed": 1},
        {"route": 5},
        {"route": []},
    ],
    ids=repr,
)
def test_a_wrong_request_is_not_counted(wrong):
    """A number outside its bounds, and a route or a result of another class, are refused; nothing is counted."""
    statistics = RouteStatistics()
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        statistics.record(**{"route": "a", "latency": 0.1, "failed": False, **wrong})
    assert statistics.stats() == ()
