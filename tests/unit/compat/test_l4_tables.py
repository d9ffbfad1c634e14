"""Katran's rings, the Maglev scheduler of IPVS, and declarations of Linux next-hop groups.

Vectors and recorded tables are compared in ``tests/oracles``.
"""

from __future__ import annotations

import struct
from collections import Counter

import mmh3
import pytest

from balancekit.compat import ipvs, katran, linux
from balancekit.errors import ConfigurationError
from balancekit.hashing._maglev_fill import populate
from balancekit.l4 import Ecmp, ResilientGroup


def test_weights_all_but_vanish_in_katrans_first_ring_and_hold_in_the_second():
    """2/1/1 gives 33.3 % each by V1, which counts a weight in the first round only, and 50/25/25 by V2."""
    reals = [katran.Real(hash=0, weight=2), katran.Real(hash=1), katran.Real(hash=2)]
    counts = [Counter(katran.Ring(reals, version=version).table) for version in ("V1", "V2")]
    assert [counts[0][place] for place in range(3)] == [21_847, 21_845, 21_845]
    assert [counts[1][place] for place in range(3)] == [32_769, 16_384, 16_384]


def test_one_endpoint_fills_katrans_ring():
    """One endpoint fills Katran's ring whatever its weight, and a hash is looked up by its remainder."""
    ring = katran.Ring([katran.Real(hash=7, weight=3)], size=101)
    assert ring.table == (0,) * 101
    ring = katran.Ring([katran.Real(hash=7), katran.Real(hash=8)], size=101)
    assert [ring.lookup(hash) for hash in (0, 100, 101, 1000)] == [ring.table[at] for at in (0, 100, 0, 91)]
    assert (len(ring), repr(ring)) == (101, "<katran.Ring of 101 slots>")


def test_katrans_products_wrap_in_large_rings():
    """A turn takes the first free slot at (offset + turn * skip modulo 2**32) modulo the size: another than without the wrap."""
    size, hashes = 131_071, range(8)
    table = katran.Ring([katran.Real(hash=hash) for hash in hashes], size=size).table
    offsets, skips = [
        [mmh3.hash64(struct.pack("<QQ", hash, seed), other, signed=False)[0] for hash in hashes]
        for seed, other in ((42, 0), (2_718_281_828, 2_307))
    ]
    offsets, skips = [hash % size for hash in offsets], [hash % (size - 1) + 1 for hash in skips]
    order = [turn % 8 for turn in range(size)]
    wanted, tried = [-1] * size, [0] * 8
    for node in order:
        offset, skip = offsets[node], skips[node]
        while wanted[slot := (offset + tried[node] * skip) % 2**32 % size] >= 0:
            tried[node] += 1
        wanted[slot] = node
    assert table == tuple(wanted) != tuple(populate(offsets, skips, order))


def test_weight_zero_in_katrans_rings():
    """In Katran's V2 ring weight zero gets nothing, and in V1 a turn in every round after the first."""
    reals = [katran.Real(hash=0, weight=0), katran.Real(hash=1, weight=1)]
    assert 0 not in katran.Ring(reals, size=101, version="V2").table
    assert 0 in katran.Ring(reals, size=101, version="V1").table


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_katran_shares_a_ring_equally_if_all_weigh_nothing(version):
    """Endpoints that all weigh 0 fill the ring as endpoints that all weigh 1 do; so does one alone."""
    for count in (1, 3):
        nothing, one = ([katran.Real(hash=hash, weight=weight) for hash in range(count)] for weight in (0, 1))
        found = katran.Ring(nothing, size=101, version=version).table
        assert found == katran.Ring(one, size=101, version=version).table


