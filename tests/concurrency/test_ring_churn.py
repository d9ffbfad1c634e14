"""Readers of a structure never see a half-made change."""

from __future__ import annotations

import threading
import time

import pytest

from balancekit import Endpoint, LoadBalancer, MaglevHash, RingHash
from balancekit.hashing import AnchorHash, HashRing

pytestmark = pytest.mark.usefixtures("switch_often")

NODES = [f"n{number:02}" for number in range(30)]
READERS = 8
MIN_READS, MIN_CHANGES = 1_000, 20
MAX_SECONDS = 60.0


def race(read, change):
    """Run eight readers beside one writer until both have done enough; return errors and the number of reads and changes."""
    errors, counts = [], [0] * (READERS + 1)
    longest = time.monotonic() + MAX_SECONDS
    over = threading.Event()

    def enough():
        return sum(counts[:-1]) > MIN_READS and counts[-1] > MIN_CHANGES

    def reader(number):
        try:
            while not over.is_set() and not errors:
                for key in range(50):
                    read(f"{number}:{key}")
                counts[number] += 50
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=reader, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    while not errors and not enough() and time.monotonic() < longest:
        change(counts[-1])
        counts[-1] += 1
    over.set()
    for thread in threads:
        thread.join()
    return errors, sum(counts[:-1]), counts[-1]


@pytest.mark.parametrize("make", [HashRing, AnchorHash])
def test_a_lookup_during_changes_is_the_one_before_or_after(make):
    """A look-up during changes gives the owner with the extra node or the one without it, and raises nothing."""
    structure = make(NODES)
    keys = [f"{number}:{key}" for number in range(READERS) for key in range(50)]
    without = {key: structure.lookup(key) for key in keys}
    structure.add("extra")
    allowed = {key: {without[key], structure.lookup(key)} for key in keys}

    def read(key):
        assert structure.lookup(key) in allowed[key]
        assert next(structure.candidates(key)) in allowed[key]

    def change(number):
        structure.add("extra") if number % 2 else structure.remove("extra")

    errors, reads, changes = race(read, change)
    assert not errors
    assert reads > MIN_READS
    assert changes > MIN_CHANGES


@pytest.mark.parametrize("selector", [RingHash, lambda: MaglevHash(size=251)])
def test_a_request_during_updates_goes_to_a_member(selector):
    """A request during updates goes to a member of the pool before or after, with weights too."""
    old = [Endpoint(id, weight=1 + number % 2) for number, id in enumerate(NODES[:20])]
    new = [Endpoint(id, weight=2) for id in NODES[10:]]
    balancer = LoadBalancer(old, selector=selector())

    def read(key):
        with balancer.acquire(key) as lease:
            assert lease.target in NODES

    errors, reads, changes = race(read, lambda number: balancer.update(old if number % 2 else new))
    assert not errors
    assert reads > MIN_READS
    assert changes > MIN_CHANGES
    assert balancer.stats().inflight == 0
