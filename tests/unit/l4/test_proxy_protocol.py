"""PROXY protocol headers: what is read, what is waited for, what is refused; and that nothing crashes the parser.

What servers made of the same bytes is compared in ``tests/oracles``.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.l4._fuzz import fuzzed

from balancekit.errors import ConfigurationError
from balancekit.l4.proxy_protocol import (
    NeedMore,
    NoHeader,
    ProxyHeader,
    Refused,
    TlvType,
    build,
    crc32c,
    parse,
)


def address_text(address):
    """Return an address as headers have it."""
    mapped = address.ipv4_mapped if address.version == 6 else None
    return f"::ffff:{mapped}" if mapped else str(address)


V4 = ("192.0.2.1", 12345), ("198.51.100.2", 443)
V6 = ("2001:db8::1", 1), ("2001:db8::2", 65535)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"

GOOD = {
    "v1 TCP4": build(*V4, version=1),
    "v1 TCP6": build(*V6, version=1),
    "v1 UNKNOWN": b"PROXY UNKNOWN\r\n",
    "v1 UNKNOWN with more": b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    "v1 longest": b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n",
    "v2 TCP4": build(*V4),
    "v2 UDP6": build(*V6, transport="datagram"),
    "v2 LOCAL": build(),
    "v2 LOCAL with anything": SIGNATURE + b"\x20\xff\x00\x03abc",
    "v2 fields": build(*V4, tlvs=[(TlvType.AUTHORITY, b"a.test"), (TlvType.NOOP, bytes(5)), (0xE0, b"")]),
    "v2 checksum": build(*V6, tlvs=[(TlvType.UNIQUE_ID, bytes(128))], checksum=True),
    "v2 Unix": SIGNATURE + b"\x21\x31\x00\xd8" + b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0"),
}


def v2(command=0x21, family=0x11, body=b"\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb", size=None):
    """Return a binary header of any kind."""
    return (
        SIGNATURE + bytes([command, family]) + (len(body) if size is None else size).to_bytes(2, "big") + body
    )


@pytest.mark.parametrize("name", GOOD)
def test_a_good_header_is_read_and_what_follows_is_left_alone(name):
    """A good header is read with its own size, whatever the bytes behind it are, also another header."""
    data = GOOD[name]
    for rest in (b"", b"GET / HTTP/1.1\r\n", data, b"\0" * 50):
        header = parse(data + rest)
        assert isinstance(header, ProxyHeader)
        assert header.size == len(data)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("mode", ["required", "optional"])
def test_every_proper_prefix_needs_more(name, mode):
    """Every proper prefix asks for more bytes. The number is above what there is and not above what there will be."""
    data = GOOD[name]
    for size in range(len(data)):
        answer = parse(data[:size], mode=mode)
        assert isinstance(answer, NeedMore), (size, answer)
        assert size < answer.at_least <= len(data)


@pytest.mark.parametrize(
    ("ends", "transport", "code"),
    [(V4, "stream", 0x11), (V4, "datagram", 0x12), (V6, "stream", 0x21), (V6, "datagram", 0x22)],
)
def test_a_binary_header_has_the_code_of_its_family_and_transport(ends, transport, code):
    """The fourteenth byte is the specification's, and both ends and the transport are read back."""
    data = build(*ends, transport=transport)
    assert data[13] == code
    header = parse(data)
    assert (header.version, header.transport, header.src, header.dst) == (2, transport, *ends)


def test_what_a_header_says():
    """A header has both ends with ports, the transport, the command and the fields, in both versions."""
    one, two = parse(GOOD["v1 TCP4"]), parse(GOOD["v2 UDP6"])
    assert (one.version, one.command, one.transport, one.src, one.dst) == (1, "proxy", "stream", *V4)
    assert (two.version, two.command, two.transport, two.src, two.dst) == (2, "proxy", "datagram", *V6)
    local = parse(GOOD["v2 LOCAL with anything"])
    assert (local.command, local.transport, local.src, local.dst, local.tlvs) == (
        "local",
        None,
        None,
        None,
        (),
    )
    unknown = parse(GOOD["v1 UNKNOWN with more"])
    assert (unknown.command, unknown.src, unknown.dst) == ("proxy", None, None)
    unix = parse(GOOD["v2 Unix"])
    assert (unix.src, unix.dst) == (("/run/a", 0), ("/run/b", 0))
    fields = parse(GOOD["v2 fields"])
    assert fields.tlvs == ((2, b"a.test"), (4, bytes(5)), (0xE0, b""))
    assert (fields.tlv(TlvType.AUTHORITY), fields.tlv(TlvType.SSL)) == (b"a.test", None)


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443 \r\n",
        b"PROXY TCP4 192.0.2.1\r198.51.100.2 12345 443\r\n",
        b"PROXY  TCP4 192.0.2.1 198.51.100.2 12345 443\r\n",
        b"PROXY tcp4 192.0.2.1 198.51.100.2 12345 443\r\n",
        b"PROXY TCP 192.0.2.1 198.51.100.2 12345 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443 9\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 000443 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1.0 443\r\n",
        b"PROXY TCP4 256.0.2.1 198.51.100.2 1 443\r\n",
        b"PROXY TCP4 192.00.2.1 198.51.100.2 1 443\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.2 1 443\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.2 1 443\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::2 1 443\r\n",
        b"PROXY TCP6 :: 2001:db8::2 1 443\r\n",
        b"PROXY TCP4 0.0.0.0 198.51.100.2 1 443\r\n",
        b"PROXY TCP4 224.0.0.1 198.51.100.2 1 443\r\n",
        b"PROXY TCP4 255.255.255.255 198.51.100.2 1 443\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY \r\n",
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        b"PROXY " + b"x" * 200,
        b"PROXY TCP4 \xb2.0.2.1 198.51.100.2 1 443\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.2 12345 443\r\n",
        b"PROXY\tTCP4 192.0.2.1 198.51.100.2 12345 443\r\n",
    ],
)
def test_a_line_that_is_not_exact_is_refused(line):
    """A line outside the specification's grammar is refused, and so are addresses that no connection can have."""
    assert isinstance(parse(line), Refused)


