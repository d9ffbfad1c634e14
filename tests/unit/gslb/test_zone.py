"""Zones: which names are there, which records they have, and how long negative answers last."""

from __future__ import annotations

import copy
import pickle
from random import Random

import pytest

from balancekit.errors import ConfigurationError
from balancekit.gslb import (
    AllUp,
    Client,
    Geo,
    GeoMap,
    PrimaryBackup,
    Query,
    Soa,
    Standing,
    StaticRecords,
    Ttl,
    Zone,
    fixed_standings,
)

SOA = Soa(primary="ns1.example.com", contact="admin.example.com", negative_ttl=30)
ADDRESSES = {"eu-1": ["192.0.2.1", "2001:db8::1"], "us-1": "192.0.2.2"}
WORLD = GeoMap.build(networks={"10.0.0.0/16": ["us", "eu"]}, default=["eu", "us"])
ZONE = Zone(
    "Example.com.",
    SOA,
    {
        "www": Geo(WORLD, {"eu": AllUp(["eu-1"]), "us": AllUp(["us-1"])}),
        "strict": AllUp(["eu-1"], exhausted="closed"),
        "bare": AllUp(["192.0.2.9"]),
        "@": StaticRecords(data={"NS": ["ns1.example.com."], "A": ["192.0.2.200"]}),
        "alias": StaticRecords(data={"CNAME": ["www.example.com."]}, ttl=77),
        "deep.below": StaticRecords(data={"TXT": ['"x"']}),
    },
    addresses=ADDRESSES,
    ttl=Ttl(minimum=10, maximum=60),
    ttls={"bare": Ttl(minimum=1, maximum=2)},
)


def ask(name, kind="A", standings=None, subnet=None, now=0.0):
    """Return one reply."""
    query = Query(name=name, kind=kind, client=Client(address="192.0.2.53", subnet=subnet))
    return ZONE.answer(query, fixed_standings(standings or {}), now=now, rng=Random(1))


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "data"),
    [
        ("www.example.com", "A", "NOERROR", ["192.0.2.1"]),
        ("WWW.Example.COM.", "AAAA", "NOERROR", ["2001:db8::1"]),
        ("www.example.com", "TXT", "NOERROR", []),
        ("bare.example.com", "A", "NOERROR", ["192.0.2.9"]),
        ("bare.example.com", "AAAA", "NOERROR", []),
        ("example.com", "NS", "NOERROR", ["ns1.example.com."]),
        ("example.com", "A", "NOERROR", ["192.0.2.200"]),
        ("example.com", "SOA", "NOERROR", [SOA.data]),
        ("alias.example.com", "A", "NOERROR", ["www.example.com."]),
        ("alias.example.com", "CNAME", "NOERROR", ["www.example.com."]),
        ("below.example.com", "A", "NOERROR", []),
        ("deep.below.example.com", "TXT", "NOERROR", ['"x"']),
        ("nope.example.com", "A", "NXDOMAIN", []),
        ("x.www.example.com", "A", "NXDOMAIN", []),
        ("example.org", "A", "REFUSED", []),
        ("notexample.com", "A", "REFUSED", []),
        ("", "A", "REFUSED", []),
        (r"www\.example.com", "A", "REFUSED", []),
        (r"www\\.example.com", "A", "NXDOMAIN", []),
        (r"x\.www.example.com", "A", "NXDOMAIN", []),
        ("www.example.com", "ANY", "NOERROR", ['"RFC8482" ""']),
        ("example.com", "ANY", "NOERROR", ['"RFC8482" ""']),
        ("below.example.com", "ANY", "NOERROR", ['"RFC8482" ""']),
        ("alias.example.com", "ANY", "NOERROR", ["www.example.com."]),
        ("nope.example.com", "ANY", "NXDOMAIN", []),
        ("example.org", "ANY", "REFUSED", []),
        ("www.example.com", "TYPE127", "NOERROR", []),
        ("www.example.com", "TYPE65280", "NOERROR", []),
    ],
)
def test_names_and_types(name, kind, rcode, data):
    """NXDOMAIN is only for names with nothing at or below them.

    Another type is NODATA, and other zones are refused.
    """
    reply = ask(name, kind)
    assert reply.rcode == rcode
    assert [record.data for record in reply.records] == data
    negative = rcode != "REFUSED" and not data
    assert [record.kind for record in reply.authority] == (["SOA"] if negative else [])


