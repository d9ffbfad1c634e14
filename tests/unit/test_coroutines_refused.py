"""Coroutine functions where nothing awaits them: they would never run, so they are refused when they are given."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest

from balancekit import ConfigurationError, Endpoint, LoadBalancer, UnavailableError
from balancekit._support.functions import is_coroutine_function, plain_function, refuse_coroutine
from balancekit.adapters import aiohttp, httpx, httpx2, requests, routed_httpx2, routed_requests, vrrp
from balancekit.checks import AsyncScrapes, HttpCheck, MetricsPage, MetricsProbe, TcpCheck, ThreadScrapes
from balancekit.discovery import AsyncDiscovery, AsyncFunctionResolver, FunctionResolver, ThreadDiscovery
from balancekit.ha import VirtualRouter
from balancekit.l7 import Route, RouteTable
from balancekit.reported import LoadMeter, NodeAttributes
from balancekit.routing import Subsetting
from balancekit.sim import Exponential, Poisson, Server, Simulation
from balancekit.waiting import WaitingQueue

MAX_WAIT_S = 10.0


async def asked(*_: Any) -> Any:
    """Be a coroutine function."""


async def asked_for_more(*_: Any) -> Any:
    """Be an asynchronous generator function."""
    yield


class Asked:
    """An object whose call is a coroutine, and so is its method."""

    async def __call__(self, *_: Any) -> Any:
        """Be one."""

    async def method(self, *_: Any) -> Any:
        """Be one."""


FUNCTIONS = {
    "a function": asked,
    "a generator": asked_for_more,
    "a part of one": functools.partial(functools.partial(asked, 1), 2),
    "an object": Asked(),
    "a method": Asked().method,
}


def balancer(**options: Any) -> LoadBalancer[Any]:
    """Make a balancer."""
    return LoadBalancer(["10.0.0.1:80"], **options)


def router(**hooks: Any) -> object:
    """Make a runner of VRRP."""
    address = VirtualRouter(vrid=5, addresses=("192.0.2.1",), source="192.0.2.2")
    return vrrp.VrrpThread(address, interface="lo", **hooks)


PLACES: dict[str, Callable[[Any], object]] = {
    "listeners": lambda f: balancer(listeners=[f]),
    "health": lambda f: balancer(health=f),
    "load": lambda f: balancer(load=f),
    "exhaustion": lambda f: balancer(exhaustion=f),
    "listener": lambda f: balancer().on_event(f),
    "observer": lambda f: balancer().on_completion(f),
    "observer of starts": lambda f: balancer().on_start(f),
    "observer of refusals": lambda f: balancer().on_refusal(f),
    "listeners of a source": lambda f: ThreadDiscovery(balancer(), list, listeners=[f]),
    "source": lambda f: ThreadDiscovery(balancer(), f),
    "function": FunctionResolver,
    "key": lambda f: httpx.BalancedTransport(balancer(), key=f),
    "cost": lambda f: requests.BalancedAdapter(balancer(), cost=f),
    "key of aiohttp": lambda f: aiohttp.balanced("orders", balancer(), key=f),
    "transport_factory": lambda f: httpx2.AsyncBalancedTransport(balancer(), transport_factory=f),
    "transport_factory of httpx": lambda f: httpx.BalancedTransport(balancer(), transport_factory=f),
    "key of routes": lambda f: routed_httpx2.RoutedTransport(table(), key=f),
    "make_transport": lambda f: routed_httpx2.RoutedTransport(table(), make_transport=f),
    "address": lambda f: TcpCheck(address=f),
    "address of HTTP": lambda f: HttpCheck(address=f),
    "fetch": lambda f: MetricsProbe("vllm", fetch=f),
    "page": lambda f: ThreadScrapes(balancer(), NodeAttributes(), f),
    "page whose fetch": lambda f: ThreadScrapes(balancer(), NodeAttributes(), MetricsPage("vllm", fetch=f)),
    "make_adapter": lambda f: routed_requests.RoutedAdapter(table(), make_adapter=f),
    "on_active": lambda f: router(on_active=f),
    "on_backup": lambda f: router(on_backup=f),
    "on_change": lambda f: router(on_change=f),
    "choose": Subsetting,
    "utilization": lambda f: LoadMeter(utilization=f),
    "may": lambda f: WaitingQueue(max_waiting=1).next(now=0.0, may=f),
    "keys": lambda f: Simulation({"a": Server(service=Exponential(mean=1.0))}, Poisson(rate=1.0), keys=f),
}


def table() -> RouteTable[Any]:
    """Make a table of routes."""
    return RouteTable([Route("all", balancer())])


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("place", PLACES)
def test_a_function_that_nothing_awaits_is_no_coroutine(place: str, kind: str) -> None:
    """Whatever calls a function without ``await`` refuses a coroutine function, by the name of the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        PLACES[place](FUNCTIONS[kind])
    assert caught.value.parameter == place.split(" ", maxsplit=1)[0]


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_coroutine_function_is_known_by_what_its_call_is(kind: str) -> None:
    """Functions, methods, parts of functions and objects are told apart by what their call returns."""
    assert is_coroutine_function(FUNCTIONS[kind])
    assert not any(map(is_coroutine_function, (print, len, dict, lambda: 1, functools.partial(max, 1), 3)))
    assert plain_function("f", max, "a function") is max


