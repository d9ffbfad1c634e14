"""What a request that no endpoint takes is told, and what a change that fails leaves."""

from __future__ import annotations

import math

import pytest

from balancekit import (
    AllIneligibleError,
    AttemptsExhaustedError,
    ConfigurationError,
    Endpoint,
    LoadBalancer,
    PoolEmptyError,
    SaturatedError,
    UnavailableError,
)
from balancekit.engine.hooks import SelectorHooks
from balancekit.engine.refusal import refused
from balancekit.errors import Reason
from balancekit.protocols import Load, Selector
from balancekit.routing import MaxInFlight
from balancekit.selectors import RoundRobin


def test_a_selector_that_gives_no_reasons_is_named_alone():
    """Without reasons the text ends after the number of eligible endpoints, one or several."""
    error = refused("Mine", 1, [], None, now=5.0)
    assert (type(error), str(error)) == (AllIneligibleError, "Mine picked none of 1 eligible endpoint")
    assert str(refused("Mine", 2, [], None, now=5.0)) == "Mine picked none of 2 eligible endpoints"


def test_reasons_are_counted_and_say_what_to_do():
    """Reasons are counted and say what to do.

    At a limit, shed load or retry at a time that is never negative. For unmatched labels, add an endpoint.
    """
    limit = [Reason.SATURATED, Reason.UNMATCHED, Reason.SATURATED]
    error = refused("Mine", 3, limit, None, now=5.0)
    assert type(error) is SaturatedError
    assert str(error) == (
        "Mine picked none of 3 eligible endpoints: 2 at the limit, 1 not matching the request; "
        "shed load, or wait for a lease to end"
    )
    assert error.reasons == {Reason.SATURATED: 2, Reason.UNMATCHED: 1}
    assert str(refused("Mine", 3, limit, 6.5, now=5.0)).endswith("; retry in 1.5 s, or shed load")
    assert str(refused("Mine", 3, limit, 4.0, now=5.0)).endswith("; retry in 0.0 s, or shed load")
    assert refused("Mine", 3, limit, 6.5, now=5.0).retry_at == 6.5
    assert [refused("Mine", 3, limit, due, now=5.0).retry_in for due in (6.5, 4.0, None)] == [1.5, 0.0, None]
    unmatched = refused("Mine", 1, [Reason.UNMATCHED], None, now=5.0)
    assert type(unmatched) is AllIneligibleError
    assert str(unmatched).endswith(
        ": 1 not matching the request; add an endpoint that matches, or send the request elsewhere"
    )
    assert unmatched.reasons == {Reason.UNMATCHED: 1}


def test_the_kind_of_error_says_what_was_missing():
    """No endpoints, none that may be picked, and none that has not been tried are three kinds."""
    with pytest.raises(PoolEmptyError, match="add one"):
        LoadBalancer([], allow_empty=True).acquire()
    lb = LoadBalancer(["a", "b"])
    with pytest.raises(AttemptsExhaustedError) as tried:
        lb.acquire(exclude={"a", "b"})
    assert tried.value.reasons == {Reason.EXCLUDED: 2}
    lb.drain("a")
    with pytest.raises(AttemptsExhaustedError) as mixed:
        lb.acquire(exclude={"a", "b"})
    assert mixed.value.reasons == {Reason.EXCLUDED: 1, Reason.DRAINING: 1}
    lb.drain("b")
    with pytest.raises(AllIneligibleError) as none:
        lb.acquire()
    assert none.value.reasons == {Reason.DRAINING: 2}


@pytest.mark.parametrize(
    "options",
    [{"exclude": "a"}, {"exclude": 5}, {"cost": -1.0}, {"cost": math.nan}, {"cost": True}, {"attributes": 5}],
    ids=repr,
)
def test_bad_arguments_of_a_request_are_refused_by_name(options):
    """A wrong argument of a request is refused by an error that names it, and nothing is picked."""
    lb = LoadBalancer(["a", "b"])
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        lb.acquire(**options)
    assert lb.stats().inflight == 0


class Fragile:
    """A selector whose preparation fails when it is told to."""

    keyed = False
    thread_safe = True
    broken = False

    def prepare(self, snapshot):
        """Fail or not."""
        if self.broken:
            raise LookupError("no table")

    def select(self, snapshot, ctx):
        """Pick the heaviest."""
        return max(snapshot.candidates(ctx), key=lambda node: node.weight, default=None)


