"""Attributes of nodes that probes find, and the load that reads them."""

from __future__ import annotations

import gc
import logging
from random import Random

import pytest

from balancekit import ConfigurationError, Endpoint, LoadBalancer, PowerOfChoices
from balancekit.reported import NodeAttributes, Probed
from balancekit.testing import ManualClock


class FirstSeen:
    """Takes the first endpoint, and keeps the nodes for the test to look at."""

    keyed = False
    thread_safe = True
    nodes = ()

    def prepare(self, snapshot):
        """Keep the nodes."""
        self.nodes = snapshot.members.nodes

    def select(self, snapshot, ctx):
        """Take the first."""
        return snapshot.candidates(ctx)[0]


def balancer(attributes, endpoints=("a", "b", "c"), **options):
    """Make a balancer with a probed load, and what returns its loads at a time."""
    selector = FirstSeen()
    lb = LoadBalancer(
        list(endpoints), selector=selector, load=Probed(attributes, **options), clock=ManualClock()
    )
    return lb, lambda now: {node.id: node.load.value(now=now) for node in selector.nodes}


def test_a_figure_holds_for_max_age_and_is_then_unknown():
    """A figure is known up to ``max_age`` and unknown after it, or if the clock was set back further than that."""
    attributes = NodeAttributes(max_age=3.0)
    attributes.record("a", {"waiting": 4.0}, now=10.0)
    assert attributes.value("a", "waiting", now=13.0) == 4.0
    assert attributes.value("a", "waiting", now=13.01) is None
    assert attributes.value("a", "waiting", now=6.9) is None
    assert attributes.value("a", "kv", now=10.0) is None
    assert attributes.value("b", "waiting", now=10.0) is None
    assert dict(attributes.figures("a", now=13.0)) == {"waiting": 4.0}
    assert dict(attributes.figures("a", now=13.01)) == {}
    attributes.forget("a")
    assert attributes.value("a", "waiting", now=10.0) is None
    attributes.forget("a")


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), "many", None], ids=str)
def test_a_figure_that_cannot_be_is_counted_and_the_one_before_stays(figure, caplog):
    """A figure that cannot be is counted, and the one before it stays.

    Others of the same page are taken, and one line is logged.
    """
    attributes = NodeAttributes()
    attributes.record("a", {"waiting": 4.0, "kv": 0.1}, now=0.0)
    with caplog.at_level(logging.WARNING, "balancekit"):
        for _ in range(3):
            attributes.record("a", {"waiting": figure, "kv": 0.2}, now=1.0)
    assert dict(attributes.figures("a", now=1.0)) == {"waiting": 4.0, "kv": 0.2}
    assert attributes.rejected == 3
    assert len(caplog.records) == 1


def test_a_record_replaces_the_page_before():
    """A figure that a page no longer has is gone."""
    attributes = NodeAttributes()
    attributes.record("a", {"waiting": 4.0, "kv": 0.1}, now=0.0)
    attributes.record("a", {"kv": 0.3}, now=0.5)
    assert dict(attributes.figures("a", now=0.5)) == {"kv": 0.3}


def test_the_load_is_the_figure_and_own_requests_since():
    """The figure includes own requests that were open when it was found; an end takes one off."""
    attributes = NodeAttributes()
    lb, values = balancer(attributes, ["a"])
    first = lb.acquire()
    attributes.record("a", {"requests": 5.0}, now=0.0)
    assert values(0.0) == {"a": 5.0}
    second = lb.acquire()
    assert values(0.0) == {"a": 6.0}
    first.release()
    second.release()
    assert values(0.0) == {"a": 4.0}


def test_the_load_is_at_least_own_requests():
    """A page that is older than the requests does not make them vanish."""
    attributes = NodeAttributes()
    lb, values = balancer(attributes, ["a"])
    leases = [lb.acquire() for _ in range(4)]
    attributes.record("a", {"requests": 0.0}, now=0.0)
    assert values(0.0) == {"a": 4.0}
    for lease in leases:
        lease.release()


def test_an_endpoint_that_is_not_known_has_the_mean_of_the_others():
    """An endpoint that is not known has the mean load of the others. If none is known, own requests count."""
    attributes = NodeAttributes(max_age=3.0)
    _, values = balancer(attributes)
    assert values(0.0) == {"a": 0.0, "b": 0.0, "c": 0.0}
    attributes.record("a", {"requests": 2.0}, now=0.0)
    attributes.record("b", {"requests": 6.0}, now=1.0)
    assert values(1.0) == {"a": 2.0, "b": 6.0, "c": 4.0}
    attributes.record("b", {"requests": 6.0}, now=3.5)
    assert values(3.5) == {"a": 6.0, "b": 6.0, "c": 6.0}
    assert values(7.0) == {"a": 0.0, "b": 0.0, "c": 0.0}


