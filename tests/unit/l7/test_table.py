"""Route tables: the index answers as a scan does, explanations agree, plans and replacements are whole."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import LoadBalancer
from balancekit.errors import ConfigurationError
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
from balancekit.l7._explanation import failure

SEGMENTS = st.sampled_from(["a", "b", "ab", "1", "12"])
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda parts: "/" + "/".join(parts))
TEMPLATES = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(f"{{v{place}}}" if part == "*" else part for place, part in enumerate(parts))
)
PATTERNS = st.one_of(
    st.none(),
    PATHS.map(exact),
    PATHS.map(prefix),
    PATHS.map(text_prefix),
    TEMPLATES.map(template),
    TEMPLATES.map(lambda text: template(f"{text}/{{rest:path}}")),
    st.sampled_from(
        [r"^/a", r"^/a/b", r"b$", r"^/a/[0-9]+$", r"^/(a|b)/", r"^/ab?", r"/1|/a", r"^/a/b/?$"]
    ).map(regex),
)
HOSTS = st.sampled_from([None, "x.test", "y.x.test", "*.x.test", "*.test", "*", ["x.test", "*.y.x.test"]])
CONDITIONS = st.lists(
    st.sampled_from(
        [header("k").is_("1"), header("k").is_not("1"), header("k").absent(), header("k").present(), cookie("c").starts("v"),
         query("q").between(1, 5), query("q").contains("3"), header("k").matches("[0-9]+")]
    ),
    max_size=2,
    unique=True,
)  # fmt: skip
ROUTES = st.lists(
    st.builds(
        dict, host=HOSTS, path=PATTERNS, method=st.sampled_from([None, "GET", ["GET", "PUT"]]), headers=CONDITIONS,
        priority=st.sampled_from([0, 0, 0, 1, -1]),
    ),
    max_size=8,
).map(lambda several: [Route(f"r{place}", place, **options) for place, options in enumerate(several)])  # fmt: skip
REQUESTS = st.builds(
    Request,
    PATHS,
    method=st.sampled_from(["GET", "PUT", "POST"]),
    host=st.sampled_from(["", "x.test", "X.Test:80", "y.x.test", "z.y.x.test.", "test", "other"]),
    query=st.sampled_from(["", "q=3", "q=9", "q"]),
    headers=st.sampled_from([{}, {"K": "1"}, {"k": "2", "Cookie": "c=v2"}, {"cookie": "c=w"}]),
)


def scan(table, request):
    """Return the winner's name by testing every route in the table's order."""
    path, host = table.spelling.read(request.path), table.spelling.host(request.host)
    for route, wanted in table._index.ranked:
        if failure(route, wanted, request, host, path, table.spelling) is None:
            return route.name
    return None


def winner(table, request):
    """Return the winner's name by the index."""
    match = table.match(request)
    return None if match is None else match.route.name


@given(ROUTES, st.lists(REQUESTS, min_size=1, max_size=5), st.sampled_from(["first", "specific"]))
def test_the_index_answers_as_a_scan_does(routes, requests, order):
    """The index finds the first route in the order all of whose conditions hold; the explanation names it too."""
    table = RouteTable(routes, order=order)
    for request in requests:
        assert winner(table, request) == scan(table, request) == table.explain(request).route


def test_a_later_route_of_a_better_bucket_does_not_win():
    """Routes of one prefix are tried in order only as far as they come before what was found elsewhere."""
    routes = [
        Route("first", 0, path=prefix("/a"), headers=[header("k").is_("1")]),
        Route("second", 1, path=exact("/a")),
        Route("third", 2, path=prefix("/a")),
    ]
    assert winner(RouteTable(routes), Request("/a")) == "second"
    assert winner(RouteTable(routes), Request("/a", headers={"k": "1"})) == "first"
    assert winner(RouteTable(routes), Request("/a/b")) == "third"


@given(ROUTES, REQUESTS, st.randoms(use_true_random=False))
def test_a_permutation_changes_nothing_in_specific_order(routes, request, rng):
    """In the order ``"specific"`` any permutation of the routes gives the same answers."""
    shuffled = list(routes)
    rng.shuffle(shuffled)
    assert winner(RouteTable(routes, order="specific"), request) == winner(
        RouteTable(shuffled, order="specific"), request
    )


@given(ROUTES, REQUESTS)
def test_every_losing_route_names_its_failing_condition(routes, request):
    """The explanation says of every route that it matches or which condition fails, with what the request has."""
    explanation = RouteTable(routes).explain(request)
    assert {answer.route for answer in explanation.answers} == {route.name for route in routes}
    for answer in explanation.answers:
        if not answer.matches:
            kind, _, rest = answer.reason.partition(" ")
            assert kind in {"host", "path", "method", "header", "cookie", "query"}
            assert rest


