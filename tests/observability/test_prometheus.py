"""What Prometheus scrapes, read by the official parser."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from balancekit import (
    AllIneligibleError,
    ConfigurationError,
    Endpoint,
    First,
    LoadBalancer,
    Outcome,
    UnavailableError,
)
from balancekit.discovery import ThreadDiscovery
from balancekit.events import Ejected, Hedged, Retried, RetryRefused
from balancekit.loads import InFlight
from balancekit.observability._exporter import Exporter
from balancekit.observability._series import MAX_LABELLED_ENDPOINTS, MAX_REASONS
from balancekit.observability.prometheus import (
    BUCKETS,
    STATES,
    BalancerCollector,
)
from balancekit.sim import Recorder
from balancekit.testing import ManualClock

NAMES = {
    "balancekit_requests": ("counter", {"service", "endpoint", "outcome"}),
    "balancekit_request_duration_seconds": ("histogram", {"service", "endpoint"}),
    "balancekit_inflight_requests": ("gauge", {"service", "endpoint"}),
    "balancekit_endpoint_weight": ("gauge", {"service", "endpoint"}),
    "balancekit_endpoint_state": ("gauge", {"service", "endpoint", "state"}),
    "balancekit_ejections": ("counter", {"service", "endpoint", "reason"}),
    "balancekit_retries": ("counter", {"service", "reason"}),
    "balancekit_retry_budget_exhausted": ("counter", {"service"}),
    "balancekit_hedges": ("counter", {"service", "result"}),
    "balancekit_pick_failures": ("counter", {"service", "reason"}),
    "balancekit_panic": ("gauge", {"service"}),
    "balancekit_resolver_refreshes": ("counter", {"service", "resolver", "result"}),
    "balancekit_resolver_last_success_timestamp_seconds": ("gauge", {"service", "resolver"}),
    "balancekit_resolver_endpoints": ("gauge", {"service", "resolver"}),
}

ANSWERS = {
    "balancekit_first_byte_seconds": ("gauge", {"service", "endpoint"}),
    "balancekit_tokens": ("counter", {"service", "endpoint"}),
    "balancekit_tokens_per_second": ("gauge", {"service", "endpoint"}),
}
"""Exported of endpoints whose requests report them."""


def scrape(registry: CollectorRegistry) -> dict[str, Any]:
    """Return the families by name, as a scraper reads them; each comes once."""
    text = generate_latest(registry).decode()
    found = [f for f in text_string_to_metric_families(text) if not f.name.endswith("_created")]
    names = [family.name for family in found]
    assert len(names) == len(set(names))
    assert text.count("# TYPE ") == len({line for line in text.splitlines() if line.startswith("# TYPE ")})
    return {family.name: family for family in found}


def value(families: dict[str, Any], sample: str, **labels: str) -> float | None:
    """Return the one sample with these labels, ``None`` if there is none."""
    found = [
        s.value
        for family in families.values()
        for s in family.samples
        if s.name == sample and labels.items() <= s.labels.items()
    ]
    assert len(found) <= 1, (sample, labels, found)
    return found[0] if found else None


def test_answers_of_language_models_are_exported_where_requests_report_them():
    """Seconds to the first byte, tokens and tokens a second have series for the endpoints that have them, and no others."""
    clock, registry = ManualClock(), CollectorRegistry()
    lb = LoadBalancer(["a", "b"], selector=First(), clock=clock, timed=True)
    BalancerCollector(lb, service="models", registry=registry)
    assert not set(ANSWERS) & set(scrape(registry))
    with lb.acquire() as lease:
        clock.advance(0.5)
        lease.first_byte()
        clock.advance(1.0)
        lease.report_tokens(21)
    families = scrape(registry)
    for name, (kind, labels) in ANSWERS.items():
        assert families[name].type == kind
        assert {frozenset(sample.labels) for sample in families[name].samples} == {frozenset(labels)}
        assert {sample.labels["endpoint"] for sample in families[name].samples} == {"a"}
    assert value(families, "balancekit_first_byte_seconds", endpoint="a") == 0.5
    assert [sample.value for sample in families["balancekit_tokens"].samples] == [21.0]
    assert value(families, "balancekit_tokens_per_second", endpoint="a") == 20.0


def test_every_name_label_and_type_is_there() -> None:
    """The exported names, labels and types are exactly those listed, in the text format and in OpenMetrics."""
    registry, clock = CollectorRegistry(), ManualClock()
    lb = LoadBalancer(["a", "b"], selector=First(), clock=clock, timed=True)
    with ThreadDiscovery(lb, "static:a,b", name="fleet") as discovery:
        assert discovery.wait_ready(5.0)
    BalancerCollector(lb, service="orders", registry=registry, discovery=[discovery])
    with lb.acquire():
        clock.advance(0.03)
    for _ in range(5):
        lb.acquire(exclude=["a"]).release(Outcome.FAILURE)
    lb.emit(Retried(endpoint="a", at=0.0, reason="connect"))
    lb.emit(RetryRefused(endpoint="a", at=0.0, reason="connect"))
    lb.emit(Hedged(endpoint="b", at=0.0, won=True))
    families = scrape(registry)
    seen = {
        name: (family.type, {label for s in family.samples for label in s.labels if label != "le"})
        for name, family in families.items()
    }
    assert seen == NAMES
    assert {family.name for family in parse_openmetrics(generate_openmetrics(registry).decode())} == set(
        NAMES
    )

    assert value(families, "balancekit_requests_total", endpoint="a", outcome="success") == 1.0
    assert value(families, "balancekit_requests_total", endpoint="b", outcome="failure") == 5.0
    assert value(families, "balancekit_ejections_total", endpoint="b", reason="failures") == 1.0
    assert value(families, "balancekit_endpoint_state", endpoint="b", state="ejected") == 1.0
    assert value(families, "balancekit_endpoint_state", endpoint="a", state="healthy") == 1.0
    assert sum(s.value for s in families["balancekit_endpoint_state"].samples) == 2.0
    assert value(families, "balancekit_retries_total", reason="connect") == 1.0
    assert value(families, "balancekit_retry_budget_exhausted_total") == 1.0
    assert value(families, "balancekit_hedges_total", result="won") == 1.0
    assert value(families, "balancekit_hedges_total", result="lost") == 0.0
    assert value(families, "balancekit_resolver_endpoints", resolver="fleet") == 2.0
    assert value(families, "balancekit_request_duration_seconds_sum", endpoint="a") == pytest.approx(0.03)
    edges = {
        s.labels["le"] for s in families["balancekit_request_duration_seconds"].samples if "le" in s.labels
    }
    assert edges == {*map(str, BUCKETS), "+Inf"}


def test_a_request_is_in_flight_until_it_ends() -> None:
    """A request is in flight until it ends; what is not a success is not in the histogram of durations."""
    registry = CollectorRegistry()
    lb = LoadBalancer(["a"])
    BalancerCollector(lb, service="orders", registry=registry)
    lease = lb.acquire()
    assert value(scrape(registry), "balancekit_inflight_requests", endpoint="a") == 1.0
    lease.release(Outcome.FAILURE)
    families = scrape(registry)
    assert value(families, "balancekit_inflight_requests", endpoint="a") == 0.0
    assert value(families, "balancekit_request_duration_seconds_count", endpoint="a") is None


def test_requests_without_an_endpoint_to_pick_are_counted() -> None:
    """Requests for which no endpoint could be picked are counted by the kind of error."""
    registry = CollectorRegistry()
    lb = LoadBalancer(["a"])
    BalancerCollector(lb, service="orders", registry=registry)
    lb.drain("a")
    for _ in range(3):
        with pytest.raises(AllIneligibleError):
            lb.acquire()
    families = scrape(registry)
    assert value(families, "balancekit_pick_failures_total", reason="ineligible") == 3.0
    assert value(families, "balancekit_pick_failures_total", reason="empty") == 0.0
    assert value(families, "balancekit_endpoint_state", endpoint="a", state="draining") == 1.0


def test_the_series_of_an_endpoint_go_with_it() -> None:
    """The series of a removed endpoint go with it, those of the histogram too."""
    registry = CollectorRegistry()
    lb = LoadBalancer(["a", "b"])
    BalancerCollector(lb, service="orders", registry=registry)
    for id in ("a", "b"):
        with lb.acquire(exclude=[id]):
            pass
    assert 'endpoint="a"' in generate_latest(registry).decode()
    lb.remove("a")
    text = generate_latest(registry).decode()
    assert 'endpoint="a"' not in text
    assert 'endpoint="b"' in text
    lb.add("a")
    with lb.acquire(exclude=["b"]):
        pass
    assert value(scrape(registry), "balancekit_request_duration_seconds_count", endpoint="a") == 1.0


@pytest.mark.parametrize("timed", [True, False])
def test_pods_that_come_and_go_leave_nothing(timed: bool) -> None:
    """Endpoints that come and go leave no series, though never asked or answering late; newcomers take their places."""
    registry = CollectorRegistry()
    lb = LoadBalancer(["stays"], selector=First(), load=InFlight(), timed=timed)
    BalancerCollector(lb, service="s", registry=registry)
    for n in range(MAX_LABELLED_ENDPOINTS + 20):
        lb.add(f"pod-{n}")
        late = lb.acquire(exclude=["stays"])
        scrape(registry)
        lb.remove(f"pod-{n}")
        late.release()
    labels = {
        s.labels["endpoint"]
        for family in scrape(registry).values()
        for s in family.samples
        if "endpoint" in s.labels
    }
    assert labels == ({"stays", "other"} if timed else {"stays"})


@pytest.mark.parametrize("drained", [False, True])
@pytest.mark.parametrize("scraped", [False, True])
def test_removed_endpoints_with_several_open_requests_leave_nothing(drained: bool, scraped: bool) -> None:
    """Endpoints that are scraped and answer between their removal and their last answer leave no series and no place."""
    registry, clock = CollectorRegistry(), ManualClock()
    lb = LoadBalancer(["stays"], selector=First(), timed=True, clock=clock)
    collector = BalancerCollector(lb, service="s", registry=registry)
    for n in range(5):
        lb.add(f"pod-{n}")
        late = [lb.acquire(exclude=["stays"]) for _ in range(3)]
        if drained:
            lb.drain(f"pod-{n}", deadline=1.0)
            clock.advance(2.0)
            lb.stats()
        lb.remove(f"pod-{n}")
        for lease in late:
            if scraped:
                name = f"pod-{n}"
                assert value(scrape(registry), "balancekit_inflight_requests", endpoint=name) is not None
            lease.release()
    lb.add("new")
    lb.acquire(exclude=["stays"]).release()
    families = scrape(registry)
    labels = {
        s.labels["endpoint"] for one in families.values() for s in one.samples if "endpoint" in s.labels
    }
    assert labels == {"stays", "new", "other"}
    assert collector.labelled() == {"stays", "new"}
    assert value(families, "balancekit_request_duration_seconds_count", endpoint="new") == 1.0


def test_an_endpoint_that_returns_has_one_state_and_one_median() -> None:
    """An endpoint beside a predecessor with open requests adds its counts to it; state, weight and medians are its own."""
    registry, clock = CollectorRegistry(), ManualClock()
    lb = LoadBalancer(["a"], timed=True, clock=clock)
    BalancerCollector(lb, service="s", registry=registry)

    def answer(seconds: float) -> None:
        lease = lb.acquire()
        clock.advance(seconds)
        lease.first_byte()
        lease.report_tokens(3)
        lease.release()

    answer(4.0)
    late = lb.acquire()
    lb.update([Endpoint("a", "other", weight=3.0)])
    answer(1.0)
    families = scrape(registry)
    assert value(families, "balancekit_inflight_requests", endpoint="a") == 1.0
    assert value(families, "balancekit_tokens_total", endpoint="a") == 6.0
    assert value(families, "balancekit_requests_total", endpoint="a", outcome="success") == 2.0
    assert value(families, "balancekit_endpoint_weight", endpoint="a") == 3.0
    assert value(families, "balancekit_endpoint_state", endpoint="a", state="draining") == 0.0
    assert value(families, "balancekit_first_byte_seconds", endpoint="a") == pytest.approx(1.0)
    late.release()


def test_counters_do_not_decrease_when_a_predecessor_has_ended() -> None:
    """The counters of an endpoint keep the counts of its predecessor after the predecessor's last lease has ended."""
    registry = CollectorRegistry()
    lb = LoadBalancer(["a"])
    BalancerCollector(lb, service="s", registry=registry)

    def answer() -> None:
        with lb.acquire() as lease:
            lease.report_tokens(3)

    answer()
    late = lb.acquire()
    scrape(registry)
    lb.remove("a")
    lb.add("a")
    answer()
    found = []
    for end in (lambda: None, late.release, answer):
        end()
        families = scrape(registry)
        requests = value(families, "balancekit_requests_total", endpoint="a", outcome="success")
        found.append((requests, value(families, "balancekit_tokens_total", endpoint="a")))
    assert found == [(2.0, 6.0), (2.0, 6.0), (3.0, 9.0)]


