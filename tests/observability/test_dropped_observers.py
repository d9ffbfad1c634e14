"""An observer that a program drops without ending it is not kept by the balancer that it observes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest

from balancekit import LoadBalancer
from balancekit._support.weak import observe_weakly
from balancekit.adapters.httpx import BalancedTransport as HttpxTransport
from balancekit.adapters.httpx2 import BalancedTransport
from balancekit.observability import EventCounters
from balancekit.waiting import WaitingQueue, WaitingRoom


class Counting:
    """A balancer that counts its subscriptions."""

    def __init__(self, balancer: LoadBalancer[Any]) -> None:
        self._balancer = balancer
        self.open = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._balancer, name)

    def _counted(self, end: Callable[[], None]) -> Callable[[], None]:
        self.open += 1
        ended = iter([1])

        def stop() -> None:
            self.open -= next(ended, 0)
            end()

        return stop

    def on_event(self, listener: Any, /) -> Callable[[], None]:
        """Subscribe."""
        return self._counted(self._balancer.on_event(listener))

    def on_completion(self, observer: Any, /) -> Callable[[], None]:
        """Subscribe."""
        return self._counted(self._balancer.on_completion(observer))


def _room(lb: Any) -> object:
    room = WaitingRoom(lb, WaitingQueue(max_waiting=8))
    room.acquire().release()
    return room._handover


def _transport(lb: Any) -> object:
    inner = httpx2.MockTransport(lambda _: httpx2.Response(200))
    transport = BalancedTransport(lb, transport_factory=lambda _: inner)
    httpx2.Client(transport=transport).get("http://orders/")
    return transport


def _httpx(lb: Any) -> object:
    inner = httpx.MockTransport(lambda _: httpx.Response(200))
    transport = HttpxTransport(lb, transport_factory=lambda _: inner)
    httpx.Client(transport=transport).get("http://orders/")
    return transport


@pytest.mark.parametrize(
    "observe", [_room, EventCounters, _transport, _httpx], ids=["room", "counters", "httpx2", "httpx"]
)
def test_a_dropped_observer_is_collected_and_its_subscription_ends(
    observe: Callable[[Any], object],
) -> None:
    """It is gone at the next collection; the next event and the next lease that ends take its place away."""
    lb = Counting(LoadBalancer(["10.0.0.1:80"]))
    gone = weakref.ref(observe(lb))
    gc.collect()
    assert (gone(), lb.open > 0) == (None, True)
    lb.update(["10.0.0.1:80", "10.0.0.2:80"])
    lb.acquire().release()
    assert lb.open == 0


def test_an_observer_that_is_there_is_told_until_it_ends() -> None:
    """A method hears what it subscribed to while its object lives, and no more after the end."""

    class Observer:
        def __init__(self) -> None:
            self.told: list[object] = []

        def hear(self, *arguments: object) -> None:
            self.told.append(arguments)

    heard: list[Callable[..., None]] = []

    def subscribe(callback: Callable[..., None]) -> Callable[[], None]:
        heard.append(callback)
        return heard.clear

    observer = Observer()
    end = observe_weakly(subscribe, observer.hear)
    heard[0](1, 2)
    assert observer.told == [(1, 2)]
    end()
    assert heard == []
    observe_weakly(subscribe, observer.hear)
    del observer
    heard[0]()
    assert heard == []
