"""A signal handler, a finalizer or a hook that uses what its own thread is in the middle of using: nothing hangs."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from tests.concurrency._interrupts import Injector

import balancekit
from balancekit import LoadBalancer, Outcome
from balancekit._support.fork import new_lock
from balancekit.adapters.httpx import BalancedTransport
from balancekit.inference import PrefixAffinity
from balancekit.observability import EventCounters
from balancekit.reported import LoadMeter, Prequal
from balancekit.retry import RetryBudget
from balancekit.routing import Aimd, Gradient, MaxInFlight
from balancekit.waiting import ClientThrottle

ROOT = Path(balancekit.__file__).parent
PARKING = {"waiting/_room.py"}
"""A lock that one thread waits for and another releases is no guard: its thread holds it twice on purpose."""


def test_every_lock_may_be_taken_again_by_its_thread():
    """``new_lock`` returns re-entrant locks, and no module makes a lock of its own."""
    lock = new_lock()
    with lock, lock:
        pass
    others = [
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"threading.Lock", "Lock"}
    ]
    assert set(others) == PARKING


STRIDE = 7

Act = Callable[[Any], object]


def _request(lb: LoadBalancer[str]) -> None:
    with lb.acquire("key"):
        pass


def _refused(lb: LoadBalancer[str]) -> None:
    lb.acquire("key").release(Outcome.CONNECT_FAILED)


def _change(lb: LoadBalancer[str]) -> None:
    lb.update(["a", "b", "c"] if len(lb) == 2 else ["a", "b"])


def _balancer(**options: Any) -> Callable[[], LoadBalancer[str]]:
    return lambda: LoadBalancer(["a", "b"], **{name: make() for name, make in options.items()})


def _counted() -> LoadBalancer[str]:
    lb = LoadBalancer(["a", "b"])
    EventCounters(lb)
    return lb


class _Client:
    """A client with one connection pool for each endpoint, whose endpoints come and go."""

    def __init__(self) -> None:
        self.lb = LoadBalancer(["a.example:80", "b.example:80"])
        self.transport = BalancedTransport(
            self.lb,
            cookies="per-endpoint",
            transport_factory=lambda _: httpx.MockTransport(
                lambda _: httpx.Response(200, headers={"Set-Cookie": "a=b"})
            ),
        )

    def request(self) -> None:
        self.transport.handle_request(httpx.Request("GET", "http://orders/")).close()

    def change(self) -> None:
        self.lb.update(["a.example:80"])
        self.lb.update(["a.example:80", "b.example:80"])


class _Counts:
    """What is counted in buckets of time; each call is in a later one."""

    def __init__(self) -> None:
        self.budget, self.throttle, self.now = RetryBudget(ttl=1.0), ClientThrottle(window=1.0), 0.0

    def count(self) -> None:
        self.now += 0.3
        self.budget.deposit(now=self.now)
        self.budget.withdraw(now=self.now)
        self.throttle.allow(Random(1), now=self.now)


def _measure(meter: LoadMeter) -> None:
    meter.finished(meter.started())
    meter.report()


STORIES: dict[str, tuple[Callable[[], Any], list[Act]]] = {
    "Aimd": (_balancer(selector=lambda: MaxInFlight(Aimd())), [_request, _refused, _change]),
    "Gradient": (_balancer(selector=lambda: MaxInFlight(Gradient(interval=1e-9))), [_request, _refused]),
    "PrefixAffinity": (_balancer(selector=PrefixAffinity), [_request, _refused, _change]),
    "Prequal": (_balancer(selector=Prequal), [_request, _refused]),
    "EventCounters": (_counted, [_refused, _change]),
    "httpx": (_Client, [_Client.request, _Client.change]),
    "counts": (_Counts, [_Counts.count]),
    "LoadMeter": (lambda: LoadMeter(capacity=2), [_measure]),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
@pytest.mark.parametrize("name", STORIES)
def test_a_signal_handler_anywhere_may_use_what_it_interrupts(name, jumps):
    """At every seventh place where CPython runs a signal handler, one does each of the same things, and all go on."""
    make, acts = STORIES[name]
    places = 0
    for act in acts:
        for other in acts:
            place = 1
            while True:
                subject = make()
                act(subject)
                injector = Injector(
                    place, jumps=jumps, handler=lambda other=other, subject=subject: other(subject)
                )
                with injector:
                    act(subject)
                act(subject)
                if not injector.where:
                    break
                places += 1
                place += STRIDE
    assert jumps or places > 3


class _Forking:
    """A selector that is not thread-safe, so that it is asked under a lock, and forks."""

    thread_safe = False
    child = -1

    def select(self, snapshot, ctx):
        if self.child < 0:
            self.child = os.fork()
        return snapshot.eligible[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_hook_that_forks_under_a_lock_goes_on_in_the_child():
    """A lock that the forking thread holds is still its own in the child, where it is released and taken again."""
    selector = _Forking()
    lb = LoadBalancer(["a", "b"], selector=selector)
    try:
        lb.acquire().release()
        lb.acquire().release()
        lb.update(["a", "c"])
        failed = False
    except BaseException:
        failed = True
        if selector.child:
            raise
    if selector.child == 0:
        os._exit(failed)
    _, status = os.waitpid(selector.child, 0)
    assert status == 0
