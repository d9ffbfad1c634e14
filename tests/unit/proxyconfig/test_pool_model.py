"""Pools of a proxy as balancers, and scenarios with them."""

from __future__ import annotations

import json

import pytest

from balancekit import Outcome
from balancekit.cli import main
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig import ProxyRequest, pool_model, read_config

NGINX = """
upstream plain { server 10.0.0.1:80 weight=5; server 10.0.0.2:80; server 10.0.0.3:80 weight=2; }
upstream conns { least_conn; server 10.0.0.1:80; server 10.0.0.2:80 down; server 10.0.0.3:80; }
upstream keyed { hash $arg_k consistent; server 10.0.0.1:80 weight=2; server 10.0.0.2:80; server 10.0.0.3:80; }
upstream spare { server 10.0.0.1:80 max_fails=2 fail_timeout=5s; server 10.0.0.2:80 backup; }
server {
    listen 80;
    proxy_next_upstream_tries 2;
    location /plain { proxy_pass http://plain; }
    location /conns { proxy_pass http://conns; }
    location /keyed { proxy_pass http://keyed; }
    location /spare { proxy_pass http://spare; }
}
"""
HAPROXY = """
frontend web
    bind :80
    use_backend plain if { path_beg /plain }
    use_backend conns if { path_beg /conns }
    use_backend keyed if { path_beg /keyed }
    use_backend mapped if { path_beg /mapped }
    default_backend spare
backend plain
    balance roundrobin
    retries 1
    option redispatch
    server a 10.0.0.1:80 weight 5 check inter 1s fall 2 rise 3
    server b 10.0.0.2:80 check inter 1s fall 2 rise 3
    server c 10.0.0.3:80 weight 2 check inter 1s fall 2 rise 3
backend conns
    balance leastconn
    server a 10.0.0.1:80
    server b 10.0.0.2:80 disabled
    server c 10.0.0.3:80
backend keyed
    balance url_param k
    hash-type consistent sdbm avalanche
    server a 10.0.0.1:80 weight 20
    server b 10.0.0.2:80 weight 10
backend mapped
    balance url_param k
    server a 10.0.0.1:80 weight 2
    server b 10.0.0.2:80
backend spare
    server a 10.0.0.1:80
    server b 10.0.0.2:80 backup
"""
ENVOY = """
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 80}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: "/keyed"}
                route:
                  cluster: keyed
                  hash_policy: [{query_parameter: {name: k}}]
                  retry_policy: {retry_on: connect-failure, num_retries: 2}
  clusters:
  - name: keyed
    connect_timeout: 1s
    lb_policy: RING_HASH
    outlier_detection: {consecutive_5xx: 3, base_ejection_time: 5s, max_ejection_percent: 50}
    load_assignment:
      cluster_name: keyed
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 80}}}
        - endpoint: {address: {socket_address: {address: 10.0.0.2, port_value: 80}}}
      - priority: 1
        lb_endpoints:
        - endpoint: {address: {socket_address: {address: 10.0.0.3, port_value: 80}}}
"""
TEXTS = {"nginx": NGINX, "haproxy": HAPROXY, "envoy": ENVOY}


