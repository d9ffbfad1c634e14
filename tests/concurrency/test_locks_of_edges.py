"""Functions of the application run under no lock of the library, at the edges too: clocks, pages, loads, handlers of the log."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import httpx2
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from balancekit import ConfigurationError, LoadBalancer, Outcome, PowerOfChoices, RoundRobin
from balancekit._support import fork
from balancekit._support.log import LateLog
from balancekit.adapters._vrrp_core import clock
from balancekit.adapters.httpx2 import BalancedTransport
from balancekit.adapters.vrrp import VrrpThread
from balancekit.checks import ThreadChecks, ThreadScrapes
from balancekit.checks._schedule import Schedule
from balancekit.ha import VirtualRouter
from balancekit.health import MaxFails
from balancekit.inference import PrefixAffinity
from balancekit.observability._direct_writer import DirectWriter
from balancekit.observability._series import SeriesNames
from balancekit.observability.opentelemetry import instrument
from balancekit.observability.prometheus import BalancerCollector
from balancekit.reported import LoadMeter, NodeAttributes
from balancekit.sharing import RedisStore, Shared
from balancekit.testing import ManualClock

PATIENCE_S = 20.0
ROUTER = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12")
SOON = Schedule(interval=0.01, timeout=0.01, jitter=0.0)


class Watch(logging.Handler):
    """Counts calls of functions of the application, and which of them found a lock held."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.locked: set[str] = set()

    def at(self, name: str, value: Any = None) -> Any:
        """Stand in the function of a name."""
        self.calls[name] += 1
        if any(fork.owned(lock) for lock in list(fork._LOCKS)):
            self.locked.add(name)
        return value

    def emit(self, record: logging.LogRecord) -> None:
        """Stand in a handler of the log."""
        self.at("handler")

    def wait_for(self, name: str, count: int = 1) -> None:
        """Wait until a function has been called so often."""
        end = time.monotonic() + PATIENCE_S
        while self.calls[name] < count:
            assert time.monotonic() < end, self.calls
            time.sleep(0.001)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Return a watch that is a handler of the log; in the end nothing has been called under a lock."""
    found = Watch()
    logger = logging.getLogger("balancekit")
    logger.addHandler(found)
    level = logger.level
    logger.setLevel(logging.DEBUG)  # an assignment would leave what is known of the levels
    yield found
    logger.removeHandler(found)
    logger.setLevel(level)
    assert found.calls
    assert found.locked == set()


def test_the_watch_sees_a_lock(watch: Watch) -> None:
    """A function that is called under a lock of the library is noticed."""
    with fork.new_lock():
        watch.at("locked")
    assert watch.locked == {"locked"}
    watch.locked.clear()


def test_clocks_of_a_meter(watch: Watch) -> None:
    """The clock of a meter, its seconds of processors and its figures are read under no lock."""
    seconds = ManualClock()
    meter = LoadMeter(
        clock=lambda: watch.at("clock", seconds()),
        processors=lambda: watch.at("processors", 0.0),
        utilization=lambda: watch.at("utilization", 0.5),
        metrics=lambda: watch.at("metrics", {}),
    )
    arrival = meter.started()
    seconds.advance(2.0)
    meter.finished(arrival)
    meter.report()
    assert watch.calls["processors"] == 2
    assert set(watch.calls) == {"clock", "processors", "utilization", "metrics"}


def test_loads_that_are_shared(watch: Watch, tmp_path: Any) -> None:
    """A user's load is made, and the log told that there is no room, under no lock."""

    class Load:
        def __init__(self, node: Any) -> None:
            watch.at("load")
            self.node = node

        def started(self, *, now: float, cost: float) -> None:
            watch.at("started")

        def finished(self, completion: Any) -> None:
            watch.at("finished")

        def value(self, *, now: float) -> float:
            return watch.at("value", float(self.node.inflight))

    shared = Shared(Load, file=tmp_path / "loads", max_endpoints=1)
    lb = LoadBalancer(["a", "b"], load=shared, selector=PowerOfChoices(), clock=ManualClock())
    lb.acquire(exclude=["a"]).release(Outcome.FAILURE)
    lb.add("c")
    assert watch.calls.keys() >= {"load", "started", "finished", "handler"}


