"""What every adapter promises, over real sockets: who is asked, who hears of it, and that nothing stays in flight."""

from __future__ import annotations

import gc
import json
import math
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from balancekit import Endpoint, First, LoadBalancer, Outcome, RingHash, UnavailableError
from balancekit.adapters import HttpTarget, from_cookie, from_header, from_query, request_options
from balancekit.events import Event, Retried, RetryRefused
from balancekit.retry import RetryBudget

from ._clients import KINDS, play
from ._server import Server

DEAD = "127.0.0.1:1"
"""An address where nothing listens."""

every_client = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Servers that misbehave when told to."""
    with ExitStack() as stack:
        yield [stack.enter_context(Server(name)) for name in ("a", "b", "c")]


def pool(*servers: Server | str, **options: Any) -> LoadBalancer[str]:
    """Return a balancer that picks the first eligible endpoint, so that tests know which one is asked."""
    addresses = [server if isinstance(server, str) else server.address for server in servers]
    return LoadBalancer(addresses, selector=First(), **options)


def outcomes(lb: LoadBalancer[Any], server: Server | str) -> dict[Outcome, int]:
    """How the leases on an endpoint have ended."""
    found = lb.stats()[server if isinstance(server, str) else server.address].outcomes
    return {outcome: count for outcome, count in found.items() if count}


@every_client
def test_a_request_reaches_an_endpoint_and_the_answer_is_the_services(
    kind: str, servers: list[Server]
) -> None:
    """A request reaches an endpoint with host, path, query, body and headers.

    The answer has the service's URL and names the endpoint.
    """
    lb = pool(*servers)

    async def scenario(client: Any) -> None:
        answer = await client.request(
            "POST", "http://orders/echo?x=1", body=b"hello", headers={"X-Mine": "yes"}
        )
        got = json.loads(answer.text)
        assert (got["method"], got["path"], got["body"]) == ("POST", "/echo?x=1", "hello")
        assert got["headers"]["host"] == "orders"
        assert got["headers"]["x-mine"] == "yes"
        assert answer.url == "http://orders/echo?x=1"
        assert answer.info is not None
        assert answer.info.endpoint.id == servers[0].address
        assert answer.info.attempts == 1

    play(kind, lb, scenario)
    assert outcomes(lb, servers[0]) == {Outcome.SUCCESS: 1}


@every_client
def test_a_lease_lasts_as_long_as_its_body(kind: str, servers: list[Server]) -> None:
    """A lease is in flight until the last piece of the body has been read, and then a success."""
    lb = pool(*servers)

    async def scenario(client: Any) -> None:
        opened = await client.open("http://orders/drip?n=4&gap=0.02")
        assert lb.stats().inflight == 1
        await opened.some()
        assert lb.stats().inflight == 1
        await opened.rest()
        assert lb.stats().inflight == 0

    play(kind, lb, scenario)
    assert outcomes(lb, servers[0]) == {Outcome.SUCCESS: 1}


@every_client
@pytest.mark.parametrize(
    "path", ["/ok", "/drip?n=2&gap=0.02", "/status/204", "/status/304", "/status/503", "/half"]
)
def test_the_first_byte_of_every_answer_is_reported(kind: str, servers: list[Server], path: str) -> None:
    """The first byte is reported of every answer that the caller gets, with a body or without, whole or not."""
    lb = pool(servers[0], timed=True)

    async def scenario(client: Any) -> None:
        with suppress(*client.broken):
            await client.get(f"http://orders{path}")

    play(kind, lb, scenario)
    reported = lb.stats()[servers[0].address].first_byte
    assert reported is not None
    assert reported.count == 1


@every_client
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # trio, of httpx's own generators
@pytest.mark.parametrize("read_some", [False, True])
def test_closing_early_blames_none(kind: str, servers: list[Server], read_some: bool) -> None:
    """A body closed by the caller before its end is no failure of the endpoint."""
    lb = pool(*servers)

    async def scenario(client: Any) -> None:
        opened = await client.open("http://orders/drip?n=50&gap=0.05")
        if read_some:
            await opened.some()
        await opened.close()

    play(kind, lb, scenario)
    assert outcomes(lb, servers[0]) == {Outcome.CANCELLED: 1}


@every_client
@pytest.mark.parametrize("path", ["/half", "/half-chunked"])
def test_a_body_that_breaks_off_is_a_failure_and_is_not_repeated(
    kind: str, servers: list[Server], path: str
) -> None:
    """A body that breaks off is a failure, and the request is not sent again."""
    lb = pool(*servers)

    async def scenario(client: Any) -> None:
        with pytest.raises(client.broken):
            await client.get(f"http://orders{path}")

    play(kind, lb, scenario)
    assert outcomes(lb, servers[0]) == {Outcome.FAILURE: 1}
    assert [len(server.seen) for server in servers] == [1, 0, 0]


@every_client
def test_a_response_that_is_dropped_is_found(kind: str, servers: list[Server]) -> None:
    """The lease of a response that is dropped ends as cancelled, and a warning says so, as for any lost lease."""
    lb = pool(*servers)

    async def scenario(client: Any) -> None:
        opened = await client.open("http://orders/drip?n=50&gap=0.05")
        assert lb.stats().inflight == 1
        del opened

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with suppress(AssertionError):  # it may be in flight until it is collected
            play(kind, lb, scenario)
        gc.collect()
        assert lb.stats().inflight == 0
    assert outcomes(lb, servers[0]) == {Outcome.CANCELLED: 1}


@every_client
@pytest.mark.parametrize("body", [None, b"bytes", "pieces"])
def test_an_endpoint_that_cannot_be_reached_is_passed_over_by_any_request(
    kind: str, servers: list[Server], body: Any
) -> None:
    """Nothing was sent, so even a POST with a body that can be read only once goes elsewhere."""
    lb = pool(DEAD, servers[0])

    async def asynchronous() -> Any:
        for piece in (b"one ", b"two"):
            yield piece

    def blocking() -> Any:
        yield from (b"one ", b"two")

    async def scenario(client: Any) -> None:
        sent = body
        if body == "pieces":
            sent = blocking() if kind in ("httpx2", "httpx", "requests") else asynchronous()
        answer = await client.request("POST", "http://orders/echo", body=sent)
        assert answer.info.tried == (DEAD, servers[0].address)
        expected = {None: "", b"bytes": "bytes", "pieces": "one two"}[body]
        assert json.loads(answer.text)["body"] == expected

    play(kind, lb, scenario)
    assert outcomes(lb, DEAD) == {Outcome.CONNECT_FAILED: 1}


@every_client
def test_a_body_that_fails_to_be_made_is_the_callers_business(kind: str, servers: list[Server]) -> None:
    """If a body raises while it is made, the caller gets its error, and no endpoint is blamed."""
    lb = pool(servers[0])

    def blocking() -> Any:
        yield b"one "
        raise KeyError("mine")

    async def asynchronous() -> Any:
        yield b"one "
        raise KeyError("mine")

    async def scenario(client: Any) -> None:
        body = blocking() if kind in ("httpx2", "httpx", "requests") else asynchronous()
        with pytest.raises((KeyError, client.refused)):
            await client.request("POST", "http://orders/ok", body=body)

    play(kind, lb, scenario)
    assert set(outcomes(lb, servers[0])) <= {Outcome.IGNORED, Outcome.CANCELLED}


@every_client
@pytest.mark.parametrize(
    ("method", "headers", "path", "again", "outcome"),
    [
        ("GET", {}, "/status?code=502", True, Outcome.FAILURE),
        ("GET", {}, "/status?code=503", True, Outcome.FAILURE),
        ("GET", {}, "/status?code=504", True, Outcome.FAILURE),
        ("GET", {}, "/status?code=408", True, Outcome.FAILURE),
        ("GET", {}, "/status?code=421", True, Outcome.SUCCESS),
        ("GET", {}, "/status?code=500", False, Outcome.FAILURE),
        ("GET", {}, "/status?code=501", False, Outcome.SUCCESS),
        ("GET", {}, "/status?code=404", False, Outcome.SUCCESS),
        ("GET", {}, "/status?code=401", False, Outcome.SUCCESS),
        ("POST", {}, "/status?code=503", False, Outcome.FAILURE),
        ("POST", {"Idempotency-Key": "1"}, "/status?code=503", True, Outcome.FAILURE),
        ("PUT", {}, "/status?code=502", True, Outcome.FAILURE),
        ("POST", {}, "/status?code=429", True, Outcome.OVERLOADED),
        ("POST", {}, "/status?code=503&retry_after=7", True, Outcome.OVERLOADED),
    ],
)
def test_what_an_answer_means_for_the_endpoint_and_the_request(
    kind: str,
    servers: list[Server],
    method: str,
    headers: dict[str, str],
    path: str,
    again: bool,
    outcome: Outcome,
) -> None:
    """Each answer has the outcome and the retry that the table of the rules says."""
    events: list[Event] = []
    lb = pool(servers[0], servers[1], listeners=[events.append])
    servers[0].script.append(path)

    async def scenario(client: Any) -> None:
        answer = await client.request(
            method, "http://orders/ok", headers=headers, body=b"x" * (method != "GET")
        )
        assert answer.info.attempts == 1 + again
        assert (answer.status == 200) is again

    play(kind, lb, scenario)
    assert outcomes(lb, servers[0]) == {outcome: 1}
    assert outcomes(lb, servers[1]) == ({Outcome.SUCCESS: 1} if again else {})
    assert len([event for event in events if isinstance(event, Retried)]) == again


@every_client
def test_the_last_answer_is_returned_if_none_is_left(kind: str, servers: list[Server]) -> None:
    """If no endpoint is left to try, the last answer is returned, such as a 503."""
    lb = pool(*servers[:2])
    for server in servers:
        server.always = "/status?code=503"

    async def scenario(client: Any) -> None:
        answer = await client.get("http://orders/ok")
        assert (answer.status, answer.info.attempts) == (503, 2)

    play(kind, lb, scenario, attempts=5)
    assert [len(server.seen) for server in servers[:2]] == [1, 1]


@every_client
def test_a_server_that_asks_for_time_gets_it(kind: str, servers: list[Server]) -> None:
    """An endpoint gets nothing for as long as it asks; when all have asked, the client's own error says when the first is back."""
    lb = pool(*servers[:2])
    for server in servers[:2]:
        server.always = "/status?code=429&retry_after=600"

    async def scenario(client: Any) -> None:
        answer = await client.get("http://orders/ok")
        assert (answer.status, answer.info.attempts) == (429, 2)
        assert [lb.stats()[server.address].state for server in servers[:2]] == ["cooling"] * 2
        with pytest.raises(client.refused) as caught:
            await client.get("http://orders/ok")
        cause = caught.value.__cause__
        assert isinstance(cause, UnavailableError)
        assert cause.retry_at is not None
        assert 0.0 < cause.retry_at - lb.stats().at <= 300.0  # 600 is more than it may ask for

    play(kind, lb, scenario)


