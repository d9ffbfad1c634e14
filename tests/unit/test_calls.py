"""Calls that a signature does not allow: the error lists the parameters, and the one that was probably meant."""

from __future__ import annotations

import enum
import inspect
import re

import pytest
from tests._public_classes import public_classes

from balancekit import Endpoint, LoadBalancer, RingHash
from balancekit._support.calls import checked_call
from balancekit._support.record import Record, field
from balancekit.checks import HttpCheck

PACKAGES = (
    "checks",
    "discovery",
    "endpoint",
    "hashing",
    "health",
    "l4",
    "l7",
    "observability",
    "retry",
    "routing",
    "selectors",
    "sharing",
    "waiting",
)
INTERNAL = {
    "EventCounters",
    "HashFunction",
    "Reconciler",
    "Resolution",
    "RoutePlan",
    "SharedLoad",
    "SharedPool",
}
"""Classes that users receive and do not construct, besides those that other classes make for each endpoint or key."""
MADE_FOR_EACH = re.compile(r".*(Machine|Report|Damper|FailureRun|Waiter)")

CONSTRUCTED = [
    kind
    for kind in dict.fromkeys(public_classes())
    if kind.__module__.split(".")[1] in PACKAGES
    and kind.__name__ not in INTERNAL
    and not MADE_FOR_EACH.fullmatch(kind.__name__)
    and inspect.isfunction(kind.__init__)
    and not issubclass(kind, BaseException | tuple | enum.Enum)
]


@pytest.mark.parametrize("kind", CONSTRUCTED, ids=lambda kind: kind.__name__)
def test_an_unknown_parameter_is_answered_with_those_that_exist(kind):
    """Each class that users construct lists its parameters when it is given an unknown one."""
    with pytest.raises(TypeError, match=r"'zzz'.*; (its parameters are \w|it has no parameters)"):
        kind(zzz=1)


def test_there_are_classes_to_ask():
    """The law above is asked of at least 100 classes."""
    assert len(CONSTRUCTED) >= 100


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: LoadBalancer(["a"], selecter=None), r"selector=, load=.*; did you mean 'selector'\?$"),
        (lambda: LoadBalancer(["a"], RingHash()), r"takes 2 .*; its parameters are endpoints, selector=,"),
        (lambda: LoadBalancer(), r"missing .*'endpoints'; its parameters are endpoints,"),
        (lambda: Endpoint("a", weigth=2), r"; did you mean 'weight'\?$"),
        (lambda: RingHash(vnode=3), r"; did you mean 'vnodes'\?$"),
        (lambda: RingHash(100), r"; its parameters are vnodes=, hash="),
        (lambda: HttpCheck("/h", status=200), r"statuses, body.*; did you mean 'statuses'\?$"),
        (lambda: LoadBalancer(["a"]).drain("a", 30), r"; its parameters are id, deadline=$"),
        (lambda: LoadBalancer(["a"]).set_weight("a"), r"; its parameters are id, weight$"),
    ],
)
def test_the_parameter_that_was_meant_is_named(call, said):
    """A misspelt, a missing and a positional argument each get the list; a misspelt one the closest name."""
    with pytest.raises(TypeError, match=said):
        call()


def test_errors_of_the_function_itself_are_unchanged():
    """A TypeError that is raised within, by another call that is not allowed too, passes as it is."""

    def inner():
        raise AssertionError("called")

    @checked_call
    def outer(a, *more, b=1, **rest):
        inner(a)

    with pytest.raises(TypeError) as caught:
        outer(1)
    assert "parameters" not in str(caught.value)
    with pytest.raises(TypeError, match=r"; its parameters are a, \*more, b=, \*\*rest$"):
        outer()


def test_a_record_names_the_field_that_was_meant():
    """A misspelt field of a record is answered with the closest one; one that is like none is not."""

    class Point(Record):
        across: float = field(kw_only=False)
        upward: float = 0.0

    with pytest.raises(TypeError, match=r"no parameter 'upwards'; .*; did you mean 'upward'\?$"):
        Point(1.0, upwards=2.0)
    with pytest.raises(TypeError, match=r"its parameters are across, upward$"):
        Point(1.0, zzz=2.0)
