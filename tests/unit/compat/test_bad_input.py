"""What no server could answer is refused by name: no entries, no weight, names that are not there, rules that lack a part."""

from __future__ import annotations

import math
from random import Random

import pytest

from balancekit import ConfigurationError
from balancekit.compat import (
    dynamo,
    envoy,
    gateway,
    gdnsd,
    haproxy,
    keepalived,
    knot,
    nginx,
    powerdns,
    rotation,
    route53,
)
from balancekit.gslb import Client, Location, Query, fixed_standings

CLIENT = Client(address="192.0.2.53")
RULES = {"name": "r", "rules": [{"pool": "a"}]}


def answer_of(policy):
    """Return the answer of a policy whose records are all up."""
    query = Query(name="www", client=CLIENT)
    return policy.answer(query, fixed_standings({}), now=0.0, rng=Random(1))


def process():
    """Return a process with one instance, a script and a file."""
    instance = keepalived.Instance(
        virtual_router_id=51, virtual_ipaddress=("192.0.2.100",), unicast_src_ip="192.0.2.11"
    )
    return keepalived.Keepalived(
        instances={"VI": instance},
        scripts={"s": keepalived.TrackScript()},
        files={"f": keepalived.TrackFile()},
    )()


WRONG = {
    "pickhashed": ("entries", lambda: powerdns.pickhashed(CLIENT, [])),
    "pickwhashed of none": ("entries", lambda: powerdns.pickwhashed(CLIENT, [])),
    "pickwhashed without weight": ("entries", lambda: powerdns.pickwhashed(CLIENT, [(0, "a"), (0, "b")])),
    "pickwhashed below zero": ("weight", lambda: powerdns.pickwhashed(CLIENT, [(-1, "a"), (3, "b")])),
    "pickwrandom": ("entries", lambda: powerdns.pickwrandom([(0, "a")], Random(1))),
    "pickrandomsample": ("count", lambda: powerdns.pickrandomsample(-1, ["a"], Random(1))),
    "closest": ("entries", lambda: powerdns.closest("192.0.2.1", [], lambda _: None)),
    "view of no network": ("network", lambda: powerdns.view(CLIENT, [(["x"], ["a"])], Random(1))),
    "view without entries": ("views", lambda: powerdns.view(CLIENT, [(["192.0.2.0/24"], [])], Random(1))),
    "groups": ("groups", lambda: powerdns.IfUp([[], []])),
    "service": ("service", lambda: powerdns.GeoIpBackend([], {"w": []}).look_up("x", CLIENT)),
    "no service": ("service", lambda: powerdns.GeoIpBackend([], {}).look_up("x", CLIENT)),
    "rotated": ("records", lambda: knot.rotated([], Random(1))),
    "rotated of a long label": ("records", lambda: knot.rotated(["a" * 64 + ".test"], Random(1))),
    "arranged of a long label": (
        "records",
        lambda: rotation.RrsetOrder("none").arrange(["a" * 300], Random(1)),
    ),
    "a TTL with a sign": ("text", lambda: gdnsd.ttl_limits("+5")),
    "a TTL with another script's digits": ("text", lambda: gdnsd.ttl_limits("\N{ARABIC-INDIC DIGIT FIVE}")),
    "a TTL of many digits": ("text", lambda: gdnsd.ttl_limits("1" * 5000)),
    "a TTL without its minimum": ("text", lambda: gdnsd.ttl_limits("90/")),
    "latitude": ("latitude", lambda: route53.geoproximity(lambda _: Location(), {"a": (91.0, 0.0, 0)})),
    "longitude": (
        "longitude",
        lambda: route53.geoproximity(lambda _: Location(), {"a": (0.0, math.nan, 0)}),
    ),
    "knot's weighted": ("entries", lambda: knot.weighted({"a": 0}, Random(1))),
    "subnets": ("networks", lambda: knot.Subnets({"x": ["a"]})),
    "gdnsd's weighted of both": ("groups", lambda: gdnsd.weighted({"g": {"a": 1}}, {"b": 1})),
    "gdnsd's weighted of neither": ("groups", gdnsd.weighted),
    "least children": ("least", lambda: route53.calculated([True], 0.5)),
    "passing checkers": ("passing", lambda: route53.healthy(6, 5)),
    "workers": ("workers", lambda: dynamo.KvRouter([])),
    "role": ("instance", lambda: process().role("x")),
    "priority": ("instance", lambda: process().set_priority(3, member="x", now=0.0)),
    "fault": ("instance", lambda: process().fault(member="x", now=0.0)),
    "script": ("name", lambda: process().script("x", passed=True, now=0.0)),
    "file": ("name", lambda: process().file("x", 1, now=0.0)),
    "listener": ("listeners", lambda: gateway.HttpRoutes([{}], [RULES])),
    "route": ("routes", lambda: gateway.HttpRoutes([{"name": "w"}], [{"name": "r"}])),
    "location": ("servers", lambda: nginx.Locations([{"locations": [{"pool": "a"}]}])),
    "use_backend": ("rules", lambda: haproxy.UseBackend([{}])),
    "term": ("rules", lambda: haproxy.UseBackend([{"pool": "a", "if": [[{"fetch": "path"}]]}])),
    "virtual host": ("virtual_hosts", lambda: envoy.RouteConfig([{"routes": []}])),
    "match": ("virtual_hosts", lambda: envoy.RouteConfig([{"domains": ["*"], "routes": [{}]}])),
    "knot's database": ("location_of", lambda: knot.GeoDb({"*;*": ["a"]}, 5)),
    **{
        f"knot's row {place}": (
            "location_of",
            lambda row=row: knot.GeoDb({}, lambda address: row).look_up(CLIENT),
        )
        for place, row in enumerate(
            [5, (Location("EU"),), (5, 24), (Location("EU"), "x"), (Location("EU"), 129)]
        )
    },
    "PowerDNS's row": (
        "location_of",
        lambda: powerdns.closest("192.0.2.1", ["192.0.2.2"], lambda address: 5),
    ),
    "PowerDNS's backend": (
        "location_of",
        lambda: powerdns.GeoIpBackend(["a.x"], {"x": ["%ci.x"]}, lambda address: 5).look_up("x", CLIENT),
    ),
    "route 53's order": ("order", lambda: route53.RecordOrder(5, ["a"])),
    **{
        f"route 53's {name} {place}": (name, lambda policy=policy: answer_of(policy))
        for place, (name, policy) in enumerate(
            [
                *(
                    ("order", route53.RecordOrder(lambda client, found=found: found, ["a", "b"]))
                    for found in ("ab", None, ["z"], [["a"]])
                ),
                *(
                    ("measured", route53.latency(lambda client, found=found: found, ["a", "b"]))
                    for found in (None, ["a"], {"a": "x"}, {"a": math.nan, "b": 1.0})
                ),
                ("location_of", route53.geolocation(lambda client: None, default="a")),
                ("location_of", route53.geoproximity(lambda client: "DE", {"a": (1.0, 2.0, 0)})),
            ]
        )
    },
    "knot's network": ("networks", lambda: knot.Subnets({5: ["a"]})),
    **{
        f"gateway's {name} {place}": (name, lambda rules=rules: gateway.HttpRoutes([{"name": "w"}], [rules]))
        for place, (name, rules) in enumerate(
            [
                ("listeners", {**RULES, "listeners": "web"}),
                ("listeners", {**RULES, "listeners": [5]}),
                ("hostnames", {**RULES, "hostnames": "a"}),
                ("name", {**RULES, "name": 5}),
                ("rules", {"name": "r", "rules": {"pool": "p"}}),
                ("rules", {"name": "r", "rules": "p"}),
                ("pool", {"name": "r", "rules": [{}]}),
                ("pool", {"name": "r", "rules": [{"pool": 5}]}),
                *(
                    (name, {"name": "r", "rules": [{"pool": "p", "matches": matches}]})
                    for name, matches in [
                        ("matches", "x"),
                        ("matches", ["x"]),
                        ("path", [{"path": "/x"}]),
                        ("type", [{"path": {"type": ["Exact"], "value": "/"}}]),
                        ("value", [{"path": {"value": 5}}]),
                        ("headers", [{"headers": {"name": "k", "value": "v"}}]),
                        ("name", [{"headers": [{"value": "v"}]}]),
                        ("value", [{"headers": [{"name": "k"}]}]),
                        ("type", [{"headers": [{"name": "k", "value": "v", "type": "Prefix"}]}]),
                        ("queryParams", [{"queryParams": "a"}]),
                    ]
                ),
            ]
        )
    },
    **{
        f"envoy's {name} {place}": (name, lambda host=host: envoy.RouteConfig([{"domains": ["*"], **host}]))
        for place, (name, host) in enumerate(
            [
                ("domains", {"domains": "a.test"}),
                ("domains", {"domains": [5]}),
                ("routes", {"routes": {"match": {"prefix": "/"}}}),
                ("match", {"routes": [{"match": "/", "action": {"pool": "p"}}]}),
                ("action", {"routes": [{"match": {"prefix": "/"}, "action": "p"}]}),
                *(
                    (name, {"routes": [{"match": {"prefix": "/", name: given}, "action": {"pool": "p"}}]})
                    for name in ("headers", "query_parameters", "cookies")
                    for given in ("k", {"name": "k"}, ["k"])
                ),
                *(
                    (name, {"routes": [{"match": {"prefix": "/"}, "action": {"weighted": given}}]})
                    for name, given in [
                        ("weighted", "ab"),
                        ("weighted", [["a"]]),
                        ("weighted", {"a": 1}),
                        ("weight", [["a", 1.5]]),
                    ]
                ),
            ]
        )
    },
    **{
        f"haproxy's {name} {place}": (
            name,
            lambda given=given: haproxy.UseBackend([{"pool": "p", "if": given}]),
        )
        for place, (name, given) in enumerate(
            [
                ("if", "path"),
                ("if", [{"fetch": "path", "patterns": ["/"]}]),
                ("if", [["path"]]),
                ("fetch", [[{"fetch": 5, "patterns": ["/"]}]]),
                ("patterns", [[{"fetch": "path", "patterns": "/abc"}]]),
                ("patterns", [[{"fetch": "path", "patterns": [5]}]]),
                ("flags", [[{"fetch": "path", "patterns": ["/"], "flags": "no-i"}]]),
            ]
        )
    },
    **{
        f"nginx's {name} {place}": (name, lambda server=server: nginx.Locations([server]))
        for place, (name, server) in enumerate(
            [
                ("names", {"names": "abc"}),
                ("names", {"names": [5]}),
                ("locations", {"locations": {"pattern": "/"}}),
                ("locations", {"locations": ["/"]}),
                ("locations", {"locations": [{"pattern": "/", "locations": "/"}]}),
                ("pattern", {"locations": [{"pattern": 5}]}),
            ]
        )
    },
}


@pytest.mark.parametrize("case", WRONG)
def test_the_parameter_is_named(case):
    """Each raises ConfigurationError, which names the parameter and says what is allowed."""
    parameter, make = WRONG[case]
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter
    assert str(caught.value).rpartition("expected ")[2].strip()


def test_a_weight_of_zero_is_an_entry_that_is_not_picked():
    """An entry of weight zero is not picked where another has weight."""
    picks = {powerdns.pickwhashed(Client(address=f"192.0.2.{n}"), [(0, "a"), (1, "b")]) for n in range(50)}
    assert picks == {"b"}
    assert knot.weighted({"a": 0, "b": 1}, Random(1)) == "b"


def test_a_location_of_any_letters_redirects_to_its_slash():
    """The target of the redirect is escaped as the bytes that its letters stand for, latin-1 or else UTF-8."""
    for name, target in (("/\xe9/", "/%E9/"), ("/\u65e5/", "/%E6%97%A5/")):
        table = nginx.Locations([{"locations": [{"pattern": name, "pool": "a"}]}])
        assert table.route(nginx.RawRequest(target=name[:-1], host="x")).location == target
