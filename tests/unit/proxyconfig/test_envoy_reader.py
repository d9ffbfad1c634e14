"""The reader of Envoy's bootstraps: what is followed, what is listed, what is refused with its line."""

from __future__ import annotations

import json
from random import Random

import pytest

from balancekit.cli import main
from balancekit.proxyconfig import (
    Origin,
    ProxyConfigError,
    ProxyRequest,
    kind_of_text,
    read_config,
    read_envoy,
)

LISTENER = """\
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: lua
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, default_source_code: {}}
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
"""
ROUTES = """\
              - {match: {prefix: /old}, redirect: {https_redirect: true, path_redirect: /new, responseCode: FOUND}}
              - {match: {path: /gone}, direct_response: {status: 410}}
              - match: {prefix: /grpc, grpc: {}}
                route: {cluster: shop}
              - match: {prefix: /never, runtime_fraction: {default_value: {numerator: 0}}}
                route: {cluster: shop}
              - match: {prefix: /by}
                route: {cluster_header: x-pool}
              - match: {prefix: /some}
                route: {weighted_clusters: {clusters: [{name: shop, weight: 3}, {name: plain, weight: 1}]}}
              - match: {prefix: /}
                route:
                  cluster: shop
                  retry_policy: {retry_on: 5xx}
                  hash_policy:
                  - header: {header_name: x-user}
                  - cookie: {name: session, ttl: 0s}
"""
CLUSTERS = """\
  clusters:
  - name: shop
    lb_policy: MAGLEV
    outlier_detection: {}
    made_up: 7
    load_assignment:
      endpoints:
      - lb_endpoints:
        - {endpoint: &first {address: {socket_address: {address: 10.0.0.1, port_value: 80}}}}
        - endpoint: {address: {socket_address: {address: "::1", port_value: 80}}}
          loadBalancingWeight: 3
          health_status: UNHEALTHY
  - name: plain
    load_assignment:
      endpoints:
      - lb_endpoints:
        - endpoint: *first
        - {endpoint: *first}
"""
ENVOY = LISTENER + ROUTES + CLUSTERS


