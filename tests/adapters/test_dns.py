"""Both DNS adapters say what the zone says, whatever comes in."""

from __future__ import annotations

import socket
from random import Random
from types import SimpleNamespace

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import pytest
from dnslib import DNSError, DNSRecord
from dnslib.server import DNSLogger
from hypothesis import given, settings
from hypothesis import strategies as st

from balancekit import ConfigurationError, LoadBalancer
from balancekit.adapters.dnslib import GslbHandler, GslbResolver
from balancekit.adapters.dnspython import BalancerStandings, DnsResponder
from balancekit.gslb import (
    AllUp,
    Client,
    Geo,
    GeoMap,
    Query,
    Soa,
    StaticRecords,
    Zone,
    decode_subnet,
    fixed_standings,
)
from balancekit.outcome import CheckResult

SOA = Soa(primary="ns1.example.com", contact="admin.example.com")
WORLD = GeoMap.build(networks={"10.1.0.0/16": ["us", "eu"], "2001:db8:1::/48": ["us"]}, default=["eu", "us"])
MANY = [f"192.0.2.{k}" for k in range(1, 101)]
ZONE = Zone(
    "example.com",
    SOA,
    {
        "www": Geo(WORLD, {"eu": AllUp(["eu-1"]), "us": AllUp(["us-1"])}),
        "many": AllUp(MANY),
        "@": StaticRecords(data={"NS": ["ns1.example.com."], "MX": ["10 mail.example.com."]}),
        "alias": StaticRecords(data={"CNAME": ["www.example.com."]}),
    },
    addresses={"eu-1": ["192.0.2.1", "2001:db8::1"], "us-1": ["192.0.2.2"]},
)
UP = fixed_standings({})


def by_dnspython(wire, *, tcp=True):
    """Return the reply of the dnspython adapter."""
    return DnsResponder(ZONE, UP, rng=Random(1)).answer_wire(wire, "192.0.2.53", tcp=tcp)


def by_dnslib(wire):
    """Return the reply of the dnslib adapter."""
    return bytes(
        GslbResolver(ZONE, UP, rng=Random(1)).answer(DNSRecord.parse(wire), "192.0.2.53", wire=wire).pack()
    )


ADAPTERS = pytest.mark.parametrize("adapter", [by_dnspython, by_dnslib])


def asked(name, kind="A", subnet=None, option=None, edns=0):
    """Return the wire of a query."""
    options = []
    if subnet is not None:
        address, prefix = subnet.split("/")
        options.append(dns.edns.ECSOption(address, int(prefix)))
    if option is not None:
        options.append(dns.edns.GenericOption(8, option))
    return dns.message.make_query(
        name, kind, use_edns=edns if not options else 0, options=options or None
    ).to_wire()


def subnet_of(reply):
    """Return the data of the client subnet option of a reply."""
    found = [option for option in reply.options if option.otype == 8]
    return found[0].to_wire() if found else None


@ADAPTERS
@pytest.mark.parametrize(
    "subnet", [None, "10.1.2.0/24", "10.1.0.0/16", "203.0.113.0/24", "0.0.0.0/0", "2001:db8:1::/56"]
)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("www.example.com", "A"),
        ("WWW.example.COM", "AAAA"),
        ("www.example.com", "TXT"),
        ("example.com", "NS"),
        ("example.com", "MX"),
        ("example.com", "SOA"),
        ("alias.example.com", "A"),
        ("nope.example.com", "A"),
        ("example.org", "A"),
        ("www.example.com", "ANY"),
        ("alias.example.com", "ANY"),
        ("example.com", "AXFR"),
        ("example.com", "MAILB"),
    ],
)
def test_a_reply_is_what_the_zone_says(adapter, subnet, name, kind):
    """Code, records, TTLs, the SOA of negative answers, and the scope in the option, if there was one."""
    reply = dns.message.from_wire(adapter(asked(name, kind, subnet)))
    option = None if subnet is None else subnet
    expected = ZONE.answer(
        Query(name=name, kind=kind, client=Client(address="192.0.2.53", subnet=option)),
        UP,
        now=0.0,
        rng=Random(1),
    )
    assert dns.rcode.to_text(reply.rcode()) == expected.rcode
    for section, records in ((reply.answer, expected.records), (reply.authority, expected.authority)):
        found = [(rrset.ttl, rdata.to_text().replace("COM", "com")) for rrset in section for rdata in rrset]
        assert sorted(found) == sorted((record.ttl, record.data) for record in records)
        assert all(rrset.name.to_text().lower() == records[0].name.lower() for rrset in section)
    assert bool(reply.flags & dns.flags.AA) is (expected.rcode in {"NOERROR", "NXDOMAIN"})
    data = subnet_of(reply)
    if subnet is None:
        assert data is None
    else:
        assert data[3] == expected.scope
        assert str(decode_subnet(data[:3] + b"\0" + data[4:])) == subnet


