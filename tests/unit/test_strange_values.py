"""Values that are what they should be by their class only: texts, clocks, values in errors, handlers of a log."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import logging
import math
import os
import pickle
import threading
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import balancekit
from balancekit import (
    ConfigurationError,
    Endpoint,
    LoadBalancer,
    Outcome,
    RingHash,
    UnknownEndpointError,
)
from balancekit._support import validation as valid
from balancekit.adapters._config import AdapterConfig
from balancekit.adapters._gslb import BalancerStandings
from balancekit.capacity import Demand
from balancekit.checks import ThreadProbes, ThreadScrapes
from balancekit.errors import BalancekitError
from balancekit.health import CheckResult
from balancekit.l4 import ResilientGroup
from balancekit.reported import NodeAttributes, Prequal, ReportedRoundRobin
from balancekit.routing import Canary, MaxInFlight, Priority, RateLimit, Sticky, StickyValues
from balancekit.sim import Recorder

SELECTORS = {
    **{
        name: found
        for name in balancekit.__all__
        if hasattr(found := getattr(balancekit, name), "select") and found is not balancekit.Selector
    },
    "Priority": Priority,
    "MaxInFlight": lambda: MaxInFlight(100, per_weight=True),
    "RateLimit": lambda: RateLimit(1e9, per_weight=True),
    "Sticky": lambda: Sticky(StickyValues("pool", [b"sixteen secrets!"])),
    "ReportedRoundRobin": ReportedRoundRobin,
}
"""By name, each as it is when nothing is said."""


class Lies(str):
    """A text that compares, hashes, prints and encodes as no text does."""

    __slots__ = ()
    count = 0

    def __hash__(self):
        type(self).count += 1
        return self.count

    def __eq__(self, other):
        raise RuntimeError("compared")

    def __bool__(self):
        raise RuntimeError("asked for its truth")

    def __len__(self):
        return -1  # noqa: PLE0303 - on purpose

    def __str__(self):
        raise RuntimeError("printed")

    __repr__ = __str__

    def isascii(self):
        raise RuntimeError("looked at")

    def encode(self, *_):
        raise RuntimeError("encoded")


class Site(enum.StrEnum):
    """Ids that an application has as members of an enumeration."""

    EU = "eu"


def test_texts_are_stored_as_plain_strings():
    """Ids, zones and labels of any class of strings are plain ``str`` from the door on; a target stays what it was."""
    endpoint = Endpoint(Lies("a"), "target", zone=Lies("z"), metadata={np.str_("x"): Lies("y")})
    texts = [endpoint.id, endpoint.zone, *endpoint.metadata, *endpoint.metadata.values()]
    assert texts == ["a", "z", "x", "y"]
    assert {type(text) for text in texts} == {str}
    assert LoadBalancer([Site.EU]).acquire().target is Site.EU


def test_a_text_that_lies_names_the_endpoint_that_it_spells():
    """Every call that takes an id takes one of any class of strings, by its characters."""
    events = []
    lb = LoadBalancer(
        [Endpoint(Lies("a"), 1), Endpoint("b", 2)], selector=RingHash(vnodes=9), listeners=[events.append]
    )
    lb.set_weight(Lies("a"), 2.0)
    lb.drain(Lies("a"))
    assert events[-1].endpoint == "a"
    lb.undrain(Lies("a"))
    lb.report_check(Lies("a"), CheckResult(passed=True))
    assert Lies("a") in lb
    assert Lies("c") not in lb
    assert 3 not in lb
    assert [] not in lb
    assert lb.acquire(exclude=[Lies("a")]).target == 2
    with pytest.raises(UnknownEndpointError):
        lb.remove(Lies("c"))
    lb.remove(Lies("a"))
    assert [endpoint.id for endpoint in lb] == ["b"]


CLOCKS = {
    "None": lambda: None,
    "text": lambda: "1",
    "Decimal": lambda: Decimal(1),
    "complex": lambda: 1j,
    "a time of day": dt.datetime.now,
    "a list": lambda: [1.0],
    "two numbers": lambda: np.array([1.0, 2.0]),
    "more than a float holds": lambda: 10**400,
    "not a number": lambda: math.nan,
    "infinity": lambda: math.inf,
    "an argument": lambda scale: scale,
    "an error": lambda: 1 / 0,
}


@pytest.mark.parametrize("name", CLOCKS)
def test_a_clock_that_returns_no_seconds_is_refused_when_it_is_given(name):
    """A clock that returns no seconds is refused when it is given, by an error that names ``clock``."""
    with pytest.raises(ConfigurationError) as caught:
        LoadBalancer(["a"], clock=CLOCKS[name])
    assert caught.value.parameter == "clock"


@pytest.mark.parametrize(
    "now", [5, 5.0, Fraction(16, 3), np.float64(5), np.float32(5), np.int64(5)], ids=repr
)
def test_a_clock_may_return_any_real_number(now):
    """A clock may return whole numbers, fractions, and numbers of numpy as seconds."""
    lb = LoadBalancer(["a", "b"], clock=lambda: now)
    lb.acquire(exclude=["b"]).release(Outcome.FAILURE, retry_after=1)
    lb.drain("a")
    assert lb.acquire().target == "b"


CLOCKED = {
    "AdapterConfig": lambda lb, clock: AdapterConfig(lb, clock=clock),
    "BalancerStandings": lambda lb, clock: BalancerStandings(lb, clock=clock),
    "Recorder": lambda lb, clock: Recorder(lb, os.devnull, clock=clock),
    "ThreadProbes": lambda lb, clock: ThreadProbes(lb, Prequal(), lambda *_: (0, 0.0), clock=clock),
    "ThreadScrapes": lambda lb, clock: ThreadScrapes(lb, NodeAttributes(), lambda _: {}, clock=clock),
}


@pytest.mark.parametrize("name", CLOCKED)
def test_a_clock_is_refused_wherever_one_is_given(name):
    """Each adapter and runner refuses a wrong clock when it is constructed."""
    with pytest.raises(ConfigurationError) as caught:
        CLOCKED[name](LoadBalancer(["a"]), lambda: None)
    assert caught.value.parameter == "clock"


class Answers:
    """A selector that answers with what it was given."""

    def __init__(self, answer):
        self.answer = answer

    def select(self, snapshot, ctx):
        return self.answer


class _Unprintable:
    def __repr__(self):
        raise RuntimeError("printed")


class _Url:
    def __repr__(self):
        return "http://app:s3cret@h/" + "x" * 100_000


FAILING = {
    "a parameter": lambda value: LoadBalancer(["a"], load=value),
    "an item": lambda value: LoadBalancer([value]),
    "a field": lambda value: Endpoint("a", weight=value),
    "a key": lambda value: LoadBalancer(["a"]).acquire(value),
    "an id": lambda value: LoadBalancer(["a"]).remove(value),
    "an answer": lambda value: LoadBalancer(["a"], selector=Answers(value)).acquire(),
    "exclusions": lambda value: LoadBalancer(["a"]).acquire(exclude=value),
}


@pytest.mark.parametrize("name", FAILING)
def test_an_error_is_pickled_and_copied_whatever_it_is_about(name):
    """An error about a lock crosses to another process as itself, with the same text and its notes."""
    with pytest.raises(BalancekitError) as caught:
        FAILING[name](threading.Lock())
    error = caught.value
    error.add_note("in a worker")
    for other in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert other.__notes__ == ["in a worker"]


def test_an_error_keeps_a_value_that_can_be_pickled():
    """An error keeps a value that can be pickled. A value that cannot is replaced by its text."""
    assert pickle.loads(pickle.dumps(ConfigurationError("weight", [1, "x"], "a number"))).value == [1, "x"]


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("value", [_Url(), _Unprintable()], ids=["long", "unprintable"])
def test_the_repr_of_an_error_is_short_and_has_no_password(name, value):
    """Logs of asyncio show ``repr(error)``: it is cut as the text is, has no password, and does not raise."""
    with pytest.raises(BalancekitError) as caught:
        FAILING[name](value)
    shown = repr(caught.value)
    assert shown.startswith(f"{type(caught.value).__name__}(")
    assert len(shown) < 1_000
    assert "s3cret" not in shown


class _Raising(logging.Handler):
    def emit(self, record):
        raise RuntimeError(record.getMessage())


class _Callback:
    def __call__(self, *_):
        raise ValueError("from the callback")

    def __repr__(self):
        raise RecursionError("from its repr")


@pytest.mark.parametrize("handler", [_Raising(), logging.StreamHandler()], ids=["handler", "repr"])
def test_a_log_that_fails_fails_no_request(handler):
    """A handler that raises, and a callback that has no text, do not do what the callback may not."""
    logger = logging.getLogger("balancekit")
    logger.addHandler(handler)
    try:
        lb = LoadBalancer(["a", "b"], listeners=[_Callback()])
        lb.on_completion(_Callback())
        lb.on_start(_Callback())
        lb.acquire().release()
        lb.drain("a")
    finally:
        logger.removeHandler(handler)
    assert lb.stats().completed == 1


@pytest.mark.parametrize("now", [math.inf, -math.inf, math.nan], ids=repr)
def test_a_pick_at_no_time_marks_no_bucket(now):
    """A pick at a time that is not finite is refused and marks no bucket as used."""
    group = ResilientGroup(["a", "b"], buckets=4, idle_timer=1.0)
    with pytest.raises(ConfigurationError):
        group.pick(0, now)
    group.replace(["b"], now=5.0)
    assert set(group.table) == {"b"}


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("least", [5e-324, 1e-300, 1e-100])
def test_weights_may_differ_by_any_factor(selector, least, caplog):
    """A weight that is next to nothing beside the largest one is no weight of zero: the endpoint serves if no other may."""
    lb = LoadBalancer(
        [Endpoint("a", weight=1e100), Endpoint("b", weight=least)], selector=SELECTORS[selector]()
    )
    with lb.acquire("key", exclude=["a"]) as lease:
        assert lease.target == "b"
    for number in range(50):
        for key in (None, f"key {number}"):
            with lb.acquire(key), lb.acquire(key):
                pass
    assert not caplog.records


@pytest.mark.parametrize("zero", [-0.0, Fraction(-1, 10**400), np.float64(-0.0), "numbers"], ids=repr)
def test_zero_has_no_sign(zero):
    """What is given as minus zero is zero, in texts, in files and in what is divided by it."""
    if zero == "numbers":
        assert [math.copysign(1.0, one) for one in valid.numbers("n", [-0.0, 1.0], minimum=0.0)] == [1.0, 1.0]
        return
    lb = LoadBalancer([Endpoint("a", weight=zero), Endpoint("b")])
    lb.set_weight("b", zero)
    found = [one.weight for one in lb.endpoints]
    found += [vars(Demand(requests=1.0, idle=zero))["idle"], Canary({"v": "2"}, share=zero).share]
    assert [math.copysign(1.0, one) for one in found] == [1.0] * 4
    assert "-0.0" not in repr(lb.endpoints)
