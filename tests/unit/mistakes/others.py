"""Mistakes with checks, metrics, discovery, hashing and imports."""

from __future__ import annotations

import asyncio
import builtins
import importlib
import sys
from functools import partial
from unittest import mock

import redis.asyncio
from prometheus_client import CollectorRegistry, generate_latest
from tests.unit.mistakes._row import Row

from balancekit import LoadBalancer, Outcome
from balancekit.adapters import hedge
from balancekit.adapters.dnslib import GslbResolver
from balancekit.adapters.dnspython import DnsResponder
from balancekit.adapters.vrrp import VrrpThread, ip_address_hook
from balancekit.capacity import L4, Demand, plan_capacity
from balancekit.checks import (
    AsyncChecks,
    HttpCheck,
    MetricsPage,
    MetricsProbe,
    Schedule,
    TcpCheck,
    ThreadChecks,
)
from balancekit.config import load
from balancekit.discovery import FileSdResolver, ThreadDiscovery
from balancekit.gslb import AllUp, Client, PolicySelector, Query, Soa, StaticRecords, Zone, fixed_standings
from balancekit.ha import Tracking, VirtualRouter, place
from balancekit.hashing import HashRing, MaglevTable
from balancekit.inference import prompt_key, token_key
from balancekit.loads import InFlight
from balancekit.observability.prometheus import BalancerCollector
from balancekit.sharing import (
    AsyncRedisStore,
    RedisStore,
    Shared,
    SharedEjections,
    SharedRateLimit,
    in_flight,
)
from balancekit.sim import Exponential, Poisson, Recorder, Server, simulate
from balancekit.testing import check_load, check_selector
from balancekit.testing.laws import WEIGHTED
from balancekit.waiting import WaitingQueue, WaitingRoom

A = ["127.0.0.1:1", "127.0.0.1:2"]
CONFIGURATION, TYPE, ATTRIBUTE = "ConfigurationError", "TypeError", "AttributeError"


def lb(targets: object = A) -> LoadBalancer[str]:
    """Return a balancer."""
    return LoadBalancer(targets, allow_empty=True)


class OfANode:
    """A load, whose class is a policy."""

    def __init__(self, node):
        self.node = node


class Raises:
    """A selector that forgets that there may be no candidate."""

    def select(self, snapshot, ctx):
        return snapshot.candidates(ctx)[0]


ONE = Raises()


def adverts_to(file):
    router = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.11")
    return VrrpThread(router, interface="lo", advert_log=file)


def tracking_by(tracking):
    router = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.11")
    return VrrpThread(router, interface="lo", tracking=tracking)


def hedge_a_plain_function():
    balancer = lb()
    try:
        asyncio.run(hedge(balancer, lambda lease: "answer", delay=1.0))
    finally:
        outcomes = balancer.stats().outcomes
        assert outcomes[Outcome.IGNORED] == balancer.stats().completed == 1


ONE_SITE = AllUp(["192.0.2.1"])
PLAN = (Demand(requests=1_000), [L4(gbps=1)])


def zone(names):
    return Zone("a.test", Soa(primary="ns1.a.test", contact="me.a.test"), names)


ZONE = zone({"www": ONE_SITE})


def serve(adapter, kind, text):
    return adapter(zone({"x": StaticRecords(data={kind: [text]})}), fixed_standings({}))


def policy_of_others():
    return LoadBalancer(["b"], selector=PolicySelector(ONE_SITE, client=Client(address="192.0.2.9")))


def simulated(balancer):
    servers = {"a": Server(service=Exponential(1.0))}
    return simulate(servers, Poisson(0.5), requests=10, balancer=balancer)


def plain(endpoints, clock, rng):
    return LoadBalancer(endpoints, clock=clock, rng=rng)


def peer_of_itself():
    return VirtualRouter(
        vrid=1, addresses=("192.0.2.9",), source="192.0.2.1", peers=("192.0.2.2", "192.0.2.1")
    )


async def waits(endpoint, timeout):
    return True


def check_without_port():
    with ThreadChecks(lb(["127.0.0.9"]), HttpCheck("/h"), schedule=Schedule(interval=5, timeout=1)) as checks:
        return type(checks).__name__