@ADAPTERS
def test_a_query_without_edns_gets_a_reply_without(adapter):
    """A query without EDNS gets a reply without EDNS."""
    assert dns.message.from_wire(adapter(asked("www.example.com", edns=-1))).edns == -1


@ADAPTERS
@pytest.mark.parametrize(
    "data", ["", "000118", "00011818c63364", "00011400c63364", "00031800c63364", "00012100c6336407"]
)
def test_a_malformed_subnet_is_formerr(adapter, data):
    """A malformed client subnet is answered with FORMERR and no records."""
    reply = dns.message.from_wire(adapter(asked("www.example.com", option=bytes.fromhex(data))))
    assert reply.rcode() == dns.rcode.FORMERR
    assert reply.answer == []


@ADAPTERS
def test_other_operations_and_classes_are_refused(adapter):
    """Another operation than a query gets NOTIMP, the class CHAOS REFUSED, and two questions FORMERR."""
    query = dns.message.make_query("www.example.com", "A")
    query.set_opcode(dns.opcode.STATUS)
    assert dns.message.from_wire(adapter(query.to_wire())).rcode() == dns.rcode.NOTIMP
    chaos = dns.message.make_query("version.bind", "TXT", rdclass="CH")
    assert dns.message.from_wire(adapter(chaos.to_wire())).rcode() == dns.rcode.REFUSED
    two = bytearray(asked("www.example.com", edns=-1))
    two[5] = 2
    assert dns.message.from_wire(adapter(bytes(two) + bytes(two)[12:])).rcode() == dns.rcode.FORMERR


@ADAPTERS
@pytest.mark.parametrize("edns", [-1, 0])
def test_refusals_have_an_opt_record_if_the_query_had_one(adapter, edns):
    """Every reply to a query with EDNS has an OPT record (RFC 6891, 6.1.1), and none to a query without."""
    status = dns.message.make_query("www.example.com", "A", use_edns=edns)
    status.set_opcode(dns.opcode.STATUS)
    none = bytearray(asked("www.example.com", edns=edns))
    none[5] = 0
    wires = {
        "REFUSED": dns.message.make_query("version.bind", "TXT", rdclass="CH", use_edns=edns).to_wire(),
        "NOTIMP": status.to_wire(),
        "FORMERR": bytes(none[:12] + none[12 + 21 :]),
    }
    for rcode, wire in wires.items():
        reply = dns.message.from_wire(adapter(wire))
        assert (dns.rcode.to_text(reply.rcode()), reply.edns) == (rcode, edns)


@ADAPTERS
@pytest.mark.parametrize("edns", [0, 1])
@pytest.mark.parametrize("secure", [0, dns.flags.DO])
def test_the_flag_for_dnssec_is_copied(adapter, edns, secure):
    """A reply has the DO bit of its query (RFC 3225, section 3), one that refuses a version of EDNS too."""
    query = dns.message.make_query("www.example.com", "A", use_edns=edns, ednsflags=secure | 0x4000)
    assert dns.message.from_wire(adapter(query.to_wire())).ednsflags & 0xFFFF == secure


