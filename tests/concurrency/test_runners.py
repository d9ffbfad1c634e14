"""Runners where threads cannot be started, in a forked child, and in two event loops."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit.checks import (
    AsyncChecks,
    AsyncProbes,
    AsyncScrapes,
    ThreadChecks,
    ThreadProbes,
    ThreadScrapes,
)
from balancekit.discovery import AsyncDiscovery, ThreadDiscovery
from balancekit.reported import NodeAttributes, Prequal, ProbedLoad
from balancekit.testing.server import ToyServers


def probes() -> ThreadProbes:
    """Make a runner of load probes, with a selector of its own."""
    prequal = Prequal()
    return ThreadProbes(LoadBalancer(["a"], selector=prequal), prequal, lambda _endpoint: ProbedLoad(1.0))


MAKERS = {
    "checks": (lambda: ThreadChecks(LoadBalancer(["a"]), lambda _endpoint, _timeout: True), 3),
    "scrapes": (
        lambda: ThreadScrapes(LoadBalancer(["a"]), NodeAttributes(), lambda _endpoint: {"busy": 1.0}),
        3,
    ),
    "probes": (probes, 1),
    "discovery": (lambda: ThreadDiscovery(LoadBalancer(["a"]), "static:a"), 1),
    "toy servers": (lambda: ToyServers(["a"]), 1),
}
"""By name: what makes a runner, and which of its threads is the first that cannot be started."""


@pytest.mark.parametrize("error", [RuntimeError("can't start"), KeyboardInterrupt("can't start")], ids=repr)
@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_runner_that_cannot_start_its_threads_leaves_none(
    kind: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a thread cannot be started, ``start`` raises, the threads before it end, and the runner can be started later."""
    make, refused = MAKERS[kind]
    start, started = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        started.append(thread)
        if len(started) == refused:
            raise error
        start(thread)

    runner: Any = make()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        with pytest.raises(type(error), match="can't start"):
            runner.start()
    assert len(started) == refused
    assert not any(thread.is_alive() for thread in started)
    runner.stop()
    with runner:
        pass


async def checked(_endpoint: object, _timeout: float) -> bool:
    """Find an endpoint well."""
    return True


async def scraped(_endpoint: object) -> dict[str, float]:
    """Read the figures of an endpoint."""
    return {"busy": 1.0}


async def probed(_endpoint: object) -> ProbedLoad:
    """Ask an endpoint for its load."""
    return ProbedLoad(1.0)


def async_probes() -> AsyncProbes:
    """Make a runner of load probes, with a selector of its own."""
    prequal = Prequal()
    return AsyncProbes(LoadBalancer(["a"], selector=prequal), prequal, probed)


ASYNC_MAKERS = {
    "checks": lambda: AsyncChecks(LoadBalancer(["a"]), checked),
    "scrapes": lambda: AsyncScrapes(LoadBalancer(["a"]), NodeAttributes(), scraped),
    "probes": async_probes,
    "discovery": lambda: AsyncDiscovery(LoadBalancer(["a"]), "static:a"),
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", list(ASYNC_MAKERS))
def test_a_child_that_is_forked_in_a_loop_has_no_runner_and_may_start_it(kind: str) -> None:
    """The task of a runner is the parent's: in the child the runner is stopped, and starts in a loop of the child's."""
    runner: Any = ASYNC_MAKERS[kind]()

    async def in_child() -> bool:
        await runner.start()
        started = runner.running
        await asyncio.sleep(0)
        await runner.stop()
        return started and not runner.running

    async def main() -> int:
        async with runner:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    status = 2 if runner.running else 0 if asyncio.run(in_child()) else 3
                finally:
                    os._exit(status)
            _, ended = os.waitpid(child, 0)  # noqa: ASYNC222 - the child needs no more than this process
            assert runner.running
            return os.waitstatus_to_exitcode(ended)

    assert asyncio.run(main()) == 0


@pytest.mark.parametrize("kind", list(ASYNC_MAKERS))
def test_a_runner_is_stopped_in_the_loop_in_which_it_was_started(kind: str) -> None:
    """``stop`` in another loop raises and stops nothing; the runner's own loop stops it then."""
    runner: Any = ASYNC_MAKERS[kind]()

    async def main() -> None:
        async with runner:
            with pytest.raises(ConfigurationError, match="event loop"):
                await asyncio.to_thread(asyncio.run, runner.stop())
            assert runner.running
        assert not runner.running

    asyncio.run(main())
