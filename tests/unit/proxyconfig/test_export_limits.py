"""Exports at the limits of the proxies: names, times, shares, weights, levels, empty values, signs in names."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from random import Random

import pytest
import yaml

from balancekit import Endpoint
from balancekit.checks import Schedule, TcpCheck
from balancekit.errors import ConfigurationError
from balancekit.l7 import Request, Route, RouteTable, Split, cookie, exact, header, prefix, query
from balancekit.proxyconfig import ExportPool, ProxyRequest, export_config, read_config
from balancekit.proxyconfig._export_routes import between
from balancekit.proxyconfig._export_text import whole_weights

ROOT = Path(__file__).parents[2] / "oracles" / "proxyconfig"
SPEC = importlib.util.spec_from_file_location("proxyconfig_export_cases", ROOT / "export_cases.py")
cases = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cases)
KINDS = ("nginx", "haproxy", "envoy")


def pool(**changes):
    """Return a small pool."""
    given = {"name": "api", "endpoints": (Endpoint("10.0.0.1:80"), Endpoint("10.0.0.2:80"))}
    return ExportPool(**(given | {"selector": "RoundRobin"} | changes))


def stated(found):
    """Return all differences as one text."""
    return " ".join(map(str, found.differences))


def read_back(folder, text, kind):
    """Return what a reader makes of a text."""
    path = folder / "proxy.conf"
    path.write_text(text)
    return read_config(str(path), kind=kind)


def cluster(found):
    """Return the first cluster of an export to Envoy."""
    return yaml.safe_load(found.text)["static_resources"]["clusters"][0]


@pytest.mark.filterwarnings("ignore:.*it counts seconds")  # the longest times are what is exported
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", cases.EXTREMES)
def test_times_have_the_form_and_the_bounds_of_the_proxy(kind, name):
    """No time has an exponent, none is zero, and none is longer than the proxy takes."""
    pools, routes = cases.EXTREMES[name]()
    text = export_config(pools, kind, routes=routes).text
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert not re.search(r"[0-9]e[+-]?[0-9]", body)
    times = re.findall(r"(?<![\w.])([0-9.]+)(ms|s)(?![\w.])", body)
    seconds = [float(number) / (1000 if unit == "ms" else 1) for number, unit in times]
    assert all(
        0 < one <= {"nginx": 1e9, "haproxy": 2_147_483.0, "envoy": 1e9}[kind] for one in seconds if one
    )
    assert kind == "envoy" or all(seconds)


@pytest.mark.parametrize("kind", KINDS)
def test_times_that_are_cut_are_stated(kind):
    """A time-out of a hundred years is cut to what the proxy takes, and said to be."""
    assert "no time is longer" in stated(export_config([pool(timeout=3e9)], kind))
    assert "no time is longer" not in stated(export_config([pool(timeout=3600.0)], kind))


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_a_pool_is_that_of_a_pool(tmp_path, kind):
    """Names that mean something to a proxy or to a parser lead to their pool like any other."""
    names = ("none", "default", "y", "n", "null", "true", "on", "hostnames", "balancekit")
    table = RouteTable(
        [Route(name, name, path=prefix(f"/{name}"), headers=[header("y").is_("n")]) for name in names]
    )
    config = read_back(
        tmp_path, export_config([pool(name=name) for name in names], kind, routes=table).text, kind
    )
    for name in names:
        assert config.route(ProxyRequest(f"/{name}/x", headers=(("y", "n"),))).pool == name
    assert config.route(ProxyRequest("/elsewhere")).pool is None


def test_envoys_parser_reads_texts_as_texts():
    """``y`` and ``n`` are flags for Envoy's YAML: they are quoted, as names and as values."""
    table = RouteTable([Route("n", "y", headers=[header("n").is_("N")])])
    text = export_config([pool(name="y")], "envoy", routes=table).text
    assert not re.search(r": [yYnN]$", text, re.MULTILINE)
    assert '"y"' in text


def test_names_that_differ_by_case_only_are_refused_for_nginx():
    """To nginx two such upstreams are one name twice; the others tell them apart."""
    pools = [pool(name="API"), pool(name="api")]
    table = RouteTable([Route("a", "API", path=prefix("/a")), Route("b", "api")])
    with pytest.raises(ConfigurationError, match="case"):
        export_config(pools, "nginx", routes=table)
    for kind in ("haproxy", "envoy"):
        assert export_config(pools, kind, routes=table)


def test_the_zone_of_an_upstream_has_room_for_its_servers():
    """The shared memory of nginx grows by a kibibyte for each server: 1,000 do not fit in what 300 do."""
    for count in (2, 1_000, 3_000):
        endpoints = tuple(Endpoint(f"10.0.{n // 250}.{n % 250}:80") for n in range(count))
        text = export_config([pool(endpoints=endpoints)], "nginx").text
        assert int(re.search(r"zone api ([0-9]+)k;", text)[1]) >= 256 + count