@every_client
def test_waiting_for_the_first_one_back(kind: str, servers: list[Server]) -> None:
    """With ``wait_for_capacity``, a request waits for the first endpoint that is back instead of failing."""
    lb = pool(servers[0])
    servers[0].script.append("/status?code=429&retry_after=0.05")

    async def scenario(client: Any) -> None:
        assert (await client.get("http://orders/ok")).status == 429
        assert (await client.get("http://orders/ok")).status == 200

    play(kind, lb, scenario, wait_for_capacity=5.0)


@every_client
def test_a_connection_that_breaks_is_repeated_elsewhere_if_that_does_no_harm(
    kind: str, servers: list[Server]
) -> None:
    """After a broken connection a GET is sent to another endpoint, and a POST is not."""
    lb = pool(*servers[:2], health=None)

    async def scenario(client: Any) -> None:
        servers[0].script.append("/close")
        assert (await client.get("http://orders/ok")).text == "b"
        servers[0].script.append("/close")
        with pytest.raises(client.broken):
            await client.request("POST", "http://orders/ok", body=b"x")

    play(kind, lb, scenario)
    assert outcomes(lb, servers[0]) == {Outcome.FAILURE: 2}
    assert outcomes(lb, servers[1]) == {Outcome.SUCCESS: 1}


