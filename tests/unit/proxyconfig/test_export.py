"""Export: what is written for each selector, what is refused or escaped, what is stated, and what is read back."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from pathlib import Path

import pytest
import yaml

from balancekit import Endpoint
from balancekit.cli import main
from balancekit.errors import ConfigurationError
from balancekit.l7 import Route, RouteTable, Split, exact, header, prefix, query
from balancekit.proxyconfig import (
    ExportPool,
    ProxyRequest,
    export_config,
    export_pool,
    lint_config,
    read_config,
)

ROOT = Path(__file__).parents[2] / "oracles" / "proxyconfig"
SPEC = importlib.util.spec_from_file_location("proxyconfig_export_cases", ROOT / "export_cases.py")
cases = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cases)
KINDS = ("nginx", "haproxy", "envoy")
HOSTILE = ('"', "'", "\n", "\r", ";", "{", "}", "#", "\0", "\\", "$", " ", "%", "\u2028", "é", "\udc80")


def pool(**changes):
    """Return a small pool."""
    given = {"name": "api", "endpoints": (Endpoint("10.0.0.1:80"), Endpoint("10.0.0.2:80"))}
    return ExportPool(**(given | {"selector": "RoundRobin"} | changes))


def read_back(folder, text, kind):
    """Return what a reader makes of a text."""
    path = folder / "proxy.conf"
    path.write_text(text)
    return read_config(str(path), kind=kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", HOSTILE)
def test_a_name_or_an_address_with_a_sign_of_the_syntax_is_refused(kind, sign):
    """A name or an address with a sign of the syntax is refused, whatever the proxy."""
    for make in (
        lambda: pool(name=f"a{sign}b"),
        lambda: pool(endpoints=(Endpoint("x", target=f"10.0.0.1{sign}:80"),)),
        lambda: pool(endpoints=(Endpoint(f"10.0.0.1{sign}:80"),)),
        lambda: pool(selector="RingHash", key=f"header:x{sign}y"),
        lambda: export_config([pool()], kind, listen=f"127.0.0.1:80{sign}"),
    ):
        with pytest.raises(ConfigurationError):
            make()


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
@pytest.mark.parametrize("sign", [sign for sign in HOSTILE if sign not in "\n\r\0\udc80"])
def test_a_value_with_any_sign_stays_one_value(tmp_path, kind, sign):
    """A condition and a path with a sign of the syntax are read back, and only that value matches."""
    wanted = f"x{sign}y"
    table = RouteTable(
        [
            Route("value", "api", headers=[header("x-a").is_(wanted)]),
            Route("path", "api", path=exact(f"/a{sign}b".replace("%", "%25").replace("#", "%23"))),
            Route("other", "web"),
        ]
    )
    found = export_config([pool(), pool(name="web")], kind, routes=table)
    config = read_back(tmp_path, found.text, kind)
    assert config.route(ProxyRequest("/", headers=(("x-a", wanted),))).pool == "api"
    assert config.route(ProxyRequest("/", headers=(("x-a", f"{wanted}z"),))).pool == "web"
    assert config.route(ProxyRequest(table.routes[1].path.literal)).pool == "api"


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_break_in_a_value_ends_no_line(kind):
    """A line break in a value is escaped or refused, and never written, not in a comment either."""
    table = RouteTable(
        [
            Route(
                "a\nuse_backend evil", "api", headers=[header("x-a").is_("1\nuse_backend evil\nserver evil;")]
            )
        ]
    )
    try:
        text = export_config([pool()], kind, routes=table).text
    except ConfigurationError:
        return
    if kind == "envoy":
        hosts = yaml.safe_load(text)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
        routes = hosts["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]
        assert [one["name"] for one in routes] == [table.routes[0].name]
        return
    assert not [
        line for line in text.splitlines() if line.strip().startswith(("use_backend evil", "server evil"))
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("selector", cases.SELECTORS)
def test_every_selector_is_written_and_what_is_no_equal_is_stated(kind, selector):
    """The nearest method has a difference that names the selector, in the list and in the text."""
    found = export_config([pool(selector=selector, key="client")], kind)
    stated = [one for one in found.differences if selector in str(one)]
    assert bool(stated) == (found.fidelity["api"] in {"nearest", "keys"})
    assert all(str(one) in found.text for one in found.differences)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("selector", cases.SELECTORS)
def test_what_is_written_has_no_findings(tmp_path, kind, selector):
    """Lint finds nothing in an export of a pool with checks and three attempts, but that First fills one server."""
    endpoints = [{"id": f"10.0.0.{n}:80", "weight": n} for n in range(1, 4)]
    tables = {
        "endpoints": endpoints,
        "balancer": {"selector": selector},
        "checks": {"path": "/healthz"},
        "retry": {"attempts": 3},
    }
    found = export_config([export_pool("api", tables, key="header:x-user")], kind, listen="10.0.0.9:80")
    config = read_back(tmp_path, found.text, kind)
    wanted = ["never-serves"] if (kind, selector) == ("haproxy", "First") else []
    assert [one.rule for one in lint_config(config)] == wanted


def test_what_a_proxy_lacks_is_stated():
    """What a proxy lacks is stated in the differences.

    Examples are active checks and slow start in nginx, budgets and routers.
    """
    made = export_pool(
        "api",
        {
            "endpoints": [{"id": f"10.0.0.{n}:80", "priority": n, "weight": 0.5 * n} for n in range(1, 5)],
            "balancer": {
                "selector": "LeastRequest",
                "load": "InFlight",
                "health": {"warm_up": {"window": 30.0}, "damping": {}},
                "routing": [{"kind": "Priority"}, {"kind": "Canary", "labels": {"v": "2"}, "share": 0.1}],
            },
            "checks": {"path": "/healthz", "interval": 5.0},
            "retry": {"attempts": 3, "timeout": 2.5, "hedge": 0.1},
        },
    )
    texts = {kind: export_config([made], kind) for kind in KINDS}
    for kind, needles in {
        "nginx": ("active checks", "slow start", "one level", "Canary", "balancer.load", "damping", "hedge"),
        "haproxy": ("one level", "Canary", "balancer.load", "damping", "hedge"),
        "envoy": ("slow start", "Canary", "balancer.load", "damping", "hedge"),
    }.items():
        stated = " ".join(map(str, texts[kind].differences))
        assert [needle for needle in needles if needle not in stated] == []
    assert "server 10.0.0.3:80 weight=3 max_fails=5 fail_timeout=2s backup;" in texts["nginx"].text
    assert "proxy_next_upstream_tries 3;" in texts["nginx"].text
    assert "check inter 5000ms fastinter 1000ms rise" in texts["haproxy"].text
    assert "slowstart 30s" in texts["haproxy"].text
    assert "retries 2" in texts["haproxy"].text
    cluster = yaml.safe_load(texts["envoy"].text)["static_resources"]["clusters"][0]
    assert [level["priority"] for level in cluster["load_assignment"]["endpoints"]] == [0, 1, 2, 3]
    assert cluster["health_checks"][0]["http_health_check"]["expected_statuses"] == [
        {"start": 200, "end": 300}
    ]
    assert cluster["outlier_detection"]["consecutive_5xx"] == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "key",
    [
        "header:x-user",
        "header:X-User_2",
        "cookie:uid",
        "cookie:u-id",
        "query:user",
        "query:user-1",
        "client",
        "target",
    ],
)
def test_a_key_is_read_back_as_what_it_was(tmp_path, kind, key):
    """The reader of an exported configuration hashes the same part of a request as the balancer."""
    found = export_config([pool(selector="RingHash", key=key)], kind)
    config = read_back(tmp_path, found.text, kind)
    request = ProxyRequest(
        "/a?xuser-1=z&user=q1&user-1=q2",
        headers=(("x-user", "h1"), ("x-user_2", "h2"), ("cookie", "a=b; xu-id=z; uid=c1; u-id=c2")),
        client="203.0.113.7",
    )
    wanted = {
        "header:x-user": "h1",
        "header:X-User_2": "h2",
        "cookie:uid": "c1",
        "cookie:u-id": "c2",
        "query:user": "q1",
        "query:user-1": "q2",
        "client": "203.0.113.7",
        "target": "/a?xuser-1=z&user=q1&user-1=q2",
    }
    decision = config.explain(request)
    assert decision.key == wanted[key]
    assert decision.server is not None
    assert not [
        one
        for one in config.not_modelled
        if not any(word in one.text for word in ("redispatch", "next_upstream", "outlier", "retry"))
    ]


def test_weights_keep_their_shares():
    """Fractions become whole numbers; what cannot be exact is stated with its error; zero gets nothing."""
    endpoints = (
        Endpoint("10.0.0.1:80", weight=0.5),
        Endpoint("10.0.0.2:80", weight=1.25),
        Endpoint("10.0.0.3:80", weight=0),
    )
    found = export_config([pool(endpoints=endpoints, selector="SmoothWeightedRoundRobin")], "nginx")
    assert "10.0.0.1:80 weight=2 " in found.text
    assert "10.0.0.2:80 weight=5 " in found.text
    assert "10.0.0.3:80 max_fails=5 fail_timeout=2s down;" in found.text
    wide = (Endpoint("10.0.0.1:80", weight=1), Endpoint("10.0.0.2:80", weight=1000))
    found = export_config([pool(endpoints=wide, selector="SmoothWeightedRoundRobin")], "haproxy")
    assert "weight 256" in found.text
    assert "off by up to 0.29%" in str(found.differences)


def test_a_split_and_a_rewrite_are_written_or_stated():
    """Shares of a split are written for every proxy, and a rewrite is stated as a difference."""
    table = RouteTable(
        [
            Route(
                "split",
                Split({"api": 3, "web": 1}, by="cookie:uid"),
                path=prefix("/a"),
                rewrite="/b",
                timeout=2.0,
            ),
            Route("rest", "web", query=[query("v").between(1, 10**6)]),
        ]
    )
    for kind, needle in {"nginx": "25.00% web;", "haproxy": "lt 750000", "envoy": "weight: 750000"}.items():
        found = export_config([pool(), pool(name="web")], kind, routes=table)
        assert needle in found.text
        assert "rewrite is not written" in str(found.differences)
        assert ("its time-out, attempts" in str(found.differences)) == (kind != "envoy")


def test_what_cannot_be_exported_is_refused():
    """What cannot be exported is refused.

    Examples are a missing key, no endpoints, an unknown pool, and discovery.
    """
    table = RouteTable([Route("a", "nowhere")])
    for make in (
        lambda: pool(selector="RingHash"),
        lambda: pool(endpoints=()),
        lambda: pool(endpoints=(Endpoint("a:1", weight=0),)),
        lambda: pool(endpoints=(Endpoint("10.0.0.1"),)),
        lambda: pool(endpoints=(Endpoint("a", target="https://10.0.0.1"),)),
        lambda: pool(selector="Nearest"),
        lambda: export_config([pool()], "apache"),
        lambda: export_config([], "nginx"),
        lambda: export_config([pool(), pool()], "nginx", routes=RouteTable([])),
        lambda: export_config([pool(), pool(name="web")], "nginx"),
        lambda: export_config([pool()], "nginx", routes=table),
        lambda: export_config([pool()], "nginx", listen="localhost"),
        lambda: export_pool("api", {"discovery": {"source": "dns:orders.svc:80"}}),
    ):
        with pytest.raises(ConfigurationError):
            make()


def recorded():
    """Return what live runs served, by name."""
    return json.loads((ROOT / "export.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_every_selector_was_served_as_it_is_exported(tmp_path, kind):
    """The recorded text is today's; what served it is what the balancer chooses and the reader says."""
    row = recorded()[kind]
    pools, routes = cases.every_selector(row["addresses"])
    found = export_config(pools, kind, routes=routes, listen=f"127.0.0.1:{row['port']}")
    assert hashlib.sha256(found.text.encode()).hexdigest() == row["text"], "record again: tests/live"
    served = [row["addresses"]["abcd".index(letter)] for letter in row["served"]]
    for place, one in enumerate(pools):
        cases.check_pool(
            one, found.fidelity[one.name], served[place * cases.REQUESTS : (place + 1) * cases.REQUESTS]
        )
    config = read_back(tmp_path, found.text, kind)
    asked = [
        ProxyRequest(one["target"], host=one["host"], headers=tuple(map(tuple, one["headers"])))
        for single in pools
        for one in cases.pool_requests(single)
    ]
    compared = 0
    for (routing, name), address in zip(config.follow(asked), served, strict=True):
        there = config.pools[routing.pool]
        if there.deterministic:
            assert next(server.address for server in there.servers if server.name == name) == address
            compared += 1
    assert compared >= {"nginx": 10, "haproxy": 10, "envoy": 4}[kind] * cases.REQUESTS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(cases.TABLES))
