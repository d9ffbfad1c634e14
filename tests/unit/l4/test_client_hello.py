"""ClientHellos: what is read from them over any number of records, what is waited for, what is no TLS.

What servers made of the same bytes is compared in ``tests/oracles``.
"""

from __future__ import annotations

import itertools
import random
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.l4._fuzz import fuzzed

from balancekit.errors import ConfigurationError
from balancekit.l4 import client_hello
from balancekit.l4.client_hello import ClientHello, NeedMore, NotTls, peek


def vector(data, size=2):
    """Return bytes with their length before them."""
    return len(data).to_bytes(size, "big") + data


def extension(kind, data):
    """Return one extension."""
    return kind.to_bytes(2, "big") + vector(data)


def names(*found, kind=0):
    """Return the server name extension."""
    return extension(0, vector(b"".join(bytes([kind]) + vector(name) for name in found)))


def alpn(*found):
    """Return the ALPN extension."""
    return extension(16, vector(b"".join(vector(name, 1) for name in found)))


def versions(*found):
    """Return the supported versions extension."""
    return extension(43, vector(b"".join(number.to_bytes(2, "big") for number in found), 1))


def body(*extensions, version=0x0303, session=b"", ciphers=b"\x13\x01", methods=b"\x00", tail=b""):
    """Return the body of a ClientHello."""
    head = (
        version.to_bytes(2, "big")
        + bytes(range(32))
        + vector(session, 1)
        + vector(ciphers)
        + vector(methods, 1)
    )
    return head + (vector(b"".join(extensions)) if extensions else b"") + tail


def records(message, *cuts, kind=1, head=b"\x16\x03\x01"):
    """Return a handshake message in records that end at these places."""
    data = bytes([kind]) + len(message).to_bytes(3, "big") + message
    ends = [0, *sorted(cuts), len(data)]
    return b"".join(head + vector(data[a:b]) for a, b in itertools.pairwise(ends))


def openssl(name="api.example.com", protocols=("h2", "http/1.1")):
    """Return the first flight of a real client."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(list(protocols))
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


FULL = body(names(b"api.example.com"), alpn(b"h2", b"http/1.1"), versions(0x7A7A, 0x0304, 0x0303))
FULL_READ = ClientHello(sni="api.example.com", alpn=("h2", "http/1.1"), versions=("TLSv1.3", "TLSv1.2"))


def test_a_real_clients_hello_is_read():
    """A hello that OpenSSL sends is read."""
    assert peek(openssl()) == FULL_READ


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (FULL, FULL_READ),
        (body(), ClientHello(sni=None, alpn=(), versions=("TLSv1.2",))),
        (body(version=0x0301), ClientHello(sni=None, alpn=(), versions=("TLSv1.0",))),
        (body(session=bytes(32)), ClientHello(sni=None, alpn=(), versions=("TLSv1.2",))),
        (body(alpn(b"dot")), ClientHello(sni=None, alpn=("dot",), versions=("TLSv1.2",))),
        (body(versions(0x0A0A)), ClientHello(sni=None, alpn=(), versions=())),
        (
            body(names(b"API.Example.COM.")),
            ClientHello(sni="API.Example.COM.", alpn=(), versions=("TLSv1.2",)),
        ),
        (body(names(b"a" * 255)), ClientHello(sni="a" * 255, alpn=(), versions=("TLSv1.2",))),
        (body(extension(0x1A1A, b"x"), names(b"a")), ClientHello(sni="a", alpn=(), versions=("TLSv1.2",))),
    ],
)
def test_what_a_hello_says(message, expected):
    """The name as sent, protocols and versions in the client's order, unknown extensions skipped."""
    assert peek(records(message)) == expected


@given(cuts=st.sets(st.integers(1, len(FULL) + 3), max_size=30))
def test_it_does_not_matter_where_records_end(cuts):
    """A hello over any number of records is the same hello, also with an end within the name or the head."""
    assert peek(records(FULL, *cuts)) == FULL_READ


def test_a_record_for_every_byte():
    """A hello that is split into a record for every byte is read."""
    assert peek(records(FULL, *range(1, len(FULL) + 4))) == FULL_READ


@pytest.mark.parametrize(
    "data",
    [
        records(FULL),
        records(FULL, 1),
        records(FULL, 3, 4, 5, 60),
        records(FULL, *range(1, len(FULL) + 4)),
        records(body()),
        openssl(),
    ],
)
def test_every_proper_prefix_needs_more(data):
    """Every proper prefix asks for more bytes. The number is above what there is and not above what there will be."""
    for size in range(len(data)):
        answer = peek(data[:size])
        assert isinstance(answer, NeedMore), (size, answer)
        assert size < answer.at_least <= len(data)


def test_the_last_record_has_to_be_complete():
    """A hello is read when the record that ends it is complete, as nginx and Envoy do, not when the message is."""
    good = records(FULL)
    longer = bytearray(good)
    longer[3:5] = (len(good) - 5 + 20).to_bytes(2, "big")
    assert peek(bytes(longer)) == NeedMore(at_least=len(good) + 20)
    assert peek(bytes(longer) + bytes(20)) == FULL_READ