@pytest.mark.parametrize(
    ("parameter", "make"),
    [
        ("reals", lambda: katran.Ring([])),
        ("reals", lambda: katran.Ring(["a"])),
        ("size", lambda: katran.Ring([katran.Real(hash=1)], size=100)),
        ("version", lambda: katran.Ring([katran.Real(hash=1)], version="V3")),
        ("hash", lambda: katran.Real(hash=-1)),
        ("weight", lambda: katran.Real(hash=1, weight=1.5)),
        ("hash", lambda: katran.Ring([katran.Real(hash=1)]).lookup(-1)),
        ("destinations", lambda: ipvs.MaglevScheduler([])),
        ("destinations", lambda: ipvs.MaglevScheduler("ab")),
        ("destinations", lambda: ipvs.MaglevScheduler([SERVERS[1]] * 4_094)),
        (
            "destinations",
            lambda: ipvs.MaglevScheduler([ipvs.Destination(address="10.0.0.1", port=1, weight=0)]),
        ),
        ("address", lambda: ipvs.Destination(address="nowhere", port=1)),
        ("port", lambda: ipvs.Destination(address="10.0.0.1", port=70_000)),
        ("client", lambda: SCHEDULER.lookup("no address")),
    ],
)
def test_a_wrong_value_is_refused_by_name(parameter, make):
    """Each wrong value raises ConfigurationError, which names the parameter and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter


SERVERS = [ipvs.Destination(address=f"10.0.0.{number}", port=80, weight=number) for number in range(4)]
SCHEDULER = ipvs.MaglevScheduler(SERVERS)


def test_ipvs_gives_turns_by_weight_and_none_to_weight_zero():
    """IPVS gives 4,093 slots in proportion 1:2:3, within one lap, and none to weight zero."""
    counts = Counter(SCHEDULER.table)
    assert 0 not in counts
    assert all(abs(counts[place] - 4093 * place / 6) <= 6 for place in range(1, 4))


def test_an_ipvs_destination_without_a_weight_weighs_one():
    """A destination without a weight has as many slots as one of weight 1, within one lap."""
    plain = ipvs.Destination(address="10.0.0.1", port=80)
    given = ipvs.Destination(address="10.0.0.2", port=80, weight=1)
    assert abs(Counter(ipvs.MaglevScheduler([plain, given]).table)[0] - 4093 / 2) <= 1


def test_ipvs_shifts_large_weights_down():
    """The largest number of turns is below 64, so 1000:1 becomes 62:1; nothing that has weight gets no turn."""
    far = [ipvs.Destination(address="10.0.0.1", port=80, weight=w) for w in (1000, 1)]
    far[1] = ipvs.Destination(address="10.0.0.2", port=80, weight=1)
    counts = Counter(ipvs.MaglevScheduler(far).table)
    assert counts[1] == 4093 // 63


def test_ipvs_drops_or_looks_further():
    """An unavailable server's clients are dropped; with the fallback they are spread over the others, with none left dropped."""
    client = next(f"192.0.2.{n}" for n in range(256) if SCHEDULER.lookup(f"192.0.2.{n}") == 3)
    assert SCHEDULER.lookup(client, unavailable=[3]) is None
    fallback = ipvs.MaglevScheduler(SERVERS, fallback=True)
    assert fallback.lookup(client) == 3
    others = {fallback.lookup(f"192.0.2.{n}", unavailable=[3]) for n in range(256)}
    assert others == {1, 2}
    assert fallback.lookup(client, unavailable=[0, 1, 2, 3]) is None


def test_ipvs_counts_the_port_only_with_its_flag():
    """IPVS counts the port only with its flag, and folds IPv6 addresses into 32 bits."""
    assert {SCHEDULER.lookup("192.0.2.1", port) for port in range(100)} == {SCHEDULER.lookup("192.0.2.1")}
    with_port = ipvs.MaglevScheduler(SERVERS, port=True)
    assert len({with_port.lookup("192.0.2.1", port) for port in range(100)}) == 3
    assert SCHEDULER.lookup("::c000:201") == SCHEDULER.lookup("192.0.2.1")
    assert repr(SCHEDULER) == "<ipvs.MaglevScheduler of 3 servers>"


def test_the_siphash_is_that_of_the_kernel():
    """The self-test vector of ``lib/test_siphash.c`` for four bytes has this key and value, both as numbers."""
    assert (
        ipvs.siphash13(0x0302_0100, 0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908) & 0xFFFF_FFFF == 0x88D3_8328
    )


def test_declarations_of_next_hop_groups():
    """Declarations of next-hop groups are written as ``ip nexthop`` prints them."""
    plain = linux.nexthop_group("group 1/2,3")
    assert isinstance(plain, Ecmp)
    assert plain.members == {"1": 1, "2": 3}
    group = linux.nexthop_group(
        "group 7/8 type resilient buckets 32 idle_timer 60.5 unbalanced_timer 0", now=5.0
    )
    assert isinstance(group, ResilientGroup)
    assert (len(group), group.members, group.deadline) == (32, {"7": 1, "8": 1}, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1/2",
        "group",
        "group 1/2 type",
        "group 1/1",
        "group a/b",
        "group 1,0",
        "group 1,x",
        "group 1//2",
        "group 1/2 type hash",
        pytest.param(f"group {'1' * 5000}", id="an id of many digits"),
        pytest.param(f"group 1,{'1' * 5000}", id="a weight of many digits"),
        "group 1/2 buckets 8",
        "group 1/2 type resilient",
        "group 1/2 type resilient buckets 0",
        "group 1/2 type resilient buckets 8 idle_timer soon",
        "group 1/2 type resilient buckets 8 idle_timer -1",
        "group 1/2 type resilient buckets 8 buckets 9",
        "group 1/2 type resilient buckets 8 speed 9",
    ],
)
def test_a_declaration_that_the_kernel_would_refuse_is_refused(text):
    """A declaration with words that are missing, unknown or twice, or with wrong numbers, is refused."""
    with pytest.raises(ConfigurationError):
        linux.nexthop_group(text)
