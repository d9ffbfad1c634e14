"""Texts of what configures a balancer: the call that makes it, without what is at its default."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import pickle
import pkgutil
import random

import pytest

import balancekit
from balancekit import Endpoint, LoadBalancer, compat, gslb, hashing
from balancekit._support.display import MAX_SHOWN_ITEMS, MAX_TEXT_CHARS
from balancekit._support.record import Policy, Record
from balancekit.compat import haproxy, nginx
from balancekit.compat.envoy import OutlierDetection
from balancekit.health import FlapDamping, Lifecycle, MaxFails, MedianLatency, WarmUp
from balancekit.inference import CacheUtilization, PrefixAffinity
from balancekit.l4 import FlowTable, StickyFlows
from balancekit.loads import ExpectedDelay, FailureAware, InFlight, PeakEwmaLatency
from balancekit.protocols import Selector
from balancekit.proxyconfig._haproxy_selector import HaproxySelector
from balancekit.reported import (
    NodeAttributes,
    Prequal,
    Probed,
    ProbePool,
    ReportedRoundRobin,
    ReportedWeights,
)
from balancekit.routing import (
    Aimd,
    Canary,
    Gradient,
    Locality,
    MaxInFlight,
    Priority,
    RateLimit,
    Sticky,
    StickyValues,
    Subset,
    Subsetting,
)
from balancekit.selectors import BoundedLoad, MaglevHash, PowerOfChoices, RendezvousHash, RingHash, RoundRobin
from balancekit.sharing import Shared


def public_classes():
    """Yield the public classes of the library by their names."""
    names = [found.name for found in pkgutil.walk_packages(balancekit.__path__, "balancekit.")]
    for name in names:
        if "._" in name or {"engine", "cli", "adapters", "observability", "testing"} & set(name.split(".")):
            continue
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            if inspect.isclass(value) and value.__module__.startswith("balancekit."):
                yield f"{value.__module__}.{public}", value


def is_shipped(kind):
    """Return whether a class is a selector or a policy; what a policy makes for one endpoint has no text of its own."""
    if getattr(kind, "_is_protocol", False):
        return False
    return callable(getattr(kind, "select", None)) or issubclass(kind, Policy)


SHIPPED = dict(sorted((name, kind) for name, kind in public_classes() if is_shipped(kind)))

LITERAL = [
    RoundRobin(),
    PowerOfChoices(),
    PowerOfChoices(3),
    RingHash(vnodes=20, hash="blake2b"),
    MaglevHash(size=251),
    BoundedLoad(),
    BoundedLoad(RendezvousHash(), factor=2.0),
    Canary({"version": "2"}, share=0.1, salt="a"),
    Locality("eu", near=("us", "ap"), child=RoundRobin),
    Locality(zone="eu"),
    MaxInFlight(20, per_weight=True),
    MaxInFlight(Gradient(max_limit=50), child=RoundRobin),
    MaxInFlight(Aimd(timeout=1.0)),
    Priority(RoundRobin, overprovisioning=1.2),
    Priority(child=lambda: Locality("eu", child=lambda: PowerOfChoices(3))),
    RateLimit(5.0, burst=10.0, child=functools.partial(PowerOfChoices, 3)),
    Subset(["a", "b"], fallback={"a": "1"}),
    Prequal(),
    Prequal(ProbePool(quantile=0.5)),
    ReportedRoundRobin(ReportedWeights(blackout=1.0), period=2.0),
    ExpectedDelay(),
    FailureAware(decay=3.0),
    InFlight(),
    PeakEwmaLatency(2.0),
    Shared(InFlight(), file="checkout"),
    Lifecycle(),
    Lifecycle(damping=FlapDamping(), warm_up=WarmUp(window=10.0), rules=(MedianLatency(),)),
    MaxFails(max_fails=3),
    compat.envoy.RingHash(minimum_ring_size=64),
    compat.envoy.LeastRequest(selection_method="FULL_SCAN"),
    nginx.AsNginx(nginx.LeastConn(), max_fails=2),
]
"""With parameters that their texts write out."""

OTHER = [
    Sticky(StickyValues("place", [b"0123456789abcdef0123456789abcdef"])),
    StickyFlows(RoundRobin, FlowTable(capacity=5)),
    Subsetting(len),
    RingHash(hash=hashing.keyed(b"0123456789abcdef0123456789abcdef")),
    gslb.PolicySelector(gslb.AllUp(["a"]), client=gslb.Client(address="10.0.0.9")),
    OutlierDetection(),
    Probed(NodeAttributes(), name="waiting"),
    HaproxySelector([haproxy.Server(name="a")], haproxy.Balance(), allbackups=False),
]


def names():
    """Return all public classes by their short names; those of the selectors and policies first."""
    found = {kind.__name__: kind for name, kind in SHIPPED.items() if ".compat." not in name}
    return found | {"partial": functools.partial}


@pytest.mark.parametrize("name", SHIPPED)
def test_everything_that_configures_a_balancer_has_a_text(name):
    """Every shipped selector, load policy, health policy and router has a ``__repr__`` of its own."""
    kind = SHIPPED[name]
    assert kind.__repr__ not in (object.__repr__, Record.__repr__)


def test_the_search_finds_what_is_shipped():
    """The classes looked at include all selectors, routers, load policies and health policies by name."""
    found = {name.rpartition(".")[2] for name in SHIPPED}
    for package in ("selectors", "routing"):
        module = importlib.import_module(f"balancekit.{package}")
        kinds = [getattr(module, name) for name in module.__all__]
        assert {kind.__name__ for kind in kinds if inspect.isclass(kind) and hasattr(kind, "select")} <= found
    assert {
        "InFlight",
        "PeakEwmaLatency",
        "FailureAware",
        "ExpectedDelay",
        "Lifecycle",
        "MaxFails",
    } <= found
    assert {
        "Prequal",
        "ReportedRoundRobin",
        "Shared",
        "Probed",
        "PrefixAffinity",
        "FailOpen",
        "Thresholds",
    } <= found


@pytest.mark.parametrize("made", LITERAL, ids=repr)
def test_a_text_makes_an_equal_configuration(made):
    """If all parameters are literals or shipped things, the text is an expression that makes the same configuration."""
    space = names() | {name: getattr(compat.envoy, name) for name in ("RingHash", "LeastRequest")}
    if type(made) is RingHash:
        space["RingHash"] = RingHash
    if isinstance(made, nginx.AsNginx):
        space |= {name: getattr(nginx, name) for name in ("AsNginx", "LeastConn")}
    again = eval(repr(made), space)
    assert type(again) is type(made)
    assert repr(again) == repr(made)
    if isinstance(made, Record):
        assert again == made


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (PowerOfChoices(2), "PowerOfChoices()"),
        (PowerOfChoices(3), "PowerOfChoices(d=3)"),
        (Locality(near=["b"], zone="a"), "Locality('a', near=['b'])"),
        (Priority(lambda: PowerOfChoices(3)), "Priority(child=lambda: PowerOfChoices(d=3))"),
        (PeakEwmaLatency(10.0), "PeakEwmaLatency()"),
        (PeakEwmaLatency(3.0), "PeakEwmaLatency(decay=3.0)"),
        (Prequal(ProbePool(rate=5.0)), "Prequal(pool=ProbePool(rate=5.0))"),
        (Subsetting(len), "Subsetting(len)"),
        (BoundedLoad(RingHash()), "BoundedLoad(selector=RingHash())"),
    ],
    ids=str,
)
def test_a_text_leaves_defaults_out(made, text):
    """A parameter at its default is left out, however it was given; required ones have no name; children are written out."""
    assert repr(made) == text


@pytest.mark.parametrize("made", [*LITERAL, *OTHER], ids=lambda made: type(made).__name__)
def test_a_text_has_no_address_and_survives_a_copy(made):
    """No text shows where something is in memory, so equal configurations print alike in all processes."""
    assert " at 0x" not in repr(made)
    try:
        again = pickle.loads(pickle.dumps(made))
    except Exception:
        return
    assert repr(again) == repr(made)


def test_selectors_print_alike_after_a_copy():
    """A selector that was pickled or copied prints as before, whatever it had picked."""
    for made in (RingHash(vnodes=20), PowerOfChoices(3), RoundRobin()):
        lb = LoadBalancer(["a", "b"], selector=made)
        lb.acquire("key").release()
        assert repr(pickle.loads(pickle.dumps(type(made)()))) == f"{type(made).__name__}()"
        assert repr(copy.deepcopy(PowerOfChoices(3))) == "PowerOfChoices(d=3)"


def test_long_texts_are_cut():
    """Of a long container some items are shown, and the text of one argument has at most 200 characters."""
    keys = [f"key{number}" for number in range(1000)]
    assert repr(Subset(keys[: MAX_SHOWN_ITEMS + 1])).count("key") == MAX_SHOWN_ITEMS
    assert len(repr(Subset(["x" * 150, "y" * 150]))) == MAX_TEXT_CHARS + len("Subset()")
    deep = RoundRobin
    for _ in range(20):
        deep = functools.partial(Priority, deep)
    assert len(repr(Priority(deep))) < 2 * MAX_TEXT_CHARS


def test_secrets_are_not_shown():
    """The text of a sticky router shows none of its secrets."""
    assert "0123456789" not in repr(Sticky(StickyValues("place", [b"0123456789abcdef0123456789abcdef"])))


def test_a_balancer_says_how_it_decides():
    """The text of a balancer has the number of endpoints, the selector, and what else differs from the default."""
    assert repr(LoadBalancer(["a"])) == "<LoadBalancer of 1 endpoint by ShortestExpectedDelay()>"
    lb = LoadBalancer(
        ["a", Endpoint("b", weight=2.0)],
        selector=RingHash(vnodes=20),
        load=PeakEwmaLatency(3.0),
        health=None,
        rng=random.Random(1),
    )
    text = (
        "<LoadBalancer of 2 endpoints by RingHash(vnodes=20), load=PeakEwmaLatency(decay=3.0), health=None>"
    )
    assert repr(lb) == text


def test_a_selector_of_the_users_prints_as_it_likes():
    """A class without a text is shown by its name, and one whose text raises too."""

    class Plain:
        def select(self, snapshot, ctx):
            return snapshot.eligible[0]

    class Broken(Plain):
        def __repr__(self):
            raise RuntimeError("no")

    assert repr(LoadBalancer(["a"], selector=Plain())) == "<LoadBalancer of 1 endpoint by <Plain>>".replace(
        "Plain", Plain.__qualname__
    )
    assert "Broken" in repr(LoadBalancer(["a"], selector=Broken()))


def test_an_iterator_is_not_kept():
    """Of an argument that was an iterator the text says only that there was one, and no iterator is kept."""
    made = PrefixAffinity(scorers=iter([CacheUtilization(NodeAttributes())]))
    assert repr(made) == "PrefixAffinity(scorers=...)"


def test_protocols_and_bases_are_not_counted():
    """Protocols and bases are not counted among the classes that must have a text."""
    assert not is_shipped(Selector)
