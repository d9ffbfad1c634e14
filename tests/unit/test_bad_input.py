"""Every wrong value is refused by name, with what is allowed, and changes nothing."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest

from balancekit import (
    ConfigurationError,
    Endpoint,
    LoadBalancer,
    Outcome,
    PowerOfChoices,
    RoundRobin,
    UnknownEndpointError,
    endpoints,
)
from balancekit.exhaustion import FailOpen
from balancekit.health import ConsecutiveFailures, Ejection, Lifecycle
from balancekit.loads import EwmaLatency, FailureAware, PeakEwmaLatency
from balancekit.stats import Ewma, PeakEwma, RecentWindow
from balancekit.testing import ManualClock, make_nodes

NOT_WEIGHTS = [
    math.nan,
    math.inf,
    -math.inf,
    1.1e100,
    -1,
    -1e-9,
    True,
    False,
    "1",
    "heavy",
    None,
    [1],
    1j,
    10**400,
]
NOT_KEYS = [1.5, True, None, ("a",), ["a"], Ellipsis, math.nan]
NOT_SECONDS = [math.nan, math.inf, -math.inf, 0, -1.0, True, "10", None]
NOT_IDS = ["", None, 7, b"a", ["a"], True]

CONSTRUCTIONS = [
    *[("weight", value, lambda v: Endpoint("a", weight=v)) for value in NOT_WEIGHTS],
    *[("id", value, Endpoint) for value in NOT_IDS],
    *[("priority", value, lambda v: Endpoint("a", priority=v)) for value in (-1, 1.0, True, "1", None)],
    *[("zone", value, lambda v: Endpoint("a", zone=v)) for value in (None, 1, b"eu")],
    *[("metadata", value, lambda v: Endpoint("a", metadata=v)) for value in (None, {"a": 1}, {1: "a"}, "a")],
    *[("endpoints", value, endpoints) for value in ("ab", b"ab", None, 3, ["a", 3], [None], [b"a"])],
    *[("endpoints", value, LoadBalancer) for value in ([], (), {}, iter([]), "abc", None, 5)],
    *[("selector", v, lambda v: LoadBalancer(["a"], selector=v)) for v in (RoundRobin, "p2c", 1, object())],
    *[
        ("load", value, lambda v: LoadBalancer(["a"], load=v))
        for value in ("ewma", 1, object(), FailureAware)
    ],
    *[
        ("health", value, lambda v: LoadBalancer(["a"], health=v))
        for value in (True, "on", object(), Lifecycle)
    ],
    *[("exhaustion", v, lambda v: LoadBalancer(["a"], exhaustion=v)) for v in ("open", 1, FailOpen)],
    *[("clock", value, lambda v: LoadBalancer(["a"], clock=v)) for value in (None, 1.0, "now")],
    *[("rng", value, lambda v: LoadBalancer(["a"], rng=v)) for value in (7, "seed", Random)],
    *[("timed", value, lambda v: LoadBalancer(["a"], timed=v)) for value in (1, "yes", 0.0)],
    *[("allow_empty", value, lambda v: LoadBalancer(["a"], allow_empty=v)) for value in (1, None, "yes")],
    *[("debug", value, lambda v: LoadBalancer(["a"], debug=v)) for value in (1, None, "yes")],
    *[("listeners", value, lambda v: LoadBalancer(["a"], listeners=[v])) for value in (None, 1, "print")],
    *[("d", value, PowerOfChoices) for value in (0, -1, 2.0, True, "2", None, math.nan)],
    *[("threshold", v, lambda v: ConsecutiveFailures(threshold=v)) for v in (0, -1, 1.5, True, "5")],
    *[("base", value, lambda v: Ejection(base=v)) for value in NOT_SECONDS],
    *[("factor", value, lambda v: Ejection(factor=v)) for value in (0.9, -2, math.nan, math.inf, True)],
    *[("max_duration", v, lambda v: Ejection(max_duration=v)) for v in (0.0, 0.5, math.nan, math.inf, None)],
    *[("jitter", value, lambda v: Ejection(jitter=v)) for value in (-0.1, 1.1, math.nan, True)],
    *[("max_share", value, lambda v: Ejection(max_share=v)) for value in (-0.1, 1.1, math.nan, "half")],
    *[("decay", value, lambda v: Ewma(decay=v)) for value in NOT_SECONDS],
    *[("decay", value, lambda v: PeakEwma(decay=v)) for value in NOT_SECONDS],
    *[("decay", value, lambda v: EwmaLatency(decay=v)) for value in NOT_SECONDS],
    *[("decay", value, lambda v: PeakEwmaLatency(decay=v)) for value in NOT_SECONDS],
    *[("decay", value, lambda v: FailureAware(decay=v)) for value in NOT_SECONDS],
    *[("success_decay", value, lambda v: FailureAware(success_decay=v)) for value in NOT_SECONDS],
    *[("healing", value, lambda v: FailureAware(healing=v)) for value in NOT_SECONDS],
    *[("floor", value, lambda v: FailureAware(floor=v)) for value in (0.0, 1.1, -1, math.nan, True)],
    *[("exponent", value, lambda v: FailureAware(exponent=v)) for value in NOT_SECONDS],
    *[("size", value, lambda v: RecentWindow(size=v)) for value in (0, -1, 1.5, True, None)],
    *[("now", value, ManualClock) for value in (math.nan, math.inf, "now", None, True)],
    *[("weight", value, lambda v: make_nodes({"a": v})) for value in (math.nan, -1, True, "1")],
]


@pytest.mark.parametrize(("parameter", "value", "make"), CONSTRUCTIONS)
def test_a_wrong_value_is_refused_at_construction(parameter, value, make):
    """The error names the parameter, shows at most 200 characters of the value and says what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        make(value)
    assert caught.value.parameter == parameter
    assert str(caught.value).startswith(f"{parameter}=")
    assert "expected" in str(caught.value)
    shown = value if not isinstance(value, list) or parameter != "endpoints" or not value else value[-1]
    assert repr(shown)[:197] in str(caught.value)