def test_the_common_counter_does_not_decrease_when_an_endpoint_leaves() -> None:
    """Endpoints beyond the limit share a counter, which keeps the counts of those that have left."""
    registry = CollectorRegistry()
    lb = LoadBalancer([f"e{number}" for number in range(MAX_LABELLED_ENDPOINTS + 2)], selector=First())
    BalancerCollector(lb, service="s", registry=registry)
    found = []

    def read() -> None:
        families = scrape(registry)
        requests = value(families, "balancekit_requests_total", endpoint="other", outcome="success")
        found.append(
            (requests, value(families, "balancekit_ejections_total", endpoint="other", reason="failures"))
        )

    for last in (MAX_LABELLED_ENDPOINTS + 1, MAX_LABELLED_ENDPOINTS):
        scrape(registry)
        lb.acquire(exclude=[f"e{number}" for number in range(last)]).release()
        lb.emit(Ejected(endpoint=f"e{last}", at=0.0, cause="5 failures in a row", streak=1, until=1.0))
        read()
        lb.remove(f"e{last}")
    read()
    assert found == [(1.0, 1.0), (2.0, 2.0), (2.0, 2.0)]


def test_an_endpoint_that_is_removed_while_its_histogram_is_made_leaves_nothing() -> None:
    """An endpoint whose removal is reported while its first answer is counted leaves no series and no place."""
    registry = CollectorRegistry()
    lb = LoadBalancer(["stays", "gone"], timed=True)
    collector = BalancerCollector(lb, service="s", registry=registry)
    label = collector.label

    def remove_and_label(endpoint: str) -> str:
        lb.remove("gone")
        return label(endpoint)

    lease = lb.acquire(exclude=["stays"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collector, "label", remove_and_label)
        lease.release()
    assert collector.labelled() == set()
    assert value(scrape(registry), "balancekit_request_duration_seconds_count", endpoint="gone") is None


def test_a_collector_cannot_be_registered_twice() -> None:
    """A collector cannot be registered a second time, in any registry."""
    registry = CollectorRegistry()
    collector = BalancerCollector(LoadBalancer(["a"]), service="s", registry=registry)
    for one in (registry, CollectorRegistry()):
        with pytest.raises(ConfigurationError, match="registers the collector"):
            one.register(collector)
    scrape(registry)


def test_a_thousand_endpoints_are_five_hundred_series_and_the_rest() -> None:
    """A thousand endpoints have five hundred series and one for the rest, and the sum is right."""
    registry = CollectorRegistry()
    lb = LoadBalancer([f"e{number}" for number in range(1000)], selector=First())
    BalancerCollector(lb, service="orders", registry=registry)
    leases = [lb.acquire(exclude=[f"e{n}" for n in range(number)]) for number in (0, 999)]
    families = scrape(registry)
    samples = families["balancekit_inflight_requests"].samples
    assert len(samples) == MAX_LABELLED_ENDPOINTS + 1
    assert sum(sample.value for sample in samples) == 2.0
    assert value(families, "balancekit_endpoint_weight", endpoint="other") == 500.0
    for lease in leases:
        lease.release()


def test_balancers_share_a_registry_by_their_services() -> None:
    """Balancers share a registry by their services.

    Two of one name cannot, and a name that was given back can be used again.
    """
    registry = CollectorRegistry()
    first, second = LoadBalancer(["a"]), LoadBalancer(["a"])
    one = BalancerCollector(first, service="orders", registry=registry)
    BalancerCollector(second, service="invoices", registry=registry)
    with pytest.raises(ConfigurationError, match="service"):
        BalancerCollector(second, service="orders", registry=registry)
    with first.acquire():
        pass
    families = scrape(registry)
    assert value(families, "balancekit_requests_total", service="orders", outcome="success") == 1.0
    assert value(families, "balancekit_requests_total", service="invoices", outcome="success") == 0.0
    one.close()
    assert 'service="orders"' not in generate_latest(registry).decode()
    BalancerCollector(second, service="orders", registry=registry).close()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"balancer": ["a"]}, "balancer"),
        ({"service": ""}, "service"),
        ({"service": None}, "service"),
        ({"registry": 7}, "registry"),
        ({"discovery": [7]}, "discovery"),
        ({"discovery": 7}, "discovery"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], name: str) -> None:
    """Wrong arguments are refused by name, and leave the registry as it was."""
    registry = CollectorRegistry()
    given: dict[str, Any] = {
        "balancer": LoadBalancer(["a"]),
        "service": "s",
        "registry": registry,
    } | arguments
    with pytest.raises(ConfigurationError, match=name):
        BalancerCollector(given.pop("balancer"), **given)
    assert b"balancekit" not in generate_latest(registry)


