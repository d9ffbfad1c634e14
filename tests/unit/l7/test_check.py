"""Checks of route tables: each planted mistake is found, and sound tables have none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.l7.test_table import PATTERNS, REQUESTS, ROUTES, winner

from balancekit.l7 import (
    Request,
    Route,
    RouteTable,
    Spelling,
    Split,
    cookie,
    exact,
    header,
    prefix,
    query,
    regex,
    template,
    text_prefix,
)
from balancekit.l7._covers import path_covers

PLANTED = [
    ("shadowed", "first", [Route("api", 1, path=prefix("/api")), Route("v2", 2, path=prefix("/api/v2"))]),
    ("shadowed", "first", [Route("site", 1), Route("me", 2, path=exact("/me"), method="GET")]),
    ("shadowed", "first", [Route("any", 1, path=template("/users/{id}")), Route("me", 2, path=exact("/users/me"))]),
    ("shadowed", "first", [Route("all", 1, host="*.shop.test"), Route("eu", 2, host="eu.shop.test")]),
    ("shadowed", "first",
     [Route("k", 1, headers=[header("k").present()]), Route("k1", 2, headers=[header("k").is_("1")])]),
    ("duplicate", "first", [Route("a", 1, path=exact("/a")), Route("b", 2, path=exact("/a"))]),
    ("ambiguous", "specific",
     [Route("a", 1, headers=[header("x").is_("1")]), Route("b", 2, headers=[header("y").is_("1")])]),
    ("ambiguous", "specific",
     [Route("a", 1, path=template("/{x}/b/c")), Route("b", 2, path=template("/{x}/{y}/c"))]),
    ("unreachable", "first", [Route("a", 1, path=prefix("/a//b"))]),
    ("unreachable", "first", [Route("a", 1, path=exact("/a%2fb"))]),
    ("contradiction", "first", [Route("a", 1, headers=[header("x").is_("1"), header("X").is_("2")])]),
    ("contradiction", "first", [Route("a", 1, cookies=[cookie("x").absent(), cookie("x").starts("v")])]),
    ("unanchored", "first", [Route("a", 1, path=regex("/users/[0-9]+$"))]),
    ("open-end", "first", [Route("a", 1, path=regex("^/admin"))]),
    ("loose-prefix", "first", [Route("a", 1, path=text_prefix("/api"))]),
    ("method-case", "first", [Route("a", 1, method="get")]),
    ("host-header", "first", [Route("a", 1, headers=[header("Host").is_("shop.test")])]),
    ("unsafe-retry", "first", [Route("a", 1, method="POST", attempts=2)]),
    ("unused-retry", "first", [Route("a", 1, retry_on=[503])]),
    ("split-names", "first",
     [Route("a", Split({"v1": 1}, pools={"v1": "x"}), path=exact("/a")),
      Route("b", Split({"v1": 1}, pools={"v1": "y"}), path=exact("/b"))]),
    ("split-names", "first", [Route("a", Split({"v1": 1, "v2": 1}, pools=dict.fromkeys(["v1", "v2"], "x")))]),
    ("zero-weight", "first", [Route("a", Split({"v1": 1, "v2": 0}))]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "order", "routes"), PLANTED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_planted_mistake_is_found(kind, order, routes):
    """The table has this one problem, at the last route, and its text says what to do."""
    problems = RouteTable(routes, order=order).check()
    assert [(problem.kind, problem.route) for problem in problems] == [(kind, routes[-1].name)]
    assert str(problems[0]).startswith(f"{routes[-1].name}: {kind}: ")


def test_each_kind_is_planted_and_documented():
    """Every kind named in the documentation has a planted mistake, fourteen in all."""
    from balancekit.l7 import RouteProblem

    kinds = {kind for kind, _, _ in PLANTED}
    assert len(kinds) == 14
    assert all(f"``{kind}``" in RouteProblem.__doc__ for kind in kinds)


SOUND = [
    Route("me", 1, host="shop.test", path=exact("/users/me")),
    Route(
        "user", 1, host="shop.test", path=template("/users/{id}"), method="GET", attempts=2, retry_on=[503]
    ),
    Route("v2", Split({"stable": 9, "canary": 1}), host="*.shop.test", path=prefix("/api/v2")),
    Route("api", 1, host="*.shop.test", path=prefix("/api")),
    Route("beta", 2, headers=[header("x-beta").is_("1"), cookie("c").present(), query("q").is_not("0")]),
    Route("php", 3, path=regex(r"^.*\.php$")),
    Route("item", 3, path=regex(r"^/items/[0-9]+(/|$)")),
    Route("site", 4),
]


@pytest.mark.parametrize("order", ["first", "specific"])
def test_sound_tables_have_no_problems(order):
    """A table without mistakes has no problems."""
    assert RouteTable(SOUND, order=order).check() == ()


def test_patterns_are_checked_as_the_spelling_reads_them():
    """What ``RAW`` matches as sent is reachable there; what ``NGINX`` decodes is unreachable only if it changes."""
    assert RouteTable([Route("a", 1, path=prefix("/a//b"))], spelling=Spelling.RAW).check() == ()
    assert RouteTable([Route("a", 1, path=prefix("/a b"))], spelling=Spelling.NGINX).check() == ()
    (problem,) = RouteTable([Route("a", 1, path=prefix("/a//b"))], spelling=Spelling.NGINX).check()
    assert problem.kind == "unreachable"
    assert "'/a/b'" in problem.text


@given(ROUTES, st.lists(REQUESTS, min_size=1, max_size=8), st.sampled_from(["first", "specific"]))
def test_what_is_called_shadowed_never_wins(routes, requests, order):
    """No request takes a route that is said to be shadowed, a duplicate or contradictory."""
    table = RouteTable(routes, order=order)
    dead = {p.route for p in table.check() if p.kind in {"shadowed", "duplicate", "contradiction"}}
    assert dead.isdisjoint({winner(table, request) for request in requests})


@given(PATTERNS, PATTERNS, st.lists(REQUESTS, min_size=5, max_size=20))
def test_covering_is_never_claimed_in_vain(one, other, requests):
    """If a pattern is said to cover another, it matches every path that the other matches."""
    if path_covers(one, other):
        for request in requests:
            if other is None or other.matches(request.path):
                assert one is None or one.matches(request.path)


def test_large_tables_are_checked_without_comparing_all_pairs():
    """A table of 2,000 routes is checked, and its one shadowed route found."""
    routes = [Route(f"r{n}", n, host=f"h{n % 10}.test", path=prefix(f"/s{n}")) for n in range(2_000)]
    routes.insert(1_500, Route("bad", 1, host="h3.test", path=exact("/s3/x")))
    problems = RouteTable([*routes, Route("site", 1)]).check()
    assert [(problem.kind, problem.route, problem.other) for problem in problems] == [
        ("shadowed", "bad", "r3")
    ]
    assert Request("/s3/x").path
