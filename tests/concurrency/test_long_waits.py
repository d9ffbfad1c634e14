"""Times beyond the longest wait that the system takes: runners live on, and calls end as they would with any long time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import pytest
import requests

from balancekit import LoadBalancer
from balancekit.adapters import request_options
from balancekit.adapters.requests import BalancedAdapter
from balancekit.checks import Schedule, ThreadChecks
from balancekit.discovery import HttpSdResolver, Refresh, ThreadDiscovery
from balancekit.health import Lifecycle
from balancekit.sharing import RedisStore

MAX_S = 10.0
pytestmark = [
    pytest.mark.parametrize("seconds", [1e10, 1e300], ids=["1e10", "1e300"]),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def wait_for(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + MAX_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def threads(name: str) -> int:
    """Return how many threads of a name are alive."""
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


class Answering:
    """A server that gives one answer to each connection."""

    def __init__(self, body: bytes) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        self._answer += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(self._answer)


def test_discovery_lives_on_between_two_refreshes(seconds: float) -> None:
    """A thread that refreshes once in centuries still takes a refresh that is requested."""
    calls: list[int] = []

    def resolve() -> list[str]:
        calls.append(1)
        return ["a:1"]

    refresh = Refresh(interval=seconds, max_interval=seconds, timeout=seconds)
    with ThreadDiscovery(LoadBalancer([], allow_empty=True), resolve, refresh=refresh) as discovery:
        assert discovery.wait_ready(seconds)
        discovery.refresh()
        wait_for(lambda: len(calls) == 2)
        assert discovery.running


def test_checks_live_on_between_two_checks(seconds: float) -> None:
    """The threads of checks with an interval of centuries live until they are stopped."""
    schedule = Schedule(interval=seconds, timeout=seconds)
    lb = LoadBalancer(["a"], health=Lifecycle())
    with ThreadChecks(lb, lambda _endpoint, _timeout: True, schedule=schedule, concurrency=2):
        time.sleep(0.1)
        assert threads("balancekit-check-") == 2
    assert threads("balancekit-check-") == 0


def test_a_store_lives_on_between_two_exchanges(seconds: float) -> None:
    """The thread of a store whose period is centuries lives until the store is closed."""

    class Client:
        def eval(self, *_: object) -> str:
            return '{"sums": [], "hints": [], "granted": []}'

    with RedisStore(Client(), name="checkout", period=seconds) as store:
        store.start()
        wait_for(lambda: store.core.answers)
        time.sleep(0.05)
        assert threads("balancekit-store") == 1
    assert threads("balancekit-store") == 0


def test_a_list_of_targets_has_any_time(seconds: float) -> None:
    """A resolver with a time-out of centuries returns the list as soon as it is there."""
    with Answering(b'[{"targets": ["a:1"]}]') as server:
        found = HttpSdResolver(f"http://{server.address}/targets", timeout=seconds).resolve()
    assert [endpoint.id for endpoint in found.endpoints] == ["a:1"]


def test_a_request_has_any_time(seconds: float) -> None:
    """A request of ``requests`` with a deadline in centuries is answered as one without a deadline."""
    with Answering(b"[]") as server, requests.Session() as session:
        session.mount("http://orders/", BalancedAdapter(LoadBalancer([server.address])))
        with request_options(timeout=seconds):
            assert session.get("http://orders/").json() == []
