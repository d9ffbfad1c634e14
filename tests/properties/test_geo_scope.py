"""The scope of an answer is sound and maximal, and the map is what brute force says it is."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.gslb import GeoMap, IntervalMap
from balancekit.gslb._intervals import Block, flatten, overlay

BITS = 12
SIZE = 1 << BITS
HOLE = 99


@st.composite
def blocks(draw, bits=BITS, limit=12):
    """Return blocks of prefixes with values, nested or not, sorted as a map wants them."""
    found = {}
    for _ in range(draw(st.integers(0, limit))):
        length = draw(st.integers(0, bits))
        start = draw(st.integers(0, (1 << length) - 1)) << (bits - length)
        found[start, length] = draw(st.integers(0, 3))
    made = [Block(start, start + (1 << (bits - length)), value) for (start, length), value in found.items()]
    return sorted(made, key=lambda block: (block.start, -block.end))


def brute(made, default):
    """Return the value of every address: of the smallest block that holds it."""
    values = [default] * SIZE
    for start, end, value in sorted(made, key=lambda block: block.start - block.end):
        values[start:end] = [value] * (end - start)
    return values


def brute_scope(values, address):
    """Return the shortest prefix whose block has one value."""
    for scope in range(BITS + 1):
        width = 1 << (BITS - scope)
        start = address & -width
        if len(set(values[start : start + width])) == 1:
            return scope
    raise AssertionError


@given(under=blocks(), over=blocks())
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_a_map_of_12_bits_is_what_brute_force_says(under, over):
    """For all 4096 addresses of a map of 12 bits, value and scope are those of brute force.

    This includes one map laid over another.
    """
    values = brute(under, 0)
    covered = brute(over, HOLE)
    expected = [high if high != HOLE else low for low, high in zip(values, covered, strict=True)]
    made = IntervalMap(BITS, *overlay(flatten(under, BITS, 0), flatten(over, BITS, HOLE), HOLE))
    assert [made.value(address) for address in range(SIZE)] == expected
    assert [value for start, end, value in made for _ in range(start, end)] == expected
    scopes = {address: made.scope(address) for address in range(SIZE)}
    for address in {
        *range(0, SIZE, 61),
        *(max(0, start - 1) for start, _, _ in made),
        *(start for start, _, _ in made),
    }:
        assert scopes[address] == brute_scope(expected, address)
    union = 0
    address = 0
    while address < SIZE:  # the blocks of the scopes tile the space
        width = 1 << (BITS - scopes[address])
        assert address % width == 0
        assert all(scopes[other] == scopes[address] for other in range(address, address + width))
        union += width
        address += width
    assert union == SIZE


ORDERS = (("a",), ("b",), ("a", "b"), ("b", "a"), ())


def random_networks(rng, count):
    """Return overlapping networks of both families, up to /24 and /56, with orders."""
    found = {}
    for _ in range(count):
        if rng.random() < 0.5:
            length, value = rng.randint(1, 24), rng.getrandbits(32) & 0xC3FFFFFF
            network = IPv4Network((value >> (32 - length) << (32 - length), length))
        else:
            length, value = rng.randint(33, 56), 0x2001_0DB8 << 96 | rng.getrandbits(96) & (0xFFF0F0 << 72)
            network = IPv6Network((value >> (128 - length) << (128 - length), length))
        found[network] = rng.choice(ORDERS)
    return found


@given(count=st.integers(0, 12), seed=st.integers(0, 2**64))
@settings(max_examples=2000, deadline=None, derandomize=True)
def test_every_address_in_a_scope_has_the_order_and_one_bit_wider_has_not(count, seed):
    """Random addresses of a scope have its order. The block that is one bit wider holds another order."""
    rng = Random(seed)
    maps, default = random_networks(rng, count), rng.choice(ORDERS)
    geo_map = GeoMap.build(networks=maps, default=default)
    near = [
        (network.version, int(network.network_address) + rng.randrange(network.num_addresses))
        for network in maps
    ]
    carried = rng.choice([key for version, key in near if version == 4] or [rng.getrandbits(32)])
    carriers = [0x2002 << 112 | carried << 80, 0x20010000 << 96 | carried ^ 0xFFFFFFFF]
    carriers += [0xFFFF << 32 | carried, 0x0064_FF9B << 96 | carried]
    version, key = rng.choice(
        [*near, (4, rng.getrandbits(32)), (6, rng.getrandbits(128)), (6, rng.choice(carriers))]
    )
    make, bits = (IPv4Address, 32) if version == 4 else (IPv6Address, 128)
    order, scope = geo_map.look_up(make(key))
    assert order == longest(maps, default, make(key))
    free = bits - scope
    base = key >> free << free
    for _ in range(12):
        assert geo_map.order(make(base | (rng.getrandbits(free) if free else 0))) == order
    if scope:
        assert differs(geo_map, base, free, order, version), "one bit wider all agree too"


def longest(maps, default, address):
    """Return the order of the longest network that holds an address; what carries IPv4 is the IPv4 map's."""
    carried = carried_ipv4(address)
    if carried is not None:
        address = carried
    holding = [network for network in maps if network.version == address.version and address in network]
    return maps[max(holding, key=lambda network: network.prefixlen)] if holding else default


def carried_ipv4(address):
    """Return the IPv4 address that an IPv6 address carries, if it does."""
    if address.version == 4:
        return None
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    prefixes = ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
    return low if any(address in IPv6Network(prefix) for prefix in prefixes) else None


def differs(geo_map, base, free, order, version):
    """Whether the other half of the block one bit wider holds another order (or IPv4 addresses, which may)."""
    width = 1 << free
    start = (base ^ width) >> free << free
    return any(
        low < start + width and start < high and found != order
        for low, high, found in geo_map.intervals(version)
    )


@pytest.mark.parametrize("bits", [32, 128])
@pytest.mark.parametrize(
    "starts", [[], [3, 5], [0], [0, 5, 7], [0, 0], [5, 0], [0, 1 << 128], [0, "5"], [0, 5.5]], ids=str
)
def test_a_map_has_ascending_starts(bits, starts):
    """Starts that do not ascend from 0, end below ``2**bits`` and come one for each value are refused when the map is made."""
    with pytest.raises(ConfigurationError, match="starts"):
        IntervalMap(bits, starts, [1, 2])
