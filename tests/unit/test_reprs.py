"""Objects that users make print as what they are, and show no secret."""

from __future__ import annotations

import inspect
import random

import pytest
from redis import Redis
from tests._public_classes import HOT, public_classes

import balancekit.adapters.httpx as httpx_adapters
import balancekit.adapters.httpx2 as httpx2_adapters
from balancekit import LoadBalancer, PickContext, RoundRobin
from balancekit._support.display import ConstructorRepr, StateRepr
from balancekit.adapters.requests import BalancedAdapter
from balancekit.checks import (
    AsyncChecks,
    HttpCheck,
    MetricsProbe,
    Schedule,
    TcpCheck,
    ThreadChecks,
    ThreadProbes,
    ThreadScrapes,
)
from balancekit.discovery import (
    AsyncDiscovery,
    DnsResolver,
    FileSdResolver,
    FunctionResolver,
    HttpSdResolver,
    KubernetesResolver,
    SrvResolver,
    StaticResolver,
    SystemResolver,
    ThreadDiscovery,
)
from balancekit.reported import LoadMeter, NodeAttributes, Prequal, WsgiLoadReports
from balancekit.retry import RetryBudget
from balancekit.routing import MaxInFlight
from balancekit.sharing import RedisStore
from balancekit.stats import Ewma, PeakEwma
from balancekit.waiting import ClientThrottle, WaitingQueue

LB = "<LoadBalancer of 1 endpoint by ShortestExpectedDelay()>"
PREQUAL = Prequal()


def averaged(average, sample, at):
    """Return an average that has taken a sample."""
    average.observe(sample, now=at)
    return average


SECRET = "hunter2"
MADE = [
    (lambda lb: RetryBudget(ratio=0.1), "RetryBudget(ratio=0.1)"),
    (lambda lb: PeakEwma(decay=5.0), "<PeakEwma seen=False>"),
    (lambda lb: averaged(Ewma(), 0.25, at=2.0), "<Ewma value=0.25 at=2>"),
    (lambda lb: ClientThrottle(k=1.1), "ClientThrottle(k=1.1)"),
    (lambda lb: WaitingQueue(max_waiting=8), "WaitingQueue(max_waiting=8)"),
    (
        lambda lb: ThreadChecks(lb, TcpCheck(), concurrency=2),
        f"ThreadChecks({LB}, TcpCheck(address=None), concurrency=2)",
    ),
    (lambda lb: AsyncChecks(lb, TcpCheck()), f"AsyncChecks({LB}, TcpCheck(address=None))"),
    (lambda lb: ThreadDiscovery(lb, "static:a:1"), "<ThreadDiscovery of 'static', stopped>"),
    (lambda lb: AsyncDiscovery(lb, "static:a:1", name="x"), "<AsyncDiscovery of 'x', stopped>"),
    (lambda lb: StaticResolver(["a:1"]), "StaticResolver(['a:1'])"),
    (lambda lb: FunctionResolver(print), "FunctionResolver(print)"),
    (lambda lb: SystemResolver("a", 80), "SystemResolver('a', 80)"),
    (lambda lb: DnsResolver("a", 80, timeout=2.0), "DnsResolver('a', 80, timeout=2.0)"),
    (lambda lb: SrvResolver("_a._tcp.b"), "SrvResolver('_a._tcp.b')"),
    (lambda lb: FileSdResolver("a.json"), "FileSdResolver('a.json')"),
    (lambda lb: HttpSdResolver("http://sd/x?key=hunter2"), "<HttpSdResolver of 'http://sd/x?***'>"),
    (
        lambda lb: KubernetesResolver("orders.shop", port="http"),
        "KubernetesResolver('orders.shop', port='http')",
    ),
    (lambda lb: ThreadProbes(lb, PREQUAL, print), f"ThreadProbes({LB}, Prequal(), print)"),
    (
        lambda lb: ThreadScrapes(lb, NodeAttributes(max_age=2.0), print),
        f"ThreadScrapes({LB}, NodeAttributes(max_age=2.0), print)",
    ),
    (lambda lb: MetricsProbe("vllm", fetch=print), "MetricsProbe('vllm', fetch=print)"),
    (lambda lb: LoadMeter(capacity=8), "LoadMeter(capacity=8)"),
    (lambda lb: WsgiLoadReports(print), "WsgiLoadReports(print)"),
    (lambda lb: BalancedAdapter(lb, attempts=3), f"BalancedAdapter({LB}, attempts=3)"),
    (lambda lb: httpx_adapters.BalancedTransport(lb, service="o"), f"BalancedTransport({LB}, service='o')"),
    (lambda lb: httpx_adapters.AsyncBalancedTransport(lb), f"AsyncBalancedTransport({LB})"),
    (lambda lb: httpx2_adapters.BalancedTransport(lb), f"BalancedTransport({LB})"),
    (lambda lb: httpx2_adapters.AsyncBalancedTransport(lb), f"AsyncBalancedTransport({LB})"),
]