@pytest.mark.parametrize(
    ("routes", "request_", "expected"),
    [
        ([("a", {"host": "*.x.test"}), ("b", {"host": "y.x.test"})], Request("/", host="y.x.test"), "b"),
        ([("a", {"host": "*.test"}), ("b", {"host": "*.x.test"})], Request("/", host="y.x.test"), "b"),
        ([("a", {"path": prefix("/a")}), ("b", {"path": exact("/a/b")})], Request("/a/b"), "b"),
        ([("a", {"path": prefix("/a")}), ("b", {"path": prefix("/a/b")})], Request("/a/b/c"), "b"),
        ([("a", {"path": prefix("/a")}), ("b", {"path": template("/a/{x}")})], Request("/a/b"), "b"),
        ([("a", {"path": template("/a/{r:path}")}), ("b", {"path": prefix("/a/b")})], Request("/a/b/c"), "b"),
        ([("a", {"headers": [header("k").is_("1")]}), ("b", {"method": "GET"})], Request("/", headers={"k": "1"}), "b"),
        ([("a", {"query": [query("q").present()]}), ("b", {"headers": [header("k").present()]})],
         Request("/", query="q", headers={"k": "1"}), "b"),
        ([("a", {}), ("b", {})], Request("/"), "a"),
        ([("a", {"host": "x.test", "path": prefix("/")}), ("b", {"path": exact("/")})], Request("/", host="x.test"), "a"),
        ([("a", {"path": exact("/")}), ("b", {"priority": 1})], Request("/"), "b"),
    ],
)  # fmt: skip
def test_specific_order_is_that_of_the_gateway_api(routes, request_, expected):
    """Host, exact path, longer path, method, headers, query, name; a priority comes before all."""
    table = RouteTable([Route(name, name, **options) for name, options in routes], order="specific")
    assert winner(table, request_) == expected
    assert table.explain(request_).route == expected


def test_explanations_say_why_the_winner_won():
    """The reason names what tells the winner from the next route that matches."""
    table = RouteTable(
        [Route("site", 1, path=prefix("/")), Route("me", 2, path=exact("/me"))], order="specific"
    )
    assert table.explain(Request("/me")).why == "before site because its path is exact"
    assert RouteTable([Route("x", 1)]).explain(Request("/")).why == "the first route that matches"
    assert table.explain(Request("/%2e")).why.startswith("rejected: path '/%2e': it has an encoded letter")
    assert table.explain(Request("/", host="a,b")).why == "rejected: host 'a,b': it is no host name"


def test_rejected_requests_match_nothing():
    """A rejected target or host gets neither a route nor the pool for the rest, and the reason can be asked for."""
    table = RouteTable([Route("site", "web")], no_match="rest")
    for request in (Request("/a//b"), Request("/%61"), Request("*"), Request("/", host="a..b")):
        assert table.match(request) is None
        assert table.rejection(request)
    assert table.rejection(Request("/a", host="x")) is None


def test_no_match_serves_what_no_route_takes():
    """Without ``no_match`` the answer is ``None`` if no route matches, and with it a match of that pool."""
    routes = [Route("a", "web", path=prefix("/a"))]
    assert RouteTable(routes).match(Request("/b")) is None
    assert RouteTable(routes, no_match="rest").match(Request("/b")).pool() == "rest"
    assert RouteTable(routes, no_match="rest").explain(Request("/b")).route == "no match"


def test_params_and_targets():
    """Named parts come from the matched path; what is forwarded is the path as sent, or rewritten."""
    table = RouteTable(
        [
            Route("user", 1, path=template("/users/{id}"), rewrite="/v2/{id}"),
            Route("api", 1, path=prefix("/api"), rewrite="/v3/"),
            Route("old", 1, path=regex(r"^/old/(?P<n>\d+)$"), rewrite=r"/new/\g<n>"),
            Route("rest", 1),
        ]
    )
    cases = {
        "/users/7": "/v2/7",
        "/api/x": "/v3/x",
        "/api": "/v3",
        "/old/12": "/new/12",
        "/caf%c3%a9": "/caf%c3%a9",
    }
    for path, target in cases.items():
        assert table.match(Request(path)).target == target
    assert table.match(Request("/api/x", query="a=%20")).target == "/v3/x?a=%20"
    assert table.match(Request("/users/7")).params == {"id": "7"}
    assert table.match(Request("/old/12")).params == {"n": "12"}
    assert table.match(Request("/caf%c3%a9")).path == "/caf%C3%A9"