@pytest.mark.parametrize(
    "kind", ["AXFR", "ixfr", "MAILA", "MAILB", "TKEY", "TSIG", "NXNAME", "TYPE128", "254"]
)
@pytest.mark.parametrize("name", ["example.com", "www.example.com", "nope.example.com", "example.org"])
def test_what_is_no_type_of_records_is_not_implemented(name, kind):
    """Transfers and the other types of queries get NOTIMP and nothing else, whatever the name, as from gdnsd."""
    assert ask(name, kind) == ("NOTIMP", (), (), 0, None)


def test_names_are_compared_as_a_labels():
    """A zone written with other letters answers queries for its A-labels; underscores are for services."""
    zone = Zone(
        "Bücher.example", SOA, {"straße": AllUp(["192.0.2.1"]), "_dmarc": StaticRecords(data={"TXT": ["x"]})}
    )
    for name in ("xn--strae-oqa.xn--bcher-kva.example", "_dmarc.xn--bcher-kva.example"):
        query = Query(name=name, client=Client(address="192.0.2.53"))
        assert zone.answer(query, fixed_standings({}), now=0.0, rng=Random(1)).rcode == "NOERROR"


def test_the_ttl_is_within_the_limits_of_its_name():
    """The TTL is what the standing allows, between the minimum and the maximum of its name."""
    for until, ttl in ((3.0, 10), (45.5, 45), (500.0, 60)):
        assert (
            ask("www.example.com", standings={"eu-1": Standing(up=True, until=until)}).records[0].ttl == ttl
        )
    assert ask("bare.example.com").records[0].ttl == 2
    assert ask("alias.example.com").records[0].ttl == 77


def test_no_answer_by_policy_is_nodata_for_no_longer_than_the_policy_says():
    """CLOSED answers nothing; the negative TTL is the least of the SOA's and the answer's."""
    reply = ask("strict.example.com", standings={"eu-1": Standing(up=False, until=17.0)})
    assert (reply.rcode, reply.records, reply.authority[0].ttl) == ("NOERROR", (), 17)
    reply = ask("strict.example.com", standings={"eu-1": Standing(up=False, until=500.0)})
    assert reply.authority[0].ttl == 30


def test_both_families_lead_to_the_same_site():
    """A client near a site without IPv6 gets NODATA for AAAA, not the other site's."""
    assert ask("www.example.com", "A", subnet="10.0.1.0/24").records[0].data == "192.0.2.2"
    assert ask("www.example.com", "AAAA", subnet="10.0.1.0/24").records == ()