def test_an_object_with_an_asynchronous_call_is_an_asynchronous_source() -> None:
    """An object whose call is a coroutine is followed as a coroutine function is."""
    assert AsyncFunctionResolver(Asked()).resolve is not None
    assert not AsyncDiscovery(balancer(), Asked()).running


def test_a_plain_page_is_refused_where_pages_are_awaited() -> None:
    """A plain function in place of a coroutine function would fail for each endpoint, and is refused."""

    def page(_endpoint: Endpoint[Any]) -> dict[str, float]:
        return {"busy": 1.0}

    with pytest.raises(ConfigurationError, match="ThreadScrapes calls plain ones"):
        AsyncScrapes(balancer(), NodeAttributes(), page)
    AsyncScrapes(balancer(), NodeAttributes(), MetricsPage("vllm", fetch=asked))


HELD: dict[str, Callable[[Any], object]] = {
    "an event": lambda f: balancer(listeners=[f]).drain("10.0.0.1:80"),
    "a completion": lambda f: (lb := balancer(), lb.on_completion(f), lb.acquire().release()),
    "a start": lambda f: (lb := balancer(), lb.on_start(f), lb.acquire().release()),
    "a refusal": lambda f: refused(lambda lb: lb.on_refusal(f)),
    "a change of a source": lambda f: followed(f),
}


def refused(prepare: Callable[[LoadBalancer[Any]], object]) -> None:
    """Ask a balancer whose only endpoint drains."""
    lb = balancer()
    prepare(lb)
    lb.drain("10.0.0.1:80")
    with pytest.raises(UnavailableError):
        lb.acquire()


def followed(listener: Callable[..., Any]) -> None:
    """Follow a source until its first answer is in use."""
    with ThreadDiscovery(balancer(), lambda: ["10.0.0.1:80"], listeners=[listener]) as discovery:
        assert discovery.wait_ready(MAX_WAIT_S)


@pytest.mark.parametrize("place", HELD)
def test_a_callback_that_returns_a_coroutine_is_logged(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """That a lambda returns a coroutine shows when it has: one line of the log names it, and Python warns of nothing."""
    HELD[place](lambda *_: asked())
    gc.collect()
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert failed
    for record in failed:
        assert "<lambda>" in record.getMessage()
        assert record.exc_info is not None
        assert "a coroutine of asked(), and nothing awaits it" in str(record.exc_info[1])


def test_a_task_that_a_callback_begins_is_no_coroutine(caplog: pytest.LogCaptureFixture) -> None:
    """A callback may return the task that it has begun: that runs."""

    async def main() -> None:
        lb, tasks = balancer(), list[asyncio.Task[Any]]()

        def begin(*_: object) -> asyncio.Task[Any]:
            tasks.append(asyncio.create_task(asked()))
            return tasks[-1]

        lb.on_completion(begin)
        lb.acquire().release()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert not caplog.records


def test_an_answer_that_is_a_coroutine_lets_no_request_go_first() -> None:
    """A coroutine is true: ``may`` that returns one is refused, and the queue stays as it was."""
    queue: WaitingQueue[str] = WaitingQueue(max_waiting=1)
    queue.offer("a", now=0.0)
    with pytest.raises(TypeError, match="a coroutine of asked"):
        queue.next(now=0.0, may=lambda _: asked())
    assert len(queue) == 1


@pytest.mark.parametrize("make", [lambda: asked(), lambda: asked_for_more()])
def test_coroutines_are_refused_and_what_runs_by_itself_is_not(make: Callable[[], Any]) -> None:
    """Coroutines and asynchronous generators are refused; any other value is none of its business."""
    with pytest.raises(TypeError, match="nothing awaits it; give a plain function"):
        refuse_coroutine(make())
    for value in (None, 1, "a", (_ for _ in ()), print):
        refuse_coroutine(value)