def test_what_follows_is_not_looked_at():
    """Bytes after a hello are not looked at, be they early data, another record or noise."""
    for rest in (b"\0", records(FULL), b"GET / HTTP/1.1\r\n"):
        assert peek(records(FULL) + rest) == FULL_READ


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x\r\n",
        b"\x15\x03\x01\x00\x02\x01\x00",
        b"\x16\x02",
        b"\x16\x02\x00\x00\x05\x01",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x00\x00" * 33,
        records(FULL, kind=2),
        records(FULL, 50)[:55] + b"\x17\x03\x01\x00\x05",
        records(body(version=0x0300)),
        records(body(version=0x0200)),
        records(body(version=0x0305)),
        records(body(session=bytes(33))),
        records(body(ciphers=b"")),
        records(body(ciphers=b"\x13")),
        records(body(methods=b"")),
        records(body(names(b"a"), tail=b"x")),
        records(body(names(b"a"), names(b"b"))),
        records(body(names(b"a", b"b"))),
        records(body(names(b""))),
        records(body(names(b"a" * 256))),
        records(body(names(b"a\0b"))),
        records(body(names(b"a", kind=1))),
        records(body(extension(0, b""))),
        records(body(extension(0, b"\x00\x04\x00\x00\x09a"))),
        records(body(extension(0, vector(b"\x00\x00\x01a") + b"x"))),
        records(body(alpn())),
        records(body(alpn(b""))),
        records(body(extension(16, b"\x00\x03\x02h2x"))),
        records(body() + b"\x00"),
        records(body() + b"\x00\x05\x00\x00"),
        records(body()[:30]),
        b"\x16\x03\x01\x00\x04\x01\x01\x00\x00",
    ],
)
def test_what_is_no_readable_hello_is_not_tls(data):
    """Other protocols, other messages, SSL, lengths that do not fit and names that cannot be are not TLS."""
    assert isinstance(peek(data), NotTls)


@pytest.mark.parametrize("place", [0, 1, 5, 40])
def test_records_without_a_byte_are_passed_over(place):
    """Up to 32 empty records may follow each other, at the beginning too, as nginx and Envoy take them."""
    data = records(FULL, *[place] * 32, 60, *[60] * 32)
    assert peek(data) == FULL_READ
    assert isinstance(peek(records(FULL, *[place] * 34)), NotTls)
    assert all(isinstance(peek(data[:end]), NeedMore) for end in range(len(data)))


@pytest.mark.parametrize(
    "listed",
    [b"", b"\x00", b"\x03\x03\x04\x03", b"\x02\x03\x04x", b"\x05\x03\x04"],
    ids=["nothing", "no-version", "half", "behind", "short"],
)
def test_a_malformed_list_of_versions_is_an_empty_one(listed):
    """It hides neither the name nor the protocols: nginx and Envoy choose before versions are read."""
    found = peek(records(body(names(b"a"), extension(43, listed), alpn(b"h2"))))
    assert (found.sni, found.alpn, found.versions) == ("a", ("h2",), ())


def test_no_more_than_16_kib_are_waited_for():
    """A hello that cannot fit is refused when its length is known, and no sender can make a reader hold more."""
    fits = records(body(extension(0x1A1A, bytes(client_hello.MAX_SIZE - 5 - 4 - 41 - 2 - 4))))
    assert len(fits) == client_hello.MAX_SIZE
    assert isinstance(peek(fits), ClientHello)
    assert all(isinstance(peek(fits[:size]), NeedMore) for size in (5, 9, 100, len(fits) - 1))
    longer = records(body(extension(0x1A1A, bytes(client_hello.MAX_SIZE - 5 - 4 - 41 - 2 - 3))))
    assert isinstance(peek(longer), NotTls)
    assert isinstance(peek(longer[:9]), NotTls)
    split = records(body(extension(0x1A1A, bytes(client_hello.MAX_SIZE - 5 - 4 - 41 - 2 - 3))), 5000)
    assert isinstance(peek(split[:5004]), NotTls)
    crumbs = records(body(extension(0x1A1A, bytes(4000))), *range(1, 4000))
    assert isinstance(peek(crumbs), NotTls)
    assert all(not isinstance(peek(crumbs[:size]), NeedMore) for size in (client_hello.MAX_SIZE, len(crumbs)))


def test_all_bytes_are_taken_and_nothing_else():
    """bytes, bytearray and memoryview agree; text is refused by name."""
    data = records(FULL)
    assert peek(bytearray(data)) == peek(memoryview(data)) == FULL_READ
    with pytest.raises(ConfigurationError) as caught:
        peek("hello")
    assert caught.value.parameter == "buf"


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(100_000, id="a tenth"),
        pytest.param(1_000_000, id="whole", marks=[pytest.mark.nightly, pytest.mark.timeout(1200)]),
    ],
)
def test_no_bytes_raise_an_exception(count):
    """Every answer is one of the three, and each of them occurs; more is asked for only if it is more."""
    seeds = [records(FULL), records(FULL, 20, 21), records(body()), records(body(names(b"a.b"))), bytes(40)]
    rng, seen = random.Random(count), set()
    for _ in range(count):
        data = fuzzed(rng, rng.choice(seeds))
        answer = peek(data)
        seen.add(type(answer))
        assert not isinstance(answer, NeedMore) or len(data) < answer.at_least <= client_hello.MAX_SIZE
    assert seen == {NeedMore, ClientHello, NotTls}
