"""Plans of pools as users write them: backups, servers that are down, twins, priority levels, keys of hosts."""

from __future__ import annotations

import json
from random import Random

import pytest

from balancekit.proxyconfig import ProxyRequest, plan_change, read_config
from balancekit.proxyconfig._decide import expected_shares
from balancekit.proxyconfig._model import Routing
from balancekit.proxyconfig._plan_pools import key_space
from balancekit.proxyconfig._plan_shares import idle_shares

MAX_DRIFT = 20
"""Picks by which 5,000 of a rotation are beside its weights: a start, and an end within a cycle."""
A, B, C, D = [f"10.0.0.{number}:80" for number in range(1, 5)]


@pytest.fixture
def read(tmp_path):
    """Return what writes a configuration and reads it."""

    def written(kind, text):
        path = tmp_path / ("proxy.json" if kind == "envoy" else "proxy.conf")
        path.write_text(text)
        return read_config(str(path), kind=kind)

    return written


def nginx(upstream, target="http://u"):
    """Return a configuration with one upstream."""
    return f"http {{ upstream u {{ {upstream} }} server {{ location / {{ proxy_pass {target}; }} }} }}"


def haproxy(*lines):
    """Return a configuration with one backend."""
    return "\n".join(
        ["frontend f", " bind :80", " default_backend u", "backend u", *[f" {one}" for one in lines]]
    )


