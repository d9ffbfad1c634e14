"""Every lock of the library is known to the fork registry, and free in a forked child."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import httpx
import httpx2
from prometheus_client import CollectorRegistry

from balancekit import LeastRequest, LoadBalancer, Outcome
from balancekit._support import fork
from balancekit.adapters.httpx import BalancedTransport
from balancekit.adapters.httpx2 import BalancedTransport as BalancedTransport2
from balancekit.adapters.requests import BalancedAdapter
from balancekit.checks import TcpCheck, ThreadChecks
from balancekit.discovery import ThreadDiscovery
from balancekit.observability.logs import log_events
from balancekit.observability.prometheus import BalancerCollector
from balancekit.retry import AdaptiveThrottle, RetryBudget
from balancekit.sim import Recorder

LOCKS = (type(threading.Lock()), type(threading.RLock()))


def live(folder: Path) -> list[object]:
    """Return one of each thing with a lock, in use."""
    lb = LoadBalancer(["127.0.0.1:1", "127.0.0.1:2"], selector=LeastRequest())
    for _ in range(3):
        lb.acquire().release(Outcome.FAILURE)
    mock = httpx.MockTransport(lambda request: httpx.Response(200))
    transport = BalancedTransport(lb, cookies="per-endpoint", transport_factory=lambda endpoint: mock)
    httpx.Client(transport=transport).get("http://orders/")
    mock2 = httpx2.MockTransport(lambda request: httpx2.Response(200))
    transport2 = BalancedTransport2(lb, transport_factory=lambda endpoint: mock2)
    registry = CollectorRegistry()
    things: list[object] = [
        lb,
        transport,
        transport2,
        BalancedAdapter(lb),
        RetryBudget(),
        AdaptiveThrottle(),
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
        ours = type(one).__module__.startswith("balancekit.")
        names = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
        for name in [*names, *getattr(one, "__dict__", {})] if ours else ():
            value = getattr(one, name, None)
            lock = value._lock if isinstance(value, threading.Condition) else value
            if isinstance(lock, LOCKS):
                found.append((f"{type(one).__name__}.{name}", lock))
        if ours or isinstance(one, dict | list | tuple | set | frozenset):
            todo += gc.get_referents(one)
        if callable(one) and hasattr(one, "__self__"):
            todo.append(one.__self__)
        if hasattr(one, "__closure__"):
            todo += [cell.cell_contents for cell in one.__closure__ or ()]
    return found


def test_no_lock_of_a_live_process_is_outside_the_registry(tmp_path: Path) -> None:
    """Walk from balancers, adapters, budgets, runners and exporters; every lock met is registered."""
    roots = live(tmp_path)
    found = owned_locks(roots)
    names = {name for name, _ in found}
    assert {"EngineLocks.writer", "RetryBudget._lock", "TransportPool._lock", "LineWriter._lock"} <= names
    assert len(names) >= 12
    known = set(map(id, fork._LOCKS))
    assert [name for name, lock in found if id(lock) not in known] == []
