"""VRRP packets: to bytes and back, and what is rejected."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.ha import Advert, Ipv4Checksum, RejectedAdvert, decode_advert, encode_advert

DATA = Path(__file__).parents[2] / "oracles" / "data"
V4 = {"source": "192.0.2.12", "destination": "224.0.0.18"}
V6 = {"source": "fe80::12", "destination": "ff02::12"}
FORMS = list(Ipv4Checksum)


def recorded():
    """Return every packet of the traces of which the recorder read the fields: bytes, addresses, TTL and these."""
    traces = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(DATA.glob("keepalived-*.json"))]
    return [
        (bytes.fromhex(row["hex"]), row["src"], row["dst"], row["ttl"], row["advert"])
        for trace in traces
        for row in trace["outputs"]
        if row.get("advert")
    ]


def adverts(version):
    """Return a strategy for adverts of a version, with the addresses of the packet."""
    v4 = st.ip_addresses(v=4).map(str)
    v6 = st.ip_addresses(v=6).map(str)
    lists = [(v4, V4)] if version == 2 else [(v4, V4), (v6, V6)]
    ticks = st.integers(0, 255) if version == 2 else st.integers(0, 4095)
    return st.one_of(
        *[
            st.tuples(
                st.builds(
                    Advert,
                    version=st.just(version),
                    vrid=st.integers(1, 255),
                    priority=st.integers(0, 255),
                    interval=ticks.map(lambda n: n / (1 if version == 2 else 100)),
                    addresses=st.lists(addresses, min_size=1, max_size=20).map(tuple),
                ),
                st.just(packet),
            )
            for addresses, packet in lists
        ]
    )


def test_recorded_packets_are_read_and_written_to_the_same_bytes():
    """Every valid packet on keepalived's wire gives the recorded fields, and its own bytes again."""
    valid = 0
    for data, source, destination, ttl, advert in recorded():
        if ttl != 255 or "invalid" in advert or advert["checksum"] == "bad":
            with pytest.raises(RejectedAdvert):
                decode_advert(data, source=source, destination=destination, hop_limit=ttl)
            continue
        read = decode_advert(data, source=source, destination=destination, hop_limit=ttl)
        fields = {name: advert[name] for name in ("version", "vrid", "priority", "interval")}
        assert {name: getattr(read, name) for name in fields} == fields
        assert list(read.addresses) == advert["addresses"]
        form = Ipv4Checksum.PLAIN if advert["checksum"] == "plain" else Ipv4Checksum.PSEUDO_HEADER
        assert encode_advert(read, source=source, destination=destination, ipv4_checksum=form) == data
        valid += 1
    assert valid > 500


@given(pair=st.one_of(adverts(2), adverts(3)), form=st.sampled_from(FORMS))
def test_an_advert_survives_its_bytes(pair, form):
    """``decode(encode(advert))`` equals ``advert``, for both versions, families and forms of the checksum."""
    advert, packet = pair
    data = encode_advert(advert, **packet, ipv4_checksum=form)
    assert decode_advert(data, **packet, hop_limit=255) == advert


