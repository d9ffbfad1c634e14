"""Results that arrive when their endpoint has been removed, or is another under the same id."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from balancekit import Endpoint, LoadBalancer
from balancekit.checks import Schedule, ThreadChecks, ThreadProbes, ThreadScrapes
from balancekit.outcome import CheckResult
from balancekit.reported import NodeAttributes, Prequal, ProbedLoad

OFTEN = Schedule(interval=0.05, timeout=0.05)
MAX_WAIT_S = 10.0

CHANGES: dict[str, Callable[[LoadBalancer[Any]], object]] = {
    "removed": lambda lb: lb.remove("a"),
    "added again": lambda lb: (lb.remove("a"), lb.add(Endpoint("a", target="new"))),
    "updated": lambda lb: lb.update([Endpoint("a", target="new")]),
}


class Held:
    """Asks the first target until it is told to go on, and others at once."""

    def __init__(self, late: object, fresh: object) -> None:
        self._late, self._fresh = late, fresh
        self.asked, self.go, self.later = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, endpoint: Endpoint[Any], timeout: float = 0.0) -> Any:
        """Answer for one endpoint."""
        if endpoint.target != "old":
            self.later.set()
            return self._fresh
        self.asked.set()
        assert self.go.wait(MAX_WAIT_S)
        return self._late

    def change(self, lb: LoadBalancer[Any], change: Callable[[LoadBalancer[Any]], object]) -> None:
        """Change the pool while the first answer is under way; let it come."""
        assert self.asked.wait(MAX_WAIT_S)
        change(lb)
        self.go.set()


class Reports(LoadBalancer[Any]):
    """A balancer that remembers results of checks."""

    def __init__(self, endpoints: Any, **options: Any) -> None:
        self.results: list[tuple[str, bool]] = []
        super().__init__(endpoints, **options)

    def report_check(self, endpoint: str, result: CheckResult, /) -> bool:
        """Take note of one."""
        self.results.append((endpoint, result.passed))
        return super().report_check(endpoint, result)


@pytest.mark.parametrize("name", CHANGES)
def test_a_late_result_of_a_check_says_nothing_of_another_endpoint(name: str) -> None:
    """With one thread, which is busy while the pool changes: the failure of the old target is not reported."""
    lb, held = Reports([Endpoint("a", target="old")]), Held(late=False, fresh=True)
    with ThreadChecks(lb, held, schedule=OFTEN, concurrency=1):
        held.change(lb, CHANGES[name])
        if name != "removed":
            assert held.later.wait(MAX_WAIT_S)
    assert ("a", False) not in lb.results


@pytest.mark.parametrize("name", CHANGES)
def test_a_late_page_says_nothing_of_another_endpoint(name: str) -> None:
    """The figures of the old target are neither kept nor taken for those of the new one."""
    lb, attributes = LoadBalancer([Endpoint("a", target="old")]), NodeAttributes()
    held = Held(late={"waiting": 99.0}, fresh={"running": 1.0})
    with ThreadScrapes(lb, attributes, held, schedule=OFTEN, concurrency=1):
        held.change(lb, CHANGES[name])
        if name != "removed":
            assert held.later.wait(MAX_WAIT_S)
    assert attributes.value("a", "waiting", now=time.monotonic()) is None


@pytest.mark.parametrize("name", CHANGES)
def test_a_late_probe_says_nothing_of_another_endpoint(name: str) -> None:
    """The load of the old target is not put into the pool of probes."""
    prequal = Prequal()
    lb, held = (
        LoadBalancer([Endpoint("a", target="old")], selector=prequal),
        Held(ProbedLoad(99, 9.0), ProbedLoad(0, 0.0)),
    )
    with ThreadProbes(lb, prequal, held, concurrency=1):
        lb.acquire().release()
        held.change(lb, CHANGES[name])
    assert 99.0 not in prequal.pool._recent
