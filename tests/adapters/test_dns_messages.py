"""Messages that libraries refuse or misread: both DNS adapters answer them as gdnsd 3.8.1 does, and alike."""

from __future__ import annotations

import socket
import struct
from random import Random
from types import SimpleNamespace

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest
from dnslib import DNSRecord
from dnslib.server import DNSLogger
from hypothesis import example, given
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.adapters._dns_wire import Question
from balancekit.adapters.dnslib import GslbHandler, GslbResolver
from balancekit.adapters.dnspython import DnsResponder
from balancekit.gslb import AllUp, Client, Query, Soa, StaticRecords, Zone, fixed_standings

SOA = Soa(primary="ns1.example.com", contact="admin.example.com")
ZONE = Zone(
    "example.com",
    SOA,
    {
        "www": AllUp(["192.0.2.1"]),
        "big": AllUp([f"10.0.{k // 250}.{k % 250 + 1}" for k in range(6000)]),
        "odd": StaticRecords(data={"TYPE65280": [r"\# 2 beef"], "TYPE65": [r"\# 3 000100"], "TYPE1": ["192.0.2.9"]}),
    },
)  # fmt: skip
UP = fixed_standings({})
SOURCE = "192.0.2.53"
WWW = b"\3www\7example\3com\0"
QUESTION = WWW + b"\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


class Pieces:
    """A connection whose client has sent some bytes, which arrive in pieces of some size."""

    def __init__(self, data, size=1 << 16):
        self.data, self.size, self.sent = data, size, b""

    def recv(self, size):
        piece = self.data[: min(size, self.size)]
        self.data = self.data[len(piece) :]
        return piece

    def sendall(self, data):
        self.sent += data

    def settimeout(self, seconds):
        assert seconds > 0.0


def handled(request, kind, zone=ZONE):
    """Let the handler of ``dnslib`` answer."""
    server = SimpleNamespace(
        socket_type=kind,
        resolver=GslbResolver(zone, UP, rng=Random(1)),
        logger=DNSLogger("-recv,-send,-request,-reply,-truncated,-error"),
    )
    GslbHandler(request, (SOURCE, 53), server)


def framed(*wires):
    """Return messages as they are sent over TCP."""
    return b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires)


def unframed(data):
    """Return the messages in what was sent over TCP."""
    found = []
    while data:
        size = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found


def by_dnspython(wire, *, tcp=False, zone=ZONE):
    """Return the reply of the dnspython adapter."""
    return DnsResponder(zone, UP, rng=Random(1)).answer_wire(wire, SOURCE, tcp=tcp)


def by_dnslib(wire, *, tcp=False, zone=ZONE):
    """Return what ``dnslib``'s server would send with the handler, ``None`` for nothing."""
    if tcp:
        connection = Pieces(framed(wire))
        handled(connection, socket.SOCK_STREAM, zone)
        return (unframed(connection.sent) or [None])[0]
    sent = []
    handled((wire, SimpleNamespace(sendto=lambda data, _: sent.append(data))), socket.SOCK_DGRAM, zone)
    return sent[0] if sent else None


ADAPTERS = pytest.mark.parametrize("adapter", [by_dnspython, by_dnslib])


def header(flags=0x0100, questions=1, answers=0, authorities=0, additional=0):
    """Return the header of a message."""
    return struct.pack("!6H", 7, flags, questions, answers, authorities, additional)


def asked(name, kind="A", **options):
    """Return the wire of a query."""
    return dns.message.make_query(name, kind, **options).to_wire()


def signed():
    """Return a query with a signature by a key that no server knows."""
    query = dns.message.make_query("www.example.com", "A")
    query.use_tsig(dns.tsigkeyring.from_text({"key.": "aGVsbG8="}))
    return query.to_wire()


def update():
    """Return an UPDATE, whose records have no data."""
    message = dns.update.UpdateMessage("example.com")
    message.add("x", 300, "A", "192.0.2.1")
    message.delete("y", "A")
    return message.to_wire()


