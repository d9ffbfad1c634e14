"""Plans of changes: moved keys, shares, sticky users and the clients of a log, by the rule and by brute force."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from tests.oracles.proxyconfig import changes
from tests.oracles.proxyconfig.compare import asked

from balancekit.cli import main
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig import ProxyRequest, plan_change, read_config, read_log

ADDRESSES = [f"127.0.0.1:{40001 + number}" for number in range(6)]
ROOT = Path(__file__).parents[2] / "oracles" / "proxyconfig"
DRAWS = 1_000
HASHED_ANEW = {
    ("nginx", "main"): {"algorithm changed", "function changed", "key changed"},
    ("nginx", "other"): {"function changed", "key changed"},
    ("haproxy", "main"): {"algorithm changed", "function changed", "key changed"},
    ("haproxy", "other"): {"function changed", "key changed"},
    ("envoy", "main"): {"algorithm changed", "key changed"},
    ("envoy", "other"): {"key changed"},
}
"""Changes after which keys have other hashes, or the same hash is divided in a way that does not compare."""


@pytest.fixture
def read(tmp_path):
    """Return what writes a configuration and reads it."""

    def written(text, kind):
        path = tmp_path / ("proxy.json" if kind == "envoy" else "proxy.conf")
        path.write_text(text)
        return read_config(str(path), kind=kind)

    return written


@pytest.mark.parametrize("kind", changes.KINDS)
@pytest.mark.parametrize("name", changes.CHANGES)
def test_moved_parts_and_shares_are_those_of_many_keys(read, kind, name):
    """Of 1,000 keys as many move, and as many belong to each address, as the plan says, within 5 deviations."""
    before = read(changes.text(kind, changes.BASE, ADDRESSES, 8080), kind)
    after = read(changes.text(kind, changes.CHANGES[name], ADDRESSES, 8080), kind)
    plan = plan_change(before, after)
    assert [pool.name for pool in plan.pools] == ["main", "other"]
    rng = Random(f"{kind} {name}")
    for pool in plan.pools:
        keys = [rng.randbytes(8).hex() for _ in range(DRAWS)]
        sent = [
            ProxyRequest(
                "/" if pool.name == "main" else "/o", headers=(("X-User", key), ("X-Other", key[::-1]))
            )
            for key in keys
        ]
        owners = [[served for _, served in config.follow(sent)] for config in (before, after)]
        addresses = [
            {server.name: server.address for server in config.pools[pool.name].servers}
            for config in (before, after)
        ]
        pairs = [(addresses[0][a], addresses[1][b]) for a, b in zip(*owners, strict=True)]
        if pool.moved is None:  # nginx hashes the keys of a server that is down once more
            assert (kind, name) == ("nginx", "taken out")
            continue
        near(sum(a != b for a, b in pairs), pool.moved)
        assert pool.exact == (name not in HASHED_ANEW[kind, pool.name])
        for side, shares in enumerate((pool.before, pool.after)):
            assert math.isclose(sum(shares.values()), 1.0)
            counts = Counter(pair[side] for pair in pairs)
            for address, share in shares.items():
                near(counts[address], share)
        if name in {"nothing", "renamed", "route moved"}:
            assert pool.moved == 0.0


def near(count, share):
    """Check that a count of draws is that of a share."""
    assert abs(count - DRAWS * share) <= 5 * math.sqrt(DRAWS * share * (1 - share)) + 1e-6, (
        count / DRAWS,
        share,
    )


@pytest.mark.parametrize("kind", changes.KINDS)
@pytest.mark.parametrize("name", changes.CHANGES)
def test_moved_requests_are_those_that_the_real_servers_moved(read, kind, name):
    """Of 300 recorded requests exactly those move that had another server after the change."""
    row = json.loads((ROOT / "plan.json").read_text())[kind]
    before = read(changes.text(kind, changes.BASE, row["addresses"], row["port"]), kind)
    after = read(changes.text(kind, changes.CHANGES[name], row["addresses"], row["port"]), kind)
    plan = plan_change(before, after, requests=asked(changes.requests()))
    assert plan.bound == plan.requests == changes.KEYS
    pairs = zip(row["served"]["nothing"], row["served"][name], strict=True)
    assert list(plan.moved) == [place for place, (was, now) in enumerate(pairs) if was != now]
    assert len(plan.moved_clients) == len(plan.moved)


HAPROXY = """\
defaults
  mode http