@pytest.fixture
def written(tmp_path):
    """Return what writes a file and returns its path."""

    def write(text, name="envoy.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_envoy_answers_with_the_reason_and_the_line(written):
    """Envoy's answer has route, pool and server, each with where it is written.

    Keys are named either way, and anchors are followed.
    """
    config = read_config(written(ENVOY))
    found = config.explain(ProxyRequest("/a", headers=(("X-User", "u1"),)))
    assert (config.kind, found.pool.name, found.server.address, found.key) == (
        "envoy",
        "shop",
        "10.0.0.1:80",
        "u1",
    )
    assert found.why[0].startswith("route prefix / (")
    assert found.server.origin.line == ENVOY.split("&first")[0].count("\n") + 1
    assert [(s.name, s.weight, s.down) for s in config.pools["shop"].servers] == [
        ("10.0.0.1:80", 1, False),
        ("[::1]:80", 3, True),
    ]
    assert [server.name for server in config.pools["plain"].servers] == ["10.0.0.1:80", "10.0.0.1:80#2"]
    assert config.explain(ProxyRequest("/a", headers=(("Cookie", 'session="7"'),))).key == "7"


def test_what_envoy_answers_by_itself_has_no_server(written):
    """What Envoy answers by itself has no server.

    Examples are a redirect, a status, a missing cluster, and an unknown path or port.
    """
    config = read_envoy(written(ENVOY))
    assert config.route(ProxyRequest("/old?q", host="h:80"))[2:4] == (302, "https://h/new?q")
    assert config.route(ProxyRequest("/gone")).status == 410
    assert config.route(ProxyRequest("/by")).status == 503
    assert config.route(ProxyRequest("/by", headers=(("X-Pool", "plain"),))).pool == "plain"
    assert config.route(ProxyRequest("/some")).shares == {"shop": 0.75, "plain": 0.25}
    assert config.route(ProxyRequest("/never")).pool == "shop"
    assert "nothing listens" in config.route(ProxyRequest("/", port=81)).rule
    assert config.route(ProxyRequest("/", port=8080)).pool == "shop"


@pytest.mark.parametrize(
    ("values", "pool"),
    [
        (["3"], "plain"),
        (["+3"], "plain"),
        (["2"], "shop"),
        (["0" * 5000 + "3"], "plain"),
        ([str((1 << 64) - 1)], "plain"),
        ([str(1 << 64)], None),
        (["1" * 5000], None),
        (["3", "3"], None),
        (["-3"], None),
        (["x"], None),
        ([], None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_header_chooses_among_weighted_clusters(written, values, pool):
    """One decimal number of 64 bits chooses by itself; without one, the cluster is drawn by weight."""
    clusters = "clusters: [{name: shop, weight: 3}, {name: plain, weight: 1}]"
    text = ENVOY.replace(clusters, f"{clusters}, header_name: x-r")
    found = read_envoy(written(text)).route(
        ProxyRequest("/some", headers=tuple(("X-R", value) for value in values))
    )
    assert found.pool == pool
    assert found.shares == ({} if pool else {"shop": 0.75, "plain": 0.25})


def test_what_is_not_modelled_is_listed_with_its_line(written):
    """What is not modelled is listed with its line, and none is skipped."""
    config = read_envoy(written(ENVOY))
    lines = ENVOY.split("\n")
    for one in config.not_modelled:
        assert one.text in lines[one.origin.line - 1]
    assert [one.text for one in config.not_modelled] == [
        "typed_config",
        "grpc",
        "retry_policy",
        "ttl",
        "outlier_detection",
        "made_up",
    ]
    words = str(config.explain(ProxyRequest("/by", headers=(("X-Pool", "plain"),))))
    assert "made_up" not in words


COOKIES = """
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: 80}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /, cookies: [{name: beta, string_match: {exact: "1"}}, {name: old, invert_match: true, string_match: {prefix: x}}]}
                direct_response: {status: 201}
              - match: {prefix: /}
                direct_response: {status: 200}
"""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        (["beta=1"], 201),
        (["a=b; beta=1"], 201),
        (["beta=1; old=x1"], 200),
        (["beta=2", "beta=1"], 200),
    ],
    ids=str,
)
def test_matches_of_cookies_are_followed(written, headers, status):
    """A route's ``cookies`` decide as Envoy's do, and are not in the list of what is not modelled."""
    config = read_envoy(written(COOKIES))
    request = ProxyRequest("/", headers=tuple([("Cookie", value) for value in headers]))
    assert config.route(request).status == status
    assert not config.not_modelled
    assert "cookies beta, old" in config.route(ProxyRequest("/", headers=(("Cookie", "beta=1"),))).rule


@pytest.mark.parametrize(
    "wrong", ["{name: beta}", "{string_match: {exact: a}}", "{name: beta, string_match: {}}"]
)
def test_a_matcher_of_cookies_that_envoy_refuses_is_refused(written, wrong):
    """A matcher of cookies without a name or a pattern is refused with its line."""
    with pytest.raises(ProxyConfigError, match=r":15: .* is expected"):
        read_envoy(written(COOKIES.replace('{name: beta, string_match: {exact: "1"}}', wrong)))


def test_json_is_read_alike(written):
    """The same bootstrap as JSON has the same pools, routes and lines of its own."""
    document = {
        "static_resources": {
            "clusters": [
                {
                    "name": "shop",
                    "lb_policy": "RING_HASH",
                    "load_assignment": {
                        "endpoints": [
                            {
                                "lb_endpoints": [
                                    {
                                        "endpoint": {
                                            "address": {
                                                "socket_address": {"address": "10.0.0.1", "port_value": 80}
                                            }
                                        },
                                        "metadata": {
                                            "filter_metadata": {"envoy.lb": {"v": 1.5, "on": True, "n": None}}
                                        },
                                    }
                                ]
                            }
                        ]
                    },
                }
            ]
        }
    }
    config = read_config(written(json.dumps(document, indent=1), "envoy.json"))
    (server,) = config.pools["shop"].servers
    assert server.options["metadata"] == {"v": 1.5, "on": True, "n": None}
    assert server.origin.line == 11


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("static_resources:\n  clusters: [\n", 3),
        ("static_resources:\n\tclusters: []\n", 2),
        ("static_resources:\n  clusters: []\n  clusters: []\n", 3),
        ("static_resources:\n  clusters:\n  - name: a\n  - name: a\n", 4),
        ("static_resources:\n  clusters:\n  - name: a\n    lb_policy: FASTEST\n", 4),
        ("static_resources:\n  clusters:\n  - name: a\n    lbPolicy: RANDOM\n    lb_policy: RANDOM\n", 5),
        (
            "static_resources:\n  clusters:\n  - name: a\n    lb_policy: MAGLEV\n    maglev_lb_config:\n      table_size: 10\n",
            5,
        ),
        (
            ENVOY.replace("loadBalancingWeight: 3", "loadBalancingWeight: 0"),
            ENVOY.split("loadBal")[0].count("\n") + 1,
        ),
        (
            ENVOY.replace("cluster: shop\n", "cluster: nowhere\n"),
            ENVOY.split("cluster: shop\n")[0].count("\n") + 1,
        ),
        (
            LISTENER
            + "              - match: {safe_regex: {regex: '('}}\n                route: {cluster: a}\n",
            21,
        ),
        (LISTENER + "              - match: {headers: []}\n                route: {cluster: a}\n", 21),
        (LISTENER + "              - match: {prefix: /}\n", 21),
        ("static_resources: *nothing\n", 1),
        ("static_resources:\n  a: &x [*x]\n", 2),
        (LAUGHS, 6),
        ("static_resources:\n" + "".join(" " * n + "a:\n" for n in range(1, 99)), 65),
        ("static_resources:\n " + "[" * 100_000, 2),
        ("static_resources:\n clusters: [" + "[]," * 500_000 + "]", 2),
        ("static_resources:\n clu\0sters: []\n", 2),
        ("static_resources:\n a: \x07\n", 2),
        (b"static_resources:\n a: \xff\n", 2),
        ("static_resources: {}\n---\nstatic_resources: {}\n", 2),
        ("static_resources:\n  ? [a]\n  : b\n", 2),
        ("", 1),
        ("[]", 1),
        ("{}", 1),
    ],
    ids=range(26),
)
def test_a_broken_bootstrap_is_refused_with_its_line(written, text, line):
    """A broken bootstrap is refused with its line.

    Examples are YAML that does not parse, keys twice, and values out of bounds.
    """
    path = written(text)
    with pytest.raises(ProxyConfigError) as caught:
        read_envoy(path)
    assert caught.value.origin == Origin(path, line), str(caught.value)