SHORT_A = WWW + b"\0\1\0\1\0\0\0\1\0\2\1\2"
BAD_SUBNET = [dns.edns.GenericOption(8, b"x")]
MESSAGES = {
    "signed by TSIG": (signed(), "NOERROR", 1),
    "an address of two bytes beside the question": (header(additional=1) + QUESTION + SHORT_A, "NOERROR", 1),
    "records of a reply": (header(answers=1) + QUESTION + SHORT_A, "NOERROR", 1),
    "an OPT record among the answers": (header(answers=1) + QUESTION + OPT, "NOERROR", 1),
    "an OPT record that has a name": (header(additional=1) + QUESTION + b"\1a" + OPT, "NOERROR", 1),
    "a query with TC": (header(flags=0x0300) + QUESTION, "NOERROR", 1),
    "a label of any bytes": (header() + b"\x04\0\xff.\\" + QUESTION[4:], "NXDOMAIN", 1),
    "no question": (header(questions=0), "FORMERR", 0),
    "two questions": (header(questions=2) + QUESTION + QUESTION, "FORMERR", 1),
    "two OPT records": (header(additional=2) + QUESTION + OPT + OPT, "FORMERR", 1),
    "a pointer to itself": (header() + b"\xc0\x0c\0\1\0\1", "FORMERR", 0),
    "a pointer into the header": (header() + b"\3www\xc0\x00\0\1\0\1", "FORMERR", 0),
    "a pointer to what follows": (header() + b"\xc0\x12\0\1\0\1" + WWW, "FORMERR", 0),
    "a label of the type 01": (header() + b"\x41\1\0\1\0\1", "FORMERR", 0),
    "an additional record with a label of the type 10": (header(additional=1) + QUESTION + b"\x81" + OPT, "FORMERR", 1),
    "an option that is longer than its record": (header(additional=1) + QUESTION + OPT[:-1] + b"\4\0\x08\0\x09", "FORMERR", 1),
    "an option without a length": (header(additional=1) + QUESTION + OPT[:-1] + b"\2\0\x08", "FORMERR", 1),
    "an additional record that is not there": (header(additional=1) + QUESTION, "FORMERR", 1),
    "EDNS 1 and a malformed subnet": (asked("www.example.com", use_edns=1, options=BAD_SUBNET), "BADVERS", 1),
    "NOTIFY": (header(flags=0x2000) + QUESTION, "NOTIMP", 1),
    "UPDATE": (update(), "NOTIMP", 1),
    "an operation without a question (RFC 8490)": (header(flags=0x3000, questions=0), "NOTIMP", 0),
    "an unknown operation, whatever follows": (header(flags=0x7800) + b"\xc0\xff", "NOTIMP", 0),
}  # fmt: skip


@ADAPTERS
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("what", MESSAGES)
def test_an_odd_message_gets_the_reply_of_other_servers(adapter, tcp, what):
    """The code, the first question as it came if it can be read, the id and RD; records only with NOERROR."""
    wire, rcode, questions = MESSAGES[what]
    reply = adapter(wire, tcp=tcp)
    assert (reply[:2], reply[2] & 0xF9) == (wire[:2], wire[2] & 0x79 | 0x80)
    if wire[2] & 0x78:
        assert (reply[3] & 15, reply[4:12]) == (4, struct.pack("!4H", questions, 0, 0, 0))
        return
    read = dns.message.from_wire(reply)
    assert dns.rcode.to_text(read.rcode()) == rcode
    assert struct.unpack_from("!H", reply, 4) == (questions,)
    assert bool(read.answer) is (rcode == "NOERROR")
    if questions:
        end = wire.index(b"com\0", 12) + 8
        assert reply[12:end] == wire[12:end]