@every_client
def test_an_endpoint_that_does_not_answer_is_given_up_and_another_asked(
    kind: str, servers: list[Server]
) -> None:
    """An endpoint that does not answer within the client's timeout is given up, and the request goes to another."""
    lb = pool(*servers[:2])
    servers[0].script.append("/slow?seconds=5")

    async def scenario(client: Any) -> None:
        assert (await client.get("http://orders/ok", timeout=0.5)).text == "b"

    play(kind, lb, scenario)
    assert outcomes(lb, servers[0]) == {Outcome.TIMEOUT: 1}


@every_client
def test_a_deadline_is_for_the_whole_call(kind: str, servers: list[Server]) -> None:
    """When the deadline of a call is over, no second endpoint is asked, and the first is not blamed."""
    lb = pool(*servers[:2])

    async def scenario(client: Any) -> None:
        await client.get("http://orders/ok")  # so that what follows finds a connection
        for server in servers:
            server.always = "/slow?seconds=5"
        with request_options(timeout=0.4), pytest.raises(client.timed_out):
            await client.get("http://orders/ok")

    play(kind, lb, scenario, propagate_deadline="X-Left")
    assert [len(server.seen) for server in servers[:2]] == [2, 0]
    assert 0 < int(servers[0].seen[1].headers["x-left"]) <= 400
    assert outcomes(lb, servers[0]) == {Outcome.SUCCESS: 1, Outcome.CANCELLED: 1}