def test_the_scope_is_that_of_the_answer():
    """Static records and names that are not there have scope 0, as they are the same for all."""
    assert ask("www.example.com", subnet="10.0.1.0/24").scope == 16
    assert ask("example.com", subnet="10.0.1.0/24").scope == 0
    assert ask("nope.example.com", subnet="10.0.1.0/24").scope == 0


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: Zone("", SOA, {}), "origin"),
        (lambda: Zone("a b.com", SOA, {}), "origin"),
        (lambda: Zone("ab\u0130.com\u2024", SOA, {}), "origin"),
        (lambda: Zone("example.com", SOA, {"a..b": AllUp(["192.0.2.1"])}), "records"),
        (lambda: Zone("example.com", SOA, {"x" * 64: AllUp(["192.0.2.1"])}), "records"),
        (lambda: Zone("example.com", SOA, {"www": AllUp(["eu-1"])}), "addresses"),
        (
            lambda: Zone("example.com", SOA, {"www": PrimaryBackup("192.0.2.1", "b")}, addresses={"b": "x"}),
            "addresses",
        ),
        (lambda: Zone("example.com", SOA, {"www": AllUp(["192.0.2.1"])}, ttls={"w": Ttl()}), "ttls"),
        (lambda: Zone("example.com", SOA, {"www": AllUp(["192.0.2.1"])}).ttl("w"), "name"),
        (lambda: StaticRecords(data={}), "data"),
        (lambda: StaticRecords(data={"CNAME": ["a."], "A": ["192.0.2.1"]}), "data"),
        (lambda: StaticRecords(data={"A": "192.0.2.1"}), "data"),
        (lambda: Ttl(minimum=10, maximum=5), "minimum"),
        (lambda: Soa(primary="", contact="a"), "primary"),
        (lambda: Soa(primary="a", contact="b", negative_ttl=2**31), "negative_ttl"),
        (lambda: Soa(primary="a", contact="b", expire=2**32), "expire"),
    ],
)
def test_a_wrong_argument_is_named(make, parameter):
    """A wrong argument is refused where it is given, by an error that names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter


@pytest.mark.parametrize("other", ["WWW", "www.example.com.", "bücher", "Bücher.Example.com."])
def test_a_name_that_stands_twice_is_refused(other):
    """Two spellings of one name are refused: the records of one would be lost without a word."""
    first = "xn--bcher-kva" if "cher" in other else "www"
    records = {first: AllUp(["192.0.2.1"]), other: AllUp(["192.0.2.2"])}
    soa = Soa(primary="ns1.example.com", contact="admin.example.com")
    with pytest.raises(ConfigurationError, match="once") as caught:
        Zone("example.com", soa, records)
    assert (caught.value.parameter, caught.value.value) == ("records", other)


@pytest.mark.parametrize(
    ("data", "allowed"),
    [
        ({"txt": ['"x"'], "TXT": ['"y"']}, "once"),
        ({"A": ["300.1.1.1"]}, "IPv4"),
        ({"A": ["2001:db8::1"]}, "IPv4"),
        ({"AAAA": ["192.0.2.1"]}, "IPv6"),
        ({"AAAA": ["fe80::1%eth0"]}, "IPv6"),
    ],
)
def test_records_that_no_answer_can_carry_are_refused(data, allowed):
    """A type that stands twice would lose the records of one spelling; an address has the family of its type."""
    with pytest.raises(ConfigurationError, match=allowed) as caught:
        StaticRecords(data=data)
    assert caught.value.parameter == "data"


@pytest.mark.parametrize(
    ("name", "data"), [("@", {"CNAME": ["www.example.net."]}), ("sub", {"NS": ["ns1.example.net."]})]
)
def test_what_would_hide_names_is_refused(name, data):
    """A CNAME at the origin would hide the start of authority; names below a delegation would not exist."""
    with pytest.raises(ConfigurationError, match=r"no (CNAME|NS)") as caught:
        Zone("example.com", SOA, {name: StaticRecords(data=data)})
    assert (caught.value.parameter, caught.value.value) == ("records", name)


def test_a_set_of_records_has_each_once():
    """Endpoints that share an address, and data that stand twice, give one record (RFC 2181, 5)."""
    records = {"www": AllUp(["a", "b"]), "two": StaticRecords(data={"A": ["192.0.2.1", "192.0.2.1"]})}
    zone = Zone("example.com", SOA, records, addresses={"a": "192.0.2.1", "b": ["192.0.2.1", "192.0.2.2"]})
    for name, data in (("www", ["192.0.2.1", "192.0.2.2"]), ("two", ["192.0.2.1"])):
        query = Query(name=f"{name}.example.com", client=Client(address="192.0.2.53"))
        reply = zone.answer(query, fixed_standings({}), now=0.0, rng=Random(1))
        assert sorted(record.data for record in reply.records) == data


def test_a_name_ends_with_one_dot_at_most():
    """A name with two dots at its end has an empty label and is in no zone."""
    query = Query(name="www.example.com..", client=Client(address="192.0.2.53"))
    assert ZONE.answer(query, fixed_standings({}), now=0.0, rng=Random(1)).rcode == "REFUSED"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda zone: pickle.loads(pickle.dumps(zone))])
def test_a_copied_zone_answers_alike(again):
    """A zone can be copied, and sent to another process."""
    query = Query(name="www.example.com", client=Client(address="192.0.2.53"))
    answers = [
        zone.answer(query, fixed_standings({}), now=0.0, rng=Random(1)) for zone in (ZONE, again(ZONE))
    ]
    assert answers[0] == answers[1]


DELEGATED = Zone(
    "www.example.com",
    SOA,
    {"@": AllUp(["eu-1"]), "Api": AllUp(["us-1"])},
    addresses=ADDRESSES,
    ttls={"API": Ttl(minimum=1, maximum=7)},
    beside={
        "@": StaticRecords(data={"NS": ["gslb1.example.com."], "CAA": ['0 issue "ca.example.net"']}, ttl=900),
        "api.www.example.com.": StaticRecords(data={"TXT": ['"x"']}),
    },
)


@pytest.mark.parametrize(
    ("name", "kind", "ttl", "data"),
    [
        ("www.example.com", "A", 60, ["192.0.2.1"]),
        ("www.example.com", "AAAA", 60, ["2001:db8::1"]),
        ("www.example.com", "NS", 900, ["gslb1.example.com."]),
        ("WWW.example.com", "CAA", 900, ['0 issue "ca.example.net"']),
        ("www.example.com", "SOA", 30, [SOA.data]),
        ("www.example.com", "MX", None, []),
        ("api.www.example.com", "A", 7, ["192.0.2.2"]),
        ("api.www.example.com", "TXT", 300, ['"x"']),
        ("api.www.example.com", "CAA", None, []),
    ],
)
def test_a_delegated_name_has_its_policy_and_its_other_records(name, kind, ttl, data):
    """A zone of one name has a policy and NS at its origin (RFC 1034, 4.2.1), and CAA where certificates are issued for it."""
    query = Query(name=name, kind=kind, client=Client(address="192.0.2.53"))
    reply = DELEGATED.answer(query, fixed_standings({}), now=0.0, rng=Random(1))
    assert (reply.rcode, [record.data for record in reply.records]) == ("NOERROR", data)
    assert {record.ttl for record in reply.records} <= {ttl}
    assert bool(reply.authority) is not bool(data)


@pytest.mark.parametrize("kind", ["A", "AAAA", "CNAME", "TYPE28", "SOA"])
def test_records_beside_a_policy_are_of_other_types(kind):
    """Addresses are the policy's; a CNAME has nothing beside it, and the start of authority is the zone's."""
    text = {"A": "192.0.2.1", "AAAA": "::1", "TYPE28": "::1"}.get(
        kind, SOA.data if kind == "SOA" else "x.example.com."
    )
    with pytest.raises(ConfigurationError):
        Zone(
            "example.com", SOA, {"@": AllUp(["192.0.2.1"])}, beside={"@": StaticRecords(data={kind: [text]})}
        )


@pytest.mark.parametrize("parameter", ["beside", "ttls"])
@pytest.mark.parametrize("name", ["@", "nope", "static"])
def test_what_belongs_to_a_policy_needs_one(parameter, name):
    """Limits and other records at a name without a policy are refused, with the names that have one."""
    value = {"beside": StaticRecords(data={"TXT": ['"x"']}), "ttls": Ttl()}[parameter]
    records = {"www": AllUp(["192.0.2.1"]), "static": StaticRecords(data={"A": ["192.0.2.1"]})}
    with pytest.raises(ConfigurationError, match=f"{parameter}.*www"):
        Zone("example.com", SOA, records, **{parameter: {name: value}})


def test_no_other_name_is_delegated_beside_a_policy():
    """NS beside a policy at any name but the origin would begin another zone."""
    with pytest.raises(ConfigurationError, match="NS"):
        Zone(
            "example.com",
            SOA,
            {"www": AllUp(["192.0.2.1"])},
            beside={"www": StaticRecords(data={"NS": ["ns."]})},
        )


@pytest.mark.parametrize("again", [copy.deepcopy, lambda zone: pickle.loads(pickle.dumps(zone))])
def test_a_copied_zone_keeps_the_records_beside_its_policies(again):
    """The records beside the policies of a copied zone are equal, and read-only."""
    copied = again(DELEGATED)
    assert dict(copied.beside) == dict(DELEGATED.beside)
    with pytest.raises(TypeError):
        copied.beside["@"] = None


WILD = Zone(
    "example.com",
    SOA,
    {
        "*.w": StaticRecords(data={"A": ["192.0.2.7"]}),
        "*.d": AllUp(["192.0.2.1"]),
        "a.d": StaticRecords(data={"A": ["192.0.2.9"]}),
        "a.b.e": StaticRecords(data={"A": ["192.0.2.10"]}),
        "*.e": StaticRecords(data={"TXT": ['"x"']}),
        "*.mix": AllUp(["192.0.2.1"]),
        "b.dot": StaticRecords(data={"A": ["192.0.2.8"]}),
        "*.dot": StaticRecords(data={"A": ["192.0.2.11"]}),
        "*.b.dot": StaticRecords(data={"A": ["192.0.2.12"]}),
    },
    beside={"*.mix": StaticRecords(data={"MX": ["10 mail.example.com."]})},
    ttls={"*.mix": Ttl(minimum=3, maximum=7)},
)


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("x.w", "A", "192.0.2.7"), ("x.y.w", "A", "192.0.2.7"), ("X.W", "A", "192.0.2.7"), ("*.w", "A", "192.0.2.7"),
        ("w", "A", "NOERROR"), ("x.w", "TXT", "NOERROR"), ("a.*.w", "A", "NXDOMAIN"), ("other", "A", "NXDOMAIN"),
        ("x.d", "A", "192.0.2.1"), ("a.d", "A", "192.0.2.9"), ("x.a.d", "A", "NXDOMAIN"), ("z.deep.d", "A", "192.0.2.1"),
        ("b.e", "TXT", "NOERROR"), ("q.e", "TXT", '"x"'), ("q.b.e", "TXT", "NXDOMAIN"),
        ("x.mix", "MX", "10 mail.example.com."), ("x.mix", "A", "192.0.2.1"), ("x.mix", "TXT", "NOERROR"),
        ("x.w", "ANY", '"RFC8482" ""'), (r"a\.b.dot", "A", "192.0.2.11"), (r"a\\.b.dot", "A", "192.0.2.12"), ("a.b.dot", "A", "192.0.2.12"),
    ],
)  # fmt: skip
def test_a_wildcard_name_stands_for_the_names_below_it_that_are_not_there(name, kind, found):
    """A wildcard answers for names that are not there and have nothing nearer above them, under the name in the query."""
    query = Query(name=f"{name}.example.com", kind=kind, client=Client(address="192.0.2.53"))
    reply = WILD.answer(query, fixed_standings({}), now=0.0, rng=Random(1))
    assert [(record.name, record.data) for record in reply.records] == (
        [] if found in {"NOERROR", "NXDOMAIN"} else [(f"{name}.example.com.", found)]
    )
    assert reply.rcode == ("NXDOMAIN" if found == "NXDOMAIN" else "NOERROR")
    if (name, kind) == ("x.mix", "A"):
        assert reply.records[0].ttl == 7


def test_a_wildcard_at_the_origin_stands_for_every_name_but_the_origin():
    """``*`` stands for all names that are not there, and not for the origin."""
    zone = Zone("example.com", SOA, {"*.example.com.": AllUp(["192.0.2.1"])})
    assert list(zone.policies) == ["*"]
    for name, records in (("a.b.example.com", 1), ("example.com", 0)):
        query = Query(name=name, client=Client(address="192.0.2.53"))
        reply = zone.answer(query, fixed_standings({}), now=0.0, rng=Random(1))
        assert (reply.rcode, len(reply.records)) == ("NOERROR", records)


@pytest.mark.parametrize("name", ["a.*", "a*", "*a.b", "*.*", "**"])
def test_a_star_is_refused_other_than_as_a_whole_first_label(name):
    """A star stands alone as the first label of a name, or the name is refused."""
    with pytest.raises(ConfigurationError, match="the first may be"):
        Zone("example.com", SOA, {name: AllUp(["192.0.2.1"])})