@ADAPTERS
@pytest.mark.parametrize("edns", [-1, 0])
def test_a_malformed_message_has_its_opt_record_in_the_reply(adapter, edns):
    """An OPT record that can be read has one in the reply (RFC 6891, 6.1.1), whatever else is wrong with the message."""
    for questions in (0, 2):
        wire = bytearray(asked("www.example.com", use_edns=edns))
        wire[5] = questions
        body = bytes(wire[12:])
        wire[12:] = body[len(QUESTION) :] if not questions else QUESTION + body
        reply = dns.message.from_wire(adapter(bytes(wire)))
        assert (reply.rcode(), reply.edns) == (dns.rcode.FORMERR, edns)


@ADAPTERS
@pytest.mark.parametrize(
    ("kind", "data"), [("TYPE65280", "beef"), ("TYPE65", "000100"), ("HTTPS", "000100"), ("A", "c0000209")]
)
def test_records_of_a_type_by_its_number_are_found(adapter, kind, data):
    """``TYPE65280`` has no name, ``TYPE65`` is ``HTTPS`` and ``TYPE1`` is ``A`` (RFC 3597, 5)."""
    reply = dns.message.from_wire(adapter(asked("odd.example.com", kind)))
    assert [rdata.to_wire().hex() for rrset in reply.answer for rdata in rrset] == [data]


@pytest.mark.parametrize(("text", "kind"), [("a", "A"), ("TYPE28", "AAAA"), ("type65280", "TYPE65280"), ("65", "HTTPS")])  # fmt: skip
def test_a_type_has_one_spelling(text, kind):
    """Queries and records keep the name of a type in upper case, ``TYPE`` and the number if it has none."""
    assert Query(name="www.example.com", kind=text, client=Client(address=SOURCE)).kind == kind
    assert list(StaticRecords(data={text: ["::1" if kind == "AAAA" else "192.0.2.9"]}).data) == [kind]


@pytest.mark.parametrize("data", [{"HTTPS": ["1 ."], "TYPE65": ["1 ."]}, {"ANY": ["x"]}, {"OPT": ["x"]}, {"TYPE252": ["x"]}, {"AXFR": ["x"]}])  # fmt: skip
def test_types_that_stand_twice_or_are_none_of_records_are_refused(data):
    """One type in two spellings, and types of queries alone."""
    with pytest.raises(ConfigurationError, match="data"):
        StaticRecords(data=data)


@pytest.mark.parametrize("name", ["@", "www"])
def test_a_second_start_of_authority_is_refused(name):
    """The zone has one, at its origin; another would be the start of another zone."""
    with pytest.raises(ConfigurationError, match="SOA"):
        Zone("example.com", SOA, {name: StaticRecords(data={"SOA": [SOA.data]})})


@ADAPTERS
@pytest.mark.parametrize(
    ("edns", "tcp", "limit"),
    [(None, False, 512), (0, False, 512), (512, False, 512), (4096, False, 1232), (None, True, 65535), (0, True, 65535)],
)  # fmt: skip
def test_a_reply_that_is_cut_has_its_question(adapter, edns, tcp, limit):
    """Resolvers, glibc's among them, ignore a reply without the question, also one with TC; TCP has a limit, too."""
    options = {} if edns is None else {"use_edns": 0, "payload": edns}
    wire = asked("big.example.com", **options)
    reply = adapter(wire, tcp=tcp)
    read = dns.message.from_wire(reply)
    assert len(reply) <= limit
    assert read.flags & dns.flags.TC
    assert read.question == dns.message.from_wire(wire).question
    assert read.edns == (-1 if edns is None else 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 16])
def test_a_connection_takes_queries_in_any_pieces(size):
    """Queries one after another on a connection are answered in order, wherever they are cut (RFC 7766, 6.2.1 and 8)."""
    names = ["www.example.com", "nope.example.com", "odd.example.com", "www.example.org"]
    connection = Pieces(framed(*map(asked, names)), size)
    handled(connection, socket.SOCK_STREAM)
    replies = [dns.message.from_wire(wire) for wire in unframed(connection.sent)]
    assert [dns.rcode.to_text(reply.rcode()) for reply in replies] == ["NOERROR", "NXDOMAIN", "NOERROR", "REFUSED"]  # fmt: skip
    assert [reply.question[0].name.to_text() for reply in replies] == [f"{name}." for name in names]


