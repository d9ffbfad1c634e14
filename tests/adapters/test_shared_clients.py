"""Clients that several processes or clients share: a fork, and a transport that one of its clients has closed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

import httpx
import httpx2
import pytest
import requests

from balancekit import LoadBalancer, RoundRobin
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
