"""A stop that is interrupted, by a second Ctrl-C for example, is finished by the next."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import httpx
import pytest
from tests.concurrency._interrupts import Injector, Interrupt, at_every_place

from balancekit import LoadBalancer, RoundRobin
from balancekit._support.fork import new_condition
from balancekit.adapters import _vrrp_core, vrrp
from balancekit.adapters.httpx import BalancedTransport
from balancekit.adapters.routed_httpx import RoutedTransport
from balancekit.checks import Schedule, ThreadChecks, ThreadProbes, ThreadScrapes
from balancekit.config import load
from balancekit.discovery import ThreadDiscovery
from balancekit.ha import VirtualRouter
from balancekit.l7 import Route, RouteTable
from balancekit.reported import NodeAttributes, Prequal, ProbedLoad
from balancekit.sharing import RedisStore, SharedEjections
from balancekit.sharing._script import SCRIPT

MAX_WAIT_S = 10.0
MIN_PLACES = 4
"""Fewer would mean that the injector does not see the library."""


class _Socket:
    """Stands where a raw socket would, which needs a privilege."""

    opened: list[_Socket]

    def __init__(self, _interface: str, _router: object = None) -> None:
        self.ends = socket.socketpair()
        self.sent: list[bytes] = []
        self.opened.append(self)

    def fileno(self) -> int:
        return self.ends[0].fileno()

    def send(self, data: bytes, _destination: str, _source: str) -> None:
        self.sent.append(data)

    def receive(self) -> None:
        """Return nothing, as no other router is there."""

    def attach(self) -> None:
        """Stay with the interface, which is not made anew."""

    def link_is_up(self) -> bool:
        return True

    def can_send(self, _source: str) -> bool:
        return True

    def announce(self, _addresses: object) -> None:
        """Announce to a network without machines."""

    def close(self) -> None:
        for end in self.ends:
            end.close()


def _vrrp(lb: LoadBalancer) -> Any:
    del lb
    router = VirtualRouter(vrid=7, addresses=("192.0.2.1",), source="192.0.2.1", priority=255)
    driver = vrrp.VrrpThread(router, interface="lo", on_active=_HOOKS.append, on_backup=_HOOKS.append)
    driver.start()
    return driver


_HOOKS: list[Any] = []


def _probes(lb: LoadBalancer) -> Any:
    prequal = Prequal()
    lb = LoadBalancer(["a"], selector=prequal)
    return _started(ThreadProbes(lb, prequal, lambda _endpoint: ProbedLoad(1.0), concurrency=2))


def _configured(lb: LoadBalancer) -> Any:
    del lb
    source = {"source": "static:127.0.0.1:9"}
    return _started(load({"discovery": source, "checks": {"kind": "tcp", "interval": 50.0}}))


def _started(runner: Any) -> Any:
    runner.start()
    return runner


SLOW = Schedule(interval=50.0)
MAKERS: dict[str, Callable[[LoadBalancer], Any]] = {
    "checks": lambda lb: _started(
        ThreadChecks(lb, lambda _endpoint, _timeout: True, schedule=SLOW, concurrency=3)
    ),
    "scrapes": lambda lb: _started(
        ThreadScrapes(lb, NodeAttributes(), lambda _endpoint: {"busy": 1.0}, schedule=SLOW, concurrency=3)
    ),
    "probes": _probes,
    "discovery": lambda lb: _started(ThreadDiscovery(lb, "static:a")),
    "configuration": _configured,
    "vrrp": _vrrp,
}


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[_Socket]]:
    """Stand-ins for raw sockets, and those that were opened."""
    monkeypatch.setattr(_Socket, "opened", [], raising=False)
    for name in ("AdvertSocket", "Announcer"):
        monkeypatch.setattr(_vrrp_core, name, _Socket)
    yield _Socket.opened
    for one in _Socket.opened:
        one.close()


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("balancekit")}


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # in finalizers, as signals are
@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_second_stop_finishes_one_that_was_interrupted(kind: str, sockets: list[_Socket]) -> None:
    """After a KeyboardInterrupt at any place of ``stop``, another leaves no thread, no socket and no listener, and the runner can start again."""
    for jumps in (False, True):
        for injector in at_every_place(jumps=jumps):
            lb = LoadBalancer(["a"])
            listeners = lb._runtime.listeners._listeners
            _HOOKS.clear()
            sockets.clear()
            before = _threads()
            runner = MAKERS[kind](lb)
            with suppress(Interrupt), injector:
                runner.stop()
            where = injector.where
            runner.stop()
            assert not getattr(runner, "running", False), where
            assert _threads() <= before, where
            assert lb._runtime.listeners._listeners == listeners, where
            assert all(one.fileno() < 0 for one in sockets), where
            if kind == "vrrp":
                assert [change.role.value for change in _HOOKS] == ["active", "initialize"], where
                assert sockets[0].sent[-1][2] == 0, (where, "an advert of priority 0")
            runner.start()
            runner.stop()
            assert _threads() <= before, where
        assert jumps or injector.place > MIN_PLACES


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
@pytest.mark.parametrize("coroutines", [False, True])
def test_a_second_stop_finishes_one_of_asyncio_that_was_interrupted(
    coroutines: bool, sockets: list[_Socket]
) -> None:
    """After a KeyboardInterrupt at any place of ``AsyncVrrp.stop`` that is not a wait, another closes every socket, resigns, and each hook is called once."""
    router = VirtualRouter(vrid=7, addresses=("192.0.2.1",), source="192.0.2.1", priority=255)

    noted = SimpleQueue[Any]()

    def plain(change: Any) -> None:
        _HOOKS.append(change)
        noted.put(change)

    async def hook(change: Any) -> None:
        plain(change)

    called = hook if coroutines else plain

    async def main(place: int, *, jumps: bool) -> str:
        while not noted.empty():
            noted.get()
        _HOOKS.clear()
        sockets.clear()
        driver = vrrp.AsyncVrrp(router, interface="lo", on_active=called, on_backup=called)
        await driver.start()
        await asyncio.to_thread(noted.get)
        injector = Injector(place, jumps=jumps)
        with suppress(Interrupt), injector:
            _run_to_its_first_wait(driver.stop())
        where = injector.where
        await driver.stop()
        assert not driver.running, where
        assert all(one.fileno() < 0 for one in sockets), where
        assert sockets[0].sent[-1][2] == 0, (where, "an advert of priority 0")
        assert [change.role.value for change in _HOOKS] == ["active", "initialize"], where
        await driver.start()
        await driver.stop()
        assert all(one.fileno() < 0 for one in sockets), where
        return where

    for jumps in (False, True):
        place, where = 0, "the first"
        while where:
            place += 1
            where = asyncio.run(main(place, jumps=jumps))
        assert jumps or place > MIN_PLACES


def _run_to_its_first_wait(coroutine: Any) -> None:
    """Run a coroutine as far as a task would before it waits."""
    try:
        with suppress(StopIteration):
            coroutine.send(None)
    finally:
        coroutine.close()


def test_a_driver_outlives_its_loop(sockets: list[_Socket]) -> None:
    """A loop that ends over a driver leaves it startable; its start and its stop close the sockets of before, and stop calls the last hook."""
    router = VirtualRouter(vrid=7, addresses=("192.0.2.1",), source="192.0.2.1", priority=255)
    _HOOKS.clear()
    driver = vrrp.AsyncVrrp(router, interface="lo", on_active=_HOOKS.append, on_backup=_HOOKS.append)
    asyncio.run(driver.start())
    assert not driver.running
    before = list(sockets)

    async def again() -> None:
        await driver.start()
        assert driver.running
        assert all(one.fileno() < 0 for one in before)

    asyncio.run(again())
    asyncio.run(driver.stop())
    assert not driver.running
    assert all(one.fileno() < 0 for one in sockets)
    assert _HOOKS[-1].role.value == "initialize"


class _Server:
    """A server that answers nothing of others, and remembers calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def eval(self, *arguments: Any) -> str:
        self.calls.append(arguments)
        return json.dumps({"sums": [], "hints": [], "granted": []})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