def test_listeners_without_end_are_refused():
    """An iterator of listeners is read up to a million items and then refused."""
    with pytest.raises(ConfigurationError, match=r"^listeners=.* at most 1,000,000 items"):
        LoadBalancer(["a"], listeners=itertools.repeat(print))


def test_the_error_is_a_value_error_too():
    """A ConfigurationError is a ValueError too, so that code that does not know the library catches it."""
    with pytest.raises(ValueError, match="weight=nan"):
        Endpoint("a", weight=math.nan)
    with pytest.raises(LookupError, match="'absent'"):
        LoadBalancer(["a"]).remove("absent")


def picture(balancer):
    """Everything that can be seen of a balancer."""
    stats = balancer.stats()
    return (
        balancer.endpoints,
        stats.version,
        stats.completed,
        [(each.id, each.state, each.weight, each.inflight) for each in stats.endpoints],
    )


REFUSED = [
    *[(f"weight={v!r}", lambda lb, v=v: lb.set_weight("a", v)) for v in NOT_WEIGHTS],
    *[(f"key={v!r}", lambda lb, v=v: lb.acquire(v)) for v in NOT_KEYS if v is not None],
    *[(f"key={v!r}", lambda lb, v=v: lb.ranking(v)) for v in NOT_KEYS if v is not None],
    *[(f"key={v!r}", lambda lb, v=v: lb.explain(v)) for v in NOT_KEYS if v is not None],
    *[(f"key={v!r}", lambda lb, v=v: lb.attempts(2, v)) for v in NOT_KEYS if v is not None],
    *[(f"cost={v!r}", lambda lb, v=v: lb.acquire(cost=v)) for v in NOT_SECONDS],
    *[("exclude=", lambda lb, v=v: lb.acquire(exclude=v)) for v in ("a", b"a", 5, [1], [None])],
    *[("attributes=", lambda lb, v=v: lb.acquire(attributes=v)) for v in (1, "a", [("k", "v")])],
    *[("limit=", lambda lb, v=v: lb.attempts(v)) for v in (0, -1, 1.5, True, None, "3")],
    *[("limit=", lambda lb, v=v: lb.ranking(limit=v)) for v in (0, -1, 1.5, True, "3")],
    *[("deadline=", lambda lb, v=v: lb.drain("a", deadline=v)) for v in (-1, math.nan, math.inf, True, "1")],
    *[("endpoints=", lambda lb, v=v: lb.update(v)) for v in ([], {}, "abc", None, 3, ["x", 3], ["x", "x"])],
    ("endpoints='x'", lambda lb: lb.update([Endpoint("y"), Endpoint("x"), "x"])),
    ("keep_history=", lambda lb: lb.update(["a", "z"], keep_history=1)),
    ("endpoint='a'", lambda lb: lb.add("a")),
    ("endpoint='a'", lambda lb: lb.add(Endpoint("a", weight=3))),
    *[("endpoints=", lambda lb, v=v: lb.add(v)) for v in (None, 3, b"x", object())],
    ("id=''", lambda lb: lb.add("")),
    *[("listener=", lambda lb, v=v: lb.on_event(v)) for v in (None, "print", 3)],
]