def test_a_scrape_that_comes_while_a_collector_is_made_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector joins its registry when it can be read; one whose name is taken leaves no listener behind."""
    registry, lb = CollectorRegistry(), LoadBalancer(["a"])
    join, scraped = Exporter.join, []

    def scrape_at_once(exporter: Exporter, member: BalancerCollector) -> None:
        join(exporter, member)
        scraped.append(generate_latest(registry))

    monkeypatch.setattr(Exporter, "join", scrape_at_once)
    collector = BalancerCollector(lb, service="s", registry=registry)
    assert b"balancekit_inflight_requests" in scraped[0]
    before = lb._runtime.listeners._listeners
    with pytest.raises(ConfigurationError, match="service"):
        BalancerCollector(lb, service="s", registry=registry)
    assert lb._runtime.listeners._listeners == before
    collector.close()


def test_workers_add_up(tmp_path: Path) -> None:
    """Two real processes that write to one directory; a third one reads it.

    First bytes and tokens are written with the first answer that has them, and when the collector is closed; each once.
    """
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, str(Path(__file__).with_name("_worker.py"))]
    workers = [
        subprocess.Popen(
            [*command, *counts], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for counts in (("3", "5"), ("4", "5"))
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "done\n"
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(tmp_path))
        families = scrape(registry)
    finally:
        for worker in workers:
            worker.communicate("", timeout=10)
    assert value(families, "balancekit_tokens_total", endpoint="a") == 14.0
    assert value(scrape(registry), "balancekit_tokens_total", endpoint="a") == 24.0
    assert value(families, "balancekit_first_byte_seconds", endpoint="a") > 0.0
    assert value(families, "balancekit_tokens_per_second", endpoint="a") > 0.0
    assert value(families, "balancekit_requests_total", endpoint="a", outcome="success") == 9.0
    assert value(families, "balancekit_requests_total", endpoint="b", outcome="failure") == 10.0
    assert value(families, "balancekit_request_duration_seconds_count", endpoint="a") == 9.0
    assert value(families, "balancekit_inflight_requests", endpoint="a") == 2.0
    assert value(families, "balancekit_ejections_total", endpoint="b", reason="failures") == 2.0
    assert value(families, "balancekit_retries_total", reason="connect") == 2.0
    assert value(families, "balancekit_retry_budget_exhausted_total") == 2.0
    assert value(families, "balancekit_hedges_total", result="won") == 2.0
    states = [s for s in families["balancekit_endpoint_state"].samples if s.labels["endpoint"] == "b"]
    assert {s.labels["state"] for s in states if s.value == 1.0} <= {
        "ejected",
        "probing",
    }  # if that took a second
    assert any(s.value for s in states)
    assert {s.labels["state"] for s in states} == set(STATES)
    assert not any("pid" in s.labels for family in families.values() for s in family.samples)


@pytest.mark.parametrize("several", [False, True])
def test_hanging_requests_are_in_flight_in_one_process_and_in_several(several: bool, tmp_path: Path) -> None:
    """Requests that have begun and not ended count as in flight, also where a scrape reads what was written before."""
    program = """