def test_a_second_close_of_a_store_finishes_one_that_was_interrupted() -> None:
    """After a KeyboardInterrupt at any place of ``close``, another ends the thread and takes the counts back last."""
    for injector in at_every_place(jumps=False):
        server = _Server()
        before = _threads()
        store = RedisStore(server, name="checkout", period=50.0)
        store.start()
        with suppress(Interrupt), injector:
            store.close()
        where = injector.where
        store.close()
        assert _threads() <= before, where
        assert server.calls[-1] == (SCRIPT, *store.core.leaving()), where
        store.start()
        assert _threads() <= before, where
    assert injector.place > MIN_PLACES


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
def test_a_second_stop_of_shared_ejections_finishes_one_that_was_interrupted() -> None:
    """After a KeyboardInterrupt at any place of ``stop``, another takes every listener away."""
    for injector in at_every_place(jumps=False):
        lb = LoadBalancer(["a"])
        store = RedisStore(_Server(), name="checkout")
        ejections = SharedEjections(lb, store)
        with suppress(Interrupt), injector:
            ejections.stop()
        where = injector.where
        ejections.stop()
        assert not lb._runtime.listeners._listeners, where
        assert not lb._runtime.ledger.observers, where
        assert not store.core.listeners, where
    assert injector.place > MIN_PLACES


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
def test_no_interrupt_leaves_a_condition_locked() -> None:
    """Between the lock and the ``with`` block there is no place at which a signal is delivered."""
    for place in range(1, 20):
        condition = new_condition()
        with suppress(Interrupt), Injector(place, jumps=False), condition:
            condition.notify_all()
        with ThreadPoolExecutor(1) as another:
            free = another.submit(condition.acquire, blocking=False).result()
        assert free, place


