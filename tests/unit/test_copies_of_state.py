"""Objects with state: a copy works as the original does, or an error says what to do instead."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from balancekit import LoadBalancer, RoundRobin
from balancekit.compat.powerdns import GeoIpBackend, IfUp
from balancekit.errors import ConfigurationError
from balancekit.gslb import fixed_standings, standings_of
from balancekit.ha import SyncGroup, VirtualRouter
from balancekit.l4 import FlowMatch, FlowRoutes
from balancekit.l7 import (
    Request,
    Route,
    RouteTable,
    Split,
    ValueCondition,
    cookie,
    header,
    prefix,
    query,
    regex,
    template,
)
from balancekit.routing import StickyValues
from balancekit.testing import ManualClock, make_context, make_nodes, make_snapshot

COPIES: Final = [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy]
REFUSED: Final = [pickle.dumps, copy.deepcopy]
STATELESS: Final = frozenset({"First", "PowerOfChoices", "SourceHash", "UniformRandom", "WeightedRandom"})
"""Selectors that keep nothing, so that they can be copied at any time."""
LOCKED: Final = frozenset({"PrefixAffinity", "Prequal", "RateLimit", "ReportedRoundRobin"})
"""Selectors that hold a lock, so that they can be copied at no time."""


ROUTERS: Final[dict[str, Callable[[Any], Any]]] = {
    "Canary": lambda kind: kind({"track": "canary"}, share=0.5),
    "Locality": lambda kind: kind("eu"),
    "MaxInFlight": lambda kind: kind(3),
    "RateLimit": lambda kind: kind(1e9),
    "Sticky": lambda kind: kind(StickyValues("pool", [b"sixteen secrets!"])),
    "Subset": lambda kind: kind(["track"]),
    "Subsetting": lambda kind: kind(list),
}
"""Makers of those that need something else than a child."""


def selectors() -> Iterator[Any]:
    """Yield each shipped selector and router."""
    for package in ("selectors", "routing", "reported", "inference"):
        module = importlib.import_module(f"balancekit.{package}")
        for name in module.__all__:
            kind = getattr(module, name)
            if inspect.isclass(kind) and hasattr(kind, "select") and not getattr(kind, "_is_protocol", False):
                yield pytest.param(kind, id=name)


def made(kind: Any) -> Any:
    """Make a selector."""
    if kind.__name__ in ROUTERS:
        return ROUTERS[kind.__name__](kind)
    required = [p for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
    return kind(*[RoundRobin] * len(required))


def used(selector: Any) -> Any:
    """Return a selector after some picks."""
    balancer = LoadBalancer(["a", "b", "c"], selector=selector, clock=ManualClock())
    for number in range(6):
        with balancer.acquire(f"key {number}"):
            pass
    return selector


@pytest.mark.parametrize("copied", REFUSED, ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("kind", [*selectors()])
def test_a_selector_in_use_says_what_to_do_instead_of_a_copy(
    kind: Any, copied: Callable[[Any], object]
) -> None:
    """A selector that has picked holds nodes of its balancer: a copy is refused by an error of the library, if it is not stateless."""
    selector = used(made(kind))
    if kind.__name__ in STATELESS:
        assert copied(selector) is not None
        return
    with pytest.raises(TypeError, match=r"cannot be copied or pickled: .*construct another"):
        copied(selector)


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("kind", [*selectors()])
def test_a_selector_that_has_not_picked_can_be_copied(kind: Any, copied: Callable[[Any], object]) -> None:
    """A copy of a selector that no balancer has used picks and reads as the original, if it holds no lock."""
    selector = made(kind)
    if kind.__name__ in LOCKED:
        with pytest.raises(TypeError, match=r"holds a lock cannot be copied or pickled: construct another"):
            copied(selector)
        return
    assert repr(used(copied(selector))) == repr(selector)


@pytest.mark.parametrize("copied", REFUSED, ids=["pickle", "deepcopy"])
def test_nodes_and_snapshots_cannot_be_copied(copied: Callable[[Any], object]) -> None:
    """A node, and what holds one, is refused by name."""
    for value in (make_nodes(["a"]), make_snapshot(["a"])):
        with pytest.raises(TypeError, match="a Node cannot be copied or pickled: it lives in one balancer"):
            copied(value)


CONDITIONS: Final = {
    "is": header("x").is_("1"),
    "is not": header("x").is_not("1"),
    "starts": cookie("c").starts("ab"),
    "contains": query("q").contains("b"),
    "matches": header("x").matches("a+"),
    "between": query("q").between(2, 5),
    "present": header("x").present(),
    "absent": header("x").absent(),
}
REQUESTS: Final = [
    Request("/a/b"),
    *[Request("/a/b", query=f"q={q}", headers={"x": x, "cookie": c}) for q, x, c in (("3", "1", "c=abc"), ("b", "aa", "c=x"))],
]  # fmt: skip


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_is_the_same_in_another_process(name: str, copied: Callable[[Any], Any]) -> None:
    """A condition on a value holds for the same requests after a copy, and equals the original."""
    again = copied(CONDITIONS[name])
    assert (again, hash(again), repr(again)) == (
        CONDITIONS[name],
        hash(CONDITIONS[name]),
        repr(CONDITIONS[name]),
    )
    assert [again.holds(one) for one in REQUESTS] == [CONDITIONS[name].holds(one) for one in REQUESTS]


def is_long(value: str | None) -> bool:
    """Answer whether a value has more than a letter."""
    return value is not None and len(value) > 1


def test_a_condition_of_a_user_keeps_its_function() -> None:
    """A condition that a user made of a function of its own is copied with it."""
    again = pickle.loads(pickle.dumps(ValueCondition("header", "x", "long", None, is_long)))
    assert again.accepts is is_long
    assert again.holds(REQUESTS[2])


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "deepcopy"])
def test_a_route_table_routes_the_same_in_another_process(copied: Callable[[Any], Any]) -> None:
    """A table answers each request as before after a copy, keeps its options, and can be replaced by itself."""
    table = RouteTable(
        [
            *[Route(name, name, headers=[one]) for name, one in CONDITIONS.items() if one.kind == "header" and name != "absent"],
            Route("t", Split({"p": 1, "q": 3}), path=template("/a/{b}"), host="*.x.test"),
            Route("r", "r", path=regex("/a.*")),
            Route("p", "p", path=prefix("/z"), method="GET"),
        ],
        order="specific",
        no_match="none",
    )  # fmt: skip
    again = copied(table)
    asked = [*REQUESTS, Request("/z/1"), Request("/q"), Request("/a/b", headers={"host": "h.x.test"})]
    assert [again.match(one).route.name for one in asked] == [table.match(one).route.name for one in asked]
    assert (repr(again), again.no_match, again.order) == (repr(table), "none", "specific")
    again.replace([])
    assert (len(again), len(table)) == (0, len(table.routes))


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "deepcopy"])
def test_a_plan_of_routes_can_be_read_elsewhere_and_not_applied(copied: Callable[[Any], Any]) -> None:
    """A copied plan has the changes, and refuses to be applied."""
    table = RouteTable([Route("a", "x")])
    again = copied(table.plan([Route("b", "x")], REQUESTS))
    assert (len(again.changes), again.total) == (3, 3)
    with pytest.raises(ConfigurationError, match=r"^plan='a copy'"):
        again.apply()
    assert table.routes[0].name == "a"


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "deepcopy"])
def test_other_objects_work_after_a_copy(copied: Callable[[Any], Any]) -> None:
    """Flow routes, standings, contexts of requests, sync groups and policies of PowerDNS answer the same after a copy."""
    routes = copied(
        FlowRoutes([(FlowMatch(destinations=["10.0.0.0/8"]), "inside"), (FlowMatch(), "outside")])
    )
    assert [routes.match(("192.0.2.1", 1), (to, 2)) for to in ("10.1.1.1", "192.0.2.2")] == [
        "inside",
        "outside",
    ]
    ask = copied(fixed_standings({"a": False}))
    assert (ask("a").up, ask("b").up) == (False, True)
    ask = copied(standings_of(make_snapshot(["a"])))
    assert (ask("a").up, ask("b").up) == (True, False)
    context = make_context(1)
    assert copied(context).rng.random() == context.rng.random()
    assert copied(context).attributes == {}
    router = VirtualRouter(vrid=5, addresses=("192.0.2.1",), source="192.0.2.2")
    group = SyncGroup(routers={"one": router})()
    group.start(now=0.0)
    again = copied(group)
    assert (again.role, again.deadline, again.routers) == (group.role, group.deadline, group.routers)
    assert again.advance(now=100.0) == group.advance(now=100.0)
    with pytest.raises(TypeError):
        again.machines["two"] = again.machines["one"]
    assert copied(IfUp([["192.0.2.1"]])) is not None
    assert copied(GeoIpBackend(["a.example"], {})) is not None