def test_other_spellings_match_what_they_read():
    """``NGINX`` matches the decoded path against decoded patterns, ``RAW`` the path as sent."""
    routes = [Route("b", 1, path=prefix("/a b")), Route("site", 2)]
    assert winner(RouteTable(routes, spelling=Spelling.NGINX), Request("/x/..//a%20b/c")) == "b"
    assert winner(RouteTable(routes, spelling=Spelling.RAW), Request("/a%20b")) == "b"
    assert winner(RouteTable(routes, spelling=Spelling.RAW), Request("/./a%20b")) == "site"
    assert winner(RouteTable(routes, spelling=Spelling.RFC3986), Request("/x/../a%20b")) == "b"


def test_a_lease_comes_from_the_pool():
    """``lease`` acquires from the pool of the match, with the key for its split."""
    api, web = LoadBalancer(["10.0.0.1:80"]), LoadBalancer(["10.0.0.2:80"])
    table = RouteTable([Route("api", Split({api: 1, web: 0}), path=prefix("/api")), Route("site", web)])
    with table.match(Request("/api/x")).lease("user") as lease:
        assert lease.target == "10.0.0.1:80"
    with table.match(Request("/")).lease() as lease:
        assert lease.target == "10.0.0.2:80"


def test_a_wildcard_host_needs_a_label():
    """``*.x.test`` matches one or more labels before the suffix, not the suffix with an empty one."""
    table = RouteTable([Route("a", 1, host="*.x.test")], spelling=Spelling.RAW)
    assert [winner(table, Request("/", host=host)) for host in ("b.x.test", "c.b.x.test")] == ["a", "a"]
    assert [winner(table, Request("/", host=host)) for host in (".x.test", "x.test", "bx.test")] == [None] * 3


def test_long_paths_cost_no_more_probes():
    """Probing stops where no longer pattern begins, so a path of many segments is not cut at each of them."""

    class Counting(str):
        __slots__ = ()
        finds = 0

        def find(self, *args):
            type(self).finds += 1
            return super().find(*args)

    table = RouteTable([Route("a", 1, path=prefix("/a/b")), Route("site", 2)])
    path = Counting("/a" * 10_000)
    assert table._index.find(Request("/"), path).name == "site"
    assert Counting.finds <= 3


def test_the_memory_of_hosts_is_bounded():
    """Requests with ever new hosts do not grow the table."""
    table = RouteTable([Route("a", 1, host="*.x.test")])
    for number in range(5_000):
        assert winner(table, Request("/", host=f"h{number}.x.test")) == "a"
    assert table.match(Request("/", host="h" * 70_000)) is None
    assert len(table._index._known) <= 1024


def test_plans_list_what_would_change():
    """A plan names the requests whose route or pool would change, and applies the change."""
    table = RouteTable([Route("a", 1, path=prefix("/a")), Route("site", 2)])
    sample = [Request("/"), Request("/a"), Request("/b"), Request("/a//b")]
    plan = table.plan(
        [Route("a", 3, path=prefix("/a")), Route("b", 1, path=prefix("/b")), Route("site", 2)], sample
    )
    assert [(change.request.path, change.before, change.after) for change in plan.changes] == [
        ("/a", "a", "a"),
        ("/b", "site", "b"),
    ]
    assert plan.total == 4
    assert winner(table, Request("/b")) == "site"
    plan.apply()
    assert winner(table, Request("/b")) == "b"


def test_a_refused_replacement_changes_nothing():
    """A refused ``replace`` or ``plan`` changes nothing."""
    table = RouteTable([Route("a", 1)])
    for wrong in ([Route("b", 1), Route("b", 2)], [Route("b", 1), "x"], "x", {}, [None]):
        with pytest.raises(ConfigurationError, match="routes"):
            table.replace(wrong)
        with pytest.raises(ConfigurationError, match="routes"):
            table.plan(wrong, [])
    assert winner(table, Request("/")) == "a"
    with pytest.raises(ConfigurationError, match="sample"):
        table.plan([], ["/"])


@pytest.mark.parametrize(
    ("options", "name"),
    [({"order": "best"}, "order"), ({"spelling": "STRICT"}, "spelling"), ({"routes": [1]}, "routes")],
)
def test_wrong_options_are_refused(options, name):
    """Each wrong option is refused by its name."""
    with pytest.raises(ConfigurationError, match=name):
        RouteTable(**{"routes": [], **options})