def test_weights_are_capacities():
    """An endpoint of twice the weight may have twice as many requests, and the mean goes by capacity."""
    attributes = NodeAttributes()
    _, values = balancer(
        attributes, [Endpoint("a", weight=1.0), Endpoint("b", weight=2.0), Endpoint("c", weight=3.0)]
    )
    attributes.record("a", {"requests": 3.0}, now=0.0)
    attributes.record("b", {"requests": 6.0}, now=1.0)
    found = values(1.0)
    assert found["a"] == found["b"] == found["c"] > 0.0


def test_a_share_grows_by_what_a_request_adds():
    """With ``per_request`` 0, own requests count only where nothing is known of any endpoint."""
    attributes = NodeAttributes()
    lb, values = balancer(attributes, ["a"], name="kv", per_request=0.125)
    attributes.record("a", {"kv": 0.5}, now=0.0)
    lease = lb.acquire()
    assert values(0.0) == {"a": 0.625}
    lease.release()


def test_picks_go_to_what_is_less_busy():
    """Of three endpoints, the busy one is never picked, since two draws are always distinct."""
    attributes = NodeAttributes()
    lb = LoadBalancer(
        ["a", "b", "c"],
        selector=PowerOfChoices(),
        load=Probed(attributes),
        clock=ManualClock(),
        rng=Random(1),
    )
    for id, found in (("a", 50.0), ("b", 3.0), ("c", 3.0)):
        attributes.record(id, {"requests": found}, now=0.0)
    for _ in range(200):
        with lb.acquire() as lease:
            assert lease.target != "a"


def test_endpoints_that_have_gone_leave_the_mean():
    """Endpoints that have gone leave the mean, and one that comes back is a new one."""
    attributes = NodeAttributes()
    lb, values = balancer(attributes)
    attributes.record("a", {"requests": 90.0}, now=0.0)
    lb.update(["b", "c"])
    attributes.record("b", {"requests": 2.0}, now=1.0)
    assert values(1.0) == {"b": 2.0, "c": 2.0}
    attributes.forget("a")  # as the runner that fills them does
    lb.add("a")
    assert values(1.0) == {"a": 2.0, "b": 2.0, "c": 2.0}


def test_a_balancer_that_has_gone_is_told_nothing():
    """A balancer that has gone is told no figures, and attributes keep no reference to it."""
    attributes = NodeAttributes()
    lb, values = balancer(attributes)
    del lb, values
    gc.collect()
    attributes.record("a", {"requests": 1.0}, now=0.0)
    assert not attributes._observers


def test_what_is_no_configuration_is_refused():
    """An argument that is no attributes, no name, or no number >= 0 is refused."""
    attributes = NodeAttributes()
    for make, name in [
        (lambda: Probed({}), "attributes"),
        (lambda: Probed(attributes, name=""), "name"),
        (lambda: Probed(attributes, per_request=-1.0), "per_request"),
        (lambda: NodeAttributes(max_age=0.0), "max_age"),
        (lambda: attributes.record("a", 3, now=0.0), "figures"),
    ]:
        with pytest.raises(ConfigurationError, match=name):
            make()


def test_an_endpoint_whose_change_is_refused_is_still_told():
    """A selector that cannot prepare for a new target leaves the old one, and figures go on reaching it."""

    class Refusing:
        refuse = False

        def select(self, snapshot, ctx):
            return next(iter(snapshot.candidates(ctx)), None)

        def prepare(self, snapshot):
            if self.refuse:
                raise ValueError("not that one")

    attributes, selector = NodeAttributes(max_age=5.0), Refusing()
    lb = LoadBalancer({"a": "here"}, selector=selector, load=Probed(attributes), clock=ManualClock())
    selector.refuse = True
    with pytest.raises(ValueError, match="not that one"):
        lb.update({"a": "elsewhere"})
    selector.refuse = False
    attributes.record("a", {"requests": 7.0}, now=0.0)
    with lb.acquire() as lease:
        assert lease.node.load.others == 7.0
    lb.update({"a": "elsewhere"})
    attributes.record("a", {"requests": 3.0}, now=0.0)
    with lb.acquire() as lease:
        assert lease.node.load.others == 3.0
    lb.update({"b": "there"})
    with lb.acquire() as lease:
        assert [list(loads) for loads in lease.node.load._pool._loads.values()] == [[lease.node.load]]