@pytest.mark.parametrize(("make", "text"), MADE, ids=[text.partition("(")[0] for _, text in MADE])
def test_it_prints_as_what_it_is(make, text):
    """The text is the call that made it, without defaults, or says what it follows; it has no address in memory."""
    assert repr(make(LoadBalancer(["a:80"], allow_empty=True))) == text


def test_no_text_has_a_secret():
    """Headers of checks, passwords of stores and of URLs are not in the text of what was given them."""
    lb = LoadBalancer(["a:80"], allow_empty=True)
    check = HttpCheck("/", headers={"Authorization": SECRET})
    source = f"http_sd:http://sd/orders?key={SECRET}"
    store = RedisStore(Redis(password=SECRET), name="x")
    for made in (ThreadChecks(lb, check, schedule=Schedule(5.0)), ThreadDiscovery(lb, source), store):
        assert SECRET not in repr(made)


def test_every_public_class_has_a_text():
    """No public class prints as its type and an address in memory; protocols have no instances of their own."""
    assert {kind.__name__ for kind in public_classes() if kind.__repr__ is object.__repr__} == HOT


class Place(StateRepr):
    """State in a slot and in attributes, public and private."""

    __slots__ = ("__dict__", "at", "unset")

    def __init__(self):
        self.at = object()
        self.name = "x" * 300
        self._secret = SECRET


class Named(StateRepr, prints=("size", "gone")):
    """State in a property; one of the names is missing."""

    size = 3

    def __len__(self):
        return 2


class Circle(StateRepr):
    """State that leads back to itself."""

    def __init__(self):
        self.itself = self


def test_state_is_printed_without_what_is_private():
    """Public slots and attributes that are set are printed, each cut at 200 characters, or those that the class names."""
    assert repr(Place()) == f"<Place at=<object> name='{'x' * 196}...>"
    assert repr(Named()) == "<Named of 2 size=3>"
    assert repr(Circle()) == "<Circle itself=<...>>"


def test_a_context_prints_its_request():
    """A context prints what the request asks for, and not its generator."""
    text = repr(PickContext(rng=random.Random(1), key="user:1", cost=2.0, now=5.0))
    assert text == (
        "<PickContext key='user:1' cost=2.0 exclude=() attributes=mappingproxy({}) now=5.0 trace=None>"
    )


def test_routers_print_their_child():
    """Every class that takes what makes a child says so, and then a function prints as what it makes."""
    routers = [
        kind
        for kind in public_classes()
        if issubclass(kind, ConstructorRepr) and "child" in inspect.signature(kind).parameters
    ]
    assert len(routers) >= 9
    assert [kind for kind in routers if kind._makers != ("child",)] == []
    assert repr(MaxInFlight(3, child=lambda: RoundRobin())) == "MaxInFlight(3, child=lambda: RoundRobin())"