def test_a_huge_bootstrap_is_refused_before_it_is_read(tmp_path):
    """A bootstrap of 100 MB is refused with its first line before anything is parsed."""
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    for read in (read_envoy, read_config):
        with pytest.raises(ProxyConfigError, match="bytes") as caught:
            read(str(path))
        assert caught.value.origin == Origin(str(path), 1)


def test_subsets_localities_and_priorities_are_followed(written):
    """A request whose route names a version goes to a host of it; a zone without a weight gets none; a level waits."""
    text = """\
static_resources:
  clusters:
  - name: c
    lb_policy: RANDOM
    lb_subset_config: {subset_selectors: [{keys: [v]}]}
    load_assignment:
      endpoints:
      - lb_endpoints:
        - {endpoint: &a {address: {pipe: {path: /a}}}, metadata: {filter_metadata: {envoy.lb: {v: 1}}}}
        - {endpoint: &b {address: {pipe: {path: /b}}}, metadata: {filter_metadata: {envoy.lb: {v: 2}}}}
  - name: z
    lb_policy: RANDOM
    common_lb_config: {locality_weighted_lb_config: {}, healthy_panic_threshold: {value: 0}}
    load_assignment:
      endpoints:
      - {locality: {zone: one}, load_balancing_weight: 1, lb_endpoints: [endpoint: *a]}
      - {locality: {zone: two}, lb_endpoints: [endpoint: *b]}
      - {priority: 1, lb_endpoints: [endpoint: {address: {pipe: {path: /c}}}]}
"""
    config = read_envoy(written(text))
    assert not config.not_modelled
    routing = config.route(ProxyRequest("/"))._replace(pool="c", metadata={"v": 2.0})
    chooser = config.pools["c"].start(Random(1))
    assert {chooser.pick(ProxyRequest("/"), routing) for _ in range(20)} == {"/b"}
    chooser = config.pools["z"].start(Random(1))
    assert {chooser.pick(ProxyRequest("/"), routing._replace(metadata={})) for _ in range(20)} == {"/a"}