@pytest.mark.parametrize("version", [2, 3])
@given(data=st.data())
def test_one_flipped_bit_is_never_read_as_another_advert(version, data):
    """A ones' complement sum finds every single flipped bit, reserved ones included: the packet is rejected."""
    advert, packet = data.draw(adverts(version))
    whole = encode_advert(advert, **packet)
    place = data.draw(st.integers(0, 8 * len(whole) - 1))
    broken = bytearray(whole)
    broken[place // 8] ^= 1 << (place % 8)
    with pytest.raises(RejectedAdvert):
        decode_advert(bytes(broken), **packet, hop_limit=255)


def test_random_and_mutated_packets_raise_nothing_but_rejected_advert():
    """Each of 100 000 random and mutated packets is read or raises ``RejectedAdvert``, and nothing else."""
    random = Random(9)
    seeds = [data for data, *_ in recorded()[:200]]
    read = rejected = 0
    for k in range(100_000):
        if k % 2:
            data = random.randbytes(random.randrange(64))
        else:
            mutated = bytearray(random.choice(seeds))
            for _ in range(random.randrange(4)):
                mutated[random.randrange(len(mutated))] = random.randrange(256)
            data = bytes(mutated[: random.randrange(len(mutated) + 1)] if k % 3 == 0 else mutated)
        packet = V6 if k % 5 == 0 else V4
        try:
            advert = decode_advert(data, **packet, hop_limit=255)
        except RejectedAdvert:
            rejected += 1
        else:
            assert 1 <= len(advert.addresses) <= 255
            read += 1
    assert read > 1000
    assert rejected > 50_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hop_limit": 254}, "hop limit 254"),
        ({"data": b"\x31\x33\x96"}, "3 bytes"),
        ({"data": bytes.fromhex("413396010032c399c0000264")}, "version 4"),
        ({"data": bytes.fromhex("323396010032d299c0000264")}, "type 2"),
        ({"data": bytes.fromhex("310096010032d3ccc0000264")}, "virtual router 0"),
        ({"data": bytes.fromhex("313396000032d39a")}, "no addresses"),
        ({"data": bytes.fromhex("313396010032d399c000026400")}, "13 bytes, not 12"),
        ({"data": bytes.fromhex("313396010032d398c0000264")}, "checksum"),
        ({"data": bytes.fromhex("2133960101015364c00002640000000000000000")}, "authentication type 1"),
        ({"data": bytes.fromhex("2133960100015464c0000264"), **V6}, "version 2 over IPv6"),
    ],
)
def test_every_rejection_has_its_reason(change, reason):
    """The error says which check failed, with what was found."""
    whole = {
        "data": bytes.fromhex("313396010032d399c0000264"),
        **V4,
        "source": "192.0.2.11",
        "hop_limit": 255,
    }
    decode_advert(**whole)
    with pytest.raises(RejectedAdvert, match=reason):
        decode_advert(**(whole | change))


def test_a_unicast_advert_may_come_from_afar():
    """The hop limit counts for the multicast group only: a unicast peer may be some hops away."""
    advert = Advert(vrid=51, priority=1, interval=1.0, addresses=("192.0.2.100",))
    packet = {"source": "192.0.2.11", "destination": "192.0.2.12"}
    assert decode_advert(encode_advert(advert, **packet), **packet, hop_limit=60) == advert


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 4),
        ("vrid", 0),
        ("vrid", 256),
        ("priority", -1),
        ("priority", 256),
        ("interval", -0.01),
        ("interval", 40.96),
        ("interval", 0.005),
        ("addresses", ()),
        ("addresses", ("192.0.2.1",) * 256),
        ("addresses", ("192.0.2.1", "fe80::1")),
        ("addresses", ("no address",)),
    ],
)
def test_an_advert_that_does_not_fit_into_bytes_is_refused(field, value):
    """An advert that does not fit into bytes is refused by a ``ConfigurationError`` that names the field."""
    fields = {"vrid": 51, "priority": 100, "interval": 1.0, "addresses": ("192.0.2.1",)}
    with pytest.raises(ConfigurationError, match=field):
        Advert(**(fields | {field: value}))


@pytest.mark.parametrize(
    ("field", "value"), [("interval", 0.5), ("interval", 256.0), ("addresses", ("fe80::1",))]
)
def test_version_2_has_whole_seconds_and_ipv4(field, value):
    """Version 2 has whole seconds and IPv4 only. Otherwise a ``ConfigurationError`` names the field."""
    fields = {"version": 2, "vrid": 51, "priority": 100, "interval": 1.0, "addresses": ("192.0.2.1",)}
    with pytest.raises(ConfigurationError, match=field):
        Advert(**(fields | {field: value}))


def test_the_addresses_of_the_packet_are_of_the_adverts_family():
    """An IPv6 advert cannot be sent between IPv4 addresses."""
    advert = Advert(vrid=51, priority=100, interval=1.0, addresses=("fe80::1",))
    with pytest.raises(ConfigurationError, match="source"):
        encode_advert(advert, **V4)