SPLITS = {
    "tiny": {"a": 1, "b": 100_000, "c": 99_999},
    "rounded up": {
        "a": 16.6655,
        "b": 16.6655,
        "c": 16.6655,
        "d": 16.6655,
        "e": 16.6655,
        "f": 16.6655,
        "g": 0.007,
    },
    "even": {"a": 60, "b": 30, "c": 10},
}


@pytest.mark.parametrize("name", SPLITS)
def test_shares_of_a_split_are_what_nginx_takes(name):
    """Each is at least a hundredth of a percent, together they are less than the whole, and what is rounded is stated."""
    weights = SPLITS[name]
    pools = [pool(name=one) for one in weights]
    found = export_config(pools, "nginx", routes=RouteTable([Route("all", Split(weights))]))
    shares = [round(float(one) * 100) for one in re.findall(r"^ +([0-9.]+)% ", found.text, re.MULTILINE)]
    assert len(shares) == len(weights) - 1
    assert min(shares) >= 1
    assert sum(shares) < 10_000
    assert ("hundredths of a percent" in stated(found)) is (name != "even")


@pytest.mark.parametrize(
    ("weights", "whole"),
    [
        ([1e-4, 2e-4], [1, 2]),
        ([1e-300, 3e-300], [1, 3]),
        ([1e99, 5e98], [2, 1]),
        ([1.0, 0.0], [1, 0]),
        ([123, 997, 1009], [123, 997, 1009]),
        ([0.5, 0.3, 0.2], [5, 3, 2]),
    ],
)
def test_weights_of_any_size_keep_their_proportions(weights, whole):
    """Weights of any size keep their proportions: very small and very large ones are as exact as others."""
    assert whole_weights(weights, most=65_535) == (whole, 0.0)


def test_a_very_small_weight_is_the_smallest_that_the_proxy_has():
    """One of 0.0004 beside 1 gets a share as near as whole numbers come, not half."""
    whole, off = whole_weights([1.0, 0.0004], most=256)
    assert whole == [256, 1]
    assert off == pytest.approx(1 / 257 - 0.0004 / 1.0004)


def test_bounds_of_numbers_are_an_expression_of_few_letters():
    """The expression for bounds accepts exactly the integers within them, with leading zeros.

    It is short however many there are.
    """
    rng = Random(8)
    for _ in range(1_000):
        most = rng.choice((9, 120, 1_500, 10**9, 10**18))
        low, high = sorted((rng.randint(-most, most), rng.randint(-most, most)))
        text = between(low, high)
        whole = re.compile(text)
        tried = {low, high, low - 1, high + 1, 0, *[rng.randint(-2 * most, 2 * most) for _ in range(20)]}
        for value in tried:
            for written in (str(value), f"{'-' if value < 0 else ''}00{abs(value)}"):
                assert (whole.fullmatch(written) is not None) is (low <= value <= high), (low, high, written)
        assert (whole.fullmatch("-0") is not None) is (low <= 0 <= high)
        assert not any(whole.fullmatch(wrong) for wrong in ("", "-", "+1", "1x", " 1"))
        assert len(text) < 1_500


@pytest.mark.parametrize("kind", KINDS)
def test_wide_bounds_are_read_back(tmp_path, kind):
    """A range of more numbers than fit in a line, with negative ones, decides as in the table."""
    table = RouteTable([Route("n", "api", headers=[header("x-n").between(-5, 10**9)]), Route("rest", "web")])
    config = read_back(tmp_path, export_config([pool(), pool(name="web")], kind, routes=table).text, kind)
    for value in ("-6", "-5", "0", "77", "1000000000", "1000000001", "7x"):
        wanted = table.match(Request("/", headers={"x-n": value})).pool()
        assert config.route(ProxyRequest("/", headers=(("X-N", value),))).pool == wanted


def test_levels_beyond_those_of_envoy_share_the_last():
    """Envoy has 128: of 150 the further ones are in the last, which is stated and no equal."""
    endpoints = tuple(Endpoint(f"10.0.0.{n}:80") for n in range(150))
    found = export_config([pool(endpoints=endpoints, selector="First")], "envoy")
    levels = cluster(found)["load_assignment"]["endpoints"]
    assert [level["priority"] for level in levels] == list(range(128))
    assert len(levels[-1]["lb_endpoints"]) == 23
    assert found.fidelity["api"] == "nearest"
    assert "128 priority levels" in stated(found)


def test_tables_beyond_those_of_envoy_are_of_its_default():
    """More slots than Envoy allows are not written, and stated; as many as it allows are."""
    large = pool(selector="MaglevHash", key="client", options={"size": 5_000_081})
    assert "maglev_lb_config" not in cluster(export_config([large], "envoy"))
    assert "5,000,011 slots" in stated(export_config([large], "envoy"))
    small = pool(selector="MaglevHash", key="client", options={"size": 251})
    assert cluster(export_config([small], "envoy"))["maglev_lb_config"] == {"table_size": 251}


