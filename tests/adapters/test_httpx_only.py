"""What only the transports can do or get wrong."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import httpx2
import pytest
import requests

from balancekit import ConfigurationError, Endpoint, First, LoadBalancer, Outcome, RoundRobin
from balancekit.adapters import HttpTarget, RequestOptions
from balancekit.adapters import httpx as for_httpx
from balancekit.adapters import httpx2 as for_httpx2
from balancekit.adapters.requests import BalancedAdapter

from ._server import Server

both = pytest.mark.parametrize(("module", "adapter"), [(httpx2, for_httpx2), (httpx, for_httpx)])


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Servers that misbehave when told to."""
    with ExitStack() as stack:
        yield [stack.enter_context(Server(name)) for name in ("a", "b")]


@both
def test_the_callers_request_is_never_changed(module: Any, adapter: Any, servers: list[Server]) -> None:
    """The caller's request keeps its URL, headers, extensions and body, and the answer belongs to it."""
    target = HttpTarget(
        url=f"http://{servers[0].address}/prefix", headers={"X-Key": "secret"}, authority="else"
    )
    lb: LoadBalancer[HttpTarget] = LoadBalancer([Endpoint("a", target)])
    with module.Client(transport=adapter.BalancedTransport(lb)) as client:
        request = client.build_request("POST", "http://orders/echo", content=b"x", headers={"X-Key": "mine"})
        before = (str(request.url), list(request.headers.raw), dict(request.extensions), request.stream)
        response = client.send(request)
        assert (
            str(request.url),
            list(request.headers.raw),
            dict(request.extensions),
            request.stream,
        ) == before
        assert response.request is request
        assert response.json()["headers"]["host"] == "else"


@both
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        (b"data: [DONE]\n\n", Outcome.SUCCESS),
        (b"data: {}\r\n\r\ndata:[DONE]\r\n\r\n", Outcome.SUCCESS),
        (b"x" * 99 + b"\n\ndata: [DONE]", Outcome.SUCCESS),
        (b"data: {}\n\n", Outcome.CANCELLED),
        (b"data: [DONE]\n\ndata: {}\n\n", Outcome.CANCELLED),
        (b'data: "data: [DONE]', Outcome.CANCELLED),
        (b"", Outcome.CANCELLED),
    ],
)
def test_a_stream_that_has_said_it_is_over_may_be_closed(
    module: Any, adapter: Any, way: str, last: bytes, outcome: Outcome
) -> None:
    """A stream that has sent its last event may be closed before the end of the body, and ends as a success."""
    lb = LoadBalancer(["10.0.0.1:80"])
    pieces = [b"data: {}\n\n", last, b"data: more\n\n"]

    async def waiting() -> None:
        async def body() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        inner = module.MockTransport(lambda request: module.Response(200, content=body()))
        transport = adapter.AsyncBalancedTransport(lb, transport_factory=lambda endpoint: inner)
        async with module.AsyncClient(transport=transport) as client:
            async with client.stream("GET", "http://llm/") as response:
                reading = response.aiter_raw()
                await anext(reading)
                await anext(reading)
                await reading.aclose()

    if way == "async":
        asyncio.run(waiting())
    else:
        inner = module.MockTransport(lambda request: module.Response(200, content=iter(pieces)))
        transport = adapter.BalancedTransport(lb, transport_factory=lambda endpoint: inner)
        with module.Client(transport=transport) as client, client.stream("GET", "http://llm/") as response:
            reading = response.iter_raw()
            next(reading)
            next(reading)
    assert {one: count for one, count in lb.stats().outcomes.items() if count} == {outcome: 1}


def test_the_callers_prepared_request_is_never_changed(servers: list[Server]) -> None:
    """The caller's prepared request of requests is never changed."""
    lb = LoadBalancer([servers[0].address])
    with requests.Session() as session:
        session.mount("http://orders/", BalancedAdapter(lb))
        prepared = session.prepare_request(requests.Request("POST", "http://orders/echo", data=b"x"))
        before = (prepared.url, dict(prepared.headers), prepared.body)
        response = session.send(prepared)
        assert (prepared.url, dict(prepared.headers), prepared.body) == before
        assert response.request is prepared
        assert pickle.loads(pickle.dumps(response)).text == response.text


def test_a_file_is_rewound_for_another_attempt(servers: list[Server], tmp_path: Any) -> None:
    """An open file that requests sends is rewound, so that the second endpoint gets the whole of it."""
    path = tmp_path / "body"
    path.write_bytes(b"0123456789" * 1000)
    servers[0].script.append("/status?code=429")
    lb = LoadBalancer([server.address for server in servers], selector=First())
    with requests.Session() as session, path.open("rb") as file:
        session.mount("http://orders/", BalancedAdapter(lb))
        assert session.post("http://orders/ok", data=file).text == "b"
    assert servers[1].seen[0].body == path.read_bytes()


