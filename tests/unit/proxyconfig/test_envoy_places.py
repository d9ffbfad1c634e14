"""Where Envoy places hosts and sends clients: localities, names, redirects, the scheme of a request, as 1.40 was observed."""

from __future__ import annotations

import json

import pytest

from balancekit.proxyconfig import ProxyConfigError, ProxyRequest, lint_config, read_envoy

MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)


def endpoint(host, **more):
    """Return an endpoint at port 80."""
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": 80}}, **more}}


def group(host, zone=None, weight=None):
    """Return a locality of one host."""
    found = {"lb_endpoints": [endpoint(host)]}
    if zone is not None:
        found["locality"] = {"zone": zone}
    if weight is not None:
        found["load_balancing_weight"] = weight
    return found


PLACES = {"locality_weighted_lb_config": {}, "zone_aware_lb_config": {}}


def weighted(*shares, **options):
    """Return the action of a route with weighted clusters."""
    return {"route": {"weighted_clusters": {"clusters": list(shares), **options}}}


@pytest.fixture
def read(tmp_path):
    """Return what reads a bootstrap of one cluster ``c`` with groups, options and the rules of its only virtual host."""

    def written(groups=None, route=None, chain=None, match=None, routes=None, **options):
        cluster = {"name": "c", "lb_policy": "MAGLEV", "type": "STATIC", **options}
        cluster["load_assignment"] = {"endpoints": [group("10.0.0.1")] if groups is None else groups}
        rule = {"match": match or {"prefix": "/"}, **(route or {"route": {"cluster": "c"}})}
        manager = {
            "@type": MANAGER,
            "route_config": {"virtual_hosts": [{"domains": ["*"], "routes": [rule]}], **(routes or {})},
        }
        listener = {
            "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
            "filter_chains": [{"filters": [{"typed_config": manager}], **(chain or {})}],
        }
        path = tmp_path / "envoy.json"
        path.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
        return read_envoy(str(path))

    return written


@pytest.mark.parametrize(("first", "second", "weight"), [(1, 5, 5), (5, 1, 1), (5, None, 5), (None, 5, 5)])
def test_the_last_weight_of_a_locality_counts(read, first, second, weight):
    """Groups of one locality are one, with the weight that is written last; what has none leaves it."""
    groups = [group("10.0.0.1", "a", first), group("10.0.0.2", "b", 3), group("10.0.0.3", "a", second)]
    config = read(groups, common_lb_config={"locality_weighted_lb_config": {}})
    assert config.pools["c"].settings["locality_weights"] == {"0:/a/": weight, "0:/b/": 3}


def test_a_group_without_a_locality_has_no_weight(read):
    """Balanced by locality it is never used, whatever weight is written."""
    config = read([group("10.0.0.1", weight=5)], common_lb_config={"locality_weighted_lb_config": {}})
    assert config.explain(ProxyRequest()).server is None


@pytest.mark.parametrize("kind", ["STRICT_DNS", "LOGICAL_DNS"])
def test_names_of_hosts_are_listed(read, kind):
    """A host given by name is listed, as its addresses are known only when the proxy runs."""
    (found,) = read([group("app.internal")], type=kind).not_modelled
    assert (found.text, found.why) == (
        "address",
        "which addresses a name has, and how many, is not known here",
    )
    assert read([group("10.0.0.1")], type=kind).not_modelled == ()


def test_the_address_stands_for_a_host_name_that_is_left_out(read):
    """Where names are resolved, hosts without a host name are hashed by their address, without its port."""
    groups = [{"lb_endpoints": [endpoint("10.0.0.1", hostname="one"), endpoint("10.0.0.2")]}]
    hashing = {"consistent_hashing_lb_config": {"use_hostname_for_hashing": True}}
    config = read(groups, type="STRICT_DNS", common_lb_config=hashing)
    assert [server.options["hostname"] for server in config.pools["c"].servers] == ["one", "10.0.0.2"]
    assert [server.options["hostname"] for server in read(groups).pools["c"].servers] == ["one", ""]


@pytest.mark.parametrize(
    "wrong",
    [
        {"groups": [group("app.internal")]},
        {"groups": [group("10.0.0.1"), group("10.0.0.2")], "type": "LOGICAL_DNS"},
        {"common_lb_config": {"consistent_hashing_lb_config": {"use_hostname_for_hashing": True}}},
        {
            "groups": [
                {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "10.0.0.1"}}}}]}
            ]
        },
        {"common_lb_config": PLACES, "lb_policy": "RANDOM"},
        {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"hash_function": "DEFAULT_HASH"}},
        {"route": {"route": {"cluster": "c"}, "redirect": {}}},
        {"route": {"direct_response": {}}},
        {"route": {"redirect": {"https_redirect": False, "scheme_redirect": "https"}}},
        {"route": {"redirect": {"path_redirect": "/a", "prefix_rewrite": "/b"}}},
        {"route": {"route": {"cluster_header": ""}}},
        {"route": weighted({"name": "c", "cluster_header": "x", "weight": 1})},
        {"route": weighted({"weight": 1})},
        {"route": weighted({"name": "c", "weight": 2**32 - 1}, {"name": "c", "weight": 1})},
        {"route": weighted({"name": "c", "weight": 1}, header_name="x", use_hash_policy=True)},
        {"route": {"route": {"cluster": "other"}}},
        {"match": {"path_separated_prefix": "/a/"}},
        {"match": {"path_separated_prefix": "a"}},
        {"match": {"path_separated_prefix": "/a?"}},
    ],
)
def test_what_envoy_refuses_is_refused(read, wrong):
    """The reader refuses what Envoy refuses.

    Examples are names of STATIC hosts, a second logical host, and prefixes that end with a slash.
    """
    with pytest.raises(ProxyConfigError, match=r"envoy\.json:1: "):
        read(**wrong)