def test_a_change_that_cannot_be_prepared_leaves_every_fact():
    """The error reaches the caller; weights, zones and the order of picks are as before, and the next change works."""
    selector = Fragile()
    lb = LoadBalancer([Endpoint("a", weight=3, zone="x"), Endpoint("b", weight=1)], selector=selector)
    with lb.acquire() as lease:
        assert lease.target == "a"
    selector.broken = True
    with pytest.raises(LookupError):
        lb.update([Endpoint("a", weight=1, zone="y"), Endpoint("b", weight=5), Endpoint("c", weight=9)])
    selector.broken = False
    nodes = lb._current.published.state.snapshot.members.nodes
    assert [(node.id, node.weight, node.zone) for node in nodes] == [("a", 3.0, "x"), ("b", 1.0, "")]
    with lb.acquire() as lease:
        assert lease.target == "a"
    lb.set_weight("b", 5)
    with lb.acquire() as lease:
        assert lease.target == "b"


def test_what_a_selector_does_not_offer_is_not_asked_for():
    """A selector without optional hooks needs no time, is called one at a time, and may be told of every success."""
    hooks = SelectorHooks(RoundRobin())
    assert (hooks.timed, hooks.learner, hooks.shared, hooks.trusted) == (False, None, True, True)

    class Bare:
        keyed = False

        def select(self, snapshot, ctx):
            return None

    bare = SelectorHooks(Bare())
    assert (bare.timed, bare.learner, bare.prepare, bare.shared, bare.trusted) == (
        False,
        None,
        None,
        False,
        False,
    )
    assert bare.learns_from_successes


@pytest.mark.parametrize(
    ("name", "meant"), [("lern", "learn"), ("prepar", "prepare"), ("retry_att", "retry_at")]
)
def test_a_misspelt_hook_of_a_subclass_is_refused(name, meant):
    """A public name that is nearly a hook's is an error that says which was meant; private and other names are not."""

    class Base(Selector):
        keyed = False

        def select(self, snapshot, ctx):
            return None

    kind = type("Mine", (Base,), {name: lambda self, *_: None})
    with pytest.raises(ConfigurationError, match=f"did you mean '{meant}'"):
        LoadBalancer(["a"], selector=kind())
    fine = type("Mine", (Base,), {f"_{name}": None, "colour": None, meant: lambda self, *_: None})
    LoadBalancer(["a"], selector=fine())


def test_a_misspelt_hook_of_a_load_is_refused():
    """A public name of a load that is nearly a hook's is refused when the first node is made."""

    class Mine(Load):
        def started(self, *, now, cost):
            pass

        def finished(self, completion):
            pass

        def value(self, *, now):
            return 0.0

        def succeded(self, latency, now):
            pass

    with pytest.raises(ConfigurationError, match="did you mean 'succeeded'"):
        LoadBalancer(["a"], load=lambda node: Mine())


@pytest.mark.parametrize("nested", [False, True], ids=["alone", "nested"])
@pytest.mark.parametrize(
    ("reasons", "due"),
    [
        ({"a": Reason.SATURATED}, "soon"),
        ({"a": Reason.SATURATED}, math.nan),
        ({"a": Reason.SATURATED}, math.inf),
        ({"a": Reason.SATURATED}, []),
        ({"a": "full"}, None),
        ({"a": None}, 5.0),
        (["a"], None),
        (None, None),
    ],
)
def test_a_selector_that_refuses_in_wrong_terms_does_not_break_the_refusal(reasons, due, nested, caplog):
    """The caller gets an UnavailableError without what could not be read, and the log says what the selector returned."""

    class Refusing:
        def select(self, snapshot, ctx):
            return None

        def refusals(self, snapshot, ctx):
            return reasons

        def retry_at(self, snapshot, ctx):
            return due

    balancer = LoadBalancer(["a"], selector=MaxInFlight(1, child=Refusing) if nested else Refusing())
    with pytest.raises(UnavailableError) as error:
        balancer.acquire()
    assert error.value.retry_in is None
    assert str(error.value)
    assert "failed" in caplog.text