frontend web
  bind :8080
  default_backend shop
backend shop
  balance roundrobin
  cookie SRV insert indirect
  server a 10.0.0.1:80 cookie one
  server b 10.0.0.2:80 cookie two weight 3
"""


def test_sticky_users_who_lose_their_server_are_named(read, tmp_path):
    """A cookie that no server has, or that another address has; shares of turns by weight."""
    before = read(HAPROXY, "haproxy")
    after = read(
        HAPROXY.replace("10.0.0.1:80 cookie one", "10.0.0.3:80 cookie one").replace("cookie two", "cookie 2"),
        "haproxy",
    )
    sent = [
        ProxyRequest(headers=(("Cookie", f"SRV={value}"),), client=f"10.1.0.{place}")
        for place, value in enumerate(("one", "two", "x"), 1)
    ]
    plan = plan_change(before, after, requests=sent)
    (pool,) = plan.pools
    assert pool.lost == {"one": "10.0.0.1:80", "two": "10.0.0.2:80"}
    assert (pool.moved, pool.before) == (None, {"10.0.0.1:80": 0.25, "10.0.0.2:80": 0.75})
    assert (plan.requests, plan.bound, plan.moved, plan.moved_clients) == (
        3,
        2,
        (0, 1),
        ("10.1.0.1", "10.1.0.2"),
    )
    assert "users with the cookie 'one' lose 10.0.0.1:80" in str(plan)
    assert plan_change(before, before).pools[0].lost == {}


def test_plans_compare_one_kind_of_proxy(read):
    """A plan of two kinds of proxy is refused."""
    before = read(HAPROXY, "haproxy")
    with pytest.raises(ConfigurationError, match="haproxy"):
        plan_change(before, read("upstream u { server 10.0.0.1; }", "nginx"))


NGINX_LINE = (
    '203.0.113.{0} - bob [28/Nov/2026:1{1}:00:00 +0000] "GET /a?user={0} HTTP/1.1" 200 5 "-" "x \\"y\\""\n'
)
HAPROXY_LINE = (
    "Nov 28 18:00:00 lb haproxy[7]: 203.0.113.{0}:4711 [28/Nov/2026:1{1}:00:00.250] web shop/a 0/0/1/2/3 200 150 - - ---- "
    '1/1/0/0/0 0/0 "GET /a?user={0} HTTP/1.1"\n'
)
ENVOY_LINE = (
    '[2026-11-28T1{1}:00:00.000Z] "GET /a?user={0} HTTP/1.1" 200 - 0 154 1 1 "10.9.9.9,203.0.113.{0}" "curl" "id" "shop.test" '
    '"10.0.0.1:80"\n'
)


@pytest.mark.parametrize("line", [NGINX_LINE, HAPROXY_LINE, ENVOY_LINE], ids=("nginx", "haproxy", "envoy"))
def test_the_last_hour_of_an_access_log_is_read(line):
    """Client, target and host of the requests in the hour before the last; other lines are counted."""
    lines = [
        line.format(1, 6),
        "something else\n",
        line.format(2, 7),
        line.format(3, 8),
        line.format(3, 8),
        "\n",
    ]
    log = read_log(lines, host="h")
    assert log.left_out == 1
    assert [(one.client, one.target) for one in log.requests] == [
        ("203.0.113.2", "/a?user=2"),
        ("203.0.113.3", "/a?user=3"),
        ("203.0.113.3", "/a?user=3"),
    ]
    assert {one.host for one in log.requests} == {"shop.test" if line is ENVOY_LINE else "h"}
    assert len(read_log(lines, last_s=None).requests) == 4
    assert len(read_log(lines, last_s=0.0).requests) == 2


TARGETS = {
    r'203.0.113.7 - - [28/Nov/2026:18:00:00 +0000] "GET /a\x22b\xC3\xA9?x=\x5C HTTP/1.1" 200 5 "-" "curl"': (
        '/a"b\u00e9?x=\\',
        "log.test",
    ),
    r'203.0.113.7 - - [28/Nov/2026:18:00:00 +0000] "GET /a\xC3 HTTP/1.1" 200 5 "-" "curl"': (
        r"/a\xC3",
        "log.test",
    ),
    "Nov 28 18:00:00 lb haproxy[7]: 203.0.113.7:4711 [28/Nov/2026:18:00:00.250] web~ shop/a 0/0/1/2/3 200 150 - - ---- "
    '1/1/0/0/0 0/0 "GET https://shop.test/a?x=1 HTTP/2.0"': ("https://shop.test/a?x=1", "shop.test"),
    "Nov 28 18:00:00 lb haproxy[7]: 203.0.113.7:4711 [28/Nov/2026:18:00:00.250] web~ shop/a 0/0/1/2/3 200 150 - - ---- "
    '1/1/0/0/0 0/0 {shop|x} "GET /a HTTP/1.1" 0/0000000000000000/0/0/0 shop.test/TLSv1.3/TLS_AES': (
        "/a",
        "log.test",
    ),
}


@pytest.mark.parametrize("line", TARGETS)
def test_targets_of_a_log_are_those_of_the_requests(line):
    """Escapes of nginx are decoded where they are text, absolute targets of HTTP/2 name the host, fields may follow."""
    target, host = TARGETS[line]
    (found,) = read_log([line], host="log.test").requests
    assert (found.target, found.host) == (target, host)


@pytest.mark.parametrize(
    "text",
    [
        '"' * 20_000,
        "[" * 20_000,
        "1.1.1.1 - - [" + "\\" * 20_000,
        "1.1.1.1:1 [" + " 0" * 20_000,
        '"a" ' * 5_000,
    ],
)
def test_hostile_lines_of_a_log_are_left_out(text):
    """Long and unbalanced lines of a log are counted and otherwise left out."""
    assert read_log([text]).left_out == 1


def test_the_command_plans_a_change(read, tmp_path, capsys):
    """The command plans a change as text and data, with a log or requests in a file.

    Two kinds, or a broken file, end it with status 2.
    """
    old, new, log, keys = (tmp_path / name for name in ("old.cfg", "new.cfg", "access.log", "keys.txt"))
    old.write_text(changes.text("nginx", changes.BASE, ADDRESSES, 8080))
    new.write_text(changes.text("nginx", changes.CHANGES["added at the end"], ADDRESSES, 8080))
    log.write_text("".join(NGINX_LINE.format(number % 250, number % 10) for number in range(40)))
    keys.write_text("GET /o?x=1\n/a/b\n")
    assert main(["plan", str(old), str(new)]) == 0
    out = capsys.readouterr().out
    assert "pool main: server 127.0.0.1:40005 added" in out
    assert "of all keys move" in out
    assert main(["plan", str(old), str(new), "--log", str(log), "--observed", str(keys), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["pools"][0]["name"] == "main"
    assert data["requests"] == 10
    new.write_text("backend b\n server a 10.0.0.1:80\n")
    assert main(["plan", str(old), str(new)]) == 2
    new.write_text("http { upstream u { }")
    assert main(["plan", str(old), str(new)]) == 2
    assert "new.cfg:1:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cookie", "bound"),
    [("S=c", 1), ("S=c|date", 1), ("x=1, S=c", 1), ("S=x; S=c", 1), ("S = c", 1), ("S=x", 0), ("s=c", 0)],
)
def test_requests_with_a_cookie_are_bound_as_the_proxy_binds_them(tmp_path, cookie, bound):
    """A request has a certain server if one of its cookies names a server in a form that HAProxy reads."""
    text = "defaults\n mode http\nfrontend f\n bind :80\n default_backend b\nbackend b\n cookie S insert\n"
    servers = " server a 10.0.0.1:80 cookie a\n server c 10.0.0.2:80 cookie c\n"
    configs = []
    for name, address in (("before", "10.0.0.2"), ("after", "10.0.0.9")):
        path = tmp_path / f"{name}.cfg"
        path.write_text(text + servers.replace("10.0.0.2", address))
        configs.append(read_config(str(path)))
    plan = plan_change(*configs, requests=[ProxyRequest(headers=(("Cookie", cookie),))])
    assert (plan.bound, len(plan.moved)) == (bound, bound)


@pytest.mark.parametrize("last_s", [1e9, 1e12, 1e300])
def test_any_time_before_the_last_line_of_a_log_may_be_given(last_s):
    """A time of more years than a calendar has leaves out no line."""
    line = '203.0.113.7 - - [28/Nov/2026:18:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl"'
    assert len(read_log([line], last_s=last_s).requests) == 1
