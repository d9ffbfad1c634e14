"""Every lock of the library is known to the fork registry, and free in a forked child."""

from __future__ import annotations

import ast
import gc
import os
import threading
import time
from pathlib import Path
from weakref import WeakKeyDictionary

import httpx
import httpx2
import pytest
from prometheus_client import CollectorRegistry

import balancekit
from balancekit import LeastRequest, LoadBalancer, Outcome
from balancekit._support import fork
from balancekit.adapters.httpx import BalancedTransport
from balancekit.adapters.httpx2 import BalancedTransport as BalancedTransport2
from balancekit.adapters.requests import BalancedAdapter
from balancekit.checks import TcpCheck, ThreadChecks
from balancekit.discovery import ThreadDiscovery
from balancekit.exhaustion import FailOpen
from balancekit.observability.logs import log_events
from balancekit.observability.prometheus import BalancerCollector
from balancekit.retry import RetryBudget
from balancekit.sim import Recorder
from balancekit.waiting import ClientThrottle

LOCKS = (type(threading.Lock()), type(threading.RLock()))


def live(folder: Path) -> list[object]:
    """Return one of each thing with a lock, in use."""
    lb = LoadBalancer(["127.0.0.1:1", "127.0.0.1:2"], selector=LeastRequest())
    for _ in range(3):
        lb.acquire().release(Outcome.FAILURE)
    mock = httpx.MockTransport(lambda request: httpx.Response(200, headers={"Set-Cookie": "a=b"}))
    transport = BalancedTransport(lb, cookies="per-endpoint", transport_factory=lambda endpoint: mock)
    transport.handle_request(httpx.Request("GET", "http://orders/"))
    mock2 = httpx2.MockTransport(lambda request: httpx2.Response(200))
    transport2 = BalancedTransport2(lb, transport_factory=lambda endpoint: mock2)
    registry = CollectorRegistry()
    things: list[object] = [
        lb,
        transport,
        transport2,
        BalancedAdapter(lb),
        RetryBudget(),
        ClientThrottle(),
        ThreadChecks(lb, TcpCheck()),
        ThreadDiscovery(LoadBalancer([], allow_empty=True), lambda: ["a"]),
        Recorder(lb, folder / "requests.jsonl"),
        BalancerCollector(lb, service="orders", registry=registry),
        registry,
    ]
    log_events(lb)
    return things


def owned_locks(roots: list[object]) -> list[tuple[str, object]]:
    """Return the locks that objects of the library refer to, with the attribute that does."""
    found, seen, todo = [], set(), list(roots)
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        ours = any(kind.__module__.startswith("balancekit.") for kind in type(one).__mro__)
        names = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
        for name in [*names, *getattr(one, "__dict__", {})] if ours else ():
            value = getattr(one, name, None)
            lock = value._lock if isinstance(value, threading.Condition) else value
            if isinstance(lock, LOCKS):
                found.append((f"{type(one).__name__}.{name}", lock))
        if ours or isinstance(one, dict | list | tuple | set | frozenset | WeakKeyDictionary):
            todo += gc.get_referents(one)
        if callable(one) and hasattr(one, "__self__"):
            todo.append(one.__self__)
        if hasattr(one, "__closure__"):
            todo += [cell.cell_contents for cell in one.__closure__ or ()]
    return found


ROOT = Path(balancekit.__file__).parent
MODULES = {"threading", "_thread", "multiprocessing", "multiprocessing.synchronize", "queue"}
HOLDERS = {"Lock", "RLock", "allocate_lock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier"}
HOLDERS |= {"Queue", "LifoQueue", "PriorityQueue", "JoinableQueue"}
LOCAL = {
    (
        "waiting/_room.py",
        "threading.Lock",
    ): "one thread waits for it, and another releases it; it guards nothing",
    ("discovery/_kubernetes.py", "threading.Event"): "of one watch, whose thread a child does not have",
    ("checks/_load_probes.py", "threading.Semaphore"): "a variable of a thread that a child does not have",
}
"""The locks outside the registry, and why a child never waits for them."""