@pytest.mark.parametrize(
    ("target", "kind"), [("[fe80::1]:80", "STATIC"), ("1234:80", "STRICT_DNS"), ("a.test:80", "STRICT_DNS")]
)
def test_only_names_are_looked_up(target, kind):
    """An address of IPv6 with letters is none that Envoy looks up; a name of digits is. nginx and HAProxy look up once, which is stated."""
    made = pool(endpoints=(Endpoint("a", target),))
    assert cluster(export_config([made], "envoy"))["type"] == kind
    for other in ("nginx", "haproxy"):
        assert ("looked up once" in stated(export_config([made], other))) is (kind == "STRICT_DNS")


def test_headers_with_underscores_reach_nginx(tmp_path):
    """Nginx drops them unless it is told not to: a key and a condition of such a header have the directive, and say what it does."""
    keyed = export_config([pool(selector="RingHash", key="header:X_User")], "nginx")
    assert "underscores_in_headers on;" in keyed.text
    assert "taken for one" in stated(keyed)
    table = RouteTable([Route("a", "api", headers=[header("x_a").is_("1")]), Route("b", "web")])
    config = read_back(
        tmp_path, export_config([pool(), pool(name="web")], "nginx", routes=table).text, "nginx"
    )
    assert config.route(ProxyRequest("/", headers=(("X_A", "1"),))).pool == "api"
    assert "underscores_in_headers" not in export_config([pool()], "nginx").text


@pytest.mark.parametrize("name", ["a[0]", "d'e", 'd"e', "f(g)", "h,i", "j\\k", "n{o}"])
def test_any_name_of_a_parameter_is_one_argument_of_haproxy(tmp_path, name):
    """Signs of the syntax in a name are quoted within the word that fetches it."""
    table = RouteTable([Route("a", "api", headers=[query(name).is_("1")]), Route("b", "web")])
    config = read_back(
        tmp_path, export_config([pool(), pool(name="web")], "haproxy", routes=table).text, "haproxy"
    )
    assert config.route(ProxyRequest(f"/?x=1&{name}=1")).pool == "api"
    assert config.route(ProxyRequest(f"/?{name}=2")).pool == "web"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "condition",
    [
        header("x").is_(""),
        header("x").is_not(""),
        cookie("x").present(),
        cookie("x").absent(),
        query("x").is_(""),
        query("x").is_not(""),
        query("x").absent(),
        query("x").present(),
        query("x").matches("a*"),
    ],
    ids=repr,
)
def test_empty_values_decide_as_in_the_table_or_are_stated(tmp_path, kind, condition):
    """An empty value, a parameter without ``=`` and a missing one decide as in the table, or are stated."""
    table = RouteTable([Route("a", "api", headers=[condition]), Route("b", "web")])
    found = export_config([pool(), pool(name="web")], kind, routes=table)
    config = read_back(tmp_path, found.text, kind)
    for target, headers in (
        ("/", ()),
        ("/?x", ()),
        ("/?x=", ()),
        ("/?x=a", ()),
        ("/", (("X", ""),)),
        ("/", (("Cookie", "x="),)),
        ("/", (("Cookie", "x=a"),)),
    ):
        wanted = table.match(Request.from_url(f"http://shop.test{target}", headers=list(headers))).pool()
        read = config.route(ProxyRequest(target, host="shop.test", headers=headers)).pool
        if read != wanted:
            assert "counts as absent" in stated(found), (target, headers)


def test_checks_have_their_time_out_and_their_fast_interval():
    """HAProxy gets both; what jitter and Envoy's interval lack is stated."""
    made = pool(check=TcpCheck(), schedule=Schedule(interval=4.0, timeout=1.5, fast=0.5))
    text = export_config([made], "haproxy").text
    assert "timeout check 1500ms" in text
    assert "check inter 4000ms fastinter 500ms" in text
    for kind, needles in {"haproxy": ("jitter",), "envoy": ("jitter", "checked faster")}.items():
        assert all(needle in stated(export_config([made], kind)) for needle in needles)
    exact_one = pool(check=TcpCheck(), schedule=Schedule(interval=4.0, timeout=1.5, fast=4.0, jitter=0.0))
    for kind in ("haproxy", "envoy"):
        assert "jitter" not in stated(export_config([exact_one], kind))


def test_the_address_of_a_check_is_stated():
    """A check of another address than the server's is not written."""
    made = pool(check=TcpCheck(address=lambda endpoint: "10.0.0.9:9"))
    for kind in ("haproxy", "envoy"):
        assert "address of the check" in stated(export_config([made], kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_with_a_router_that_is_not_written_is_no_equal(kind):
    """A pool with a router that is not written is stated as no equal."""
    found = export_config([pool(routers=({"kind": "Canary"},))], kind)
    assert found.fidelity["api"] == "nearest"


def test_a_word_that_nginx_cannot_read_is_refused():
    """A value of 5,000 letters, and more conditions than one word has room for."""
    long = RouteTable([Route("a", "api", headers=[header("x").is_("v" * 5_000)])])
    many = RouteTable(
        [Route(f"r{n}", "api", path=exact(f"/{n}"), headers=[header(f"h{n}").is_("1")]) for n in range(400)]
    )
    for table in (long, many):
        with pytest.raises(ConfigurationError, match="4,000 bytes"):
            export_config([pool()], "nginx", routes=table)
