"""Rings and Maglev tables: published ones, and the laws that hold for all."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import Endpoint, LoadBalancer
from balancekit.compat import envoy
from balancekit.compat.envoy._tables import maglev, normalised, ring
from balancekit.errors import ConfigurationError
from balancekit.snapshot import PickContext
from balancekit.testing import make_nodes, make_snapshot

shares_of = st.lists(st.integers(1, 40), min_size=1, max_size=8)


def build(weights, minimum=64, maximum=4_096, place=envoy.xxh64):
    """Return a ring over hosts named by their number."""
    labels = [f"h{number}" for number in range(len(weights))]
    return ring(labels, normalised(weights), minimum=minimum, maximum=maximum, place=place)


@given(weights=shares_of, minimum=st.integers(1, 300), slack=st.integers(0, 300))
def test_a_ring_has_the_entries_the_rule_calls_for(weights, minimum, slack):
    """A ring has the entries of the published formula: the sum of the shares so far, rounded up, host by host."""
    maximum = minimum + slack
    found = build(weights, minimum, maximum)
    least = min(normalised(weights))
    scale = min(math.ceil(least * minimum) / least, maximum)
    assert list(found.points) == sorted(found.points)
    wanted, count = 0.0, 0
    for host, share in enumerate(normalised(weights)):
        wanted += scale * share
        expected = max(0, math.ceil(wanted) - count)
        count += expected
        labels = {envoy.xxh64(f"h{host}_{entry}".encode()) for entry in range(expected)}
        assert {p for p, owner in zip(found.points, found.owners, strict=True) if owner == host} == labels


def test_the_first_entry_at_or_after_a_position_owns_it():
    """A position equal to an entry belongs to it; beyond the last the first one owns."""
    found = build([1, 1])
    for index in (0, 17, len(found.points) - 1):
        point = found.points[index]
        assert found.at(point) == found.owners[index]
        assert found.start(point + 1) == (index + 1) % len(found.points)
    assert found.at(2**64 - 1) == found.owners[0]


def test_a_small_maximum_may_leave_a_host_without_an_entry():
    """A small maximum may leave a host without an entry, as seven entries for nine hosts do."""
    found = build([1] * 9, minimum=5, maximum=7)
    assert len(found.points) == 7
    assert len(set(found.owners)) == 7


def test_maglev_gives_the_tables_of_envoys_own_test():
    """Maglev gives the tables of Envoy's own test, maglev_lb_test.cc, with M = 7."""
    names = [str(port) for port in range(90, 96)]
    assert list(maglev(names, [1 / 6] * 6, size=7).owners) == [2, 5, 0, 3, 4, 1, 0]
    addresses = [f"127.0.0.1:{port}" for port in range(90, 96)]
    assert list(maglev(addresses, [1 / 6] * 6, size=7).owners) == [2, 4, 0, 1, 5, 0, 3]


@given(weights=shares_of)
def test_maglev_tables_are_filled_by_the_rule(weights):
    """Maglev tables are filled by the written rule: rounds, targets, and the n-th position by its formula."""
    size, shares = 251, normalised(weights)
    labels = [f"10.0.0.1:{number}" for number in range(len(weights))]
    slots, turn = {}, 0
    targets, positions = [0.0] * len(labels), [0] * len(labels)
    while len(slots) < size:
        turn += 1
        for host in sorted(range(len(labels)), key=labels.__getitem__):
            if len(slots) == size or turn * shares[host] < targets[host]:
                continue
            targets[host] += max(shares)
            label = labels[host].encode()
            offset, skip = envoy.xxh64(label) % size, envoy.xxh64(label, 1) % (size - 1) + 1
            while (offset + skip * positions[host]) % size in slots:
                positions[host] += 1
            slots[(offset + skip * positions[host]) % size] = host
    assert dict(enumerate(maglev(labels, shares, size=size).owners)) == slots


@given(weights=shares_of, seed=st.integers(0, 99))
def test_a_maglev_table_does_not_depend_on_the_order_of_hosts(weights, seed):
    """A Maglev table does not depend on the order of hosts, as they take turns in the order of their labels."""
    hosts = [(f"10.0.0.{number}:80", weight) for number, weight in enumerate(weights)]
    shuffled = hosts[:]
    Random(seed).shuffle(shuffled)
    tables = []
    for order in (hosts, shuffled):
        total = sum(weights)
        table = maglev([label for label, _ in order], [weight / total for _, weight in order], size=251)
        tables.append([order[owner][0] for owner in table.owners])
    assert tables[0] == tables[1]


@given(weights=shares_of)
def test_maglev_slots_follow_the_weights(weights):
    """In whole rounds each host takes a slot per share of the largest: at most one off, and the last round."""
    size = 1_009
    counts = Counter(maglev([f"h{n}" for n in range(len(weights))], normalised(weights), size=size).owners)
    for host, weight in enumerate(weights):
        assert abs(counts[host] - size * weight / sum(weights)) <= 1 + len(weights)


def test_health_and_hostnames_decide_where_hosts_stand():
    """Hosts that may not be picked are left out before weights are normalised; labels come from metadata."""
    selector = envoy.RingHash(minimum_ring_size=64)
    pool = make_nodes({"a": 1.0, "b": 2.0, "c": 1.0})
    some = make_snapshot(pool, down={"b"})
    table = selector.prepare(some)
    assert [node.id for node in table.nodes] == ["a", "c"]
    assert table.shares == [0.5, 0.5]

    named = [Endpoint(id, metadata={"hostname": f"{id}.example"}) for id in ("a", "b")]
    plain = LoadBalancer(["a.example", "b.example"], selector=envoy.RingHash())
    by_host = LoadBalancer(named, selector=envoy.RingHash(use_hostname_for_hashing=True))
    for key in ("k1", "k2", "k3", "k4"):
        with plain.acquire(key) as one, by_host.acquire(key) as two:
            assert one.endpoint.id == f"{two.endpoint.id}.example"


@pytest.mark.parametrize("make", [envoy.RingHash, lambda: envoy.Maglev(table_size=251)])
def test_an_excluded_owner_is_followed_by_the_next_in_the_table(make):
    """An excluded owner is followed by the next in the table, and every host is reached, each once."""
    snapshot = make_snapshot(make_nodes({"a": 1.0, "b": 3.0, "c": 2.0}))
    selector, tried = make(), []
    for _ in range(3):
        ctx = PickContext(rng=Random(1), key="some key", exclude=tried)
        tried.append(selector.select(snapshot, ctx).id)
    assert sorted(tried) == ["a", "b", "c"]
    assert selector.select(snapshot, PickContext(rng=Random(1), key="some key", exclude=tried)) is None


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: envoy.RingHash(minimum_ring_size=0), "minimum_ring_size"),
        (lambda: envoy.RingHash(minimum_ring_size=9, maximum_ring_size=8), "minimum_ring_size"),
        (lambda: envoy.RingHash(maximum_ring_size=2**24), "maximum_ring_size"),
        (lambda: envoy.RingHash(hash_function="MD5"), "hash_function"),
        (lambda: envoy.RingHash(use_hostname_for_hashing=1), "use_hostname_for_hashing"),
        (lambda: envoy.RingHash(hash_balance_factor=99), "hash_balance_factor"),
        (lambda: envoy.Maglev(hash_balance_factor=False), "hash_balance_factor"),
        (lambda: envoy.Maglev(table_size=65_536), "table_size"),
        (lambda: envoy.Maglev(table_size=1), "table_size"),
        (lambda: envoy.Maglev(table_size=251.0), "table_size"),
    ],
)
def test_bad_configuration_is_refused(make, parameter):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match=parameter):
        make()