@ADAPTERS
@pytest.mark.parametrize("flag", ["AA", "TC", "RA", "AD", "CD"])
def test_no_other_flag_of_a_query_is_copied(adapter, flag):
    """A query with flags that are for replies or for resolvers gets the reply that one without gets."""
    query = dns.message.make_query("www.example.com", "A")
    query.flags = dns.flags.from_text(flag)
    assert dns.message.from_wire(adapter(query.to_wire())).flags == dns.flags.QR | dns.flags.AA
    spare = bytearray(query.to_wire())
    spare[3] |= 0x40
    assert adapter(bytes(spare))[3] == 0


@ADAPTERS
@pytest.mark.parametrize(
    ("labels", "rcode"),
    [
        ((b"www.example", b"com", b""), "REFUSED"), ((b"www", b"example.com", b""), "REFUSED"), ((b"x.www", b"example", b"com", b""), "NXDOMAIN"),
        ((b"www\\", b"example", b"com", b""), "NXDOMAIN"),
    ],
)  # fmt: skip
def test_a_dot_inside_a_label_separates_nothing(adapter, labels, rcode):
    """The name of two labels, ``www.example`` and ``com``, is not that of the three labels, and not below the zone."""
    wire = adapter(asked(dns.name.Name(labels)))
    reply = dns.message.from_wire(wire)
    assert (dns.rcode.to_text(reply.rcode()), reply.question[0].name.labels) == (rcode, labels)


@ADAPTERS
@pytest.mark.parametrize("kind", ["A", "ANY", "TXT"])
def test_any_class_is_answered_without_authority(adapter, kind):
    """A query for any class gets the records of the Internet class; no answer to it is authoritative (RFC 1034, 6.2.2)."""
    plain, other = asked("www.example.com", kind, edns=-1), bytearray(asked("www.example.com", kind, edns=-1))
    other[-2:] = (255).to_bytes(2, "big")
    wanted, got = dns.message.from_wire(adapter(plain)), dns.message.from_wire(adapter(bytes(other)))
    assert (got.answer, got.rcode()) == (wanted.answer, dns.rcode.NOERROR)
    assert (wanted.flags & dns.flags.AA, got.flags & dns.flags.AA) == (dns.flags.AA, 0)


@ADAPTERS
@pytest.mark.parametrize("edns", [-1, 0])
def test_bytes_after_the_message_are_ignored(adapter, edns):
    """A query with bytes after it, which some clients pad with, gets the answer of one without."""
    wire = asked("www.example.com", edns=edns)
    assert adapter(wire + b"\0\x01junk") == adapter(wire)


class Datagram:
    """What ``DNSServer`` hands to the resolver beside the request."""

    protocol, client_address = "udp", ("192.0.2.53", 53)

    def __init__(self, wire):
        self.request = (wire, None)


def test_a_reply_is_not_replied_to():
    """Two servers of which one is sent a forged query would answer each other for ever."""
    wire = bytearray(asked("www.example.com"))
    wire[2] |= 0x80
    resolver = GslbResolver(ZONE, UP)
    with pytest.raises(DNSError):
        resolver.resolve(DNSRecord.parse(bytes(wire)), Datagram(bytes(wire)))
    assert by_dnspython(bytes(wire)) is None


def by_handler(wire):
    """Return what ``dnslib``'s server would send with the handler, ``None`` for nothing."""
    sent = []
    server = SimpleNamespace(
        socket_type=socket.SOCK_DGRAM,
        resolver=GslbResolver(ZONE, UP, rng=Random(1)),
        logger=DNSLogger("-recv,-send,-request,-reply,-truncated,-error"),
    )
    GslbHandler((wire, SimpleNamespace(sendto=lambda data, _: sent.append(data))), ("192.0.2.53", 53), server)
    return sent[0] if sent else None