def test_the_command_explains_a_request(written, capsys):
    """The command explains a request for YAML and JSON. A broken bootstrap ends it with status 2 and the line."""
    assert kind_of_text(ENVOY) == "envoy"
    assert main(["explain", written(ENVOY), "--header", "x-user:7"]) == 0
    assert "-> 10.0.0.1:80" in capsys.readouterr().out
    assert main(["explain", written(ENVOY), "--kind", "envoy", "--request", "/gone"]) == 0
    assert main(["explain", written('{"static_resources": {}}', "envoy.json")]) == 1
    capsys.readouterr()
    assert main(["explain", written('{"static_resources": 7}', "envoy.json")]) == 2
    assert "envoy.json:1:" in capsys.readouterr().err


@pytest.mark.parametrize("filter_", ["http_connection_manager", "tcp_proxy"])
def test_filters_of_version_2_are_refused(tmp_path, filter_):
    """Envoy knows them no more; the error has the line and says what to write."""
    kind = "".join([word.capitalize() for word in filter_.split("_")])
    path = tmp_path / "envoy.yaml"
    path.write_text(
        f"""static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 8080}}}}
    filter_chains:
    - filters:
      - name: one
        typed_config: {{"@type": type.googleapis.com/envoy.config.filter.network.{filter_}.v2.{kind}, stat_prefix: x}}
"""
    )
    with pytest.raises(ProxyConfigError, match=rf":7: .*v2\.{kind}: .*version 3"):
        read_envoy(str(path))


def test_a_byte_order_mark_before_a_bootstrap_is_none_of_it(tmp_path):
    """YAML allows the mark, so the kind is told and the file is read."""
    path = tmp_path / "envoy.yaml"
    path.write_bytes(b"\xef\xbb\xbfstatic_resources:\n  clusters: [{name: a}]\n")
    assert list(read_config(str(path)).pools) == ["a"]


def test_every_address_of_a_listener_leads_to_it(written):
    """Ports of additional_addresses are ports of the listener; a second listener of a port is listed."""
    more = "    additional_addresses: [{address: {socket_address: {address: 127.0.0.1, port_value: 8081}}}]\n"
    text = LISTENER.replace("    filter_chains", f"{more}    filter_chains", 1) + ROUTES + CLUSTERS
    config = read_envoy(written(text))
    assert config.route(ProxyRequest("/gone", port=8081)).status == 410
    assert config.route(ProxyRequest("/gone", port=8082)).status is None
    second = LISTENER.partition("  listeners:\n")[2].replace("127.0.0.1", "10.0.0.9")
    config = read_envoy(written(LISTENER + ROUTES + second + ROUTES + CLUSTERS))
    assert [one.origin.line for one in config.not_modelled if "distinguished" in one.why] == [
        (LISTENER + ROUTES).count("\n") + 2
    ]