@every_client
def test_a_deadline_that_has_passed_blames_none(kind: str, servers: list[Server]) -> None:
    """A deadline that has passed blames no endpoint, not even the one that would have been asked."""
    lb = pool(servers[0])
    servers[0].always = "/slow?seconds=5"

    async def scenario(client: Any) -> None:
        with request_options(deadline=-1.0), pytest.raises((*client.timed_out, client.refused)):
            await client.get("http://orders/ok")

    play(kind, lb, scenario)
    assert outcomes(lb, servers[0]) == {Outcome.CANCELLED: 1}


@every_client
def test_no_endpoint_to_ask_is_the_clients_own_error(kind: str, servers: list[Server]) -> None:
    """If no endpoint is eligible, the client raises its own error, and the cause is the balancer's."""
    lb = pool(servers[0])
    lb.drain(servers[0].address)

    async def scenario(client: Any) -> None:
        with pytest.raises(client.refused, match="draining") as caught:
            await client.get("http://orders/ok")
        assert isinstance(caught.value.__cause__, UnavailableError)

    play(kind, lb, scenario)


@every_client
def test_redirects_come_back_through_the_balancer(kind: str, servers: list[Server]) -> None:
    """Relative redirects go through the balancer.

    With ``rewrite_location``, redirects to an endpoint's own address do too.
    """
    lb = pool(*servers[:2])
    servers[0].script += ["/redirect?to=/ok", "/ok", f"/redirect?to=http://{servers[1].address}/ok?y=2"]

    async def scenario(client: Any) -> None:
        answer = await client.get("http://orders/start")
        assert (answer.status, answer.url) == (200, "http://orders/ok")
        answer = await client.get("http://orders/start")
        assert (answer.status, answer.url) == (200, "http://orders/ok?y=2")

    play(kind, lb, scenario, rewrite_location=True)
    assert [seen.path for seen in servers[0].seen] == ["/start", "/ok", "/start", "/ok?y=2"]
    assert not servers[1].seen


@every_client
def test_cookies_belong_to_the_service(kind: str, servers: list[Server]) -> None:
    """A cookie that one endpoint sets is sent to the others, and can be the key of the request."""
    lb = LoadBalancer([server.address for server in servers], selector=RingHash())

    async def scenario(client: Any) -> None:
        first = await client.get("http://orders/cookie")
        owner = lb.explain(first.text).picked
        for _ in range(4):
            assert (await client.get("http://orders/ok")).info.endpoint.id == owner

    play(kind, lb, scenario, key=from_cookie("pin"))
    cookies = {seen.headers.get("cookie") for server in servers for seen in server.seen}
    assert len(cookies) == 2  # none at first, then always the same


@every_client
@pytest.mark.parametrize("source", [from_header("X-User"), from_query("user"), lambda request: "u7"])
def test_requests_of_one_key_go_to_one_endpoint(kind: str, servers: list[Server], source: Any) -> None:
    """Requests of one key go to one endpoint, wherever the key stands."""
    lb = LoadBalancer([server.address for server in servers], selector=RingHash())

    async def scenario(client: Any) -> None:
        for _ in range(5):
            answer = await client.get("http://orders/ok?user=u7", headers={"X-User": "u7"})
            assert answer.info.endpoint.id == lb.explain("u7").picked
        with request_options(key="u8"):
            answer = await client.get("http://orders/ok?user=u7", headers={"X-User": "u7"})
            assert answer.info.endpoint.id == lb.explain("u8").picked

    play(kind, lb, scenario, key=source)