@pytest.mark.parametrize("receive", [by_dnspython, by_handler])
@pytest.mark.parametrize("cut", [0, 3, 11, 12, 13, 20, 28, 30, 32])
def test_a_query_that_cannot_be_parsed_is_formerr(receive, cut):
    """A query that ends too soon gets FORMERR with its id and RD; less than a header, and a reply, nothing."""
    wire = asked("www.example.com", edns=-1)[:cut]
    reply = receive(wire)
    if cut < 12:
        assert reply is None
        return
    read = dns.message.from_wire(reply)
    assert (dns.rcode.to_text(read.rcode()), reply[:2], read.question) == ("FORMERR", wire[:2], [])
    assert dns.flags.to_text(read.flags) == "QR RD"
    assert receive(bytes((*wire[:2], wire[2] | 0x80, *wire[3:]))) is None


def test_what_can_be_parsed_is_answered_by_the_handler():
    """The handler hands a query on to the resolver, and its answer back; a whole reply is dropped."""
    wire = asked("www.example.com")
    assert dns.message.from_wire(by_handler(wire)).answer == dns.message.from_wire(by_dnspython(wire)).answer
    assert by_handler(by_handler(wire)) is None


@ADAPTERS
@pytest.mark.parametrize(("last", "rcode"), [(49, "NXDOMAIN"), (50, "FORMERR")])
def test_a_name_that_is_too_long_is_formerr(adapter, last, rcode):
    """A name has 255 bytes at most; one that was sent with more cannot be written into the reply."""
    labels = [b"a" * 63] * 3 + [b"a" * last, b"example", b"com", b""]
    name = b"".join(bytes((len(label),)) + label for label in labels)
    wire = asked("example.com", edns=-1)
    reply = dns.message.from_wire(adapter(wire[:12] + name + wire[-4:]))
    assert dns.rcode.to_text(reply.rcode()) == rcode


@pytest.mark.parametrize(
    ("text", "data"),
    [('"RFC8482" ""', b"\x07RFC8482\x00"), ("x86 linux", b"\x03x86\x05linux"), (r"\# 4 01610162", b"\x01a\x01b"), ('"a"', None), ('"a" "b" "c"', None)],
)  # fmt: skip
@pytest.mark.parametrize("adapter", [DnsResponder, GslbResolver])
def test_a_record_of_host_information_is_written_or_refused(adapter, text, data):
    """Two texts, or data in hexadecimal, by both adapters."""
    zone = Zone("example.com", SOA, {"host": StaticRecords(data={"HINFO": [text]})})
    if data is None:
        with pytest.raises(ConfigurationError, match="zone"):
            adapter(zone, UP)
        return
    responder, wire = adapter(zone, UP), asked("host.example.com", "HINFO")
    if adapter is DnsResponder:
        reply = responder.answer_wire(wire, "192.0.2.53")
    else:
        reply = bytes(responder.answer(DNSRecord.parse(wire), "192.0.2.53").pack())
    assert dns.message.from_wire(reply).answer[0][0].to_wire() == data


def test_data_that_dnslib_cannot_read_is_refused():
    """Text of a type that it does not know, which it takes for hexadecimal numbers, however they look."""
    for text, refused in (('"x" "dead"', True), (r"\# 2 dead", False)):
        zone = Zone("example.com", SOA, {"host": StaticRecords(data={"TYPE65280": [text]})})
        if refused:
            with pytest.raises(ConfigurationError, match="zone"):
                GslbResolver(zone, UP)
        else:
            GslbResolver(zone, UP)


def test_a_reply_that_is_too_long_for_udp_is_cut_and_says_so():
    """A reply that is too long for UDP is cut at 512 bytes, or 1232 with EDNS, and says so. TCP gets everything."""
    for edns, limit in ((-1, 512), (0, 1232)):
        wire = asked("many.example.com", edns=edns)
        short = by_dnspython(wire, tcp=False)
        assert len(short) <= limit
        assert dns.message.from_wire(short).flags & dns.flags.TC
    assert sum(len(rrset) for rrset in dns.message.from_wire(by_dnspython(wire)).answer) == 100


