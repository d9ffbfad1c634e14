"""A flow table as a selector: keys stay while endpoints come, go, drain and fail."""

from __future__ import annotations

import pytest

from balancekit import Endpoint, LoadBalancer, MaglevHash, Outcome, RoundRobin
from balancekit.errors import AllIneligibleError, AttemptsExhaustedError, ConfigurationError
from balancekit.l4 import FlowTable, StickyFlows
from balancekit.testing import ManualClock

KEYS = [f"client-{number}" for number in range(200)]


def balancer(ids="abc", *, clock=None, table=None, child=MaglevHash, **options):
    """Return a balancer over a flow table."""
    selector = StickyFlows(child, FlowTable(capacity=10_000) if table is None else table, **options)
    return LoadBalancer(list(ids), selector=selector, clock=clock or ManualClock())


def serve(lb, key, **options):
    """Serve one request; return where it went."""
    with lb.acquire(key, **options) as lease:
        return lease.endpoint.id


def test_keys_stay_while_endpoints_join_and_leave():
    """No key of an endpoint that stays ever moves; those of one that left move once and stay then."""
    lb = balancer("abcde")
    home = {key: serve(lb, key) for key in KEYS}
    lb.add("f")
    lb.add("g")
    assert {key: serve(lb, key) for key in KEYS} == home
    lb.remove("b")
    after = {key: serve(lb, key) for key in KEYS}
    assert all(after[key] == home[key] for key in KEYS if home[key] != "b")
    lb.add("b")
    assert {key: serve(lb, key) for key in KEYS} == after


def test_a_draining_endpoint_keeps_its_keys_and_gets_no_new_ones():
    """Until it is gone, a draining endpoint keeps its keys and gets no new ones."""
    lb = balancer("ab")
    home = {key: serve(lb, key) for key in KEYS}
    lb.drain("a")
    assert {key: serve(lb, key) for key in KEYS} == home
    assert {serve(lb, f"new-{number}") for number in range(50)} == {"b"}


@pytest.mark.parametrize(("on_ejected", "returns"), [("move", False), ("keep", True)])
def test_the_pins_of_an_ejected_endpoint_move_or_wait(on_ejected, returns):
    """Either way another endpoint answers meanwhile; afterwards the key is where it moved to, or back home."""
    clock = ManualClock()
    lb = balancer("abc", clock=clock, on_ejected=on_ejected)
    key = next(key for key in KEYS if serve(lb, key) == "a")
    for _ in range(20):
        lease = lb.acquire(exclude=["b", "c"])
        lease.release(Outcome.CONNECT_FAILED)
        if lb.explain(exclude=["b", "c"]).picked is None:
            break
    assert serve(lb, key) != "a"
    clock.advance(3000.0)
    assert (serve(lb, key) == "a") is returns


def test_a_retry_moves_the_pin():
    """After a retry, the endpoint that took over has the key from then on."""
    lb = balancer("ab")
    home = serve(lb, "client")
    other = serve(lb, "client", exclude=[home])
    assert other != home
    assert serve(lb, "client") == other


def test_a_key_is_forgotten_after_the_idle_time():
    """A key is forgotten after the idle time, counted from its last request."""
    clock = ManualClock()
    lb = balancer("a", clock=clock, table=FlowTable(capacity=100, idle={"tcp": 60.0}))
    serve(lb, "client")
    lb.update(["a", "b", "c", "d", "e", "f"])
    for _ in range(5):
        clock.advance(59.0)
        assert serve(lb, "client") == "a"
    clock.advance(62.0)
    assert serve(lb, "client") == lb.explain("client").picked
    assert [note for note in lb.explain("unknown").notes if "pinned" in note] == ["not pinned"]


def test_explaining_pins_nothing():
    """Explaining pins nothing, and says why: pinned, not pinned, or pinned to what cannot serve."""
    table = FlowTable(capacity=100)
    lb = balancer("ab", table=table)
    assert "not pinned" in lb.explain("client").notes
    assert len(table) == 0
    home = serve(lb, "client")
    assert f"pinned to {home!r}" in lb.explain("client").notes
    assert f"pinned to {home!r}, which cannot serve" in lb.explain("client", exclude=[home]).notes
    assert table.lookup(b"client" + b"t\x06", now=0.0) == home


def test_ranking_pins_nothing_and_moves_nothing():
    """The order of attempts begins with the pinned owner, and asking for it leaves every pin where it is."""
    table = FlowTable(capacity=100)
    lb = balancer("abc", table=table)
    lb.ranking("new")
    assert len(table) == 0
    home = serve(lb, "client")
    ranked = [endpoint.id for endpoint in lb.ranking("client")]
    assert ranked[0] == home
    assert sorted(ranked) == ["a", "b", "c"]
    assert serve(lb, "client") == home


def test_text_and_bytes_are_one_key_and_integers_another():
    """Text and bytes are one key and integers another, as for hashes. A lone surrogate is a key too."""
    lb = balancer("abcdef", child=RoundRobin)
    assert serve(lb, "1") == serve(lb, b"1")
    assert len({serve(lb, key) for key in ("1", 1, 49, "i")}) > 1
    assert serve(lb, "\ud800") == serve(lb, "\ud800")


def test_without_a_key_the_child_decides():
    """Without a key the child decides, and nothing is pinned."""
    table = FlowTable(capacity=100)
    lb = balancer("abc", table=table, child=RoundRobin)
    assert sorted(serve(lb, None) for _ in range(6)) == [*"aabbcc"]
    assert len(table) == 0


def test_when_no_endpoint_may_be_picked_the_error_is_as_ever():
    """When no endpoint may be picked, the error is that of other selectors, whether all were tried or all are out."""
    lb = balancer("ab")
    with pytest.raises(AttemptsExhaustedError):
        lb.acquire("client", exclude=["a", "b"])
    lb.update([Endpoint("a", weight=0.0)])
    serve(lb, "client")
    lb.drain("a")
    with pytest.raises(AllIneligibleError):
        lb.acquire("other")


@pytest.mark.parametrize("child", [RoundRobin, RoundRobin(), lambda: RoundRobin()])
def test_a_child_is_a_selector_or_what_makes_it(child):
    """A child may be a selector, or a class or function that makes one."""
    lb = balancer("ab", child=child)
    assert {serve(lb, key) for key in KEYS} == {"a", "b"}
    assert serve(lb, KEYS[0]) == serve(lb, KEYS[0])


@pytest.mark.parametrize(
    ("parameter", "arguments", "options"),
    [
        ("table", (RoundRobin, None), {}),
        ("table", (RoundRobin, FlowTable), {}),
        ("on_ejected", (RoundRobin, FlowTable(capacity=10)), {"on_ejected": "drop"}),
        ("child", ("maglev", FlowTable(capacity=10)), {}),
    ],
)
def test_a_wrong_option_is_refused_by_name(parameter, arguments, options):
    """Each wrong value raises ConfigurationError at construction, which names the parameter and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        StickyFlows(*arguments, **options)
    assert caught.value.parameter == parameter