def test_a_store_whose_thread_cannot_start(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is told under no lock that the system starts no thread."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    RedisStore(SimpleNamespace(eval=lambda *_: None), name="s").start()
    assert watch.calls["handler"] == 1


@pytest.mark.parametrize("error", [ConfigurationError("x", 1, "2"), OSError(errno.EMFILE, "too many files")])
def test_checks_that_find_nothing_out(watch: Watch, error: Exception) -> None:
    """The log is told under no lock that results are not used, that endpoints cannot be checked, and that they can again."""
    lb = LoadBalancer(["a", "b"])

    def check(endpoint: Any, timeout: float) -> bool:
        watch.at("check")
        if watch.calls["check"] < 4:
            raise error
        return True

    with ThreadChecks(lb, check, schedule=SOON):
        watch.wait_for("handler", 1 if isinstance(error, ConfigurationError) else 2)
        watch.wait_for("check", 6)


class Watched:
    """A balancer that watches its list of endpoints."""

    def __init__(self, balancer: LoadBalancer[Any], watch: Watch) -> None:
        self._balancer = balancer
        self._watch = watch

    @property
    def endpoints(self) -> Any:
        """The endpoints."""
        return self._watch.at("endpoints", self._balancer.endpoints)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._balancer, name)


@pytest.mark.parametrize("name", ["checks", "scrapes"])
def test_lists_of_a_balancer_of_the_application(watch: Watch, name: str) -> None:
    """Runners read the endpoints of a balancer that is no LoadBalancer under no lock: it may have locks of its own."""
    balancer: Any = Watched(LoadBalancer(["a", "b"]), watch)
    runner: Any = (
        ThreadChecks(balancer, lambda *_: True, schedule=SOON)
        if name == "checks"
        else ThreadScrapes(balancer, NodeAttributes(), lambda _: {"waiting": 1.0}, schedule=SOON)
    )
    before = watch.calls["endpoints"]
    with runner:
        watch.wait_for("endpoints", before + 5)


def test_lists_and_clocks_of_transports(watch: Watch) -> None:
    """The clock of an adapter, the list of its balancer and the maker of its transports are called under no lock."""
    lb = LoadBalancer(["a:80", "b:80"], selector=RoundRobin())

    def make(endpoint: Any) -> httpx2.MockTransport:
        return watch.at("make", httpx2.MockTransport(lambda request: httpx2.Response(200)))

    transport = BalancedTransport(
        Watched(lb, watch), transport_factory=make, clock=lambda: watch.at("clock", time.monotonic())
    )
    with httpx2.Client(transport=transport) as client:
        for _ in range(4):
            assert client.get("http://orders/").status_code == 200
        lb.add("c:80")
        watch.calls.clear()
        lb.remove("a:80")
        for _ in range(4):
            assert client.get("http://orders/").status_code == 200
    assert set(watch.calls) == {"clock", "endpoints", "make"}


def test_pages_that_cannot_be_read(watch: Watch) -> None:
    """The clock of scrapes, observers of attributes and the log are called under no lock."""
    lb, attributes = LoadBalancer(["a"]), NodeAttributes()

    class Observer:
        def seen(self, endpoint: str, now: float) -> None:
            watch.at("observer")

    observer = Observer()
    attributes.observe(observer.seen)

    def page(endpoint: Any) -> dict[str, float]:
        watch.at("page")
        if watch.calls["page"] == 1:
            raise OSError("refused")
        return {"waiting": 1.0}

    seconds = ManualClock()
    with ThreadScrapes(lb, attributes, page, schedule=SOON, clock=lambda: watch.at("clock", seconds())):
        watch.wait_for("handler", 2)
        watch.wait_for("observer")
    assert set(watch.calls) == {"clock", "page", "observer", "handler"}


