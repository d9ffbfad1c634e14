"""What goes wrong on the caller's side of a request: no endpoint is blamed for it, and none is spared for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import httpx
import httpx2
import pytest
import requests
import trustme

from balancekit import Endpoint, First, LoadBalancer, Outcome
from balancekit.adapters import aiohttp as for_aiohttp
from balancekit.adapters import httpx as for_httpx
from balancekit.adapters import httpx2 as for_httpx2
from balancekit.adapters import requests as for_requests

from ._clients import play
from ._server import Server

MIN_STEPS = 8
"""Steps of a request that a trace sees on a connection in use: the head and body of request and answer, begun and complete."""


@pytest.fixture
def server() -> Iterator[Server]:
    """Run one endpoint."""
    with Server("a") as one:
        yield one


def outcomes(lb: LoadBalancer[Any]) -> dict[Outcome, int]:
    """Return the outcomes that occurred."""
    return {outcome: count for outcome, count in lb.stats().outcomes.items() if count}


@pytest.mark.parametrize(
    "options",
    [
        {"verify": "missing"},
        {"verify": "broken"},
        {"verify": False, "cert": "missing"},
        {"verify": False, "cert": "broken"},
        {"verify": False, "cert": ("broken", "missing")},
        {"verify": False, "cert": ("good", "broken")},
    ],
    ids=str,
)
def test_a_file_of_the_caller_that_cannot_be_read_is_no_fault_of_endpoints(
    options: dict[str, Any], tmp_path: Path
) -> None:
    """With a wrong ``verify`` or ``cert`` requests raises its own error at the first attempt, and the outcome is ignored."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "good"))
    (tmp_path / "broken").write_text("no certificate\n")

    def path(value: Any) -> Any:
        return str(tmp_path / value) if isinstance(value, str) else value

    named = {name: tuple(map(path, v)) if isinstance(v, tuple) else path(v) for name, v in options.items()}
    with Server("a", authority=authority, names=("orders",)) as server:
        lb = LoadBalancer([Endpoint(id, server.address) for id in "ab"])
        with requests.Session() as session:
            session.mount("https://orders/", for_requests.BalancedAdapter(lb, attempts=2))
            with pytest.raises(OSError, match=r"invalid path|SSL"):
                session.get("https://orders/ok", timeout=10, **named)
    assert outcomes(lb) == {Outcome.IGNORED: 1}


