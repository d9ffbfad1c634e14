"""Figures of one worker process among several, in the files of prometheus_client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import os, sys, threading
from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector
from balancekit import Endpoint, LoadBalancer, Outcome
from balancekit.observability.prometheus import BalancerCollector

def written(*names):
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=os.environ["PROMETHEUS_MULTIPROC_DIR"])
    samples = [s for f in registry.collect() for s in f.samples if s.name in names]
    return {s.labels["endpoint"]: s.value for s in samples if s.value}

INFLIGHT, REQUESTS = "balancekit_inflight_requests", "balancekit_requests_total"
lb = LoadBalancer(["a", "b"], **OPTIONS)
"""


def run(program: str, path: Path, options: str = "{}") -> str:
    """Run a program in a process that writes metrics for several."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START.replace("**OPTIONS", f"**{options}") + program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PROMETHEUS_MULTIPROC_DIR": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("options", ["{}", "{'timed': False, 'health': None}", "{'health': None}"])
@pytest.mark.parametrize("how", ["with", "release", "failure"])
def test_requests_that_began_before_the_collector_are_counted_until_they_end(
    options: str, how: str, tmp_path: Path
) -> None:
    """Leases that are open when a collector joins are in flight, and are counted when they end, however they end."""
    program = f"""
leases = [lb.acquire(exclude=["b"]), lb.acquire("a key", exclude=["a"])]
collector = BalancerCollector(lb, service="s")
print(written(INFLIGHT))
for lease in leases:
    if {how!r} == "with":
        with lease:
            pass
    else:
        lease.release(Outcome.SUCCESS if {how!r} == "release" else Outcome.FAILURE)
print(written(INFLIGHT), written(REQUESTS))
"""
    found = run(program, tmp_path, options).splitlines()
    assert found == ["{'a': 1.0, 'b': 1.0}", "{} {'a': 1.0, 'b': 1.0}"]


def test_a_collector_that_joins_under_traffic_leaves_nothing_in_flight(tmp_path: Path) -> None:
    """Whatever starts and ends while collectors join and leave, no request is in flight once all have ended."""
    program = """
sys.setswitchinterval(1e-6)
stop = False
def work():
    while not stop:
        with lb.acquire():
            pass
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
registry, collectors = CollectorRegistry(), []
for number in range(40):
    collectors.append(BalancerCollector(lb, service=f"s{number}", registry=registry))
    if number % 3 == 2:
        collectors.pop().close()
stop = True
for thread in threads:
    thread.join()
print(written(INFLIGHT))
"""
    assert run(program, tmp_path) == "{}"


@pytest.mark.parametrize("endpoint", ["a", "c"])
def test_a_worker_with_the_id_of_a_dead_one_begins_at_0(endpoint: str, tmp_path: Path) -> None:
    """Requests in flight in a worker that was killed do not stay with the next worker of the same id.

    A worker has that id from uWSGI, or as the process id in a new container. The endpoint may join later.
    """
    program = f"""
values.ValueClass = values.MultiProcessValue(lambda: "worker1")
collector = BalancerCollector(lb, service="s")
if {endpoint!r} == "c":
    lb.add("c")
lease = lb.acquire(exclude={{"a", "b", "c"}} - {{{endpoint!r}}})
print(written(INFLIGHT))
sys.stdout.flush()
os._exit(0)
"""
    for _ in range(2):
        assert run(program, tmp_path) == f"{{{endpoint!r}: 1.0}}"


def test_tokens_of_an_endpoint_that_returns_are_added_up(tmp_path: Path) -> None:
    """Tokens of an endpoint that was removed and added again within the second of a write are not taken for old ones."""
    program = """
collector = BalancerCollector(lb, service="s")
for number in (5, 7, 7, 3):
    with lb.acquire(exclude=["b"]) as lease:
        lease.first_byte()
        lease.report_tokens(number)
    collector._writer._write_answers()
    lb.remove("a")
    lb.add("a")
print(written("balancekit_tokens_total"))
"""
    assert run(program, tmp_path) == "{'a': 22.0}"


def test_tokens_of_an_endpoint_that_leaves_are_written_once(tmp_path: Path) -> None:
    """Tokens of a removed endpoint with open requests are not written again, also beside a successor with its id."""
    program = """
collector = BalancerCollector(lb, service="s")
def answer(lease, number):
    lease.first_byte()
    lease.report_tokens(number)
    lease.release()
def write():
    collector._writer._write_answers()
late = [lb.acquire(exclude=["b"]) for _ in range(3)]
answer(lb.acquire(exclude=["b"]), 100)
write()
lb.remove("a")
for lease in late[:2]:
    answer(lease, 10)
    write()
lb.add("a")
for _ in range(5):
    answer(lb.acquire(exclude=["b"]), 1)
    write()
print(written("balancekit_tokens_total"))
"""
    assert run(program, tmp_path) == "{'a': 125.0}"


def test_the_state_of_an_endpoint_that_returns_is_that_of_the_present_one(tmp_path: Path) -> None:
    """An endpoint that is added again while a request of its predecessor is open has one weight and one state."""
    program = """
collector = BalancerCollector(lb, service="s")
late = lb.acquire(exclude=["b"])
lb.update([Endpoint("a", "other", weight=3.0), "b"])
print(written("balancekit_endpoint_weight"))
"""
    assert run(program, tmp_path) == "{'a': 3.0, 'b': 1.0}"


def test_a_removed_endpoint_has_no_weight(tmp_path: Path) -> None:
    """The weight of a removed endpoint is 0, so that the sum over all endpoints is that of the pool."""
    program = """
collector = BalancerCollector(lb, service="s")
lb.add(Endpoint("c", weight=5.0))
lb.remove("c")
lb.remove("a")
print(written("balancekit_endpoint_weight"))
"""
    assert run(program, tmp_path) == "{'b': 1.0}"


def test_a_request_ends_although_the_clock_fails(tmp_path: Path) -> None:
    """A clock that raises when a request ends leaves nothing in flight."""
    program = """
def clock():
    if broken:
        raise OSError("no clock")
    return 1.0
broken = False
lb = LoadBalancer(["a"], clock=clock)
collector = BalancerCollector(lb, service="s")
lease = lb.acquire()
broken = True
with lease:
    pass
broken = False
print(written(INFLIGHT), written(REQUESTS))
"""
    assert run(program, tmp_path) == "{} {'a': 1.0}"
