"""Proxies of the environment, and their credentials: balanced requests go to the endpoint directly."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
import httpx
import httpx2
import pytest
import requests
import trustme

from balancekit import First, LoadBalancer, Outcome
from balancekit.adapters import _aiohttp_errors
from balancekit.adapters import aiohttp as for_aiohttp
from balancekit.adapters import httpx as for_httpx
from balancekit.adapters import httpx2 as for_httpx2
from balancekit.adapters import requests as for_requests
from balancekit.adapters._call import Call
from balancekit.adapters._config import AdapterConfig

from ._clients import KINDS, play
from ._server import Server


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Run an endpoint and a proxy."""
    with ExitStack() as stack:
        yield [stack.enter_context(Server(name)) for name in ("endpoint", "proxy")]


@pytest.fixture(params=["named in NO_PROXY", "not named in NO_PROXY"])
def proxied(request: Any, servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """Name a proxy with credentials in the environment."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://user:s3cret@{servers[1].address}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.0/8,127.0.0.1" if request.param == "named in NO_PROXY" else "")
    return servers


@pytest.mark.parametrize("kind", KINDS)
def test_proxies_of_the_environment_carry_no_balanced_request(kind: str, proxied: list[Server]) -> None:
    """Whatever the environment says of proxies, the endpoint gets the request and the proxy gets nothing."""
    lb = LoadBalancer([proxied[0].address])

    async def scenario(client: Any) -> None:
        assert (await client.get("http://orders/ok")).text == "endpoint"

    play(kind, lb, scenario)
    assert proxied[1].seen == []


def test_an_aiohttp_session_that_trusts_the_environment_goes_directly(proxied: list[Server]) -> None:
    """``trust_env=True`` leads other requests by the proxy, and balanced ones to the endpoint."""
    lb = LoadBalancer([proxied[0].address])

    async def main() -> str:
        middleware = for_aiohttp.balanced("orders", lb)
        async with aiohttp.ClientSession(middlewares=[middleware], trust_env=True) as session:
            async with session.get("http://orders/echo") as answer:
                return await answer.text()

    assert "s3cret" not in asyncio.run(main())
    assert proxied[1].seen == []


def test_a_requests_session_sends_no_credentials_of_a_proxy_after_a_redirect(proxied: list[Server]) -> None:
    """After a redirect the session adds ``Proxy-Authorization`` for a proxy of the environment; the endpoint sees none."""
    with requests.Session() as session:
        session.mount("http://orders/", for_requests.BalancedAdapter(LoadBalancer([proxied[0].address])))
        answer = session.get("http://orders/redirect?to=/echo", timeout=10)
    assert "proxy-authorization" not in json.loads(answer.text)["headers"]
    assert len(proxied[0].seen) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_credentials_for_a_proxy_are_not_sent_to_an_endpoint(kind: str, servers: list[Server]) -> None:
    """``Proxy-Authorization`` is for a proxy, and there is none; all other headers of the caller arrive."""
    lb = LoadBalancer([servers[0].address])

    async def scenario(client: Any) -> None:
        headers = {"Proxy-Authorization": "Basic s3cret", "Authorization": "Bearer mine"}
        answer = await client.get("http://orders/echo", headers=headers)
        got = json.loads(answer.text)["headers"]
        assert got["authorization"] == "Bearer mine"
        assert "proxy-authorization" not in got

    play(kind, lb, scenario)


@pytest.mark.parametrize("first", ["refuses", "is dead"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_retry_that_expects_100_continue_is_a_whole_request(
    method: str, first: str, servers: list[Server]
) -> None:
    """Aiohttp waits for "100 Continue" again in each attempt, so that a retry sends its body."""
    lb = LoadBalancer(
        [servers[1].address if first == "refuses" else "127.0.0.1:1", servers[0].address], selector=First()
    )
    servers[1].always = "/status?code=503&retry_after=5"

    async def main() -> str:
        async with aiohttp.ClientSession(middlewares=[for_aiohttp.balanced("orders", lb)]) as session:
            async with session.request(method, "http://orders/echo", data=b"hello", expect100=True) as answer:
                return await answer.text()

    assert json.loads(asyncio.run(main()))["body"] == "hello"
    assert lb.stats()[servers[0].address].outcomes[Outcome.SUCCESS] == 1


def test_a_full_pool_of_an_aiohttp_session_is_the_callers(servers: list[Server]) -> None:
    """If a session has no free connection in time, the outcome is ignored and the endpoint stays healthy."""
    lb = LoadBalancer([servers[0].address])

    async def main() -> list[Any]:
        connector, limit = aiohttp.TCPConnector(limit=1), aiohttp.ClientTimeout(connect=0.1)
        middleware = for_aiohttp.balanced("orders", lb, attempts=3)
        async with aiohttp.ClientSession(
            connector=connector, timeout=limit, middlewares=[middleware]
        ) as session:

            async def one() -> int:
                async with session.get("http://orders/slow?seconds=0.5") as answer:
                    return answer.status

            return await asyncio.gather(*[one() for _ in range(5)], return_exceptions=True)

    found = asyncio.run(main())
    assert found.count(200) == 1
    assert sum(isinstance(one, aiohttp.ConnectionTimeoutError) for one in found) == 4
    outcomes = lb.stats().outcomes
    assert (outcomes[Outcome.SUCCESS], outcomes[Outcome.IGNORED]) == (1, 4)


def test_a_connection_that_times_out_is_the_endpoints() -> None:
    """The same error of aiohttp, for an endpoint that does not accept: the outcome is connect failed."""
    error = aiohttp.ConnectionTimeoutError("Connection timeout to host http://10.0.0.1")
    error.__cause__ = TimeoutError()
    call = Call(AdapterConfig(LoadBalancer(["10.0.0.1:80"])), None, None, 1.0)
    session: Any = SimpleNamespace(closed=False)
    assert _aiohttp_errors.classify_error(error, call, session).outcome is Outcome.CONNECT_FAILED


class ConnectProxy:
    """A proxy that opens tunnels, or refuses them by a status for each port."""

    def __init__(self, refused: dict[int, int]) -> None:
        self.refused = refused
        self.asked: list[int] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,)).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        with client:
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(65536) or b"\r\n\r\n"
            port = int(head.split(b" ")[1].rpartition(b":")[2])
            self.asked.append(port)
            if port in self.refused:
                client.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self.refused[port])
                return
            with socket.create_connection(("127.0.0.1", port)) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                _pump(client, server)
                back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def _client_by(
    proxy: ConnectProxy, kind: str, lb: LoadBalancer[Any], authority: trustme.CA, path: Path
) -> Any:
    """Return a client whose balanced requests go by a proxy."""
    if kind == "requests":
        session = requests.Session()
        session.trust_env = False
        authority.cert_pem.write_to_path(str(path))
        session.verify, session.proxies = str(path), {"https": proxy.url}
        session.mount("https://orders/", for_requests.BalancedAdapter(lb, via_proxy=True, attempts=2))
        return session
    module: Any = {"httpx": httpx, "httpx2": httpx2}[kind]
    adapter: Any = {"httpx": for_httpx, "httpx2": for_httpx2}[kind]
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def inner(_endpoint: object) -> Any:
        return module.HTTPTransport(verify=context, proxy=module.Proxy(proxy.url))

    transport = adapter.BalancedTransport(lb, transport_factory=inner, attempts=2)
    return module.Client(transport=transport, trust_env=False)


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("kind", ["requests", "httpx", "httpx2"])
def test_an_endpoint_that_a_proxy_cannot_reach_is_not_the_last_attempt(
    kind: str, status: int, tmp_path: Path
) -> None:
    """A proxy that cannot reach an endpoint costs the endpoint a failure to connect, and the caller nothing."""
    authority = trustme.CA()
    with ExitStack() as stack:
        server = stack.enter_context(Server("a", authority=authority, names=("orders", "127.0.0.1")))
        proxy = stack.enter_context(ConnectProxy({1: status}))
        lb = LoadBalancer(["127.0.0.1:1", server.address], selector=First())
        ended: list[tuple[str, Outcome]] = []
        lb.on_completion(lambda node, completion: ended.append((node.id, completion.outcome)))
        client = stack.enter_context(_client_by(proxy, kind, lb, authority, tmp_path / "ca.pem"))
        assert client.post("https://orders/ok", data={"a": "once"}, timeout=10).text == "a"
        assert ended == [("127.0.0.1:1", Outcome.CONNECT_FAILED), (server.address, Outcome.SUCCESS)]
    assert proxy.asked[0] == 1


@pytest.mark.parametrize("kind", ["requests", "httpx", "httpx2"])
@pytest.mark.parametrize("names", [("other",), ()], ids=["another name", "no TLS"])
def test_a_handshake_by_a_tunnel_that_fails_is_the_endpoints(
    kind: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    """Nothing was sent to an endpoint behind a proxy that has no certificate of the service: the request goes elsewhere."""
    authority = trustme.CA()
    with ExitStack() as stack:
        wrong = stack.enter_context(Server("a", authority=authority if names else None, names=names))
        right = stack.enter_context(Server("b", authority=authority, names=("orders", "127.0.0.1")))
        proxy = stack.enter_context(ConnectProxy({}))
        lb = LoadBalancer([wrong.address, right.address], selector=First())
        client = stack.enter_context(_client_by(proxy, kind, lb, authority, tmp_path / "ca.pem"))
        assert client.post("https://orders/ok", data={"a": "once"}, timeout=10).text == "b"
        assert lb.stats()[wrong.address].outcomes[Outcome.CONNECT_FAILED] == 1
        client.close()


@pytest.mark.parametrize("status", [400, 403, 407, 500])
@pytest.mark.parametrize("kind", ["requests", "httpx", "httpx2"])
def test_what_a_proxy_refuses_is_the_callers(kind: str, status: int, tmp_path: Path) -> None:
    """A proxy that refuses the caller says nothing of the endpoint: one attempt, the client's own error, no failure."""
    with ExitStack() as stack:
        proxy = stack.enter_context(ConnectProxy({1: status, 2: status}))
        lb = LoadBalancer(["127.0.0.1:1", "127.0.0.1:2"], selector=First())
        ended: list[Outcome] = []
        lb.on_completion(lambda _, completion: ended.append(completion.outcome))
        client = stack.enter_context(_client_by(proxy, kind, lb, trustme.CA(), tmp_path / "ca.pem"))
        expected = {
            "requests": requests.exceptions.ProxyError,
            "httpx": httpx.ProxyError,
            "httpx2": httpx2.ProxyError,
        }
        with pytest.raises(expected[kind]):
            client.get("https://orders/ok", timeout=10)
    assert (ended, proxy.asked) == ([Outcome.IGNORED], [1])


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("Host unreachable", Outcome.CONNECT_FAILED),
        ("Network unreachable", Outcome.CONNECT_FAILED),
        ("Connection refused", Outcome.CONNECT_FAILED),
        ("TTL expired", Outcome.CONNECT_FAILED),
        ("General SOCKS server failure", Outcome.IGNORED),
        ("Connection not allowed by ruleset", Outcome.IGNORED),
    ],
)
def test_a_socks_proxy_that_cannot_reach_an_endpoint_is_asked_for_another(
    said: str, outcome: Outcome
) -> None:
    """Replies of SOCKS that an endpoint is unreachable are failures to connect; the others are for the caller."""
    lb = LoadBalancer(["10.0.0.1:443", "10.0.0.2:443"], selector=First())
    ended: list[Outcome] = []
    lb.on_completion(lambda _, completion: ended.append(completion.outcome))

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "10.0.0.1":
            raise httpx2.ProxyError(f"Proxy Server could not connect: {said}.")
        return httpx2.Response(200, text="b")

    inner = httpx2.MockTransport(answer)
    transport = for_httpx2.BalancedTransport(lb, transport_factory=lambda _: inner, attempts=2)
    with httpx2.Client(transport=transport) as client:
        if outcome is Outcome.IGNORED:
            with pytest.raises(httpx2.ProxyError):
                client.post("https://orders/")
        else:
            assert client.post("https://orders/").text == "b"
    assert ended[0] is outcome