def test_a_mapped_address_is_written_as_such():
    """A mapped address is written in the mixed notation of RFC 5952, whatever was received, in both versions."""
    line = b"PROXY TCP6 ::ffff:c000:201 0:0:0:0:0:FFFF:198.51.100.2 1 2\r\n"
    ends = ("::ffff:192.0.2.1", 1), ("::ffff:198.51.100.2", 2)
    assert (parse(line).src, parse(line).dst) == ends
    assert (parse(build(*ends)).src, parse(build(*ends)).dst) == ends
    assert build(*ends, version=1) == b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 1 2\r\n"


def test_a_port_may_have_leading_zeros():
    """Three widely used servers read it as the same number, so it is taken, up to five digits."""
    assert parse(b"PROXY TCP4 192.0.2.1 198.51.100.2 00443 00001\r\n").dst == ("198.51.100.2", 1)


@pytest.mark.parametrize(
    "data",
    [
        v2(command=0x22),
        v2(command=0x11),
        v2(command=0x31),
        v2(family=0x00),
        v2(family=0x13),
        v2(family=0x41),
        v2(family=0x10),
        v2(body=b""),
        v2(body=bytes(11)),
        v2(family=0x21, body=bytes(35)),
        v2(family=0x31, body=bytes(215)),
        v2(body=bytes(12)),
        v2(body=b"\xe0\x00\x00\x01" + bytes(8)),
        v2(body=v2()[16:] + b"\x01"),
        v2(body=v2()[16:] + b"\x01\x00"),
        v2(body=v2()[16:] + b"\x01\x00\x01"),
        v2(body=v2()[16:] + b"\x03\x00\x04\0\0\0\0"),
        v2(body=v2()[16:] + b"\x03\x00\x03\0\0\0"),
        v2(body=v2()[16:] + b"\x05\x00\x81" + bytes(129)),
        SIGNATURE[:-1] + b"X" + v2()[12:],
    ],
)
def test_a_binary_header_that_is_not_exact_is_refused(data):
    """A binary header with an unknown command or family, a wrong size, a cut field or a wrong checksum is refused."""
    assert isinstance(parse(data), Refused)


def test_every_changed_bit_of_a_value_breaks_the_checksum():
    """Every changed bit of addresses, ports, values of fields and the checksum breaks the checksum.

    What says that there is one is not protected.
    """
    good = build(*V4, tlvs=[(TlvType.AUTHORITY, b"api.example.com")], checksum=True)
    heads = {*range(28, 31), *range(46, 49)}
    for bit in range(16 * 8, 8 * len(good)):
        if bit // 8 not in heads:
            changed = bytearray(good)
            changed[bit // 8] ^= 1 << bit % 8
            assert isinstance(parse(changed), Refused), bit


def test_two_checksums_are_refused():
    """A header with two checksums is refused."""
    good = build(*V4, checksum=True)
    body = good[16:] + good[-7:]
    assert isinstance(parse(v2(body=body)), Refused)


def test_optional_passes_what_does_not_begin_like_a_header():
    """In the mode ``"optional"``, bytes that cannot begin a signature are no header.

    What begins like a header and is wrong is refused.
    """
    for data in (b"GET / HTTP/1.1\r\n", b"PROXX", b"\r\n\r\n\x00\r\nQUIX", b"\x16\x03\x01"):
        assert parse(data, mode="optional") == NoHeader()
        assert isinstance(parse(data), Refused)
    assert isinstance(parse(b"PROXY nonsense\r\n", mode="optional"), Refused)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (bytes(32), 0x8A91_36AA),
        (b"\xff" * 32, 0x62A8_AB43),
        (bytes(range(32)), 0x46DD_794E),
        (bytes(range(31, -1, -1)), 0x113F_DB5C),
        (b"123456789", 0xE306_9283),
    ],
)
def test_crc32c_has_the_published_values(data, expected):
    """CRC-32C has the values of RFC 3720 appendix B.4, and the check value of the polynomial, also in pieces."""
    assert crc32c(data) == expected
    assert crc32c(data[7:], crc32c(data[:7])) == expected