@pytest.fixture
def read(tmp_path):
    """Return what writes and reads a configuration."""

    def make(kind):
        path = tmp_path / {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml"}[kind]
        path.write_text(TEXTS[kind])
        return read_config(str(path))

    return make


@pytest.mark.parametrize(
    ("kind", "pool"),
    [
        ("nginx", "plain"),
        ("nginx", "conns"),
        ("nginx", "keyed"),
        ("haproxy", "plain"),
        ("haproxy", "conns"),
        ("haproxy", "keyed"),
        ("haproxy", "mapped"),
        ("haproxy", "spare"),
        ("envoy", "keyed"),
    ],
)
def test_a_balancer_chooses_as_the_configuration_says(read, kind, pool):
    """For 100 requests, each finished before the next, the model has the servers that the reader follows."""
    config = read(kind)
    asked = [ProxyRequest(f"/{pool}?k=user-{number * 7 % 41}") for number in range(100)]
    addresses = {server.name: server.address for server in config.pools[pool].servers}
    wanted = [addresses[name] for _, name in config.follow(asked)]
    lb = pool_model(config, pool).balancer()
    found = []
    for one in asked:
        with lb.acquire(one.query.removeprefix("k=")) as lease:
            found.append(lease.target)
    assert found == wanted


def upstream(lines):
    """Return a configuration of nginx with one pool."""
    return f"http {{ upstream u {{ {lines} }} server {{ location / {{ proxy_pass http://u; }} }} }}"


def hosts(*numbers, policy="RING_HASH", more="", **marks):
    """Return a bootstrap of Envoy with one ring; marks are keys of hosts."""
    listed = "".join(
        f"""
        - endpoint: {{address: {{socket_address: {{address: 10.0.0.{number}, port_value: 80}}}}}}
          metadata: {{filter_metadata: {{envoy.lb: {{hash_key: {marks.get(f"h{number}", f"10.0.0.{number}:80")}}}}}}}"""
        for number in numbers
    )
    ring = ENVOY.partition("  clusters:")[0]
    return f"""{ring}  clusters:
  - name: keyed
    lb_policy: {policy}{more}
    load_assignment:
      cluster_name: keyed
      endpoints:
      - lb_endpoints:{listed}
"""


LIKE_THE_READER = {
    "a weight that is down": (
        "nginx",
        upstream("hash $arg_k; server a:1 weight=5 down; server b:1; server c:1;"),
    ),
    "a ring with one down": (
        "nginx",
        upstream("hash $arg_k consistent; server a:1 weight=5 down; server b:1; server c:1;"),
    ),
    "twins on a ring": ("nginx", upstream("hash $arg_k consistent; server a:1; server a:1; server b:1;")),
    "only backups": ("nginx", upstream("server a:1 down; server b:1 backup weight=2; server c:1 backup;")),
    "twins of Envoy": ("envoy", hosts(1, 2, 2)),
    "keys of hosts": ("envoy", hosts(1, 2, 3, h1="x", h2="y", h3="z")),
    "keys of hosts in a table": ("envoy", hosts(1, 2, 3, policy="MAGLEV", h1="x", h2="y", h3="z")),
}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("name", LIKE_THE_READER)
def test_servers_are_placed_as_in_the_file_whatever_they_are_called(tmp_path, name, named):
    """Weights of servers that are down, twins, backups and keys of hosts count as for the proxy, under other ids, too."""
    kind, text = LIKE_THE_READER[name]
    path = tmp_path / "proxy.conf"
    path.write_text(text)
    config = read_config(str(path), kind=kind)
    (pool,) = config.pools.values()
    asked = [ProxyRequest(f"/keyed?k=user-{number}") for number in range(60)]
    addresses = {server.name: server.address for server in pool.servers}
    wanted = [addresses[name] for _, name in config.follow(asked)]
    lb = pool_model(config).balancer(ids=[f"node-{place}" for place in range(3)] if named else None)
    found = []
    for one in asked:
        with lb.acquire(one.query.removeprefix("k=")) as lease:
            found.append(lease.target)
    assert found == wanted
    assert len(set(found)) > 1


def test_failures_are_counted_by_each_server_of_nginx(tmp_path):
    """Each server has its own max_fails; an only server is never out."""
    path = tmp_path / "nginx.conf"
    path.write_text(
        "upstream u { server a:1 max_fails=1 fail_timeout=60s; server b:1 max_fails=3 fail_timeout=60s; }"
    )
    lb = pool_model(read_config(str(path))).balancer()
    found = []
    for _ in range(6):
        lease = lb.acquire()
        found.append(lease.target)
        lease.release(Outcome.FAILURE)
    assert found[:5].count("a:1") == 1
    path.write_text("upstream u { server a:1; }")
    lb = pool_model(read_config(str(path))).balancer()
    for _ in range(3):
        lease = lb.acquire()
        assert lease.target == "a:1"
        lease.release(Outcome.FAILURE)


@pytest.mark.parametrize("words", ["", " x", " 1 2", " -1"])
def test_tries_that_are_no_number_are_refused(tmp_path, words):
    """Tries that are no number are refused with the line, as by nginx."""
    path = tmp_path / "nginx.conf"
    path.write_text(f"http {{\nproxy_next_upstream_tries{words};\nupstream u {{ server a:1; }} }}")
    with pytest.raises(ConfigurationError, match=":2: "):
        pool_model(read_config(str(path)))


@pytest.mark.parametrize(
    ("words", "attempts"),
    [
        (
            "location /o { proxy_next_upstream off; proxy_pass http://v; } location / { proxy_pass http://u; }",
            3,
        ),
        ("location / { proxy_next_upstream off; proxy_pass http://u/x; }", 1),
        ("proxy_next_upstream_tries 2; location / { proxy_pass http://U; }", 2),
        (
            "proxy_next_upstream_tries 2; location / { proxy_next_upstream_tries 0; proxy_pass http://u; }",
            3,
        ),
        ("proxy_next_upstream_tries 2; location / { grpc_pass grpc://u; }", 3),
        ("grpc_next_upstream off; location / { grpc_pass grpc://u; }", 1),
        ("uwsgi_next_upstream_tries 2; location / { if ($args) { uwsgi_pass u; } }", 2),
    ],
)
def test_attempts_are_those_of_the_location_that_passes_to_the_pool(tmp_path, words, attempts):
    """Limits of other locations and of other protocols do not count."""
    path = tmp_path / "nginx.conf"
    path.write_text(
        "http { upstream u { server a:1; server b:1; server c:1; } upstream v { server d:1; } "
        f"server {{ {words} }} }}"
    )
    assert pool_model(read_config(str(path)), "u").attempts == attempts


LEFT_OUT = {
    "subsets": "\n    lb_subset_config: {subset_selectors: [{keys: [stage]}]}",
    "weights of localities": "\n    common_lb_config: {locality_weighted_lb_config: {}}",
    "circuit_breakers": "\n    circuit_breakers: {thresholds: [{max_requests: 5}]}",
    "not well": None,
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_a_model_of_envoy_leaves_out_is_noted(tmp_path, what):
    """A model of Envoy notes what it leaves out.

    This is subsets, weights of localities, limits, and hosts that are not well.
    """
    path = tmp_path / "envoy.yaml"
    more = LEFT_OUT[what]
    text = hosts(1, 2, 3, more=more or "")
    path.write_text(
        text
        if more
        else text.replace("        - endpoint", "        - health_status: UNHEALTHY\n          endpoint", 1)
    )
    assert what in str(pool_model(read_config(str(path))).notes)
    path.write_text(hosts(1, 2, 3))
    assert what not in str(pool_model(read_config(str(path))).notes)


def test_attempts_and_health_are_those_of_the_file(read):
    """Attempts and health are those of the file, and what is only approximated is noted."""
    nginx, haproxy, envoy = read("nginx"), read("haproxy"), read("envoy")
    assert pool_model(nginx, "plain").attempts == 2
    assert pool_model(nginx, "plain").health is None
    plain = pool_model(haproxy, "plain")
    assert plain.attempts == 2
    assert (plain.health.failures.threshold, plain.health.ejection.base) == (2, 3.0)
    assert "checks are simulated by requests" in str(plain.notes)
    conns = pool_model(haproxy, "conns")
    assert (conns.attempts, conns.health) == (1, None)
    assert "without option redispatch" in str(conns.notes)
    keyed = pool_model(envoy, "keyed")
    assert keyed.attempts == 3
    assert (keyed.health.failures.threshold, keyed.health.ejection.max_share) == (3, 0.5)


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_a_backup_serves_only_if_the_first_is_out(read, kind):
    """A backup serves only if the first is out, in nginx after max_fails failures."""
    lb = pool_model(read(kind), "spare").balancer()
    with lb.acquire() as lease:
        assert lease.target == "10.0.0.1:80"
    if kind == "nginx":
        for _ in range(2):
            lease = lb.acquire()
            assert lease.target == "10.0.0.1:80"
            lease.release(Outcome.FAILURE)
    with lb.acquire(exclude=[] if kind == "nginx" else ["a"]) as lease:
        assert lease.target == "10.0.0.2:80"


def test_a_backup_serves_nothing_while_one_of_the_others_may(tmp_path):
    """Two of three servers fail and are out: the third gets all requests, the backup none."""
    path = tmp_path / "nginx.conf"
    path.write_text(
        "upstream u { server 10.0.0.1:80 fail_timeout=60s; server 10.0.0.2:80 fail_timeout=60s; "
        "server 10.0.0.3:80 fail_timeout=60s; server 10.0.0.9:80 backup; }"
    )
    lb = pool_model(read_config(str(path))).balancer()
    for _ in range(6):
        lease = lb.acquire()
        failed = lease.target in {"10.0.0.1:80", "10.0.0.2:80"}
        lease.release(Outcome.FAILURE if failed else Outcome.SUCCESS)
    found = set()
    for _ in range(100):
        with lb.acquire() as lease:
            found.add(lease.target)
    assert found == {"10.0.0.3:80"}


def test_open_requests_count(read):
    """With leastconn, requests that are not finished move the next ones to the other server."""
    for kind in ("nginx", "haproxy"):
        lb = pool_model(read(kind), "conns").balancer()
        held = [lb.acquire() for _ in range(4)]
        assert sorted(lease.target for lease in held) == ["10.0.0.1:80"] * 2 + ["10.0.0.3:80"] * 2
        for lease in [one for one in held if one.target == "10.0.0.3:80"]:
            lease.release()
        after = [lb.acquire(), lb.acquire()]
        assert [lease.target for lease in after] == ["10.0.0.3:80"] * 2
        for lease in (*held, *after):
            lease.release()


def test_a_pool_that_is_not_there_is_refused(read):
    """An unknown name of a pool is refused, and so is no name where there are several."""
    for name in ("nowhere", None):
        with pytest.raises(ConfigurationError, match="plain, conns"):
            pool_model(read("haproxy"), name)


SCENARIO = """
title = "two fast and one slow"
requests = 3000
warm_up = 300
[arrivals]
kind = "poisson"
rate = 60.0
[servers.{names[0]}]
service = {{ kind = "exponential", mean = 0.02 }}
[servers.{names[1]}]
service = {{ kind = "exponential", mean = 0.02 }}
[servers.{names[2]}]
service = {{ kind = "exponential", mean = 0.02 }}
[[balancers]]
name = "default"
"""


@pytest.mark.parametrize("names", [("a", "b", "c"), ("x", "y", "z")])
def test_a_scenario_is_simulated_with_the_pool_of_a_file(read, tmp_path, capsys, names):
    """The file's shares, before the scenario's own balancers; by name or in order; what is not followed is said."""
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO.format(names=names))
    proxy = read("haproxy").path
    assert main(["simulate", str(path), "--proxy", proxy, "--pool", "plain", "--json"]) == 0
    written = capsys.readouterr()
    found = json.loads(written.out)["balancers"]
    assert list(found) == ["haproxy plain", "default"]
    shares = found["haproxy plain"]["shares"]
    assert [round(shares[name], 2) for name in names] == [0.62, 0.12, 0.25]
    assert "checks are simulated by requests" in written.err
    assert main(["simulate", str(path), "--proxy", proxy, "--pool", "keyed"]) == 2
    assert "3 in the scenario" in capsys.readouterr().err
    assert main(["simulate", str(path), "--proxy", proxy]) == 2
    assert "plain, conns" in capsys.readouterr().err


@pytest.mark.parametrize("ids", [["a"], ["a", "b", "c"], "ab", 3, {"a", "b"}, [], ["a", "a"], ["a", 3]])
def test_ids_of_a_model_are_as_many_as_its_servers(tmp_path, ids):
    """Another number, a bare string, a set without order, an id twice and one that is no string are refused by name."""
    path = tmp_path / "nginx.conf"
    path.write_text("upstream a { server 10.0.0.1; server 10.0.0.2; }")
    model = pool_model(read_config(str(path)), "a")
    with pytest.raises(ConfigurationError, match="id"):
        model.balancer(ids=ids)