class _Inner(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport that knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=request.url.host)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=request.url.host)

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
@pytest.mark.parametrize("routed", [False, True])
def test_a_second_close_of_a_transport_finishes_one_that_was_interrupted(routed: bool) -> None:
    """After a KeyboardInterrupt at any place of ``close``, another closes every inner transport."""
    for jumps in (False, True):
        for injector in at_every_place(jumps=jumps):
            made: list[_Inner] = []

            def make(_endpoint: object, made: list[_Inner] = made) -> _Inner:
                made.append(_Inner())
                return made[-1]

            pool = LoadBalancer(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"], selector=RoundRobin())
            transport: Any = BalancedTransport(pool, transport_factory=make, service="shop.test")
            if routed:
                balanced = transport
                transport = RoutedTransport(
                    RouteTable([Route("site", pool)]), make_transport=lambda _pool, one=balanced: one
                )
            for _ in range(3):
                transport.handle_request(httpx.Request("GET", "http://shop.test/")).close()
            with suppress(Interrupt), injector:
                transport.close()
            where = injector.where
            transport.close()
            assert len(made) == 3
            assert all(inner.is_closed for inner in made), where
        assert jumps or injector.place > MIN_PLACES


class _AsynchronousHook:
    """An object whose call is a coroutine."""

    async def __call__(self, change: Any) -> None:
        _HOOKS.append(change)


def test_a_hook_that_is_an_object_with_an_asynchronous_call_is_awaited(sockets: list[_Socket]) -> None:
    """``AsyncVrrp`` awaits such a hook as it does a coroutine function."""
    router = VirtualRouter(vrid=7, addresses=("192.0.2.1",), source="192.0.2.1", priority=255)
    _HOOKS.clear()

    async def main() -> None:
        hook = _AsynchronousHook()
        driver = vrrp.AsyncVrrp(router, interface="lo", on_active=hook, on_backup=hook)
        await driver.start()
        await driver.stop()

    asyncio.run(main())
    assert [change.role.value for change in _HOOKS] == ["active", "initialize"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [vrrp.VrrpThread, vrrp.AsyncVrrp])
def test_a_hook_that_returns_a_coroutine_faults_the_router(
    kind: Any, sockets: list[_Socket], caplog: pytest.LogCaptureFixture
) -> None:
    """A lambda whose coroutine nothing awaits has moved no address: the router does not stay active, and the log says why."""
    router = VirtualRouter(vrid=7, addresses=("192.0.2.1",), source="192.0.2.1", priority=255)
    faulted = threading.Event()

    async def hook() -> None:
        """Move an address, if it were awaited."""

    def backup(change: Any) -> None:
        if change.role.value == "fault":
            faulted.set()

    async def main() -> None:
        driver = kind(router, interface="lo", on_active=lambda _: hook(), on_backup=backup, hook_retry=None)
        if kind is vrrp.AsyncVrrp:
            await driver.start()
            assert await asyncio.to_thread(faulted.wait, MAX_WAIT_S)
            await driver.stop()
        else:
            driver.start()
            assert faulted.wait(MAX_WAIT_S)
            driver.stop()

    asyncio.run(main())
    assert any(
        record.exc_info and "a coroutine of hook(), and nothing awaits it" in str(record.exc_info[1])
        for record in caplog.records
    )