ENDS = st.tuples(
    st.one_of(
        st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
        st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
    ),
    st.integers(0, 65535),
    st.integers(0, 65535),
)
FIELDS = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda kind: kind != TlvType.CRC32C), st.binary(max_size=100))
)


@given(ends=ENDS, fields=FIELDS, checksum=st.booleans(), version=st.sampled_from([1, 2]))
def test_what_is_built_is_read_back(ends, fields, checksum, version):
    """Any header that is built is read back: addresses, fields and checksum, in both versions."""
    (left, right), sport, dport = ends
    src, dst = (address_text(left), sport), (address_text(right), dport)
    options = {} if version == 1 else {"tlvs": fields, "checksum": checksum}
    if left.is_multicast or left.is_unspecified or str(left) == "255.255.255.255":
        with pytest.raises(ConfigurationError, match="src="):
            build(src, dst, version=version, **options)
        return
    data = build(src, dst, version=version, **options)
    header = parse(data)
    assert (header.src, header.dst, header.size) == (src, dst, len(data))
    assert [field for field in header.tlvs if field[0] != TlvType.CRC32C] == (fields if version == 2 else [])
    assert (header.tlv(TlvType.CRC32C) is not None) is (version == 2 and checksum)


@pytest.mark.parametrize(
    ("parameter", "arguments"),
    [
        ("version", {"version": 3}),
        ("version", {"version": 1, "checksum": True}),
        ("version", {"version": 1, "transport": "datagram"}),
        ("version", {"version": 1, "tlvs": [(1, b"")]}),
        ("transport", {"transport": "udp"}),
        ("dst", {"dst": None}),
        ("dst", {"dst": V6[1]}),
        ("src", {"src": ("192.0.2.1",)}),
        ("src", {"src": ("nowhere", 1)}),
        ("src", {"src": ("192.0.2.1", 65536)}),
        ("src", {"src": ("fe80::1%eth0", 1), "dst": V6[1]}),
        ("src", {"src": ("0.0.0.0", 1)}),
        ("tlvs", {"tlvs": [(256, b"")]}),
        ("tlvs", {"tlvs": [(1, "text")]}),
        ("tlvs", {"tlvs": [(3, bytes(4))]}),
        ("tlvs", {"tlvs": [(5, bytes(129))]}),
        ("tlvs", {"tlvs": [(1, bytes(40_000)), (1, bytes(40_000))]}),
        ("checksum", {"checksum": 1}),
    ],
)
def test_what_the_parser_would_refuse_is_not_built(parameter, arguments):
    """A header that the parser would refuse is refused by the builder, with the parameter and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        build(**{"src": V4[0], "dst": V4[1]} | arguments)
    assert caught.value.parameter == parameter


def test_the_longest_header_is_built_and_read():
    """The longest header is 65,535 bytes behind the fixed part, and one more byte is refused."""
    room = 65_535 - 12 - 3
    data = build(*V4, tlvs=[(0xE0, bytes(room))])
    assert parse(data).size == len(data) == 65_551
    with pytest.raises(ConfigurationError):
        build(*V4, tlvs=[(0xE0, bytes(room + 1))])


def test_wrong_arguments_are_refused_by_name():
    """A mode that is none, and an object that is no bytes, are refused by name. All kinds of bytes are accepted."""
    for parameter, act in (("mode", lambda: parse(b"", mode="maybe")), ("buf", lambda: parse("PROXY"))):
        with pytest.raises(ConfigurationError) as caught:
            act()
        assert caught.value.parameter == parameter
    data = GOOD["v2 checksum"]
    assert parse(bytearray(data)) == parse(memoryview(data)) == parse(data)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(100_000, id="a tenth"),
        pytest.param(1_000_000, id="whole", marks=[pytest.mark.nightly, pytest.mark.timeout(1200)]),
    ],
)
def test_no_bytes_raise_an_exception(count):
    """Every answer is one of the four, and each of them occurs; a header lies within what was given."""
    seeds = list(GOOD.values())
    rng, seen = random.Random(count), set()
    for _ in range(count):
        data = fuzzed(rng, rng.choice(seeds))
        answer = parse(data, mode=rng.choice(("required", "optional")))
        seen.add(type(answer))
        assert not isinstance(answer, ProxyHeader) or 0 < answer.size <= len(data)
        assert not isinstance(answer, NeedMore) or answer.at_least > len(data)
    assert seen == {NeedMore, ProxyHeader, NoHeader, Refused}