@pytest.mark.parametrize("name", [":authority", "host", "Host"])
def test_the_host_is_the_authority_wherever_a_header_is_named(written, name):
    """Envoy keeps Host as :authority: in matches, in cluster_header and in what is hashed."""
    rules = f"""\
              - match: {{prefix: /m, headers: [{{name: "{name}", string_match: {{exact: shop}}}}]}}
                direct_response: {{status: 201}}
              - match: {{prefix: /c}}
                route: {{cluster_header: "{name}"}}
              - match: {{prefix: /}}
                route: {{cluster: shop, hash_policy: [{{header: {{header_name: "{name}"}}}}]}}
"""
    config = read_envoy(written(LISTENER + rules + CLUSTERS))
    assert config.route(ProxyRequest("/m", host="shop")).status == 201
    assert config.route(ProxyRequest("/m", host="else")).status is None
    assert config.route(ProxyRequest("/c", host="plain")).pool == "plain"
    assert config.explain(ProxyRequest("/", host="who")).key == "who"


@pytest.mark.parametrize(
    ("match", "path", "location"),
    [
        ("prefix: /a", "/a/b?c=1", "http://h/zz/b?c=1"),
        ("path: /a", "/a", "http://h/zz"),
        ("path_separated_prefix: /a", "/a/b", "http://h/zz/b"),
    ],
)
def test_a_redirect_may_replace_the_beginning_of_the_path(written, match, path, location):
    """prefix_rewrite of a redirect replaces what the route matches, and keeps the rest and the query."""
    rules = f"              - {{match: {{{match}}}, redirect: {{prefix_rewrite: /zz}}}}\n"
    config = read_envoy(written(LISTENER + rules + CLUSTERS))
    assert config.route(ProxyRequest(path, host="h")).location == location


@pytest.mark.parametrize(("text", "expected"), [('"false"', 201), ("'true'", 404), ("true", 404)])
def test_truth_values_may_be_quoted(written, text, expected):
    """Envoy reads "true" and "false" as truth values."""
    rules = f"              - {{match: {{prefix: /A, case_sensitive: {text}}}, direct_response: {{status: 201}}}}\n"
    assert read_envoy(written(LISTENER + rules + CLUSTERS)).route(ProxyRequest("/a")).status == expected


BROKEN_JSON = [
    '{"static_resources":\n {"clusters": [{"name": a}]}}',
    '{"static_resources":\n {"clusters": [{"name": "a"},]}}',
    '{"static_resources": {}\n # comment\n}',
]


@pytest.mark.parametrize("text", BROKEN_JSON)
def test_what_is_called_json_is_json(tmp_path, text):
    """Unquoted words, comments and commas too many are refused with their line, as Envoy does."""
    path = tmp_path / "envoy.json"
    path.write_text(text)
    with pytest.raises(ProxyConfigError, match="no JSON") as caught:
        read_envoy(str(path))
    assert caught.value.origin.line == 2


def test_json_may_have_tabs_and_escapes_of_two_halves(tmp_path):
    r"""Tabs indent, ``\/`` is a slash, two halves of a surrogate pair are one character, and a quoted backslash is none."""
    path = tmp_path / "envoy.json"
    path.write_text(
        '{\n\t"static_resources": {\n\t\t"clusters": [{"name": "a\\/\\ud83d\\uDE00\\\\ud83d"}]\n\t}\n}\n'
    )
    assert list(read_envoy(str(path)).pools) == ["a/\U0001f600\\ud83d"]


@pytest.mark.parametrize(
    "text",
    [
        '{"node":{"id":"x"},"static_resources":{}}',
        "node: {id: x}\ndynamic_resources: {}\n",
        '{"staticResources": {}}',
    ],
)
def test_bootstraps_are_told_wherever_their_resources_stand(text):
    """JSON of one line, and resources that come from elsewhere, are Envoy's too."""
    assert kind_of_text(text) == "envoy"