@given(st.binary(max_size=80) | st.builds(
    lambda place, byte: bytes([*(wire := asked("www.example.com", subnet="10.1.2.0/24"))[:place], byte, *wire[place + 1 :]]),
    st.integers(0, 50),
    st.integers(0, 255),
))  # fmt: skip
@settings(deadline=None, max_examples=400)
def test_any_bytes_get_a_reply_or_none(wire):
    """Any bytes get a reply or none, and no exception is raised. A reply has the query's id."""
    reply = by_dnspython(wire, tcp=False)
    if reply is not None:
        assert reply[:2] == wire[:2]
        assert reply[2] & 0x80


def test_a_balancer_is_read_again_when_its_reading_is_old():
    """Ejected and draining endpoints are down; the horizon bounds the TTL."""
    now = [0.0]
    lb = LoadBalancer(["eu-1", "us-1"])
    standings = BalancerStandings(lb, horizon=10.0, max_age=1.0, clock=lambda: now[0])
    assert standings("eu-1") == (True, 10.0)
    lb.drain("eu-1")
    assert standings("eu-1").up
    now[0] = 1.5
    assert standings("eu-1") == (False, 11.5)
    assert not standings("mars").up


def test_readings_of_many_endpoints_take_a_tenth_of_the_time():
    """A reading that takes a sixteenth of a second is used for ten; with ``max_age=0.0`` each call reads."""
    now = [0.0]

    class Slow:
        def __init__(self):
            self.readings = 0

        def stats(self):
            self.readings += 1
            now[0] += 0.0625
            return lb.stats()

        def __getattr__(self, name):
            return getattr(lb, name)

    lb = LoadBalancer(["eu-1"])
    for max_age, wanted in ((0.125, 2), (0.0, 16)):
        slow = Slow()
        standings = BalancerStandings(slow, max_age=max_age, clock=lambda: now[0])
        for _ in range(16):
            standings("eu-1")
            now[0] += 0.0625
        assert slow.readings == wanted
        standings.refresh()
        standings("eu-1")
        assert slow.readings == wanted + 1


def test_health_checks_of_the_balancer_decide_what_is_answered():
    """A failed check takes an endpoint out of the answers at the next reading."""
    lb = LoadBalancer(["eu-1", "us-1"])
    responder = DnsResponder(ZONE, lb, rng=Random(1))
    wire = asked("www.example.com")
    assert (
        dns.message.from_wire(responder.answer_wire(wire, "192.0.2.53")).answer[0][0].to_text() == "192.0.2.1"
    )
    for _ in range(3):
        lb.report_check("eu-1", CheckResult(passed=False))
    responder.standings = BalancerStandings(lb, max_age=0.0)
    assert (
        dns.message.from_wire(responder.answer_wire(wire, "192.0.2.53")).answer[0][0].to_text() == "192.0.2.2"
    )


@ADAPTERS
def test_another_version_of_edns_is_refused(adapter):
    """A query of EDNS version 1 gets BADVERS, version 0 and no records (RFC 6891, 6.1.3)."""
    reply = dns.message.from_wire(adapter(asked("www.example.com", edns=1)))
    assert (reply.rcode(), reply.edns, reply.answer) == (dns.rcode.BADVERS, 0, [])


def test_a_reply_that_is_cut_keeps_its_opt_record():
    """A query with EDNS gets a reply with EDNS, also one that does not fit (RFC 6891, 7)."""
    wire = asked("many.example.com")
    cut = GslbResolver(ZONE, UP, rng=Random(1)).resolve(DNSRecord.parse(wire), Datagram(wire))
    theirs = dns.message.from_wire(by_dnspython(wire, tcp=False))
    reply = dns.message.from_wire(bytes(cut.pack()))
    assert reply.flags & dns.flags.TC
    assert (reply.edns, theirs.edns) == (0, 0)


@pytest.mark.parametrize(
    "wrong", [{"up_states": "healthy"}, {"up_states": 5}, {"clock": 5.0}, {"max_age": -1.0}]
)
def test_wrong_standings_are_refused_by_name(wrong):
    """A string is no collection of states: read letter by letter, it would have all endpoints down."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        BalancerStandings(LoadBalancer(["a"]), **wrong)
