"""Clients that several processes or clients share: a fork, and a transport that one of its clients has closed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

import anyio
import httpx
import httpx2
import pytest
import requests

from balancekit import LoadBalancer, RoundRobin
from balancekit.adapters import RequestOptions
from balancekit.adapters import httpx as for_httpx
from balancekit.adapters import httpx2 as for_httpx2
from balancekit.adapters.requests import BalancedAdapter

from ._server import Server

MAX_WAIT_S = 30.0
"""For what hangs."""


def _client(kind: str, lb: LoadBalancer[Any]) -> Any:
    if kind == "requests":
        session = requests.Session()
        session.trust_env = False
        session.mount("http://", BalancedAdapter(lb, service="orders"))
        return session
    module, adapter = (httpx2, for_httpx2) if kind == "httpx2" else (httpx, for_httpx)
    return module.Client(transport=adapter.BalancedTransport(lb, service="orders"))


def _exit_code(child: int) -> int:
    deadline = time.monotonic() + MAX_WAIT_S
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(ended[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", ["httpx", "httpx2", "requests"])
def test_a_forked_child_makes_connections_of_its_own(kind: str) -> None:
    """A child writes on no connection of its parent, whose next request uses the one that it kept: requests for the service and for others."""
    with Server("a") as server:
        other = f"http://{server.address}/ok"
        with _client(kind, LoadBalancer([server.address])) as client:
            for url in ("http://orders/ok", other):
                assert client.get(url).text == "a"
            made = server.connections
            child = os.fork()
            if child == 0:
                status = 1
                with contextlib.suppress(BaseException):
                    assert client.get("http://orders/ok").text == "a"
                    if kind != "requests":  # which has another adapter for other hosts
                        assert client.get(other).text == "a"
                    status = 0
                os._exit(status)
            assert _exit_code(child) == 0
            assert server.connections == made + (1 if kind == "requests" else 2)
            for url in ("http://orders/ok", other):
                assert client.get(url).text == "a"
            assert server.connections == made + (1 if kind == "requests" else 2)


class _Inner(httpx2.BaseTransport):
    """A transport that knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=request.url.host)

    def close(self) -> None:
        self.is_closed = True


def test_a_transport_that_one_client_has_closed_serves_the_other() -> None:
    """A transport that one client has closed makes an inner transport for each endpoint anew.

    It follows the list and leaves none open.
    """
    made: list[_Inner] = []

    def make(_endpoint: object) -> _Inner:
        made.append(_Inner())
        return made[-1]

    lb = LoadBalancer(["10.0.0.1:80", "10.0.0.2:80"], selector=RoundRobin())
    transport = for_httpx2.BalancedTransport(lb, transport_factory=make)
    with httpx2.Client(transport=transport) as outer:
        with httpx2.Client(transport=transport) as inner:
            inner.get("http://orders/")
        assert all(one.is_closed for one in made)
        made.clear()
        lb.update(["10.0.0.1:80", "10.0.0.3:80"])
        for _ in range(8):
            outer.get("http://orders/")
        assert len(made) == 2
        lb.update(["10.0.0.1:80"])
        outer.get("http://orders/")
        assert sum(one.is_closed for one in made) == 1
    assert all(one.is_closed for one in made)


CLIENTS = pytest.mark.parametrize(
    ("module", "adapter"), [(httpx, for_httpx), (httpx2, for_httpx2)], ids=["httpx", "httpx2"]
)


@CLIENTS
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_requests_take_no_place_of_a_pool(module: Any, adapter: Any, backend: str) -> None:
    """Whenever two requests over a pool of one connection are cancelled, the next request gets the connection."""

    def make(_endpoint: object) -> Any:
        return module.AsyncHTTPTransport(limits=module.Limits(max_connections=1))

    async def main() -> None:
        with Server("a") as server:
            transport = adapter.AsyncBalancedTransport(LoadBalancer([server.address]), transport_factory=make)
            async with module.AsyncClient(
                transport=transport, timeout=module.Timeout(5.0, pool=2.0)
            ) as client:
                for steps in range(1, 40):
                    async with anyio.create_task_group() as tasks:
                        for _ in range(2):
                            tasks.start_soon(client.get, "http://orders/ok")
                        for _ in range(steps):
                            await anyio.lowlevel.cancel_shielded_checkpoint()
                        tasks.cancel_scope.cancel()
                    assert (await client.get("http://orders/ok")).text == "a"

    anyio.run(main, backend=backend)


class _Made:
    """A connection that was made."""


class _Connection:
    """A connection of a pool, or one to its proxy, as far as it was made."""

    def __init__(self, inner: object = None) -> None:
        self._connection = inner
        self._connect_failed = False


class _Request:
    """A request of a pool."""

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection


class _Pool:
    """A pool of connections of which one was lost, directly or behind that to a proxy."""

    def __init__(self, *, proxied: bool) -> None:
        self.lost = _Connection()
        self.taken, self.made = _Connection(), _Connection(_Made())
        self._connections = [_Connection(self.lost) if proxied else self.lost, self.taken, self.made]
        self._requests = [_Request(self.taken)]
        self._optional_thread_lock = contextlib.nullcontext()
        self.closed: list[str] = []
        self._close_connections: Any = self.closed.extend

    def _assign_requests_to_connections(self) -> list[str]:
        return ["surplus"]

    def failed(self) -> list[bool]:
        """Return which of the connections are known to have failed."""
        return [one._connect_failed for one in (self.lost, self.taken, self.made)]


@CLIENTS
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "by a proxy"])
@pytest.mark.parametrize("how", ["time-out", "asynchronous time-out", "cancelled", "deadline"])
def test_a_connection_that_no_request_has_is_removed_after_an_error(
    module: Any, adapter: Any, how: str, proxied: bool
) -> None:
    """Whatever ends an attempt, the pool forgets a connection that was never made and that no request waits for, and no other."""
    pool = _Pool(proxied=proxied)
    error = module.PoolTimeout("no connection")

    class Blocking(module.BaseTransport):
        _pool = pool

        def handle_request(self, _request: object) -> Any:
            raise error

    class Waiting(module.AsyncBaseTransport):
        _pool = pool

        async def handle_async_request(self, _request: object) -> Any:
            async def close(connections: list[str]) -> None:
                pool.closed += connections

            pool._close_connections = close
            if how == "asynchronous time-out":
                raise error
            await anyio.sleep_forever()

    lb = LoadBalancer(["10.0.0.1:80"])
    if how == "time-out":
        transport = adapter.BalancedTransport(lb, transport_factory=lambda _endpoint: Blocking())
        with module.Client(transport=transport) as client, pytest.raises(module.PoolTimeout):
            client.get("http://orders/")
    else:
        options = RequestOptions(deadline=time.monotonic() + 0.05) if how == "deadline" else RequestOptions()

        async def main() -> None:
            transport = adapter.AsyncBalancedTransport(lb, transport_factory=lambda _endpoint: Waiting())
            async with module.AsyncClient(transport=transport) as client:
                with (
                    anyio.move_on_after(0.05 if how == "cancelled" else 10.0),
                    contextlib.suppress(module.TimeoutException),
                ):
                    await client.get("http://orders/", extensions={"balancekit": options})

        anyio.run(main)
    assert pool.failed() == [True, False, False]
    assert pool.closed == ["surplus"]
    assert lb.stats().inflight == 0
