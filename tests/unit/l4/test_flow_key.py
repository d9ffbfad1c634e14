"""Packed five-tuples."""

from __future__ import annotations

import pytest

from balancekit.errors import ConfigurationError
from balancekit.l4 import flow_key


def test_the_layout_is_addresses_and_ports_in_network_order_and_the_protocol_last():
    """A key is addresses and ports in network order and the protocol last: 13 bytes for IPv4, 37 for IPv6."""
    assert flow_key("192.0.2.1", 258, "198.51.100.2", 443, "udp") == bytes(
        [192, 0, 2, 1, 1, 2, 198, 51, 100, 2, 1, 187, 17]
    )
    key = flow_key("2001:db8::1", 1, "2001:db8::2", 2)
    assert len(key) == 37
    assert key[:2] == b"\x20\x01"
    assert key[-1] == 6


def test_text_and_packed_addresses_agree():
    """Text and packed addresses make the same key; an IPv4 address mapped into IPv6 is the IPv4 address."""
    plain = flow_key("192.0.2.1", 1, "198.51.100.2", 2)
    assert flow_key(b"\xc0\x00\x02\x01", 1, b"\xc6\x33\x64\x02", 2) == plain
    assert flow_key("::ffff:192.0.2.1", 1, "::ffff:198.51.100.2", 2) == plain
    assert flow_key(bytes(10) + b"\xff\xff\xc0\x00\x02\x01", 1, "198.51.100.2", 2) == plain


def test_symmetric_keys_are_equal_in_both_directions_and_only_there():
    """Symmetric keys are equal in both directions and only there, as ports travel with their addresses."""
    ends = ("192.0.2.9", 1000), ("192.0.2.1", 2000)
    there = flow_key(*ends[0], *ends[1], symmetric=True)
    assert there == flow_key(*ends[1], *ends[0], symmetric=True)
    assert there != flow_key("192.0.2.9", 2000, "192.0.2.1", 1000, symmetric=True)
    assert flow_key(*ends[0], *ends[1]) != flow_key(*ends[1], *ends[0])


@pytest.mark.parametrize(
    ("parameter", "arguments"),
    [
        ("src", ("192.0.2.256", 1, "192.0.2.1", 1)),
        ("src", (b"\x01\x02\x03", 1, "192.0.2.1", 1)),
        ("src", (None, 1, "192.0.2.1", 1)),
        ("dst", ("192.0.2.1", 1, "", 1)),
        ("dst", ("192.0.2.1", 1, "2001:db8::1", 1)),
        ("sport", ("192.0.2.1", 65536, "192.0.2.1", 1)),
        ("sport", ("192.0.2.1", True, "192.0.2.1", 1)),
        ("dport", ("192.0.2.1", 1, "192.0.2.1", -1)),
        ("dport", ("192.0.2.1", 1, "192.0.2.1", 1.0)),
        ("proto", ("192.0.2.1", 1, "192.0.2.1", 1, "quic")),
        ("proto", ("192.0.2.1", 1, "192.0.2.1", 1, 6)),
    ],
)
def test_what_is_no_flow_is_refused_by_name(parameter, arguments):
    """A flow that is none is refused by an error with the parameter and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        flow_key(*arguments)
    assert caught.value.parameter == parameter