@pytest.mark.parametrize("cut", [1, 2, 3, 20])
def test_a_message_that_its_sender_cuts_short_is_not_answered(cut):
    """A connection that ends within a message gets the replies to those before, and none to a part of one."""
    connection = Pieces(
        framed(asked("www.example.com")) + framed(asked("www.example.com") + b"\0" * 9)[:-cut]
    )
    handled(connection, socket.SOCK_STREAM)
    assert len(unframed(connection.sent)) == 1


@pytest.mark.parametrize("wire", [b"", b"\0" * 11, b"\0\7\x80" + b"\0" * 20])
def test_a_connection_ends_at_what_gets_no_reply(wire):
    """What is shorter than a header, and a reply, is answered by the end of the connection."""
    connection = Pieces(framed(asked("www.example.com"), wire, asked("www.example.com")))
    handled(connection, socket.SOCK_STREAM)
    assert len(unframed(connection.sent)) == 1


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_policy_that_raises_is_a_failure_of_the_server(kind, caplog):
    """The client hears SERVFAIL at once and asks another server; the error is logged with its name."""
    broken = AllUp(["192.0.2.1"])
    zone = Zone("example.com", SOA, {"www": broken})
    sent, connection = [], Pieces(framed(asked("www.example.com", use_edns=0)))
    request = connection
    if kind == socket.SOCK_DGRAM:
        request = (
            asked("www.example.com", use_edns=0),
            SimpleNamespace(sendto=lambda data, _: sent.append(data)),
        )

    def standings(endpoint):
        raise KeyError(endpoint)

    server = SimpleNamespace(
        socket_type=kind,
        resolver=GslbResolver(zone, standings),
        logger=DNSLogger("-recv,-send,-request,-reply,-truncated,-error"),
    )
    GslbHandler(request, (SOURCE, 53), server)
    (wire,) = sent or unframed(connection.sent)
    reply = dns.message.from_wire(wire)
    assert (dns.rcode.to_text(reply.rcode()), reply.edns, len(reply.question)) == ("SERVFAIL", 0, 1)
    assert "www.example.com" in caplog.text
    assert "KeyError" in caplog.text


@given(
    st.binary(max_size=60)
    | st.builds(
        lambda wire, place, byte: bytes([*wire[: place % len(wire)], byte, *wire[place % len(wire) + 1 :]]),
        st.sampled_from([wire for wire, _, _ in MESSAGES.values()]),
        st.integers(0, 80),
        st.integers(0, 255),
    )
)
def test_both_adapters_answer_the_same(wire):
    """Any bytes get the same reply from both, or none: code, flags, question, records and OPT."""
    one, other = by_dnspython(wire), by_dnslib(wire)
    assert (one is None) is (other is None)
    if one is not None and len(one) < 512:
        assert one[:12] == other[:12]
        replies = [dns.message.from_wire(wire) for wire in (one, other)]
        # dnspython points from a name to one in another case, as RFC 4343 (4.1) has it
        assert replies[0].to_text().lower() == replies[1].to_text().lower()


WILDCARDS = Zone(
    "example.com",
    SOA,
    {
        "*.a": AllUp(["192.0.2.1", "2001:db8::1"]),
        "*.t": StaticRecords(
            data={"TXT": ['"x"'], "MX": ["10 m.example.com"], "HINFO": ["x y"], "TYPE9": [r"\# 1 00"]}
        ),
        "*.c": StaticRecords(data={"CNAME": ["www.example.net"]}),
    },
)