@both
def test_a_request_carries_its_own_options(module: Any, adapter: Any, servers: list[Server]) -> None:
    """A request carries its own options in ``extensions``, as a record or as a mapping.

    Wrong ones are the caller's mistake, and leak no lease.
    """
    lb = LoadBalancer([server.address for server in servers], selector=First())
    with module.Client(transport=adapter.BalancedTransport(lb)) as client:
        for options in (
            RequestOptions(exclude=frozenset({servers[0].address})),
            {"exclude": [servers[0].address]},
        ):
            assert client.get("http://orders/ok", extensions={"balancekit": options}).text == "b"
        with pytest.raises(ConfigurationError, match="attempts"):
            client.get("http://orders/ok", extensions={"balancekit": {"attempts": 0}})
    assert lb.stats().inflight == 0


@both
def test_the_transport_of_an_endpoint_that_has_left_is_closed(
    module: Any, adapter: Any, servers: list[Server]
) -> None:
    """After its last lease, by the next request; and all of them by ``close``, which may be called again."""
    closed: list[str] = []

    class InnerTransport(module.HTTPTransport):
        def __init__(self, endpoint: Endpoint[str]) -> None:
            super().__init__()
            self.id = endpoint.id

        def close(self) -> None:
            closed.append(self.id)
            super().close()

    a, b = (server.address for server in servers)
    lb = LoadBalancer([a, b], selector=First())
    transport = adapter.BalancedTransport(lb, transport_factory=InnerTransport)
    client = module.Client(transport=transport)
    response = client.send(client.build_request("GET", "http://orders/drip?n=3"), stream=True)
    lb.remove(a)
    assert client.get("http://orders/ok").text == "b"
    assert closed == []
    response.read()
    assert client.get("http://orders/ok").text == "b"
    assert closed == [a]
    lb.add(a)
    lb.remove(b)
    assert client.get("http://orders/ok").text == "a"
    assert closed == [a, b]
    client.close()
    transport.close()
    assert closed == [a, b, a]


def recording(module: Any, closed: list[str], *, fails: str) -> tuple[Any, Any]:
    """Return inner transports, synchronous and not, of which one raises when it is closed."""

    class InnerTransport(module.BaseTransport, module.AsyncBaseTransport):
        def __init__(self, endpoint: Endpoint[str]) -> None:
            self.id = endpoint.id

        def handle_request(self, request: Any) -> Any:
            return module.Response(200, text=self.id)

        async def handle_async_request(self, request: Any) -> Any:
            return module.Response(200, text=self.id)

        def close(self) -> None:
            closed.append(self.id)
            if self.id == fails:
                raise OSError("cannot be closed")

        async def aclose(self) -> None:
            self.close()

    return InnerTransport, LoadBalancer(
        {name: f"10.0.0.{number}:1" for number, name in enumerate("abc", 1)}, selector=RoundRobin()
    )


