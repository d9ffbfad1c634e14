"""The client subnet option: what is refused, and that nothing is lost on the way."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancekit.errors import ConfigurationError
from balancekit.gslb import SubnetError, decode_subnet, encode_subnet

networks = st.one_of(
    st.builds(
        lambda n, p: IPv4Network((n >> (32 - p) << (32 - p), p)),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda n, p: IPv6Network((n >> (128 - p) << (128 - p), p)),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    ),
)


@given(networks)
@settings(deadline=None)
def test_what_is_encoded_decodes_to_itself(network):
    """Every network of both families decodes to itself, in as few bytes as its prefix needs."""
    data = encode_subnet(network)
    assert decode_subnet(data) == network
    assert len(data) == 4 + (network.prefixlen + 7) // 8


@given(st.binary(max_size=24))
@settings(deadline=None)
def test_any_bytes_are_decoded_or_refused(data):
    """Nothing but ``SubnetError`` is raised, and what is accepted encodes to the same bytes."""
    try:
        network = decode_subnet(data)
    except SubnetError:
        return
    assert encode_subnet(network) == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("00011818c63364", "scope prefix 24"),
        ("00011400c63364", "bits after prefix 20"),
        ("00011800c6336407", "4 address bytes"),
        ("00011800c633", "2 address bytes"),
        ("00012100c6336407", "source prefix 33"),
        ("0002810020010db8", "source prefix 129"),
        ("00031800c63364", "family 3"),
        ("00000000", "family 0"),
        ("", "0 bytes"),
        ("000118", "3 bytes"),
    ],
)
def test_a_malformed_option_is_refused_with_the_reason(data, reason):
    """A malformed option is refused with the reason, in each way that RFC 7871 calls malformed."""
    with pytest.raises(SubnetError, match=reason):
        decode_subnet(bytes.fromhex(data))


def test_a_reply_carries_the_scope():
    """A reply carries the scope in the fourth byte.

    It may exceed the source prefix, never the length of an address.
    """
    assert encode_subnet(ip_network("198.51.100.0/24"), 32).hex() == "00011820c63364"
    with pytest.raises(ConfigurationError):
        encode_subnet(ip_network("198.51.100.0/24"), 33)