@pytest.mark.parametrize(("start", "mistake"), REFUSED)
def test_a_mistake_changes_nothing(start, mistake):
    """After a refused call the balancer is as it was, to the version of its snapshot."""
    balancer = LoadBalancer(["a", Endpoint("b", weight=2)], clock=ManualClock(), rng=Random(1))
    held = balancer.acquire()
    before = picture(balancer)
    with pytest.raises(ConfigurationError) as caught:
        mistake(balancer)
    assert str(caught.value).startswith(start[:200])
    assert picture(balancer) == before
    assert held.release()


UNKNOWN = [
    lambda lb, who: lb.remove(who),
    lambda lb, who: lb.set_weight(who, 2.0),
    lambda lb, who: lb.drain(who),
    lambda lb, who: lb.undrain(who),
]


@pytest.mark.parametrize("id", ["c", "", "A", None, 7, ["a"]])
@pytest.mark.parametrize("call", UNKNOWN)
def test_an_unknown_endpoint_is_named_with_those_that_are_known(call, id):
    """The message shows what was asked for and what there is."""
    balancer = LoadBalancer(["a", "b"])
    before = picture(balancer)
    with pytest.raises(UnknownEndpointError) as caught:
        call(balancer, id)
    assert repr(id) in str(caught.value)
    assert "'a', 'b'" in str(caught.value)
    assert picture(balancer) == before


def test_a_wrong_outcome_leaves_the_lease_open():
    """A release with a wrong outcome raises, and the lease stays open."""
    balancer = LoadBalancer(["a"])
    lease = balancer.acquire()
    for wrong in ("success", True, None, 200):
        with pytest.raises(ConfigurationError, match="outcome="):
            lease.release(wrong)
    for wrong in (math.nan, math.inf, -1.0, True, "soon"):
        with pytest.raises(ConfigurationError, match="retry_after="):
            lease.release(Outcome.OVERLOADED, retry_after=wrong)
    assert lease.active
    assert balancer.stats().inflight == 1
    assert lease.release()


@pytest.mark.parametrize("empty", [None, (), [], {}, set(), "", b"", 0, False], ids=repr)
def test_whatever_is_empty_excludes_nothing_on_every_path(empty):
    """Any empty collection excludes nothing on every path. This holds after a lost lease and with a cost."""
    balancer = LoadBalancer(["a"])
    calls = [
        lambda: balancer.acquire(exclude=empty).release(),
        lambda: balancer.acquire(exclude=empty, cost=2.0).release(),
        lambda: next(balancer.attempts(1, exclude=empty)).release(),
        lambda: balancer.explain(exclude=empty).picked == "a",
        lambda: [endpoint.id for endpoint in balancer.ranking(exclude=empty)] == ["a"],
    ]
    for call in calls:
        assert call()
    balancer._runtime._transitions.close_fast_path()  # as a lost lease does, and whatever is due
    assert calls[0]()
