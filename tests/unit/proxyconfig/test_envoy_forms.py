"""Forms of values in Envoy's bootstraps: each is read as Envoy 1.40 reads it."""

from __future__ import annotations

import pytest

from balancekit.proxyconfig import ProxyConfigError, ProxyRequest, lint_config, pool_model, read_envoy

BOOTSTRAP = """\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 0.0.0.0, port_value: 80}}}}
    filter_chains:
    - filters:
      - typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          {manager}
          route_config:
            virtual_hosts:
            - name: all
              domains: {domains}
              routes:
              - match: {match}
                route: {{cluster: shop, {route}}}
  clusters:
  - name: shop
    type: {kind}
    lb_policy: {policy}
    {cluster}
    load_assignment:
      cluster_name: shop
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 10.0.0.1, port_value: {port}}}}}}}
          load_balancing_weight: {weight}
          health_status: {health}
"""
PLAIN = {
    "manager": "codec_type: AUTO",
    "domains": '["*"]',
    "match": "{prefix: /}",
    "route": "timeout: 1s",
    "kind": "STATIC",
    "policy": "ROUND_ROBIN",
    "cluster": "connect_timeout: 1s",
    "port": "80",
    "weight": "3",
    "health": "HEALTHY",
}


@pytest.fixture
def read(tmp_path):
    """Return what reads a bootstrap with some values in other forms."""

    def written(**forms):
        path = tmp_path / "envoy.yaml"
        path.write_text(BOOTSTRAP.format(**PLAIN | forms), encoding="utf-8")
        return read_envoy(str(path))

    return written


SAME = [
    {"weight": "{value: 3}"},
    {"weight": "3.0"},
    {"weight": "3e0"},
    {"weight": '"3"'},
    {"port": "80.0"},
    {"kind": "static"},
    {"kind": "Static"},
    {"policy": "round_robin"},
    {"health": "healthy"},
    {"domains": '"*"'},
    {"route": "timeout: {seconds: 1, nanos: 0}"},
    {"route": "weighted_clusters: null"},
    {"cluster": "outlier_detection:"},
    {"cluster": "least_request_lb_config:"},
    {"match": "{prefix: /, case_sensitive: {value: true}}"},
    {"manager": "use_remote_address: {value: false}"},
]


@pytest.mark.parametrize("forms", SAME, ids=[f"{key} {text}" for one in SAME for key, text in one.items()])
def test_values_in_another_form_mean_the_same(read, forms):
    """Pools, decisions and lists of what is not modelled are those of the usual form."""
    plain, config = read(), read(**forms)
    assert config.not_modelled == plain.not_modelled == ()
    for one, other in ((config.pools["shop"], plain.pools["shop"]),):
        assert [server.replace(origin=other.origin) for server in one.servers] == [
            server.replace(origin=other.origin) for server in other.servers
        ]
        assert (one.method, one.settings) == (other.method, other.settings)
    assert config.explain(ProxyRequest("/A")).server == config.pools["shop"].servers[0]
    assert pool_model(config).health is None
    assert lint_config(config) == lint_config(plain)


def test_optional_flags_may_be_messages(read):
    """``{value: false}`` is false."""
    config = read(match="{prefix: /Shop, case_sensitive: {value: false}}")
    assert config.route(ProxyRequest("/shop")).pool == "shop"


def test_one_value_is_a_list_of_one(read):
    """One policy of hashing, without brackets, is followed."""
    config = read(policy="maglev", route="hash_policy: {header: {header_name: x-user}}")
    assert config.explain(ProxyRequest(headers=(("x-user", "7"),))).key == "7"


def test_durations_may_be_seconds_and_nanos(read):
    """``{seconds: 7, nanos: 500000000}`` is 7.5 s."""
    cluster = (
        "outlier_detection: {consecutive_5xx: {value: 2}, base_ejection_time: {seconds: 7, nanos: 500000000}}"
    )
    health = pool_model(read(cluster=cluster)).health
    assert (health.failures.threshold, health.ejection.base) == (2, 7.5)


@pytest.mark.parametrize(
    "forms",
    [
        {"weight": "3.5"},
        {"weight": "{value: x}"},
        {"weight": "{number: 3}"},
        {"policy": "round-robin"},
        {"kind": "[STATIC]"},
        {"domains": "{name: a}"},
    ],
    ids=str,
)
def test_forms_that_envoy_refuses_are_refused(read, forms):
    """The error names the line."""
    with pytest.raises(ProxyConfigError, match=r"envoy\.yaml:\d+: "):
        read(**forms)


def test_a_bootstrap_of_dynamic_resources_alone_has_no_pools(tmp_path):
    """Resources that come from elsewhere are listed; nothing of them is refused."""
    path = tmp_path / "envoy.yaml"
    path.write_text(
        "node: {id: a, cluster: b}\ndynamic_resources:\n  cds_config: {path_config_source: {path: /cds}}\n"
    )
    config = read_envoy(str(path))
    assert config.pools == {}
    assert [note.text for note in config.not_modelled] == ["dynamic_resources"]
    assert config.explain(ProxyRequest()).server is None


def test_fields_of_a_proxy_of_connections_are_listed_with_a_reason(tmp_path):
    """Weights and hashes of connections are not followed, and each is listed with what is assumed."""
    path = tmp_path / "envoy.yaml"
    path.write_text(
        """\
static_resources:
  listeners:
  - address: {socket_address: {address: 0.0.0.0, port_value: 6379}}
    filter_chains:
    - filters:
      - typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: t
          max_downstream_connection_duration: 60s
          weighted_clusters: {clusters: [{name: a, weight: 2}]}
          hash_policy: [{source_ip: {}}]
  clusters:
  - {name: a, load_assignment: {cluster_name: a}}
"""
    )
    notes = read_envoy(str(path)).not_modelled
    assert [note.text for note in notes] == ["weighted_clusters", "hash_policy"]
    assert all("not" in note.why and note.why != "not understood" for note in notes)