def started_twice():
    with ThreadChecks(lb(), TcpCheck()) as checks:
        checks.start()
    return "stopped"


def asynchronous_checks_in_with():
    with AsyncChecks(lb(), TcpCheck()):
        pass


def start_not_awaited():
    async def main():
        AsyncChecks(lb(), TcpCheck()).start()

    asyncio.run(main())


def two_services():
    registry, kept = CollectorRegistry(), {name: lb() for name in "ab"}
    for name, balancer in kept.items():
        BalancerCollector(balancer, service=name, registry=registry)
    text = generate_latest(registry).decode()
    return text.count("# TYPE balancekit_requests_total"), 'service="a"' in text, 'service="b"' in text


def one_service_twice():
    registry, balancer = CollectorRegistry(), lb()
    for _ in range(2):
        BalancerCollector(balancer, service="a", registry=registry)


def ring_with_weight():
    ring = HashRing(["a"])
    ring.add("b", 2)
    return ring.shares()["b"] > 0.5


def without(package: str, module: str):
    """Import a module where a package is not installed."""
    importing = builtins.__import__

    def importer(name, *arguments, **named):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return importing(name, *arguments, **named)

    mine = {name: found for name, found in sys.modules.items() if not name.startswith("balancekit")}
    with mock.patch.dict(sys.modules, mine, clear=True), mock.patch.object(builtins, "__import__", importer):
        importlib.import_module(module)


def name_of_a_package(name: str):
    exec(f"from balancekit import {name}")


EXTRAS = [
    ("urllib3", "balancekit.adapters.requests", "requests"),
    ("requests", "balancekit.adapters.routed_requests", "requests"),
    ("httpx", "balancekit.adapters.httpx", "httpx"),
    ("httpx2", "balancekit.adapters.httpx2", "httpx2"),
    ("aiohttp", "balancekit.adapters.aiohttp", "aiohttp"),
    ("dnslib", "balancekit.adapters.dnslib", "dnslib"),
    ("dns", "balancekit.adapters.dnspython", "dns"),
    ("prometheus_client", "balancekit.observability.prometheus", "prometheus"),
    ("opentelemetry", "balancekit.observability.opentelemetry", "otel"),
    ("hypothesis", "balancekit.testing.laws", "testing"),
    ("aiohttp", "balancekit.testing.server", "testing"),
]

