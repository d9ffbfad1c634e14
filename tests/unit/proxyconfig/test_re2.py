"""Regular expressions of Envoy: what RE2 refuses is refused, and what only RE2 has is noted.

The verdicts are those of Envoy 1.40, ``envoy --mode validate``, one expression at a time.
"""

from __future__ import annotations

import json

import pytest

from balancekit.proxyconfig import ProxyConfigError, ProxyRequest, read_config
from balancekit.proxyconfig._re2 import re2_problem

REFUSED = [
    *("(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?P<n>a)(?P=n)", "(?>a)", "a++", "a*+", "a{2}+"),
    *(r"\Z", r"\h", r"\R", r"\e", r"\K", "(?x)a b", "(?#c)a", ""),
    *("a{1001}", "a{0,1001}", "(a{100}){11}", "(a{1000}){2}", "(((a{10}){10}){10}){10}", "(.{1,255}){4}"),
    *("a{1000}", "a{0,1000}", "/[^/]{1,100}/.*", "([a-z]{1,200}/){1,5}", "a" * 500, "b|" + "a" * 120),
]
TAKEN = [
    *("/a", "(?<n>a)", "(?P<n>a)", "(?i)a", "(?i:a)b", "(?s)a", "(?m)^a$", "(?-s:a)", r"\Qa.b\E", r"\Aa\z"),
    *(
        "[[:alpha:]]",
        r"\d\w\s\D\W\S",
        "[]a]",
        "[a&&b]",
        "[[a]",
        r"\x41",
        r"\x{41}",
        r"\a\f\v",
        r"\01",
        r"\101",
    ),
    *("()", "(|a)", "a|", "^$", ".*.*.*", r"\bfoo\B", "a{", "a{x}", "a}", "a]", "a$b", r"\_\-\/", "é"),
    *("((((((((((((((((((((a))))))))))))))))))))", "a{0}", "(?:a{20}|b{20})", "a{,3}", "(?:ab?c*d+?){10}"),
]
NOTED = [r"\pL", r"\p{Greek}", r"\P{L}", r"\C", "a(?i)b", "(?U)a+", "[[:^alpha:]]"]


def bootstrap(expression: str, **more: object) -> str:
    """Return a bootstrap with a route for an expression before one for the rest."""
    routes = [
        {"match": {"safe_regex": {"regex": expression}}, "route": {"cluster": "b"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "a"}},
    ]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "s",
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 80}}
    listener = {"name": "l", "address": address, "filter_chains": [{"filters": filters}]}
    clusters = [
        {
            "name": name,
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }
        for name in "ab"
    ]
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}, **more})


@pytest.fixture
def read(tmp_path):
    """Return a reader of a bootstrap."""

    def read(text):
        path = tmp_path / "envoy.json"
        path.write_text(text, encoding="utf-8")
        return read_config(str(path))

    return read


@pytest.mark.parametrize("expression", REFUSED, ids=lambda text: text[:30])
def test_what_re2_refuses_is_refused(read, expression):
    """The error says what RE2 does not have, or that the program is too large."""
    with pytest.raises(ProxyConfigError, match=r"RE2|is not empty"):
        read(bootstrap(expression))


@pytest.mark.parametrize("expression", TAKEN, ids=lambda text: text[:30])
def test_what_re2_takes_is_read(read, expression):
    """Reading raises nothing and notes nothing."""
    assert re2_problem(expression) == ""
    assert read(bootstrap(expression)).not_modelled == ()


@pytest.mark.parametrize("expression", NOTED)
def test_what_only_re2_has_is_noted(read, expression):
    """The file is read; the route is listed, and taken not to match."""
    found = read(bootstrap(expression))
    assert [note.why for note in found.not_modelled] == [
        "it has what Python's expressions have not: it is taken not to match"
    ]
    assert found.route(ProxyRequest("/a")).pool == "a"


def test_a_runtime_can_raise_the_limit(read):
    """With a runtime that sets the limit, a large program is read; what RE2 does not have is refused still."""
    layers = [{"name": "a", "static_layer": {"re2.max_program_size.error_level": 1000}}]
    runtime = {"layered_runtime": {"layers": layers}}
    assert "b" in read(bootstrap("a{500}", **runtime)).pools
    with pytest.raises(ProxyConfigError, match="at most 1000 times"):
        read(bootstrap("a{1001}", **runtime))
