"""Mistakes with balancers, leases, selectors and health."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from random import Random

from tests.unit.mistakes._row import Row

from balancekit import Endpoint, LoadBalancer, RingHash, RoundRobin
from balancekit.health import Ejection, Lifecycle, SuccessRate, Thresholds
from balancekit.retry import RetryBudget
from balancekit.routing import Canary, Priority, RateLimit

A = ["127.0.0.1:1", "127.0.0.1:2"]
CONFIGURATION, TYPE, ATTRIBUTE = "ConfigurationError", "TypeError", "AttributeError"


def lb(**options: object) -> LoadBalancer[str]:
    """Return a balancer over two endpoints."""
    return LoadBalancer(A, rng=Random(1), **options)


class NoFinished:
    """A load that lacks a method."""

    def __init__(self, node):
        self.node = node

    def started(self, *, now, cost):
        pass

    def value(self, *, now):
        return self.node.inflight


class NoObserve:
    """A health machine that lacks a method."""

    eligible, state, watching, deadline = True, "fine", False, None

    def __init__(self, id, may_eject, rng):
        pass

    def advance(self, *, now):
        return []


class NoSelect:
    """A selector whose method has another name."""

    def pick(self, snapshot, ctx):
        return snapshot.eligible[0]


class AnswersId:
    """A selector that answers an id."""

    def select(self, snapshot, ctx):
        return A[0]


class AnswersNone:
    """A selector that picks none."""

    def select(self, snapshot, ctx):
        return None


class Coroutine:
    """A selector that is a coroutine function."""

    async def select(self, snapshot, ctx):
        return snapshot.eligible[0]


def shared_selector():
    selector = RoundRobin()
    return LoadBalancer(A, selector=selector), LoadBalancer(A, selector=selector)


def generator():
    balancer = LoadBalancer(x for x in A)
    balancer.update(x for x in A)
    return len(balancer.endpoints)


def asynchronous_with():
    async def main():
        async with lb().acquire() as lease:
            return lease.target

    return asyncio.run(main())


def awaited():
    async def main():
        await lb().acquire()

    asyncio.run(main())


def no_with():
    balancer = lb()
    balancer.acquire()
    gc.collect()
    return balancer.stats().inflight


def entered_twice():
    lease = lb().acquire()
    with lease:
        pass
    with lease:
        pass


def released_twice():
    lease = lb().acquire()
    return lease.release(), lease.release()


def target_afterwards():
    with lb().acquire() as lease:
        pass
    return lease.target


def attempts_not_left():
    balancer = lb()
    for lease in balancer.attempts(3):
        lease.target  # noqa: B018 - that is the mistake
    return balancer.stats().inflight


def with_balancer():
    with lb():
        pass


ROWS = [
    Row("one string", lambda: LoadBalancer(A[0]), CONFIGURATION, r"such as \['127\.0\.0\.1:1'\]"),
    Row("numbers", lambda: LoadBalancer([1, 2]), CONFIGURATION, r"Endpoint\('its id', target\)"),
    Row("host and port", lambda: LoadBalancer([("10.0.0.1", 80)]), CONFIGURATION, r"write '10\.0\.0\.1:80'"),
    Row("id and weight", lambda: LoadBalancer([("a", 5)]), CONFIGURATION, r"Endpoint\('a', weight=5\)"),
    Row(
        "weights by id",
        lambda: LoadBalancer({"a": 5}),
        CONFIGURATION,
        r"is a weight: Endpoint\('a', weight=5\)",
    ),
    Row(
        "a comma-separated list",
        lambda: LoadBalancer("a:80, b:80"),
        CONFIGURATION,
        r"such as \['a:80', 'b:80'\], or a mapping",
    ),
    Row(
        "blanks around an address",
        lambda: LoadBalancer(["a:80", " b:80"]),
        CONFIGURATION,
        r"endpoints=' b:80' .*no blanks at its ends: 'b:80'",
    ),
    Row(
        "a mapping with host and port",
        lambda: LoadBalancer([{"host": "a", "port": 80}]),
        CONFIGURATION,
        r"for an address write 'a:80'",
    ),
    Row(
        "a mapping of fields",
        lambda: LoadBalancer([{"id": "a", "weight": 2}]),
        CONFIGURATION,
        r"write Endpoint\(\*\*fields\)",
    ),
    Row("another mapping", lambda: LoadBalancer([{"x": 1}]), CONFIGURATION, r"Endpoint\('its id', target\)"),
    Row("None for a list", lambda: LoadBalancer(None), CONFIGURATION, r"such as \[Endpoint\('a'\), 'b'\]"),
    Row("no endpoints", lambda: LoadBalancer([]), CONFIGURATION, r"allow_empty=True"),
    Row("an id twice", lambda: LoadBalancer(["a", "a"]), CONFIGURATION, r"'a' .*each id once"),
    Row("a generator", generator, "works", r"2"),
    Row("a selector's class", lambda: lb(selector=RoundRobin), CONFIGURATION, r"an instance: RoundRobin\(\)"),
    Row("a selector's name", lambda: lb(selector="round_robin"), CONFIGURATION, r"such as RoundRobin\(\)"),
    Row("a shared selector", shared_selector, "UserWarning", r"create one RoundRobin\(\)"),
    Row(
        "weight as text", lambda: Endpoint("a", weight="5"), CONFIGURATION, r"weight='5'.*finite number >= 0"
    ),
    Row("negative weight", lambda: Endpoint("a", weight=-1), CONFIGURATION, r"weight=-1.*>= 0"),
    Row(
        "all weights zero",
        lambda: LoadBalancer([Endpoint("a", weight=0)]).acquire().release(),
        "works",
        r"True",
    ),
    Row(
        "host and port of an endpoint",
        lambda: Endpoint("a", host="b", port=80),
        TYPE,
        r"Endpoint.*argument 'host'",
    ),
    Row("update to none", lambda: lb().update([]), CONFIGURATION, r"allow_empty=True"),
    Row(
        "update to a string",
        lambda: lb().update("10.0.0.1:80"),
        CONFIGURATION,
        r"such as \['10\.0\.0\.1:80'\]",
    ),
    Row("add twice", lambda: lb().add(A[0]), CONFIGURATION, r"an id that is not in the pool"),
    Row(
        "remove an unknown one", lambda: lb().remove("zz"), "UnknownEndpointError", r"it has '127\.0\.0\.1:1'"
    ),
    Row(
        "drain another spelling",
        lambda: lb().drain(A[0] + "/"),
        "UnknownEndpointError",
        r"it has '127\.0\.0\.1:1'",
    ),
    Row(
        "drain for milliseconds",
        lambda: lb().drain(A[0], deadline=30000),
        "UserWarning",
        r"write 30 for 30000 ms",
    ),
    Row(
        "set weight to text", lambda: lb().set_weight(A[0], "3"), CONFIGURATION, r"weight='3'.*finite number"
    ),
    Row("the key by name", lambda: lb().acquire(key="user"), TYPE, r"positional-only .*'key'"),
    Row("exclude a string", lambda: lb().acquire(exclude=A[0]), CONFIGURATION, r"collection of endpoint ids"),
    Row("async with acquire", asynchronous_with, "works", r"127\.0\.0\.1"),
    Row("await acquire", awaited, TYPE, r"never waits: write `with lb\.acquire\(\) as lease:`"),
    Row("no with", no_with, "ResourceWarning", r"never released; make the balancer with debug=True"),
    Row("a lease entered twice", entered_twice, "LeaseError", r"acquire a new one for each request"),
    Row("released twice", released_twice, "works", r"\(True, False\)"),
    Row("target after the end", target_afterwards, "works", r"127\.0\.0\.1"),
    Row(
        "release with text", lambda: lb().acquire().release("failure"), CONFIGURATION, r"a member of Outcome"
    ),
    Row("release with a truth", lambda: lb().acquire().release(True), CONFIGURATION, r"a member of Outcome"),
    Row("no attempts", lambda: list(lb().attempts(0)), CONFIGURATION, r"whole number >= 1"),
    Row("attempts without with", attempts_not_left, "works", r"^0$"),
    Row(
        "no key, refused",
        lambda: lb(selector=RingHash(), on_missing_key="refuse").acquire(),
        "MissingKeyError",
        r"call acquire\(key\)",
    ),
    Row(
        "None for a key, refused",
        lambda: lb(selector=RingHash(), on_missing_key="refuse").acquire(None),
        "MissingKeyError",
        r"key=from_header",
    ),
    Row("a key that is a float", lambda: lb().acquire(1.5), CONFIGURATION, r"a str, bytes or int"),
    Row("a key that is a tuple", lambda: lb().acquire(("a", 1)), CONFIGURATION, r"a str, bytes or int"),
    Row("a success rate in percent", lambda: SuccessRate(80), CONFIGURATION, r"for 80 % write 0\.8"),
    Row("a share in percent", lambda: Canary({"t": "c"}, share=5), CONFIGURATION, r"for 5 % write 0\.05"),
    Row("a budget in percent", lambda: RetryBudget(ratio=20), CONFIGURATION, r"for 20 % write 0\.2"),
    Row("Envoy's 140", lambda: Priority(overprovisioning=140), CONFIGURATION, r"Envoy's 140 is 1\.4 here"),
    Row("rate zero", lambda: RateLimit(0), CONFIGURATION, r"rate=0 .*>= 1e-100"),
    Row("a rate without burst", lambda: RateLimit(10), "works", r"RateLimit"),
    Row("health is a number", lambda: lb(health=5), CONFIGURATION, r"such as Lifecycle\(\), or None"),
    Row(
        "health is a part",
        lambda: lb(health=Thresholds()),
        CONFIGURATION,
        r"health=Thresholds.*Lifecycle\(\)",
    ),
    Row("health is a class", lambda: lb(health=Lifecycle), CONFIGURATION, r"an instance: Lifecycle\(\)"),
    Row(
        "failures is a number", lambda: Lifecycle(failures=3), CONFIGURATION, r"ConsecutiveFailures\(\.\.\.\)"
    ),
    Row("a load is a number", lambda: lb(load=3), CONFIGURATION, r"such as InFlight\(\)"),
    Row("exhaustion is text", lambda: lb(exhaustion="fail_open"), CONFIGURATION, r"such as FailOpen\(\)"),
    Row("a rule is a function", lambda: Lifecycle(rules=(print,)), CONFIGURATION, r"rules=.*with a window"),
    Row("a load without finished", lambda: lb(load=NoFinished), CONFIGURATION, r"load=.*missing: finished"),
    Row(
        "loads that are None",
        lambda: lb(load=lambda node: None),
        CONFIGURATION,
        r"missing: started, finished",
    ),
    Row("a machine without observe", lambda: lb(health=NoObserve), CONFIGURATION, r"missing: observe"),
    Row("a default that is too small", lambda: Ejection(base=30), CONFIGURATION, r"give max_duration too"),
    Row("copy a lease", lambda: copy.copy(lb().acquire()), TYPE, r"acquire one for each request"),
    Row("pickle a lease", lambda: pickle.dumps(lb().acquire()), TYPE, r"acquire one for each request"),
    Row("health is False", lambda: lb(health=False), CONFIGURATION, r"or None"),
    Row("health is True", lambda: lb(health=True), CONFIGURATION, r"such as Lifecycle\(\)"),
    Row(
        "a selector without select",
        lambda: lb(selector=NoSelect()),
        CONFIGURATION,
        r"method select\(snapshot, ctx\)",
    ),
    Row(
        "it answers an id",
        lambda: lb(selector=AnswersId()).acquire(),
        "SelectorError",
        r"AnswersId picked '127",
    ),
    Row(
        "it answers None",
        lambda: lb(selector=AnswersNone()).acquire(),
        "AllIneligibleError",
        r"AnswersNone picked none of 2",
    ),
    Row("it is a coroutine", lambda: lb(selector=Coroutine()), CONFIGURATION, r"a plain method select\(\)"),
    Row(
        "statistics of an unknown one",
        lambda: lb().stats()["zz"],
        "UnknownEndpointError",
        r"it has '127\.0\.0\.1:1'",
    ),
    Row("listeners is a function", lambda: lb(listeners=print), CONFIGURATION, r"\[listener\]"),
    Row(
        "a listener of two arguments",
        lambda: lb(listeners=[lambda balancer, event: None]),
        CONFIGURATION,
        r"a callable of an event; missing a required argument: 'event'",
    ),
    Row(
        "on_event without an argument",
        lambda: lb().on_event(lambda: None),
        CONFIGURATION,
        r"listener=.*a callable of an event; too many positional arguments",
    ),
    Row(
        "on_completion with one argument",
        lambda: lb().on_completion(lambda completion: None),
        CONFIGURATION,
        r"an endpoint and a completion; too many positional arguments",
    ),
    Row("on_event of print", lambda: callable(lb().on_event(print)), "works", r"True"),
    Row("a part of health", lambda: Lifecycle(ejection=5), CONFIGURATION, r"an instance: Ejection\(\.\.\.\)"),
    Row("get()", lambda: lb().get(), ATTRIBUTE, r"'get': write `with lb\.acquire\(\) as lease:`"),
    Row("eject()", lambda: lb().eject("a"), ATTRIBUTE, r"lb\.drain\(id\) .*lb\.report_check\(\)"),
    Row("mark_up()", lambda: lb().mark_up("a"), ATTRIBUTE, r"lb\.undrain\(id\)"),
    Row("release() of a balancer", lambda: lb().release(), ATTRIBUTE, r"lease\.release\(Outcome\.FAILURE\)"),
    Row("add_server()", lambda: lb().add_server("a"), ATTRIBUTE, r"write lb\.add\(endpoint\)"),
    Row("remove_endpoint()", lambda: lb().remove_endpoint("a"), ATTRIBUTE, r"write lb\.remove\(id\)"),
    Row("an address of a lease", lambda: lb().acquire().address, ATTRIBUTE, r"lease\.target"),
    Row("fail()", lambda: lb().acquire().fail(), ATTRIBUTE, r"lease\.release\(Outcome\.FAILURE\)"),
    Row("close a lease", lambda: lb().acquire().close(), ATTRIBUTE, r"lease\.release\(\)"),
    Row("iterate statistics", lambda: [each.id for each in lb().stats()], "works", r"127\.0\.0\.1:2"),
    Row("in statistics", lambda: (A[0] in lb().stats(), "zz" in lb().stats()), "works", r"True, False"),
    Row("close a balancer", lambda: lb().close(), ATTRIBUTE, r"nothing to close"),
    Row("with a balancer", with_balancer, ATTRIBUTE, r"write `with lb\.acquire\(\) as lease:`"),
    Row("pickle a balancer", lambda: pickle.dumps(lb()), TYPE, r"construct one in each process"),
    Row("copy a balancer", lambda: copy.deepcopy(lb()), TYPE, r"construct one in each process"),
    Row("len", lambda: len(lb()), "works", r"^2$"),
    Row("iterate", lambda: [endpoint.id for endpoint in lb()], "works", r"127\.0\.0\.1:2"),
    Row("in", lambda: A[0] in lb(), "works", r"True"),
    Row("pick()", lambda: lb().pick(), ATTRIBUTE, r"'pick': write `with lb\.acquire\(\) as lease:`"),
    Row("next()", lambda: lb().next(), ATTRIBUTE, r"'next': write `with lb\.acquire\(\) as lease:`"),
    Row(
        "acquire from none",
        lambda: LoadBalancer([], allow_empty=True).acquire(),
        "PoolEmptyError",
        r"add one",
    ),
]