ROWS = [
    Row(
        "an option that a source has not",
        lambda: ThreadDiscovery(lb(), "dns:orders:80?intervall=3"),
        CONFIGURATION,
        r"dns option='intervall'.*did you mean 'interval'",
    ),
    Row(
        "an option of another scheme",
        lambda: ThreadDiscovery(lb(), "dns:orders:80?nameserver=10.0.0.1"),
        CONFIGURATION,
        r"expected one of interval",
    ),
    Row(
        "a name as a URL", lambda: ThreadDiscovery(lb(), "dns://orders:80"), CONFIGURATION, r"dns:orders:80$"
    ),
    Row(
        "remove an endpoint",
        lambda: lb().remove(lb().endpoints[0]),
        "UnknownEndpointError",
        r"give its id, '127",
    ),
    Row(
        "hedge a plain function",
        hedge_a_plain_function,
        CONFIGURATION,
        r"an asynchronous function of a lease",
    ),
    Row("check a load", lambda: check_load(OfANode), CONFIGURATION, r"`lambda: OfANode`"),
    Row("check a class", lambda: check_selector(OfANode), CONFIGURATION, r"`lambda: OfANode\(...\)`"),
    Row(
        "check one selector",
        lambda: check_selector(lambda: ONE),
        CONFIGURATION,
        r"fresh selector at each call",
    ),
    Row(
        "a mailbox",
        lambda: Soa(primary="ns1.a.test", contact="me@a.test"),
        CONFIGURATION,
        r"name: me\.a\.test",
    ),
    Row("a host with a space", lambda: Soa(primary="ns 1", contact="me.a.test"), CONFIGURATION, r"primary="),
    Row("a whole name", lambda: zone({"www.a.test": ONE_SITE}), CONFIGURATION, r"without it, such as 'www'"),
    Row("another zone", lambda: zone({"www.b.test.": ONE_SITE}), CONFIGURATION, r"names below a\.test"),
    Row("a client's address", lambda: Query(name="www", client="192.0.2.1"), CONFIGURATION, r"Client\("),
    Row("a word for up", lambda: fixed_standings({"x": "up"}), CONFIGURATION, r"Standing for 'x'"),
    *[
        Row(f"{kind} {text} in {adapter.__name__}", partial(serve, adapter, kind, text), CONFIGURATION, shown)
        for adapter in (GslbResolver, DnsResponder)
        for kind, text, shown in (
            ("A", "192.0.2.999", "expected an IPv4 address"),
            ("MX", "mail", "MX"),
            ("BOGUS", "x", "BOGUS"),
        )
    ],
    Row("no standings", lambda: GslbResolver(zone({}), None), CONFIGURATION, r"standings=None"),
    Row(
        "health of others",
        lambda: GslbResolver(ZONE, LoadBalancer(["b"])),
        CONFIGURATION,
        r"ids of the zone's: 192",
    ),
    Row("policy of others", policy_of_others, CONFIGURATION, r"ids that the policy knows: 192"),
    Row("simulate nothing", lambda: simulated(lambda *_: None), CONFIGURATION, r"balancer=None"),
    Row("simulate others", lambda: simulated(lambda *_: LoadBalancer(["b"])), CONFIGURATION, r"endpoints a"),
    Row("quantile 99", lambda: simulated(plain).quantile(99), CONFIGURATION, r"for 99 % write 0\.99"),
    Row("tracked names", lambda: Tracking(checks=["s"]), CONFIGURATION, r"TrackedCheck"),
    Row(
        "a page of metrics, no slash",
        lambda: MetricsPage("vllm", fetch=str, path="metrics"),
        CONFIGURATION,
        r"begins with /",
    ),
    Row(
        "a probe of metrics, no slash",
        lambda: MetricsProbe("vllm", fetch=str, path="metrics"),
        CONFIGURATION,
        r"begins with /",
    ),
    Row(
        "a direct return in words",
        lambda: L4(gbps=1, direct_return="no"),
        CONFIGURATION,
        r"direct_return='no'",
    ),
    Row("tracking by a number", lambda: tracking_by(3), CONFIGURATION, r"Tracking\("),
    Row("a tracked number", lambda: Tracking(checks={"s": 3}), CONFIGURATION, r"TrackedCheck"),
    Row("place one", lambda: place("192.0.2.1", ["a"]), CONFIGURATION, r"\['192\.0\.2\.1'\]"),
    Row("peer of itself", peer_of_itself, CONFIGURATION, r"without source"),
    Row("spare of no tier", lambda: plan_capacity(*PLAN, survive={"l7": 1}), CONFIGURATION, r"of sites, l4"),
    Row("loss of no tier", lambda: plan_capacity(*PLAN).survives(l7=1), CONFIGURATION, r"of sites, l4"),
    Row("a store's address", lambda: Shared(InFlight(), store="redis://a"), CONFIGURATION, r"RedisStore\("),
    Row("quotas of no store", lambda: SharedRateLimit("redis", 5.0), CONFIGURATION, r"RedisStore\("),
    Row("ejections of no store", lambda: SharedEjections(lb(), None), CONFIGURATION, r"RedisStore\("),
    Row("a file without a name", lambda: Shared(InFlight(), file=""), CONFIGURATION, r"file=''"),
    Row(
        "a descriptor for a shared file", lambda: Shared(file=5), CONFIGURATION, r"file=5 .*a name or a path"
    ),
    Row("flights of a descriptor", lambda: in_flight(5, ["a"]), CONFIGURATION, r"file=5 .*a name or a path"),
    Row("flights of one id", lambda: in_flight("x", "a"), CONFIGURATION, r"ids='a' .*\['a'\]"),
    Row("a descriptor to record to", lambda: Recorder(lb(), True), CONFIGURATION, r"file=True .*the path"),
    Row("bytes to record to", lambda: Recorder(lb(), b"log"), CONFIGURATION, r"file=b'log' .*the path"),
    Row("a descriptor for adverts", lambda: adverts_to(5), CONFIGURATION, r"advert_log=5 .*the path"),
    Row("no name for adverts", lambda: adverts_to(""), CONFIGURATION, r"advert_log='' .*the path"),
    Row("a descriptor of targets", lambda: FileSdResolver(5), CONFIGURATION, r"path=5 .*the path of a file"),
    Row(
        "a client of tasks in a store of threads",
        lambda: RedisStore(redis.asyncio.Redis(), name="x"),
        CONFIGURATION,
        r"client=.*redis\.Redis\(",
    ),
    Row(
        "a client of threads in a store of tasks",
        lambda: AsyncRedisStore(redis.Redis(), name="x"),
        CONFIGURATION,
        r"client=.*redis\.asyncio\.Redis\(",
    ),
    Row(
        "messages for a prompt",
        lambda: prompt_key([{"role": "user"}]),
        CONFIGURATION,
        r"prompt=.*text, bytes",
    ),
    Row("no prompt", lambda: prompt_key(None), CONFIGURATION, r"prompt=None .*text, bytes or token ids"),
    Row("text for token ids", lambda: token_key("hi"), CONFIGURATION, r"tokens='hi' .*from 0 to 4294967295"),
    Row(
        "an address without its length",
        lambda: ip_address_hook("eth0", "192.0.2.100"),
        CONFIGURATION,
        r"a prefix length, as 192\.0\.2\.100/24",
    ),
    Row("a shared class", lambda: Shared(InFlight, file="a"), CONFIGURATION, r"InFlight\(\)"),
    Row("check one law", lambda: check_selector(Raises, WEIGHTED), CONFIGURATION, r"laws=.*at least one"),
    Row("check no law", lambda: check_selector(Raises, []), CONFIGURATION, r"laws=.*at least one"),
    Row(
        "check a selector that raises",
        lambda: check_selector(Raises),
        "LawBroken",
        r"law 1, .*raised IndexError",
    ),
    Row("a timeout that is too long", lambda: Schedule(1.0), CONFIGURATION, r"give timeout too"),
    Row(
        "a check of one parameter",
        lambda: ThreadChecks(lb(), lambda endpoint: True),
        CONFIGURATION,
        r"and a timeout",
    ),
    Row(
        "a coroutine in threads", lambda: ThreadChecks(lb(), waits), CONFIGURATION, r"AsyncChecks runs those"
    ),
    Row(
        "a check that is a class",
        lambda: ThreadChecks(lb(), HttpCheck),
        CONFIGURATION,
        r"an instance: HttpCheck\(\)",
    ),
    Row(
        "checks of a list",
        lambda: ThreadChecks(A, HttpCheck("/h")),
        CONFIGURATION,
        r"balancer=.*a LoadBalancer",
    ),
    Row(
        "a path without slash", lambda: HttpCheck(path="healthz"), CONFIGURATION, r"a path that begins with /"
    ),
    Row(
        "a URL for a path",
        lambda: HttpCheck(path="http://10.0.0.1/h"),
        CONFIGURATION,
        r"a path that begins with /",
    ),
    Row("a path by position", lambda: HttpCheck("/healthz").path, "works", r"/healthz"),
    Row(
        "a status for statuses",
        lambda: HttpCheck("/h", statuses=200),
        CONFIGURATION,
        r"a collection of HTTP statuses",
    ),
    Row("a check without port", check_without_port, "works", r"ThreadChecks"),
    Row(
        "an interval in milliseconds",
        lambda: Schedule(interval=5000, timeout=2000),
        "UserWarning",
        r"write 5 for 5000 ms",
    ),
    Row(
        "timeout above interval",
        lambda: Schedule(interval=1, timeout=5),
        CONFIGURATION,
        r"at most the interval \(1\)",
    ),
    Row(
        "no timeout",
        lambda: Schedule(interval=5, timeout=None),
        CONFIGURATION,
        r"a finite number of seconds > 0",
    ),
    Row("checks started twice", started_twice, "works", r"stopped"),
    Row(
        "AsyncChecks in with",
        asynchronous_checks_in_with,
        ATTRIBUTE,
        r"write `async with AsyncChecks\(\.\.\.\)`",
    ),
    Row(
        "start() not awaited", start_not_awaited, "RuntimeWarning", r"'AsyncChecks\.start' was never awaited"
    ),
    Row(
        "text for a check",
        lambda: ThreadChecks(lb(), "tcp"),
        CONFIGURATION,
        r"expected TcpCheck\(\), HttpCheck\(\)",
    ),
    Row("two services in a registry", two_services, "works", r"\(1, True, True\)"),
    Row("a service twice", one_service_twice, CONFIGURATION, r"that this registry does not have yet"),
    Row("no service", lambda: BalancerCollector(lb()), TYPE, r"BalancerCollector.*missing .*'service'"),
    Row(
        "an unknown scheme",
        lambda: ThreadDiscovery(lb([]), "consul:orders"),
        CONFIGURATION,
        r"dns, dns_ttl, file, http_sd",
    ),
    Row(
        "a name without port",
        lambda: ThreadDiscovery(lb([]), "dns:localhost"),
        CONFIGURATION,
        r'"orders\.svc:8080"',
    ),
    Row(
        "a service of another kind",
        lambda: ThreadDiscovery(lb([]), "etcd://x/orders"),
        CONFIGURATION,
        r"for any other service, a function that returns endpoints",
    ),
    Row(
        "a room that waits milliseconds",
        lambda: WaitingRoom(lb(), WaitingQueue(max_waiting=1), timeout=2000),
        "UserWarning",
        r"write 2 for 2000 ms",
    ),
    Row("YAML", lambda: load("orders.yaml"), CONFIGURATION, r"load\(yaml\.safe_load\(text\)\)"),
    Row(
        "a file that is text",
        lambda: load('endpoints = ["a"]'),
        CONFIGURATION,
        r"load\(tomllib\.loads\(text\)\)",
    ),
    Row(
        "a missing file",
        lambda: load("no.toml"),
        CONFIGURATION,
        r"can be read \(No such file or directory\)$",
    ),
    Row(
        "a word beside its table",
        lambda: load({"endpoints": ["a"], "selector": "RingHash"}),
        CONFIGURATION,
        r"configuration='selector' .*expected it in \[balancer\]",
    ),
    Row(
        "a variable with one underscore",
        lambda: load({"endpoints": ["a"]}, environ={"BALANCEKIT_RETRY_ATTEMPTS": "5"}),
        CONFIGURATION,
        r"'attempts' in \[retry\]; in the name of a variable, __",
    ),
    Row(
        "a variable with a list",
        lambda: load(environ={"BALANCEKIT_ENDPOINTS": "a:80,b:80"}),
        CONFIGURATION,
        r'such as \["a:80", "b:80"\]',
    ),
    Row("a list for a source", lambda: ThreadDiscovery(lb([]), A), CONFIGURATION, r'"dns:name:80"'),
    Row("text for nodes", lambda: HashRing("abc"), CONFIGURATION, r"an iterable of ids, or a mapping"),
    Row(
        "a node's weight as text",
        lambda: HashRing({"a": "1"}),
        CONFIGURATION,
        r"weight='1'.*finite number > 0",
    ),
    Row("add with a weight", ring_with_weight, "works", r"True"),
    Row(
        "remove an unknown node", lambda: HashRing(["a"]).remove("zz"), "UnknownEndpointError", r"it has 'a'"
    ),
    Row(
        "an empty ring",
        lambda: HashRing([]).lookup("x"),
        "PoolEmptyError",
        r"no nodes: none can own 'x'; add one",
    ),
    Row(
        "MaglevTable.add",
        lambda: MaglevTable(["a"], size=251).add("b"),
        ATTRIBUTE,
        r"make another: MaglevTable\(nodes\)",
    ),
    Row(
        "import HashRing",
        lambda: name_of_a_package("HashRing"),
        "ImportError",
        r"from balancekit\.hashing import HashRing",
    ),
    *[
        Row(
            f"{module} without {package}",
            lambda package=package, module=module: without(package, module),
            "ModuleNotFoundError",
            rf"pip install 'balancekit\[{extra}\]'$",
        )
        for package, module, extra in EXTRAS
    ],
]