@both
def test_a_transport_that_cannot_be_closed_is_no_error_of_a_request(
    module: Any, adapter: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A removed endpoint's transport that raises when closed is logged; the others are closed, and the request is answered."""
    closed: list[str] = []
    inner, lb = recording(module, closed, fails="a")
    with module.Client(transport=adapter.BalancedTransport(lb, transport_factory=inner)) as client:
        for _ in range(3):
            client.get("http://orders/")
        lb.update({"c": "10.0.0.3:1"})
        assert client.get("http://orders/").text == "c"
        assert sorted(closed) == ["a", "b"]
    assert sorted(closed) == ["a", "b", "c"]
    assert "cannot be closed" in caplog.text


@both
def test_a_transport_that_cannot_be_closed_keeps_no_other_open(module: Any, adapter: Any) -> None:
    """``close`` closes every inner transport and the fallback, and then raises what one of them raised."""
    closed: list[str] = []
    inner, lb = recording(module, closed, fails="b")
    fallback = inner(Endpoint("fallback"))
    transport = adapter.BalancedTransport(lb, transport_factory=inner, fallback=fallback)
    client = module.Client(transport=transport)
    for _ in range(3):
        client.get("http://orders/")
    with pytest.raises(OSError, match="cannot be closed"):
        client.close()
    assert sorted(closed) == ["a", "b", "c", "fallback"]


@both
def test_an_asynchronous_transport_that_cannot_be_closed_keeps_no_other_open(
    module: Any, adapter: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """``aclose`` closes every inner transport although one of them raises, also those of removed endpoints."""
    closed: list[str] = []
    inner, lb = recording(module, closed, fails="b")

    async def main() -> None:
        transport = adapter.AsyncBalancedTransport(lb, transport_factory=inner)
        client = module.AsyncClient(transport=transport)
        for _ in range(3):
            await client.get("http://orders/")
        lb.update({"c": "10.0.0.3:1"})
        assert (await client.get("http://orders/")).text == "c"
        assert sorted(closed) == ["a", "b"]
        await client.aclose()

    asyncio.run(main())
    assert sorted(closed) == ["a", "b", "c"]
    assert "cannot be closed" in caplog.text


@both
def test_a_cancelled_close_keeps_no_other_transport_open(module: Any, adapter: Any) -> None:
    """If a task is cancelled while it closes one, the next request, and ``aclose``, close the others."""
    closed: list[str] = []

    class InnerTransport(module.AsyncBaseTransport):
        def __init__(self, endpoint: Endpoint[str]) -> None:
            self.id = endpoint.id

        async def handle_async_request(self, request: Any) -> Any:
            return module.Response(200, text=self.id)

        async def aclose(self) -> None:
            closed.append(self.id)
            await asyncio.sleep(0.05)

    async def cancelled(task: asyncio.Task[Any]) -> None:
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def main() -> None:
        lb = LoadBalancer({name: f"10.0.0.{n}:1" for n, name in enumerate("abcde", 1)}, selector=RoundRobin())
        transport = adapter.AsyncBalancedTransport(lb, transport_factory=InnerTransport)
        client = module.AsyncClient(transport=transport)
        for _ in range(5):
            await client.get("http://orders/")
        lb.update({"d": "10.0.0.4:1", "e": "10.0.0.5:1"})
        await cancelled(asyncio.create_task(client.get("http://orders/")))
        assert len(closed) == 1
        await client.get("http://orders/")
        assert sorted(closed) == ["a", "b", "c"]
        await cancelled(asyncio.create_task(transport.aclose()))
        assert sorted(closed) == ["a", "b", "c", "d", "e"]

    asyncio.run(main())


def test_transports_that_were_never_closed_are_not_told_of_events_for_ever() -> None:
    """A balancer that outlives many transports calls none of those that are gone: the next event removes their listeners."""
    lb = LoadBalancer(["10.0.0.1:1"])
    for _ in range(20):
        for_httpx2.BalancedTransport(lb)
    gc.collect()
    assert len(lb._runtime.listeners._listeners) == 20
    lb.add("10.0.0.2:1")
    assert len(lb._runtime.listeners._listeners) == 0


@both
def test_nothing_stays_open_when_the_list_changes_all_the_time(
    module: Any, adapter: Any, servers: list[Server]
) -> None:
    """Removed and added again while six threads call: every transport with a connection is closed in the end."""
    made: list[Any] = []

    class InnerTransport(module.HTTPTransport):
        open = True

        def close(self) -> None:
            self.open = False
            super().close()

    def make(endpoint: Endpoint[str]) -> Any:
        made.append(InnerTransport(verify=context))
        return made[-1]

    context = module.create_ssl_context()
    a, b = (server.address for server in servers)
    lb = LoadBalancer([a, b])
    errors: list[BaseException] = []
    over = threading.Event()

    def call(client: Any) -> None:
        while not over.is_set():
            try:
                assert client.get("http://orders/ok").status_code == 200
            except BaseException as error:
                errors.append(error)

    with module.Client(transport=adapter.BalancedTransport(lb, transport_factory=make)) as client:
        threads = [threading.Thread(target=call, args=(client,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for number in range(200):
            lb.update([a] if number % 2 else [a, b])
            over.wait(0.002)
        over.set()
        for thread in threads:
            thread.join()
        client.get("http://orders/ok")
        waiting = sum(inner.open and bool(inner._pool.connections) for inner in made)
    assert not errors
    assert len(made) > 20
    assert waiting <= 20, "those that have no leases any more are closed soon"
    assert not [inner for inner in made if inner.open and inner._pool.connections]


@both
def test_a_mount_that_the_environment_bypasses_is_found(
    module: Any, adapter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount of the environment that bypasses a proxy is found, as the longer pattern wins."""
    lb = LoadBalancer(["127.0.0.1:1"])
    mounts = {"http://orders": adapter.BalancedTransport(lb)}
    with module.Client(mounts=mounts) as client:
        adapter.check_mounted(client, "http://orders")
    monkeypatch.setenv("NO_PROXY", "orders")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:2")
    with module.Client(mounts=mounts) as client, pytest.raises(ConfigurationError, match="http://orders"):
        adapter.check_mounted(client, "http://orders")


@both
def test_a_unix_socket_is_an_endpoint_too(module: Any, adapter: Any, tmp_path: Any) -> None:
    """A Unix socket may be a target; it is asked for by the service's name."""
    path = str(tmp_path / "s.sock")
    seen: list[bytes] = []

    async def main() -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
            writer.close()

        async with await asyncio.start_unix_server(serve, path):
            transport = adapter.AsyncBalancedTransport(LoadBalancer([f"unix:{path}"]))
            async with module.AsyncClient(transport=transport) as client:
                return str((await client.get("http://orders/x?y=1")).text)

    assert asyncio.run(main()) == "ok"
    assert seen[0].startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert b"host: orders\r\n" in seen[0].lower()


@both
def test_threads_share_a_client(module: Any, adapter: Any, servers: list[Server]) -> None:
    """Eight threads share a client for 400 requests with exact counts, and nothing is in flight at the end."""
    lb = LoadBalancer([server.address for server in servers], selector=RoundRobin())
    errors: list[BaseException] = []

    def work(client: Any) -> None:
        try:
            for _ in range(50):
                assert client.get("http://orders/ok").status_code == 200
        except BaseException as error:
            errors.append(error)

    with module.Client(transport=adapter.BalancedTransport(lb)) as client:
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert not errors
    assert lb.stats().completed == 400
    assert lb.stats().inflight == 0