@ADAPTERS
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("below", "kind"),
    [(b"a", 1), (b"a", 28), (b"a", 255), (b"t", 16), (b"t", 15), (b"t", 13), (b"t", 9), (b"c", 1), (b"c", 5)],
)
@given(
    labels=st.lists(
        st.binary(min_size=1, max_size=9) | st.text('."$();@\\ \nA', min_size=1).map(str.encode),
        min_size=1,
        max_size=3,
    )
)
@example(labels=[b"b 0 IN A 198.51.100.1\nc"])
@example(labels=[b"\xe9"])
@example(labels=[b"\\065"])
@example(labels=[bytes(63)])
def test_the_owner_of_an_answer_is_the_name_of_the_question(adapter, tcp, below, kind, labels):
    """A wildcard name stands for labels of any bytes. The owner has them all: no library reads them as text."""
    name = b"".join(bytes((len(label),)) + label for label in (*labels, below, b"example", b"com", b""))
    reply = dns.message.from_wire(adapter(header() + name + bytes((0, kind, 0, 1)), tcp=tcp, zone=WILDCARDS))
    ((answer,), (question,)) = reply.answer, reply.question
    assert (answer.name.labels, len(answer)) == (question.name.labels, 1)
    assert answer.name.labels == (*labels, below, b"example", b"com", b"")


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=3))
def test_policies_get_names_in_presentation_form(labels):
    """Names are plain text that a library reads as the name that came."""
    text = Question(tuple(labels), 1, 1).name
    assert text.isascii()
    assert text.isprintable()
    assert dns.name.from_text(text).labels == (*labels, b"")


@pytest.mark.parametrize(
    "message",
    [
        header(questions=10_000) + b"\1a" * 120 + b"\0\0\1\0\1" + b"\xc0\x0c\0\1\0\1" * 9_999,
        header(additional=5_000) + b"\1a" * 120 + b"\0\0\1\0\1" + (b"\xc0\x0c" + OPT[1:9] + b"\0\0") * 5_000,
    ],
)
@ADAPTERS
def test_compressed_names_are_not_followed(adapter, message, monkeypatch):
    """Ten thousand names of 120 labels in one message, by pointers: none but the first is read."""
    for parser in (dns.message, "from_wire"), (DNSRecord, "parse"):
        monkeypatch.delattr(*parser)
    reply = adapter(message)
    assert len(reply) < 300


@ADAPTERS
@pytest.mark.parametrize(
    ("kind", "text"),
    [("CNAME", "b"), ("CNAME", "www.example.org"), ("MX", "10 mail.example.org"), ("NS", "ns1.example.org"),
     ("SRV", "0 5 80 a.example.org"), ("PTR", "a.example.org")],
)  # fmt: skip
def test_names_in_data_are_absolute(adapter, kind, text):
    """A final dot says what is true without it: no adapter reads a name relative to the zone, nor fails at each query."""
    place = "@" if kind == "NS" else "a"
    name = "example.com" if kind == "NS" else "a.example.com"
    wires = []
    for data in (text, f"{text}."):
        zone = Zone("example.com", SOA, {place: StaticRecords(data={kind: [data]})})
        wires.append(adapter(header() + asked(name, kind)[12:], zone=zone))
    assert wires[0] == wires[1]
    assert dns.message.from_wire(wires[0]).answer[0][0].to_text() == f"{text}."


@pytest.mark.parametrize("adapter", [DnsResponder, GslbResolver])
@pytest.mark.parametrize(
    ("kind", "text"), [("MX", "mail."), ("TXT", f'"{"x" * 300}"'), ("CNAME", f"{'a' * 64}.")]
)
def test_data_that_fit_into_no_answer_are_refused(adapter, kind, text):
    """A record is written when the zone is taken, not first at a query."""
    with pytest.raises(ConfigurationError, match="zone"):
        adapter(Zone("example.com", SOA, {"a": StaticRecords(data={kind: [text]})}), UP)


@pytest.mark.parametrize("kind", ["URI", "DNAME", "SVCB", "EUI48", "CERT"])
def test_a_type_that_dnslib_does_not_know_is_refused_with_what_to_write(kind):
    """Whatever the text looks like, which ``dnslib`` would read as hexadecimal digits."""
    with pytest.raises(ConfigurationError, match="RFC 3597"):
        GslbResolver(Zone("example.com", SOA, {"a": StaticRecords(data={kind: ["10 1 x"]})}), UP)