def test_the_proxy_took_the_route_of_the_table(tmp_path, kind, seed):
    """What was served is what the table matches, and what the reader says of the text."""
    row = recorded()[f"{kind}-table-{seed}"]
    pools, table, requests = cases.table_case(seed, row["addresses"])
    found = export_config(pools, kind, routes=table, listen=f"127.0.0.1:{row['port']}")
    assert hashlib.sha256(found.text.encode()).hexdigest() == row["text"], "record again: tests/live"
    wanted = [cases.matched(table, one) for one in requests]
    names = {one.name: letter for one, letter in zip(pools, "abcd", strict=True)}
    assert "".join([names.get(one, "-") for one in wanted]) == row["served"]
    assert len(set(row["served"])) > 1
    config = read_back(tmp_path, found.text, kind)
    asked = [
        ProxyRequest(
            one["target"],
            method=one["method"],
            host=one["host"],
            headers=tuple(map(tuple, one["headers"])),
        )
        for one in requests
    ]
    assert [config.route(request).pool for request in asked] == wanted


def test_the_command_prints_the_text_and_what_differs(tmp_path, capsys):
    """The command prints the text on standard output and differences on standard error.

    Its status is 1 with --strict, and 2 for a file that is none.
    """
    path = tmp_path / "orders.toml"
    path.write_text('endpoints = ["10.0.0.1:80", "10.0.0.2:80"]\n[balancer]\nselector = "RingHash"\n')
    assert main(["export", str(path), "--to", "haproxy", "--key", "header:x-user"]) == 0
    written = capsys.readouterr()
    assert "backend orders" in written.out
    assert "another than in Python" in written.err
    assert main(["export", f"api={path}", "--to", "nginx", "--key", "client", "--strict"]) == 1
    assert "upstream api {" in capsys.readouterr().out
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\nname = "all"\nto = "orders"\nprefix = "/o"\n')
    assert main(["export", str(path), "--to", "envoy", "--key", "client", "--routes", str(routes)]) == 0
    assert "path_separated_prefix: /o" in capsys.readouterr().out
    assert main(["export", str(path), "--to", "nginx"]) == 2
    assert "key" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "none.toml"), "--to", "nginx"]) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nginx.conf", "events {}\nhttp { upstream u { server 127.0.0.1:80; } }\n"),
        ("haproxy.cfg", "backend b\n  server s 127.0.0.1:80\n"),
        ("envoy.yaml", "static_resources: {}\n"),
        ("envoy.json", '{"static_resources": {}}'),
        ("none.conf", None),
    ],
)
def test_a_proxys_own_file_is_not_exported(tmp_path, capsys, name, text):
    """The error says what FILE must be, and which commands take the configuration of a proxy."""
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    for file in (str(path), f"shop={path}"):
        assert main(["export", file, "--to", "haproxy"]) == 2
        error = capsys.readouterr().err
        assert f"FILE={str(path)!r}" in error
        assert "the configuration of a balancer in TOML or JSON" in error
        assert all(command in error for command in ("balancekit lint", "balancekit plan", "simulate --proxy"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("selector", ["First", "RoundRobin"])
def test_a_level_of_backups_that_a_proxy_has_not_is_no_equal(kind, levels, selector):
    """Beyond two levels nginx is only near, and so is HAProxy unless its own method knows the order; Envoy has them all."""
    endpoints = tuple([Endpoint(f"10.0.0.{n}:80", priority=n) for n in range(levels)])
    routers = ({"kind": "Priority"},) if selector == "RoundRobin" else ()
    found = export_config([pool(endpoints=endpoints, selector=selector, routers=routers)], kind)
    near = levels == 3 and (kind == "nginx" or (kind == "haproxy" and selector == "RoundRobin"))
    assert found.fidelity["api"] == ("nearest" if near else "same")
    assert any("beyond two levels" in str(one) for one in found.differences) is near


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("timeout", value) for value in (math.nan, math.inf, 0.0, -1.0, True, "1")],
        *[("routers", value) for value in (3, (3,), ({},), [{"kind": "Priority"}])],
        *[("health", value) for value in (3, True)],
        *[("check", value) for value in (3, "/healthz")],
        ("schedule", 3),
        ("schedule", None),
        ("options", 3),
        *[("factor", value) for value in (math.nan, "x", 0.5)],
        *[("overprovisioning", value) for value in (math.nan, "x", 0.5)],
        *[("max_inflight", value) for value in (0, -4, True, 1.5)],
    ],
)
def test_wrong_values_of_a_pool_are_refused_at_once(name, value):
    """The error names the value; none is written, and none fails later with an error of another kind."""
    kinds = {"factor": "BoundedLoad", "overprovisioning": "Priority", "max_inflight": "MaxInFlight"}
    given = {"routers": ({"kind": kinds[name], name: value},)} if name in kinds else {name: value}
    with pytest.raises(ConfigurationError, match=name):
        pool(**given)


@pytest.mark.parametrize(
    "options", [{"d": "2)\nbackend evil"}, {"d": 2.5}, {"d": 0}, {"vnodes": 10}], ids=repr
)
def test_options_that_a_selector_has_not_are_refused_at_once(options):
    """An option that the selector does not have, or a value that it does not take, enters no text."""
    with pytest.raises(ConfigurationError, match=r"^pool\.options"):
        pool(selector="PowerOfChoices", options=options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "listen",
    [
        "999.1.1.1:80",
        "1.2.3:80",
        "[::1::2]:80",
        "[1.2.3.4]:80",
        "::1:80",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "",
    ],
)
def test_only_addresses_are_listened_on(kind, listen):
    """What no proxy can bind is refused, so that the text is accepted by it."""
    with pytest.raises(ConfigurationError, match="listen"):
        export_config([pool()], kind, listen=listen)