def test_values_that_a_prefix_is_weighed_against(watch: Watch) -> None:
    """``PrefixAffinity`` asks a user's load under no lock."""

    class Load:
        def __init__(self, node: Any) -> None:
            self.node = node

        def started(self, *, now: float, cost: float) -> None: ...

        def finished(self, completion: Any) -> None: ...

        def value(self, *, now: float) -> float:
            return watch.at("value", float(self.node.inflight))

    lb = LoadBalancer(["a", "b"], selector=PrefixAffinity(block=8), load=Load)
    for _ in range(3):
        lb.acquire("a prompt that is longer than a block of eight bytes").release()
    assert watch.calls["value"]


def test_a_selector_that_fails_to_learn(watch: Watch) -> None:
    """The log is told of a selector that is not thread-safe when its lock is free again."""

    class Selector:
        thread_safe = False

        def select(self, snapshot: Any, ctx: Any) -> Any:
            return next(iter(snapshot.candidates(ctx)), None)

        def learn(self, node: Any, completion: Any) -> None:
            raise RuntimeError("on purpose")

    lb = LoadBalancer(["a"], selector=Selector())
    with suppress(RuntimeError):
        lb.acquire().release()
    assert watch.calls["handler"]


def test_sources_that_an_exporter_writes(watch: Watch) -> None:
    """The figures of sources of endpoints, and those of a balancer, are read under no lock."""
    lb = LoadBalancer(["a"])

    def discovered() -> Iterator[Any]:
        yield watch.at("source", SimpleNamespace(source="s", endpoints=1, last_success_at=0.0, refreshes={}))

    writer = DirectWriter(MagicMock(), "s", SeriesNames(), lambda: watch.at("balancer", lb), discovered)
    writer.begin(lb.stats().endpoints, lb.stats().refused)
    lb.on_completion(writer.on_completion)
    lb.on_refusal(writer.on_refusal)
    lb.acquire().release()
    with suppress(Exception):
        lb.acquire(exclude=["a"])
    writer.close()
    assert min(watch.calls["source"], watch.calls["balancer"]) >= 2


def prometheus(lb: LoadBalancer[Any]) -> tuple[Any, Any]:
    """Return an exporter, and the function that reads it."""
    registry = CollectorRegistry()
    return BalancerCollector(lb, service="orders", registry=registry), partial(generate_latest, registry)


def opentelemetry(lb: LoadBalancer[Any]) -> tuple[Any, Any]:
    """Return instruments, and the function that reads them."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("orders")
    return instrument(lb, service="orders", meter=meter), reader.get_metrics_data


@pytest.mark.parametrize("make", [prometheus, opentelemetry])
def test_clocks_and_listeners_at_a_scrape(watch: Watch, make: Any) -> None:
    """A scrape reads the statistics of a balancer under no lock, because that calls the clock and the listeners of events."""
    seconds = ManualClock()
    lb = LoadBalancer(["a", "b"], clock=lambda: watch.at("clock", seconds()), health=MaxFails(max_fails=1))
    exporter, scrape = make(lb)
    lb.on_event(lambda event: watch.at(type(event).__name__))
    lb.acquire().release(Outcome.FAILURE)
    scrape()
    seconds.advance(1_000.0)
    watch.calls.clear()
    scrape()
    assert watch.calls["clock"]
    assert watch.calls["Probing"] == 1
    assert exporter is not None


def test_roles_of_a_router(watch: Watch) -> None:
    """The log is told of a change of role, and of what a driver could not do, when the lock of the driver is free."""
    driver = VrrpThread(ROUTER, interface="lo", check_link=False)
    driver._core.start(clock())
    driver.fault("maintenance")
    driver.clear("maintenance")
    assert watch.calls["handler"] >= 2


def test_late_messages_have_the_exception_of_their_time(caplog: pytest.LogCaptureFixture) -> None:
    """A message that is logged later has its level, and the traceback of the exception that was being handled."""
    late = LateLog()
    caplog.set_level(logging.DEBUG)
    try:
        {}["of that time"]
    except KeyError:
        late.error("failed at %s", "a")
    late.error("slow")
    late.change("worse", bad=True)
    late.change("better", bad=False)
    assert caplog.records == []
    late.flush()
    late.flush()
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
        (40, "failed at a"),
        (40, "slow"),
        (30, "worse"),
        (20, "better"),
    ]
    assert [one.exc_info and one.exc_info[0] for one in caplog.records] == [KeyError, None, None, None]