def lock_calls(source: str) -> list[str]:
    """Return the calls in a module that make an object with a lock of the standard library, by their full names."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.asname or one.name: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            func = node.func.value if isinstance(node.func, ast.Subscript) else node.func
            first, _, rest = ast.unparse(func).partition(".")
            module, _, name = f"{names.get(first, first)}{'.' if rest else ''}{rest}".rpartition(".")
            if module in MODULES and name in HOLDERS:
                found.append(f"{module}.{name}")
    return found


def test_no_module_makes_a_lock_outside_the_registry() -> None:
    """Every lock is made by ``new_lock`` or ``new_condition``, but those that a child never waits for."""
    found = {
        (path.relative_to(ROOT).as_posix(), call)
        for path in sorted(ROOT.rglob("*.py"))
        for call in lock_calls(path.read_text(encoding="utf-8"))
    }
    assert found == set(LOCAL)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import threading\nx = threading.RLock()", ["threading.RLock"]),
        ("from threading import Condition as C\nx = C()", ["threading.Condition"]),
        ("import _thread as t\nx = t.allocate_lock()", ["_thread.allocate_lock"]),
        ("import queue\nx = queue.Queue[int]()", ["queue.Queue"]),
        ("import asyncio\nx = asyncio.Event()", []),
        ("from balancekit.events import Event\nx = Event()", []),
    ],
    ids=["RLock", "renamed condition", "_thread", "subscripted queue", "asyncio", "another Event"],
)
def test_a_lock_is_found_by_whatever_name_it_is_made(source: str, found: list[str]) -> None:
    """A call is known by the module that its name comes from."""
    assert lock_calls(source) == found


def test_no_lock_of_a_live_process_is_outside_the_registry(tmp_path: Path) -> None:
    """Every lock that can be reached from balancers, adapters, budgets, runners and exporters is registered."""
    roots = live(tmp_path)
    found = owned_locks(roots)
    names = {name for name, _ in found}
    assert {
        "EngineLocks.writer",
        "RetryBudget._lock",
        "TransportPool._lock",
        "LineWriter._lock",
        "_Jar._cookies_lock",
    } <= names
    assert len(names) >= 12
    known = set(map(id, fork._LOCKS))
    print(f"{len(found)} locks of {len(names)} attributes")
    assert [name for name, lock in found if id(lock) not in known] == []


FORKS, ALL_FORKS = 100, 1_000
BUSY_THREADS = 8
HUNG_S = 20.0
"""A child does what takes it milliseconds; on a busy machine it still ends long before."""


def work(lb: LoadBalancer[str], transport: BalancedTransport, budget: RetryBudget, n: int) -> None:
    """Take every kind of lock: engine, selector, adapter, jars of cookies, budget."""
    lb.acquire(f"key:{n}").release()
    lb.acquire(cost=2.0).release(Outcome.FAILURE)
    lb.set_weight("127.0.0.1:1", 1.0 + n % 3)
    if n % 10 == 0:
        lb.add(f"guest-{threading.get_ident()}")
        lb.remove(f"guest-{threading.get_ident()}")
    budget.withdraw(now=time.monotonic())
    transport.handle_request(httpx.Request("GET", "http://orders/"))
    lb.stats()


def hung_children(forks: int) -> int:
    """Fork while threads are busy, let each child do the same work, and count those that do not end well."""
    # Those that stay may be ejected while guests are there, so requests must not depend on health.
    endpoints = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
    lb = LoadBalancer(endpoints, selector=LeastRequest(), exhaustion=FailOpen())
    mock = httpx.MockTransport(lambda request: httpx.Response(200, headers={"Set-Cookie": "a=b"}))
    transport = BalancedTransport(lb, cookies="per-endpoint", transport_factory=lambda endpoint: mock)
    budget = RetryBudget()
    over = threading.Event()

    def busy() -> None:
        n = 0
        while not over.is_set():
            work(lb, transport, budget, n := n + 1)

    threads = [threading.Thread(target=busy) for _ in range(BUSY_THREADS)]
    for thread in threads:
        thread.start()
    bad = 0
    try:
        for _ in range(forks):
            pid = os.fork()
            if pid == 0:
                try:
                    for n in range(10):
                        work(lb, transport, budget, n)
                    os._exit(0)
                finally:
                    os._exit(1)
            bad += not _ended_well(pid)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert lb.stats().inflight == 0
    return bad


def _ended_well(pid: int) -> bool:
    deadline = time.monotonic() + HUNG_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.001)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    "forks", [FORKS, pytest.param(ALL_FORKS, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])]
)
def test_no_child_of_a_busy_process_hangs(forks: int) -> None:
    """While 8 threads take every lock, each forked child does the same work and ends."""
    assert hung_children(forks) == 0