def envoy(*levels, lb_policy="ROUND_ROBIN", header="x-user"):
    """Return a bootstrap with one cluster; each level is a list of hosts, each a number with more words."""
    groups = [
        {
            "priority": priority,
            "lb_endpoints": [
                {
                    "endpoint": {
                        "address": {"socket_address": {"address": f"10.0.0.{number}", "port_value": 80}}
                    },
                    **more,
                }
                for number, more in level
            ],
        }
        for priority, level in enumerate(levels)
    ]
    route = {"cluster": "u", "hash_policy": [{"header": {"header_name": header}}]}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
            ]
        },
    }
    listener = {
        "name": "main",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    cluster = {
        "name": "u",
        "lb_policy": lb_policy,
        "load_assignment": {"cluster_name": "u", "endpoints": groups},
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


ALL_DOWN = (f"server a {A} disabled", f"server b {B} backup", f"server c {C} backup weight 3")
RESERVES = {
    "nginx": (
        "nginx",
        nginx(f"server {A} down; server {B} backup; server {C} backup weight=3;"),
        {B: 0.25, C: 0.75},
    ),
    "haproxy first": ("haproxy", haproxy(*ALL_DOWN), {B: 1.0}),
    "haproxy all": ("haproxy", haproxy("option allbackups", *ALL_DOWN), {B: 0.25, C: 0.75}),
    "haproxy random": ("haproxy", haproxy("balance random", *ALL_DOWN), {B: 1.0}),
    "envoy": (
        "envoy",
        envoy([(1, {"health_status": "UNHEALTHY"})], [(2, {}), (3, {"load_balancing_weight": 3})]),
        {B: 0.25, C: 0.75},
    ),
}


@pytest.mark.parametrize("name", RESERVES)
def test_reserves_serve_while_all_others_are_down(read, name):
    """A pool whose first servers are all marked as down has the shares of its backups."""
    kind, text, shares = RESERVES[name]
    config = read(kind, text)
    assert plan_change(config, config).pools[0].before == pytest.approx(shares)


@pytest.mark.parametrize("method", ["ip_hash", "hash $http_x_user"])
def test_keys_of_a_server_that_is_down_are_dealt_to_the_others_by_weight(read, method):
    """Shares of nginx's hashes with a server that is down follow the weights of the others."""
    config = read("nginx", nginx(f"{method}; server {A} down weight=5; server {B}; server {C} weight=3;"))
    (pool,) = plan_change(config, config).pools
    assert pool.before == pytest.approx({B: 0.25, C: 0.75})
    assert pool.moved is None


ONLY = {
    "nginx": ("nginx", nginx(f"server {A}; server {B} backup;"), nginx(f"server {C}; server {B} backup;")),
    "haproxy": (
        "haproxy",
        haproxy(f"server a {A}", f"server b {B} backup"),
        haproxy(f"server a {C}", f"server b {B} backup"),
    ),
    "haproxy zero": (
        "haproxy",
        haproxy(f"server a {A}", f"server b {B} weight 0"),
        haproxy(f"server b {C}", f"server a {A} weight 0"),
    ),
    "envoy": ("envoy", envoy([(1, {})], [(2, {}), (4, {})]), envoy([(3, {})], [(2, {}), (4, {})])),
    "twins": ("nginx", nginx(f"server {A}; server {A};"), nginx(f"server {C};")),
}


@pytest.mark.parametrize("name", ONLY)
def test_a_pool_with_one_server_in_service_decides(read, name):
    """A request is bound if one address alone takes requests while all servers are well, whatever stands by."""
    kind, before, after = ONLY[name]
    asked = [ProxyRequest("/") for _ in range(5)]
    plan = plan_change(read(kind, before), read(kind, after), requests=asked)
    assert (plan.bound, len(plan.moved)) == (5, 5)


@pytest.mark.parametrize("consistent", ["", " consistent"])
def test_a_request_without_the_key_of_nginx_is_not_bound(read, consistent):
    """Requests whose key is empty take turns in nginx, so none of them has a server of its own."""
    text = nginx(f"hash $http_x_user{consistent}; server {A}; server {B}; server {C};")
    asked = [ProxyRequest("/") for _ in range(6)]
    config = read("nginx", text)
    assert plan_change(config, config, requests=asked).bound == 0
    assert {name for _, name in config.follow(asked)} == {A, B, C}


def test_pools_that_only_requests_name_are_followed(read):
    """A proxy_pass with a variable has pools that no block names: its requests have a server each."""
    text = nginx(f"server {A};", "http://$http_x_target")
    asked = [ProxyRequest("/", headers=(("X-Target", one),)) for one in (A, B)]
    plan = plan_change(read("nginx", text), read("nginx", text), requests=asked)
    assert (plan.bound, plan.moved) == (2, ())


def test_changes_of_one_of_two_servers_of_an_address_are_named(read):
    """Servers that share an address are told apart by their order."""
    before = read("nginx", nginx(f"server {A}; server {A} weight=2; server {B};"))
    heavier = read("nginx", nginx(f"server {A} weight=4; server {A} weight=2; server {B};"))
    fewer = read("nginx", nginx(f"server {A}; server {B};"))
    assert plan_change(before, heavier).pools[0].changes == (f"server {A} weight 1 -> 4",)
    assert plan_change(before, fewer).pools[0].changes == (f"server {A} removed",)


def test_a_changed_key_is_a_change_of_the_pool(read):
    """What routes of Envoy hash is named when it changes, for the method does not say it."""
    hosts = [(1, {}), (2, {}), (3, {})]
    before = read("envoy", envoy(hosts, lb_policy="MAGLEV"))
    after = read("envoy", envoy(hosts, lb_policy="MAGLEV", header="x-team"))
    plan = plan_change(before, after)
    assert plan.pools[0].changes == ("key header x-user -> header x-team",)
    assert "pool u" in str(plan)


def test_settings_and_options_that_change_are_named(read):
    """A setting, or an option of a server, is named where it changes."""
    before = read("haproxy", haproxy("retries 3", f"server a {A} maxconn 5 check"))
    after = read("haproxy", haproxy("retries 4", f"server a {A} maxconn 6 check"))
    assert plan_change(before, after).pools[0].changes == (f"server {A} maxconn", "settings retries")


def test_lines_that_only_move_are_no_change(read):
    """Comments and blank lines change no pool."""
    text = haproxy("balance source", "hash-type consistent", "cookie S insert", f"server a {A} cookie x")
    moved = "# a comment\n\n" + text.replace("\nbackend u", "\n\n# another\nbackend u")
    assert plan_change(read("haproxy", text), read("haproxy", moved)).pools[0].changes == ()


@pytest.mark.parametrize("method", ["RING_HASH", "MAGLEV"])
def test_keys_of_hosts_place_them(read, method):
    """The hash_key of a host of Envoy places it: another one moves as many keys as the plan says, another port none."""

    def placed(key, number=2):
        marks = [(1, "one"), (number, key), (3, "three")]
        return envoy(
            [
                (place, {"metadata": {"filter_metadata": {"envoy.lb": {"hash_key": mark}}}})
                for place, mark in marks
            ],
            lb_policy=method,
        )

    before, after = read("envoy", placed("two")), read("envoy", placed("four"))
    asked = [ProxyRequest("/", headers=(("x-user", f"user-{number}"),)) for number in range(600)]
    plan = plan_change(before, after, requests=asked)
    (pool,) = plan.pools
    assert pool.moved
    spread = 5 * (600 * pool.moved * (1 - pool.moved)) ** 0.5
    assert abs(len(plan.moved) - 600 * pool.moved) <= spread
    renamed = plan_change(before, read("envoy", placed("two", 4))).pools[0]
    assert renamed.moved == pytest.approx(renamed.before[B])
    assert renamed.after[D] == pytest.approx(renamed.before[B])


def test_shares_of_rotations_are_those_of_the_machines(read):
    """The shares that a plan computes are those that the machines come to, within a start and an end of a cycle."""
    rng = Random(20)
    for number in range(30):
        weights = [rng.randint(1, 9) for _ in range(rng.randint(1, 5))]
        marks = [rng.random() < 0.3 for _ in weights]
        method = rng.choice(["", "least_conn;"])
        lines = [
            f"server 10.0.0.{place}:80 weight={weight}{' down' if mark else ''};"
            for place, (weight, mark) in enumerate(zip(weights, marks, strict=True))
        ]
        same(read("nginx", nginx(" ".join([method, *lines]))), number)
        lines = [
            f"server s{place} 10.0.0.{place}:80 weight {weight}{' backup' if mark else ''}"
            for place, (weight, mark) in enumerate(zip(weights, marks, strict=True))
        ]
        method = rng.choice(["roundrobin", "static-rr", "leastconn", "first"])
        same(read("haproxy", haproxy(f"balance {method}", "option allbackups", *lines)), number)


def same(config, number):
    """Check the shares of the only pool."""
    pool = config.pools["u"]
    shares = idle_shares(config.kind, pool)
    addresses = {server.name: server.address for server in pool.servers}
    for name, share in expected_shares(pool, ProxyRequest(), Routing("u", "")).items():
        assert abs(share - shares.get(addresses[name], 0.0)) <= MAX_DRIFT / 5_000, (number, pool.method)


def test_a_plan_carries_out_no_rotation(read):
    """Shares of pools that take turns, or draw, are computed: no machine is started, however many pools there are."""

    def refuse(_):
        raise AssertionError("started")

    for config in (
        read("nginx", nginx(f"server {A} weight=3; server {B};")),
        read("nginx", nginx(f"random two; server {A} weight=3; server {B};")),
        read("haproxy", haproxy("balance leastconn", f"server a {A}", f"server b {B}")),
        read("envoy", envoy([(1, {}), (2, {"health_status": "DEGRADED"})], [(3, {})])),
    ):
        config.pools["u"] = config.pools["u"].replace(start=refuse)
        assert sum(plan_change(config, config).pools[0].before.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["hash $uri", "ip_hash"])
def test_the_cost_of_a_plan_does_not_follow_the_weights(read, method):
    """Servers of some hundred million each are compared without a list of all turns."""
    pools = [
        read("nginx", nginx(f"{method}; server {A} weight=500000000; server {B} weight={weight};")).pools["u"]
        for weight in (1, 400_000_000)
    ]
    spaces = [key_space("nginx", pool) for pool in pools]
    assert spaces[0].shares() == {A: 1.0}
    assert spaces[0].moved(spaces[1]) == 0.0
    small = [
        key_space(
            "nginx",
            read("nginx", nginx(f"{method}; server {A} weight=5; server {B} weight={weight};")).pools["u"],
        )
        for weight in (1, 4)
    ]
    assert small[0].moved(small[1]) == pytest.approx(7 / 18, abs=0.001)


def test_a_ring_of_too_many_points_is_noted(read):
    """``hash … consistent`` has 160 points a weight; above two million of them, the ring is listed and not followed."""
    found = [
        read("nginx", nginx(f"hash $uri consistent; server {A} weight={weight}; server {B};"))
        for weight in (100, 500_000_000)
    ]
    assert found[0].not_modelled == ()
    assert [note.why for note in found[1].not_modelled] == ["a ring of 80,000,000,160 points"]
    assert found[1].pools["u"].start is None