@pytest.mark.parametrize(
    ("redirect", "host", "location"),
    [
        ({"host_redirect": "z.test"}, "h.test:8080", "http://z.test/"),
        ({"host_redirect": "z.test:81"}, "h.test:8080", "http://z.test:81/"),
        ({"host_redirect": "z.test", "port_redirect": 82}, "h.test:8080", "http://z.test:82/"),
        ({"host_redirect": "z.test", "https_redirect": True}, "h.test:8080", "https://z.test/"),
        ({"path_redirect": "/"}, "h.test:8080", "http://h.test:8080/"),
        ({"https_redirect": True}, "h.test:80", "https://h.test/"),
    ],
)
def test_another_host_comes_without_the_port_of_the_request(read, redirect, host, location):
    """A host that is replaced has its own port or none, and not that of the request."""
    config = read(route={"redirect": redirect})
    assert config.route(ProxyRequest("/", host=host)).location == location


@pytest.mark.parametrize(("redirect", "listed"), [({}, 1), ({"https_redirect": True}, 0)])
def test_the_scheme_of_redirects_behind_tls_is_listed(read, redirect, listed):
    """The scheme of a redirect behind TLS is listed, unless the redirect replaces it."""
    config = read(route={"redirect": redirect}, chain={"transport_socket": {"name": "tls"}})
    assert [one.text for one in config.not_modelled] == ["transport_socket"] * listed


def test_the_scheme_of_a_request_can_be_hashed(read):
    """A request always has a ``:scheme`` header, so that its scheme can be hashed."""
    route = {"route": {"cluster": "c", "hash_policy": [{"header": {"header_name": ":scheme"}}]}}
    assert read(route=route).explain(ProxyRequest()).key == "http"


def test_clusters_that_are_not_validated_may_be_unknown(read):
    """With ``validate_clusters: false`` a bootstrap may name clusters that come later; until then the answer is 503."""
    config = read(route={"route": {"cluster": "other"}}, routes={"validate_clusters": False})
    assert not config.not_modelled
    routing = config.route(ProxyRequest())
    assert (routing.pool, routing.status) == (None, 503)
    shares = weighted({"name": "other", "weight": 1}, {"name": "c", "weight": 3})
    found = read(route=shares, routes={"validate_clusters": False}).route(ProxyRequest())
    assert found.shares == {"other": 0.25, "c": 0.75}


def test_a_header_names_the_cluster_of_a_share(read):
    """A share with ``cluster_header`` goes to the cluster that the request names, or gets 503."""
    config = read(route=weighted({"cluster_header": "x-c", "weight": 1}))
    assert not config.not_modelled
    assert config.route(ProxyRequest(headers=(("x-c", "c"),))).pool == "c"
    assert config.route(ProxyRequest(headers=(("x-c", "d"),))).status == 503
    assert config.route(ProxyRequest()).status == 503
    both = read(route=weighted({"cluster_header": "x-c", "weight": 1}, {"name": "c", "weight": 1}))
    assert both.route(ProxyRequest(headers=(("x-c", "c"),))).shares == {"c": 1.0}
    assert [one.rule for one in lint_config(config)] == []


def test_a_listener_within_the_process_is_an_address(read):
    """Hosts may be listeners of the same Envoy."""
    inner = {"envoy_internal_address": {"server_listener_name": "l", "endpoint_id": "1"}}
    (server,) = read([{"lb_endpoints": [{"endpoint": {"address": inner}}]}]).pools["c"].servers
    assert server.address == "envoy://l/1"


def test_a_typed_policy_hashes_names_of_static_hosts(read):
    """Only the option of ``common_lb_config`` is refused for hosts of type ``STATIC``."""
    kind = "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev"
    options = {"@type": kind, "consistent_hashing_lb_config": {"use_hostname_for_hashing": True}}
    policy = {"policies": [{"typed_extension_config": {"name": "a", "typed_config": options}}]}
    config = read(load_balancing_policy=policy)
    assert config.pools["c"].settings["policy"]["use_hostname_for_hashing"] is True


@pytest.mark.parametrize("policy", [2, "ring_hash", "RING_HASH"])
def test_policies_in_any_form_are_linted(read, policy):
    """A policy that hashes, by number or in lower case, needs a hash policy of the route."""
    rules = [one.rule for one in lint_config(read(lb_policy=policy))]
    assert "nothing-to-hash" in rules