@every_client
def test_an_endpoint_hears_its_own_headers_and_no_others(kind: str, servers: list[Server]) -> None:
    """Keys replace the caller's, prefixes go before every path, and a 401 takes the key out."""
    targets = [
        Endpoint(
            server.name,
            HttpTarget(url=f"http://{server.address}/v{server.name}", headers={"X-Key": f"k-{server.name}"}),
        )
        for server in servers[:2]
    ]
    lb: LoadBalancer[HttpTarget] = LoadBalancer(targets, selector=First())
    servers[0].script += ["/echo", "/status?code=401"]

    async def scenario(client: Any) -> None:
        answer = await client.get("http://orders/echo", headers={"X-Key": "mine"})
        got = json.loads(answer.text)
        assert got["path"] == "/va/echo"
        assert got["headers"]["x-key"] == "k-a"
        answer = await client.request("POST", "http://orders/echo", body=b"x", headers={"X-Key": "mine"})
        assert (answer.status, answer.info.endpoint.id) == (200, "b")
        assert json.loads(answer.text)["headers"]["x-key"] == "k-b"

    play(kind, lb, scenario)
    assert lb.stats()["a"].state == "cooling"
    assert "k-a" not in repr(lb.endpoints)


@every_client
def test_other_hosts_pass_untouched(kind: str, servers: list[Server]) -> None:
    """Only requests to the service are balanced, by host and by port if it is given."""
    lb = pool(servers[0])

    async def scenario(client: Any) -> None:
        assert (await client.get("http://orders:81/ok")).text == "a"
        answer = await client.get(f"http://{servers[1].address}/ok")
        assert (answer.text, answer.info) == ("b", None)

    play(kind, lb, scenario, service="orders:81")


@every_client
def test_retries_stay_within_the_budget(kind: str, servers: list[Server]) -> None:
    """Everything fails: ten requests, three retries, seven answers as they came, and no lease but those of the thirteen attempts."""
    events: list[Event] = []
    lb = pool(*servers[:2], health=None, listeners=[events.append])
    for server in servers:
        server.always = "/status?code=503"
    budget = RetryBudget(ratio=0.3, reserve=0.0, ttl=math.pow(10.0, 6))

    async def scenario(client: Any) -> None:
        for _ in range(10):
            assert (await client.get("http://orders/ok")).status == 503

    play(kind, lb, scenario, budget=budget)
    assert len(servers[0].seen) == 10
    assert len(servers[1].seen) == 3
    assert len([event for event in events if isinstance(event, Retried)]) == 3
    assert len([event for event in events if isinstance(event, RetryRefused)]) == 7
    assert lb.stats().completed == 13
    assert all(Outcome.IGNORED not in outcomes(lb, server) for server in servers[:2])


@every_client
def test_one_request_may_ask_for_more(kind: str, servers: list[Server]) -> None:
    """Attempts, exclusions and idempotency of a block hold for the requests in that block only."""
    lb = pool(*servers, health=None)
    for server in servers[:2]:
        server.always = "/close"

    async def scenario(client: Any) -> None:
        with request_options(attempts=3, idempotent=True, exclude={servers[0].address}):
            if (
                kind == "aiohttp"
            ):  # it repeats broken requests itself, and only those whose method says it may
                answer = await client.get("http://orders/ok")
            else:
                answer = await client.request("POST", "http://orders/ok", body=b"x")
        assert answer.info.tried == (servers[1].address, servers[2].address)

    play(kind, lb, scenario)


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Run an endpoint that answers requests, by their heads, on kept connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    while head := connection.recv(65536):
                        connection.sendall(answer(head))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@every_client
@pytest.mark.parametrize("deadline", [None, 10.0])
def test_answers_after_interim_ones_are_those_of_their_requests(kind: str, deadline: float | None) -> None:
    """On a kept connection each request gets its own answer, whatever interim ones a server sends before it."""

    def answer(head: bytes) -> bytes:
        path = head.split(b" ")[1]
        interim = [
            b"HTTP/1.1 100 X\r\n\r\n",
            b"HTTP/1.1 103 X\r\nLink: </a>\r\n\r\n",
            b"HTTP/1.1 102 X\r\n\r\n",
        ]
        return b"".join(interim) + b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path)

    with answering(answer) as address:

        async def scenario(client: Any) -> list[str]:
            with request_options(timeout=deadline):
                return [(await client.get(f"http://orders/{number}")).text for number in range(3)]

        assert play(kind, LoadBalancer([address]), scenario) == ["/0", "/1", "/2"]


def test_interim_answers_without_end_are_the_endpoints() -> None:
    """Requests reads 100 interim answers and no more: the connection has broken, and the endpoint has failed."""
    with answering(lambda _head: b"HTTP/1.1 103 X\r\n\r\n" * 101) as address:
        lb = LoadBalancer([address])

        async def scenario(client: Any) -> None:
            with pytest.raises(client.broken):
                await client.request("POST", "http://orders/", body=b"x", timeout=5.0)

        play("requests", lb, scenario)
    assert lb.stats().outcomes[Outcome.FAILURE] == 1
