"""Runners on a system that starts no more threads: all of a runner, or nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from balancekit import LoadBalancer
from balancekit.checks import ThreadChecks, ThreadProbes, ThreadScrapes
from balancekit.discovery import ThreadDiscovery
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
