"""Runners of checks go on when the list of endpoints cannot be read for a while."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from balancekit import LoadBalancer
from balancekit.checks import (
    AsyncChecks,
    AsyncProbes,
    AsyncScrapes,
    Schedule,
    ThreadChecks,
    ThreadProbes,
    ThreadScrapes,
)
from balancekit.reported import NodeAttributes, Prequal, ProbedLoad

MAX_WAIT_S = 20.0
MISSES = 3
"""More than a runner has threads."""
QUICK = Schedule(interval=0.02, timeout=0.02, jitter=0.0)


class Forgetful:
    """A balancer whose list of endpoints cannot be read the first few times that a runner reads it."""

    def __init__(self, balancer: LoadBalancer[Any], kind: type[Exception]) -> None:
        self._balancer = balancer
        self._kind = kind
        self.left = 0

    @property
    def endpoints(self) -> Any:
        """The endpoints, later."""
        if self.left:
            self.left -= 1
            raise self._kind("not now")
        return self._balancer.endpoints

    def __getattr__(self, name: str) -> Any:
        return getattr(self._balancer, name)


def threads_of_checks(balancer: Any, done: Callable[[], None], _prequal: Prequal) -> Any:
    """Return a runner that calls a function for each check."""
    return ThreadChecks(balancer, lambda *_: done() is None, schedule=QUICK, concurrency=2)


def threads_of_scrapes(balancer: Any, done: Callable[[], None], _prequal: Prequal) -> Any:
    """Return a runner that calls a function for each page."""

    def page(_: object) -> dict[str, float]:
        done()
        return {"waiting": 1.0}

    return ThreadScrapes(balancer, NodeAttributes(), page, schedule=QUICK, concurrency=2)


def threads_of_probes(balancer: Any, done: Callable[[], None], prequal: Prequal) -> Any:
    """Return a runner that calls a function for each probe."""

    def probe(_: object) -> ProbedLoad:
        done()
        return ProbedLoad(in_flight=1)

    return ThreadProbes(balancer, prequal, probe, concurrency=2)


def tasks_of_checks(balancer: Any, done: Callable[[], None], _prequal: Prequal) -> Any:
    """Return a runner that calls a function for each check."""

    async def check(*_: object) -> bool:
        done()
        return True

    return AsyncChecks(balancer, check, schedule=QUICK, concurrency=2)


def tasks_of_scrapes(balancer: Any, done: Callable[[], None], _prequal: Prequal) -> Any:
    """Return a runner that calls a function for each page."""

    async def page(_: object) -> dict[str, float]:
        done()
        return {"waiting": 1.0}

    return AsyncScrapes(balancer, NodeAttributes(), page, schedule=QUICK, concurrency=2)


def tasks_of_probes(balancer: Any, done: Callable[[], None], prequal: Prequal) -> Any:
    """Return a runner that calls a function for each probe."""

    async def probe(_: object) -> ProbedLoad:
        done()
        return ProbedLoad(in_flight=1)

    return AsyncProbes(balancer, prequal, probe, concurrency=2)


THREADS = {"checks": threads_of_checks, "scrapes": threads_of_scrapes, "probes": threads_of_probes}
TASKS = {"checks": tasks_of_checks, "scrapes": tasks_of_scrapes, "probes": tasks_of_probes}


@pytest.mark.parametrize("kind", [OSError, MemoryError])
@pytest.mark.parametrize("name", THREADS)
def test_threads_go_on_when_the_list_can_be_read_again(
    name: str, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """A list that cannot be read is logged and read again, and ends no thread."""
    done, prequal = threading.Event(), Prequal()
    lb = LoadBalancer(["a:1", "b:1"], selector=prequal)
    forgetful = Forgetful(lb, kind)
    made = THREADS[name](forgetful, done.set, prequal)
    forgetful.left = MISSES
    with made as runner:
        deadline = time.monotonic() + MAX_WAIT_S
        while not done.wait(0.002) and time.monotonic() < deadline:
            lb.acquire().release()  # is what probes are sent for
        assert done.is_set()
        assert runner.running
    assert "not now" in caplog.text


@pytest.mark.parametrize("kind", [OSError, MemoryError])
@pytest.mark.parametrize("name", TASKS)
def test_tasks_go_on_when_the_list_can_be_read_again(
    name: str, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """A list that cannot be read is logged and read again, and ends no task."""

    async def run() -> None:
        done, prequal = asyncio.Event(), Prequal()
        lb = LoadBalancer(["a:1", "b:1"], selector=prequal)
        forgetful = Forgetful(lb, kind)
        made = TASKS[name](forgetful, done.set, prequal)
        forgetful.left = MISSES
        async with made as runner, asyncio.timeout(MAX_WAIT_S):
            while not done.is_set():
                lb.acquire().release()
                await asyncio.sleep(0.002)
            assert runner.running

    asyncio.run(run())
    assert "not now" in caplog.text