@pytest.mark.parametrize(
    "options",
    [{"name": ""}, {"to": None}, {"host": "a:80"}, {"host": "é"}, {"host": []}, {"host": "*.*.b"}, {"host": "a.*"},
     {"path": "/a"}, {"method": ""}, {"method": []}, {"method": "G T"}, {"headers": ["x"]}, {"headers": "x"},
     {"cookies": 1}, {"query": [header("x")]}, {"priority": 1.5}, {"timeout": 0}, {"timeout": -1}, {"attempts": 0},
     {"retry_on": [200]}, {"retry_on": 503}, {"rewrite": "/x"}, {"rewrite": "x", "path": prefix("/a")},
     {"rewrite": "/{id}", "path": prefix("/a")}, {"rewrite": r"\2", "path": regex("^(a)")},
     {"rewrite": "/{id:path}", "path": prefix("/a")}, {"rewrite": "/{no:path}", "path": template("/{id}")},
     {"rewrite": "/b?x=1", "path": prefix("/a")}, {"rewrite": "/b#x", "path": exact("/a")},
     {"rewrite": "//b", "path": prefix("/a")}, {"rewrite": "/{id}?x", "path": template("/{id}")},
     {"rewrite": "/b?x=1", "path": regex("^/a")}, {"rewrite": r"/b\n", "path": regex("^/a")},
     {"rewrite": "/b\r\nX: 1", "path": regex("^/a")}],
)  # fmt: skip
def test_wrong_routes_are_refused(options):
    """Each wrong value is refused by the parameter's name."""
    wrong = {"name": "a", "to": 1, **options}
    with pytest.raises(
        ConfigurationError, match=next(reversed(options)) if "rewrite" not in options else "rewrite"
    ):
        Route(**wrong)


@pytest.mark.parametrize(
    ("path", "rewrite", "target"),
    [
        (prefix("/a"), "/café menu", "/caf%C3%A9%20menu/7"),
        (text_prefix("/a"), '/"', "/%22/7"),
        (exact("/a/7"), "/é\r\nX: 1", "/%C3%A9%0D%0AX:%201"),
        (template("/a/{id}"), "/é/{id}/{", "/%C3%A9/7/%7B"),
        (template("/a/{rest:path}"), "/é/{rest:path}", "/%C3%A9/7"),
        (regex("^/a/(?P<id>.*)$"), r"/é \1 \g<id>", "/%C3%A9%207%207"),
    ],
)
def test_a_rewrite_is_escaped_as_patterns_are(path, rewrite, target):
    """A rewrite is written without escapes, whatever the pattern; what is forwarded is a target that HTTP allows."""
    table = RouteTable([Route("a", 1, path=path, rewrite=rewrite)])
    assert table.match(Request("/a/7")).target == target


def test_rewriting_needs_a_spelling_that_keeps_paths():
    """Where the matched path is not the sent one, a rewriting route is refused: decoded text must not be forwarded."""
    route = Route("a", 1, path=prefix("/a"), rewrite="/b")
    assert RouteTable([route], spelling=Spelling.RAW)
    with pytest.raises(ConfigurationError, match="rewrite"):
        RouteTable([route], spelling=Spelling.NGINX)


def test_fuzzed_requests_raise_nothing():
    """Twenty thousand requests of random bytes get an answer, rejected or not."""
    rng = random.Random(14)
    routes = [Route(f"r{n}", n, path=make("/a/b"), headers=[header("k").is_("1")][: n % 2]) for n, make in
              enumerate([exact, prefix, text_prefix, template])]  # fmt: skip
    tables = [RouteTable([*routes, Route("rest", 9)], spelling=spelling) for spelling in
              (Spelling.STRICT, Spelling.RFC3986, Spelling.RAW, Spelling.NGINX, Spelling.ENVOY)]  # fmt: skip
    alphabet = "/aab.%2fF5cC0;\\#\0 é*\n" + chr(0xD800)
    for number in range(20_000):
        path = "".join(rng.choices(alphabet, k=rng.randrange(12)))
        host = "".join(rng.choices("ab.:[]1,é ", k=rng.randrange(6)))
        fields = [("".join(rng.choices("kK:\n", k=2)), "".join(rng.choices("1;=,é", k=3))), ("Cookie", path)]
        request = Request(path, method=rng.choice(["GET", "", "é"]), host=host, query=path, headers=fields)
        table = tables[number % 5]
        match = table.match(request)
        assert (match is None) == (table.rejection(request) is not None)
        if match is not None:
            match.params, match.target, match.pool(host)
            table.explain(request)