def test_a_handshake_that_fails_for_its_certificate_is_the_endpoints(tmp_path: Path) -> None:
    """A file that can be read, of another authority, is no mistake in the sense of the test above."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other"))
    with Server("a", authority=trustme.CA(), names=("orders",)) as server:
        lb = LoadBalancer([server.address])
        with requests.Session() as session:
            session.mount("https://orders/", for_requests.BalancedAdapter(lb))
            with pytest.raises(requests.exceptions.SSLError):
                session.get("https://orders/ok", timeout=10, verify=str(tmp_path / "other"))
    assert outcomes(lb) == {Outcome.CONNECT_FAILED: 1}


@pytest.mark.parametrize(
    ("status", "outcome"), [(404, Outcome.SUCCESS), (500, Outcome.FAILURE), (429, Outcome.OVERLOADED)]
)
def test_a_hook_that_raises_keeps_no_lease(status: int, outcome: Outcome, server: Server) -> None:
    """``raise_for_status`` as a hook of a requests session: the lease has ended by the status before the caller has the error."""
    lb = LoadBalancer([server.address])
    server.always = f"/status?code={status}"

    def hook(response: requests.Response, **_options: Any) -> None:
        response.raise_for_status()

    with requests.Session() as session:
        session.mount("http://orders/", for_requests.BalancedAdapter(lb))
        session.hooks["response"] = [hook]
        with pytest.raises(requests.HTTPError) as raised:
            session.get("http://orders/ok", timeout=10)
        assert (lb.stats().inflight, outcomes(lb)) == (0, {outcome: 1})
        assert raised.value.response.status_code == status


def test_hooks_see_a_stream_unread(server: Server) -> None:
    """A hook of a request with ``stream=True`` gets an answer whose body is still to come."""
    lb = LoadBalancer([server.address])
    seen = []

    def hook(response: requests.Response, **_options: Any) -> None:
        seen.append((response.raw.closed, lb.stats().inflight))

    with requests.Session() as session:
        session.mount("http://orders/", for_requests.BalancedAdapter(lb))
        answer = session.get("http://orders/drip?n=2", stream=True, hooks={"response": hook}, timeout=10)
        assert seen == [(False, 1)]
        assert len(answer.content) > 1
    assert outcomes(lb) == {Outcome.SUCCESS: 1}


def test_a_session_that_is_closed_under_its_requests_blames_no_endpoint(server: Server) -> None:
    """Aiohttp breaks the connections of a session that is closed; the balancer outlives it, and its endpoints stay healthy."""
    lb = LoadBalancer([Endpoint("a", server.address), Endpoint("b", server.address)], selector=First())

    async def main() -> None:
        sent, trace = asyncio.Event(), aiohttp.TraceConfig()

        async def on_sent(*_arguments: object) -> None:
            sent.set()

        trace.on_request_headers_sent.append(on_sent)
        session = aiohttp.ClientSession(
            middlewares=[for_aiohttp.balanced("orders", lb)], trace_configs=[trace]
        )
        task = asyncio.ensure_future(session.get("http://orders/slow?seconds=10"))
        await sent.wait()
        await session.close()
        with pytest.raises(aiohttp.ClientError):
            await task

    asyncio.run(main())
    assert lb.stats().inflight == 0
    assert set(outcomes(lb)) == {Outcome.IGNORED}
    assert [endpoint.state for endpoint in lb.stats().endpoints] == ["healthy", "healthy"]


MAX_WAIT_S = 10.0
"""For what hangs."""


def _is_seen(server: Server) -> bool:
    """Wait until the server has received a request."""
    deadline = time.monotonic() + MAX_WAIT_S
    while not server.seen and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(server.seen)


@pytest.mark.parametrize("path", ["/slow?seconds=0.3", "/drip?n=20&gap=0.1"], ids=["head", "body"])
@pytest.mark.parametrize(
    ("module", "adapter"), [(httpx, for_httpx), (httpx2, for_httpx2)], ids=["httpx", "httpx2"]
)
def test_a_client_that_another_thread_closes_blames_no_endpoint(
    module: Any, adapter: Any, path: str, server: Server
) -> None:
    """The request that it breaks raises, and opens no connection after the client is closed; its endpoint stays healthy."""
    lb = LoadBalancer([Endpoint("a", server.address), Endpoint("b", server.address)], selector=First())
    transport = adapter.BalancedTransport(lb)
    raised: list[Exception] = []

    def send() -> None:
        try:
            client.get(f"http://orders{path}")
        except Exception as error:
            raised.append(error)

    with module.Client(transport=transport) as client:
        thread = threading.Thread(target=send)
        thread.start()
        assert _is_seen(server)
        time.sleep(0.05)  # a body has begun
    thread.join(MAX_WAIT_S)
    assert [isinstance(error, module.TransportError) for error in raised] == [True]
    assert len(server.seen) == 1
    assert outcomes(lb) == {Outcome.IGNORED: 1}
    assert lb.stats().inflight == 0
    assert [endpoint.state for endpoint in lb.stats().endpoints] == ["healthy", "healthy"]
    assert not transport._pool._routes


@pytest.mark.parametrize("path", ["/slow?seconds=0.3", "/drip?n=5&gap=0.1"], ids=["head", "body"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("module", "adapter"), [(httpx, for_httpx), (httpx2, for_httpx2)], ids=["httpx", "httpx2"]
)
def test_a_client_that_another_task_closes_blames_no_endpoint(
    module: Any, adapter: Any, backend: str, path: str, server: Server
) -> None:
    """Whether the client breaks the request or lets it end, its endpoint stays healthy and no lease stays open."""
    lb = LoadBalancer([Endpoint("a", server.address), Endpoint("b", server.address)], selector=First())
    transport = adapter.AsyncBalancedTransport(lb)

    async def main() -> None:
        client = module.AsyncClient(transport=transport)

        async def send() -> None:
            with contextlib.suppress(module.TransportError):
                await client.get(f"http://orders{path}")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.to_thread.run_sync(_is_seen, server)
            await anyio.sleep(0.05)
            await client.aclose()

    anyio.run(main, backend=backend)
    assert len(server.seen) == 1
    assert outcomes(lb).keys() <= {Outcome.IGNORED, Outcome.SUCCESS, Outcome.CANCELLED}
    assert lb.stats().inflight == 0
    assert [endpoint.state for endpoint in lb.stats().endpoints] == ["healthy", "healthy"]


class Trace:
    """A ``trace`` of httpx that cannot write its n-th step on a connection, because its disk is full.

    Steps that make a connection are left out: the client itself loses the socket there.
    """

    def __init__(self, step: int) -> None:
        self._left = step
        self.raised = False

    def __call__(self, name: str, info: dict[str, Any]) -> None:
        self._left -= not name.startswith("connection.connect")
        if not self._left:
            self.raised = True
            raise OSError(28, "No space left on device")

    async def later(self, name: str, info: dict[str, Any]) -> None:
        """Do the same, as a coroutine."""
        self(name, info)


@pytest.mark.parametrize("kind", ["httpx", "httpx2", "httpx-asyncio", "httpx2-asyncio", "httpx2-trio"])
def test_a_trace_that_raises_is_the_callers(kind: str, server: Server) -> None:
    """Whatever step of a request a trace cannot write, the endpoint is not blamed, and no other one gets the request."""
    lb = LoadBalancer([Endpoint("a", server.address), Endpoint("b", "127.0.0.1:1")], selector=First())
    steps: list[Trace] = []

    async def scenario(client: Any) -> None:
        while not steps or steps[-1].raised:
            trace = Trace(len(steps) + 1)
            steps.append(trace)
            given = trace if kind in {"httpx", "httpx2"} else trace.later
            found = (
                pytest.raises(OSError, match="No space")
                if len(steps) < MIN_STEPS
                else contextlib.suppress(OSError)
            )
            with found:
                sent = client.client.get("http://orders/ok", extensions={"trace": given})
                if kind not in {"httpx", "httpx2"}:
                    await sent

    play(kind, lb, scenario, attempts=2)
    assert len(steps) > MIN_STEPS
    assert set(outcomes(lb)) == {Outcome.IGNORED, Outcome.SUCCESS}
    assert outcomes(lb)[Outcome.IGNORED] >= MIN_STEPS - 1
    assert not any(lb.stats()["b"].outcomes.values())