import os
from prometheus_client import CollectorRegistry, REGISTRY
from prometheus_client.multiprocess import MultiProcessCollector
from balancekit import LoadBalancer, Outcome
from balancekit.observability.prometheus import BalancerCollector
lb = LoadBalancer(["a", "b"])
early = lb.acquire()
collector = BalancerCollector(lb, service="s")
held = [lb.acquire() for _ in range(10)]
lb.acquire().release(Outcome.FAILURE)
lb.drain("a")
held.pop().release()
registry, path = REGISTRY, os.environ.get("PROMETHEUS_MULTIPROC_DIR")
if path:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=path)
names = ("balancekit_inflight_requests",)
print(sum(s.value for f in registry.collect() if f.name in names for s in f.samples))
"""
    environment = {name: value for name, value in os.environ.items() if "MULTIPROC" not in name.upper()}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    if several:
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) == 10.0


@pytest.mark.parametrize("removed", [False, True])
def test_a_closed_collector_leaves_nothing_in_flight(removed: bool, tmp_path: Path) -> None:
    """What is in flight when a collector is closed goes with it, once.

    This holds in several processes, and for an endpoint that drains.
    """
    program = f"""
import os
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from balancekit import LoadBalancer
from balancekit.observability.prometheus import BalancerCollector
lb = LoadBalancer(["a", "b"])
collector = BalancerCollector(lb, service="s")
held = [lb.acquire() for _ in range(10)]
held.pop().release()
if {removed}:
    lb.update(["a"])
