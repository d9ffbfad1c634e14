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
    {"policy": "0"},
    {"kind": "0"},
    {"kind": '"0"'},
    {"policy": '"0"'},
    {"port": "0X50"},
    {"health": "1"},
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


@pytest.mark.parametrize(
    ("word", "truth"),
    [
        *[(word, True) for word in ("yes", "on", '"Yes"', '"1"', "t")],
        *[(word, False) for word in ("no", "Off", '"NO"', '"0"', "f")],
    ],
)
def test_words_of_truth_are_those_of_envoy(read, word, truth):
    """Plain words are those of YAML; texts are ``t``, ``yes``, ``1`` and the like, in any case."""
    config = read(match=f"{{prefix: /Shop, case_sensitive: {word}}}")
    assert (config.route(ProxyRequest("/shop")).pool is None) is truth


def test_words_without_quotes_that_are_texts_stay_texts(read):
    """A number with a point or too large for 32 bits is a text, as Envoy reads YAML."""
    assert read(domains="[1.5, 3000000000, y1]").route(ProxyRequest(host="1.5")).pool == "shop"


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
        {"kind": "0.0"},
        {"kind": "yes"},
        {"domains": "{name: a}"},
        {"domains": "[5]"},
        {"domains": "on"},
        {"match": "{prefix: 5}"},
        {"match": "{prefix: /, case_sensitive: 0}"},
        {"match": '{prefix: /, case_sensitive: "on"}'},
        {"match": "{prefix: /, path: /}"},
        {"match": "{prefix: /, headers: [{name: x, exact_match: a, present_match: true}]}"},
        {"match": "{prefix: /, headers: [{name: x, prefix_match: ''}]}"},
        {"match": "{prefix: /, headers: [{name: x, string_match: {exact: a, suffix: b}}]}"},
        {"match": "{prefix: /, headers: [{name: x, string_match: {contains: ''}}]}"},
        {
            "match": "{prefix: /, headers: [{name: x, string_match: {safe_regex: {regex: a}, ignore_case: true}}]}"
        },
        {
            "match": "{prefix: /, query_parameters: [{name: x, string_match: {exact: a}, present_match: true}]}"
        },
        {"route": "cluster_header: x"},
        {"route": "hash_policy: {header: {header_name: x}, cookie: {name: a}}"},
        {"route": "host_rewrite_literal: a, auto_host_rewrite: true"},
        {"manager": "rds: {route_config_name: a}"},
        {"manager": "strip_any_host_port: true\n          strip_matching_host_port: true"},
        {"cluster": "common_lb_config: {locality_weighted_lb_config: {}, zone_aware_lb_config: {}}"},
        {
            "cluster": "load_balancing_policy: "
            "{policies: [{typed_extension_config: {name: a, typed_config: {'@type': a/random.v3.Random}}}]}\n"
            "    lb_subset_config: {subset_selectors: [{keys: [a]}]}"
        },
        {
            "cluster": "load_balancing_policy: "
            "{policies: [{typed_extension_config: {name: a, typed_config: {'@type': a/random.v3.Random}}}]}\n"
            "    common_lb_config: {locality_weighted_lb_config: {}}"
        },
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


@pytest.mark.parametrize(
    ("number", "method"),
    [(1, "least_request"), (2, "ring_hash"), (3, "random"), (5, "maglev"), (6, "cluster_provided")],
)
def test_a_policy_may_be_a_number(read, number, method):
    """The number of an enum is its name, as in protobuf's JSON; a number that was removed leaves a gap."""
    assert (
        read(policy=number).pools["shop"].method == read(policy=method.upper()).pools["shop"].method == method
    )


@pytest.mark.parametrize("number", ["4", "8", "-1", "1.5", "1.0", '"8"'])
def test_a_number_of_no_policy_is_refused(read, number):
    """A number that stands for no policy is refused, in quotes too, and so is one with a point."""
    with pytest.raises(ProxyConfigError, match=r"lb_policy: .* is none of ROUND_ROBIN"):
        read(policy=number)


RING = "type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash"
OF_CLUSTER = "ring_hash_lb_config: {{hash_function: {}}}"
TYPED = (
    "load_balancing_policy: {{policies: [{{typed_extension_config: "
    '{{name: r, typed_config: {{"@type": ' + RING + ", hash_function: {}}}}}}}]}}"
)


@pytest.mark.parametrize(
    ("field", "number", "name"),
    [
        (OF_CLUSTER, 0, "XX_HASH"),
        (OF_CLUSTER, 1, "MURMUR_HASH_2"),
        (TYPED, 0, "DEFAULT_HASH"),
        (TYPED, 1, "XX_HASH"),
        (TYPED, 2, "MURMUR_HASH_2"),
    ],
    ids=["xx", "murmur", "default typed", "xx typed", "murmur typed"],
)
def test_a_hash_function_may_be_a_number(read, field, number, name):
    """A typed policy counts from its default, which the settings of a cluster do not have."""
    policies = [
        read(policy="RING_HASH", cluster=field.format(value)).pools["shop"].settings["policy"]
        for value in (number, name)
    ]
    assert policies[0] == policies[1]
    assert policies[0]["hash_function"] == {"DEFAULT_HASH": "XX_HASH"}.get(name, name)


ENUMS = [
    ("kind", "{}", ["STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST"]),
    ("health", "{}", ["UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED"]),
    (
        "manager",
        "path_with_escaped_slashes_action: {}",
        [
            "IMPLEMENTATION_SPECIFIC_DEFAULT",
            "KEEP_UNCHANGED",
            "REJECT_REQUEST",
            "UNESCAPE_AND_REDIRECT",
            "UNESCAPE_AND_FORWARD",
        ],
    ),
    (
        "cluster",
        "lb_subset_config: {{fallback_policy: {}}}",
        ["NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"],
    ),
]
"""The place of a field, how it is written, and its words by number."""


@pytest.mark.parametrize(
    ("place", "written", "number", "name"),
    [(place, text, number, name) for place, text, names in ENUMS for number, name in enumerate(names)],
    ids=[name for _, _, names in ENUMS for name in names],
)
def test_numbers_of_enums_are_those_of_the_protocol(read, place, written, number, name):
    """The number of a word is that of Envoy's ``.proto`` file; both mean the same."""
    one, other = (read(**{place: written.format(value)}) for value in (number, name))
    for target in ("/", "/a%2Fb"):
        first, second = (config.explain(ProxyRequest(target)) for config in (one, other))
        assert (first.server and first.server.address) == (second.server and second.server.address)
        assert first.routing == second.routing
    assert [(note.text, note.why) for note in one.not_modelled] == [
        (note.text, note.why) for note in other.not_modelled
    ]
    pools = one.pools["shop"], other.pools["shop"]
    assert repr(pools[0].settings) == repr(pools[1].settings)
