"""Where Envoy's hashing policies place hosts and requests: localities, hash keys, headers of several lines.

An Envoy 1.40 chose the same owners for 120 keys of each: with weighted localities, with one of them out, in panic, with hash
keys.
"""

from __future__ import annotations

from collections import Counter

import pytest

from balancekit import ConfigurationError
from balancekit.compat import envoy
from balancekit.compat.envoy._hash import xxh64

KEYS = [f"k{number}" for number in range(600)]
ZONES = {"a": "za", "b": "za", "c": "zb", "d": "zb", "e": "zc"}
WEIGHTS = {"a": 1, "b": 3, "c": 1, "d": 1, "e": 1}
POLICIES = {"ring": envoy.RingHash, "maglev": envoy.Maglev}


def hosts(**facts):
    """Return hosts a to e in their zones."""
    return [
        envoy.Host(name, address=f"127.0.0.1:{18081 + number}", weight=WEIGHTS[name], zone=zone, **facts)
        for number, (name, zone) in enumerate(ZONES.items())
    ]


def owners(cluster, keys=KEYS, now=0.0):
    """Return which host each key belongs to."""
    found = []
    for key in keys:
        host = cluster.acquire(envoy.Request(headers={"x-key": key}), now=now)
        found.append(host)
        if host is not None:
            cluster.release(host, now=now)
    return found


def cluster(policy, **options):
    """Return a cluster that hashes ``x-key``."""
    return envoy.Cluster(
        options.pop("hosts", hosts()), policy, hash_policy=[envoy.Header("x-key")], **options
    )


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
class TestLocalities:
    """Weights of localities, and policies that hash."""

    def test_a_key_has_one_owner(self, policy):
        """A key has the same owner, however often it is asked for, as no locality is drawn."""
        weighted = cluster(policy, locality_weights={"za": 1, "zb": 3})
        assert owners(weighted, ["same"] * 50) == owners(weighted, ["same"]) * 50

    def test_the_table_is_that_of_the_products(self, policy):
        """A host's share is its locality's of the weights times its own of the locality's hosts."""
        weighted = cluster(policy, locality_weights={"za": 1, "zb": 3})
        flat = [
            envoy.Host(host.name, address=host.address, weight=weight)
            for host, weight in zip(hosts(), (1, 3, 6, 6), strict=False)
        ]
        assert owners(weighted) == owners(cluster(policy, hosts=flat))

    def test_a_locality_without_a_weight_has_no_key(self, policy):
        """A locality without a weight has no key. If all have none, no host is found."""
        assert "e" not in owners(cluster(policy, locality_weights={"za": 1, "zb": 3, "zc": 0}))
        assert set(owners(cluster(policy, locality_weights={}), KEYS[:9])) == {None}

    def test_nothing_makes_up_for_a_locality_that_is_out(self, policy):
        """Without a locality the others keep the proportion of their weights, and in panic all hosts count."""
        weighted = cluster(policy, locality_weights={"za": 2, "zb": 1, "zc": 1}, healthy_panic_threshold=50)
        for host in "ab":
            weighted.set_health(host, envoy.Health.UNHEALTHY, now=0.0)
        weighted.advance(now=9.0)
        shares = Counter(owners(weighted, now=9.0))
        assert set(shares) == {"c", "d", "e"}
        assert shares["e"] == pytest.approx(300, abs=110)
        weighted.set_health("c", envoy.Health.UNHEALTHY, now=20.0)
        assert set(owners(weighted, now=20.0)) == set("abcde")

    def test_zones_of_proxies_do_not_matter(self, policy):
        """Zones of proxies do not change the owners."""
        settings = envoy.ZoneAware(local_zone="za", local_zones=("za", "zb"), min_cluster_size=1)
        assert owners(cluster(policy, zone_aware=settings)) == owners(cluster(policy))


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_hash_key_places_a_host(policy):
    """A text ``hash_key`` in the metadata is the label, whatever the address and the hostname; anything else is ignored."""
    named = [envoy.Host(name, address=f"{name}:1", metadata={"hash_key": name * 5}) for name in "abc"]
    labelled = [envoy.Host(name, address=name * 5) for name in "abc"]
    assert owners(cluster(policy, hosts=named)) == owners(cluster(policy, hosts=labelled))
    by_name = cluster(lambda: policy(use_hostname_for_hashing=True), hosts=named)
    assert owners(by_name) == owners(cluster(policy, hosts=labelled))
    for other in ("", 5, None):
        plain = [
            envoy.Host(host.name, address=host.address, metadata={"hash_key": other}) for host in labelled
        ]
        assert owners(cluster(policy, hosts=plain)) == owners(cluster(policy, hosts=labelled))


def test_lines_of_one_header_are_hashed_one_by_one():
    """Lines of one header are hashed in sorted order, each with the hash before as its seed.

    One line is hashed alone.
    """
    policies = [envoy.Header("X-Key")]
    request = envoy.Request(headers={"x-key": "b,a"}, repeated={"x-key": ("b", "a")})
    assert envoy.request_hash(policies, request) == xxh64(b"b", xxh64(b"a"))
    assert envoy.request_hash(policies, envoy.Request(headers={"x-key": "b,a"})) == xxh64(b"b,a")
    assert envoy.request_hash([envoy.QueryParameter("x-key")], request) is None
    for wrong in ({"x-key": "ab"}, {"x-key": ("a",)}, {"x-key": (1, 2)}, ["x-key"]):
        with pytest.raises(ConfigurationError) as caught:
            envoy.Request(repeated=wrong)
        assert caught.value.parameter == "repeated"


def test_weighted_clusters_hash_lines_one_by_one_and_any_text():
    """Weighted clusters hash a repeated header line by line, and take bytes and any characters."""
    action = {"weighted": [["a", 30], ["b", 50], ["c", 20]], "by": "hash", "header": "x-key"}
    table = envoy.RouteConfig([{"domains": ["*"], "routes": [{"match": {"prefix": "/"}, "action": action}]}])

    def pool(*values):
        headers = tuple(("X-Key", value) for value in values)
        return table.route(envoy.RawRequest(target="/", host="x", headers=headers)).pool

    def expected(hashed):
        return "a" if hashed % 100 < 30 else "b" if hashed % 100 < 80 else "c"

    for number in range(20):
        lines = (f"z{number}", f"b{number}")
        assert pool(*lines) == expected(xxh64(lines[0].encode(), xxh64(lines[1].encode())))
        assert pool(lines[0]) == expected(xxh64(lines[0].encode()))
    assert pool("\xe9") == expected(xxh64(b"\xe9"))
    assert pool("\u65e5") == expected(xxh64("\u65e5".encode()))