collector.close()
collector.close()
held.pop().release()
registry = CollectorRegistry()
MultiProcessCollector(registry, path=os.environ["PROMETHEUS_MULTIPROC_DIR"])
print({{s.value for f in registry.collect() if f.name == "balancekit_inflight_requests" for s in f.samples}})
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "{0.0}"


IN_FLIGHT = """
import gc
import os
from prometheus_client import CollectorRegistry, REGISTRY
from prometheus_client.multiprocess import MultiProcessCollector
from balancekit import LoadBalancer
from balancekit.observability.prometheus import BalancerCollector
def written():
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=os.environ["PROMETHEUS_MULTIPROC_DIR"])
    return [s.value for f in registry.collect() if f.name == "balancekit_inflight_requests" for s in f.samples]
lb = LoadBalancer(["a"])
collector = BalancerCollector(lb, service="s")
"""


def in_flight(program: str, path: Path) -> str:
    """Return what a program prints that follows on the one above, where several processes write."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PROMETHEUS_MULTIPROC_DIR": str(path),
    }
    command = [sys.executable, "-W", "ignore", "-c", IN_FLIGHT + program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_takes_nothing_away_for_the_requests_of_its_parent(tmp_path: Path) -> None:
    """A lease that both end is in flight until the parent ends it; what the child begins counts until the child ends it."""
    program = """
held, kept = lb.acquire(), lb.acquire()
child = os.fork()
if child == 0:
    held.release()
    own = lb.acquire()
    print(written(), flush=True)
    own.release()
    kept.release()
    print(written(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
held.release()
print(written())
kept.release()
print(written())
"""
    assert in_flight(program, tmp_path).splitlines() == ["[3.0]", "[2.0]", "[1.0]", "[0.0]"]


def test_open_leases_of_a_balancer_that_is_gone_are_in_flight_no_more(tmp_path: Path) -> None:
    """Open leases of a balancer that is gone are in flight no more.

    The next collector that joins the registry takes them away.
    """
    program = """
held = [lb.acquire() for _ in range(3)]
held.append(held)
print(written())
del lb, held
gc.collect()
other = LoadBalancer(["b"])
BalancerCollector(other, service="t")
print(written())
"""
    assert in_flight(program, tmp_path).splitlines() == ["[3.0]", "[0.0, 0.0]"]


def test_names_of_any_kind_can_be_scraped() -> None:
    """Ids with quotes, line ends, backslashes and 20,000 characters are read back from the exposition as they are."""
    for id in ('a"b', "a\nb", "a\\b", "bücher:80", "x" * 20_000):
        registry = CollectorRegistry()
        lb = LoadBalancer([id, "b"])
        BalancerCollector(lb, service="s", registry=registry)
        lb.acquire().release()
        families = scrape(registry)
        assert value(families, "balancekit_inflight_requests", endpoint=id) == 0.0


PARITY = """
import os
from prometheus_client import CollectorRegistry, REGISTRY
from prometheus_client.multiprocess import MultiProcessCollector
from balancekit import LoadBalancer, UnavailableError
from balancekit.observability.prometheus import BalancerCollector
class Runner:
    class stats:
        source, endpoints, last_success_at = "dns:orders", 2, 1000.0
        refreshes = {"changed": 1, "unchanged": 3}
lb = LoadBalancer(["a", "b"], timed=TIMED, allow_empty=True)
collector = BalancerCollector(lb, service="s", discovery=[Runner(), Runner()])
for _ in range(3):
    try:
        lb.acquire(exclude=["a", "b"])
    except UnavailableError:
        pass
for first in FIRST:
    lease = lb.acquire(exclude=["b"])
    if first:
        lease.first_byte()
    lease.report_tokens(5)
    lease.release()
lb.update([])
try:
    lb.acquire()
except UnavailableError:
    pass
registry, path = REGISTRY, os.environ.get("PROMETHEUS_MULTIPROC_DIR")
if path:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=path)
lines = {(s.name, *sorted(s.labels.items())): s.value for f in registry.collect() for s in f.samples}
print({key: value for key, value in lines.items() if key[0].startswith(NAMES)})
"""


def exported(program: str, directory: Path | None) -> dict[Any, float]:
    """Return what a process of its own exports, with a directory for several or without."""
    environment = {name: value for name, value in os.environ.items() if "MULTIPROC" not in name.upper()}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    if directory is not None:
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return cast("dict[Any, float]", ast.literal_eval(done.stdout))


def test_refused_requests_and_sources_are_exported_in_one_process_and_in_several(tmp_path: Path) -> None:
    """Requests without an endpoint to pick, sources of endpoints and counters at 0 read the same in both.

    No request need end for that. Sources of one name are added up.
    """
    names = "('balancekit_pick', 'balancekit_resolver', 'balancekit_hedges', 'balancekit_retry_budget')"
    program = f"TIMED, FIRST, NAMES = True, (), {names}{PARITY}"
    one = exported(program, None)
    assert exported(program, tmp_path) == one
    failures = {dict(key[1:])["reason"]: count for key, count in one.items() if "pick_failures" in key[0]}
    assert failures == {"empty": 1.0, "ineligible": 0.0, "saturated": 0.0, "exhausted": 3.0}
    assert {value for key, value in one.items() if "unchanged" in str(key)} == {6.0}


@pytest.mark.parametrize("first", [(False,), (True,), (False, True)])
@pytest.mark.parametrize("timed", [False, True])
def test_tokens_are_written_whatever_is_measured_beside_them(
    timed: bool, first: tuple[bool, ...], tmp_path: Path
) -> None:
    """Tokens count in several processes if no first byte is reported, and if the balancer measures no time."""
    settings = f"TIMED, FIRST, NAMES = {timed}, {first}, ('balancekit_tokens_total',)"
    program = settings + PARITY.replace("lb.update([])", "lb.drain('b')")
    assert list(exported(program, tmp_path).values()) == [5.0 * len(first)]


def test_what_observes_refusals_may_raise_and_ends() -> None:
    """An observer of refusals is told of each kind once, one that raises stops nothing, and one that ended is not told."""
    lb, told = LoadBalancer(["a"]), []

    def broken(kind: str) -> None:
        raise RuntimeError(kind)

    lb.on_refusal(broken)
    stop = lb.on_refusal(told.append)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            lb.acquire(exclude=["a"])
        stop()
    assert told == ["exhausted"]
    assert lb.stats().refused["exhausted"] == 2
    with pytest.raises(ConfigurationError, match="observer=5"):
        lb.on_refusal(5)


def test_a_recorder_tells_of_refusals(tmp_path: Path) -> None:
    """A recorded balancer passes observers of refusals on."""
    told = []
    with Recorder(LoadBalancer(["a"]), tmp_path / "requests.jsonl") as recorder:
        stop = recorder.on_refusal(told.append)
        with pytest.raises(UnavailableError):
            recorder.acquire(exclude=["a"])
        stop()
    assert told == ["exhausted"]


def test_what_one_runner_of_discovery_raises_costs_no_other_series(caplog: pytest.LogCaptureFixture) -> None:
    """A runner that raises, or whose source cannot be sent, is left out of the scrape and logged; all else is there."""

    class Runner:
        def __init__(self, source: str | None) -> None:
            self.source = source

        def stats(self) -> Any:
            if self.source is None:
                raise OSError("no statistics")
            return SimpleNamespace(source=self.source, refreshes={}, last_success_at=1.0, endpoints=2)

    lb, registry = LoadBalancer(["a"]), CollectorRegistry()
    runners = [Runner(None), Runner(chr(0xD83D)), Runner("good")]
    collector = BalancerCollector(lb, service="orders", registry=registry, discovery=runners)
    page = generate_latest(registry).decode()
    assert 'balancekit_resolver_endpoints{resolver="good",service="orders"} 2.0' in page
    assert 'balancekit_endpoint_weight{endpoint="a",service="orders"} 1.0' in page
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    collector.close()


@pytest.mark.parametrize("kind", ["retries", "ejections"])
def test_reasons_of_events_are_few(kind: str) -> None:
    """Whatever events say, series are bounded: a reason is one word, and those beyond the limit share one series."""
    lb, registry = LoadBalancer(["a"]), CollectorRegistry()
    collector = BalancerCollector(lb, service="orders", registry=registry)
    words = ["".join(word) for word in product("abcd", repeat=4)]
    for word in words:
        said = f'{word}: "{word}" 17\n'
        lb.emit(
            Retried(endpoint="a", at=0.0, reason=said)
            if kind == "retries"
            else Ejected(endpoint="a", at=0.0, until=1.0, streak=1, cause=said)
        )
    (family,) = [
        family
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        if family.name == f"balancekit_{kind}"
    ]
    found = {sample.labels["reason"]: sample.value for sample in family.samples}
    assert set(found) == {*words[:MAX_REASONS], "other"}
    assert found["other"] == len(words) - MAX_REASONS
    collector.close()
