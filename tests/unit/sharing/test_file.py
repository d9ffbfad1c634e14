"""Loads shared by a mapped file: rows, sums and picks, in one process."""

from __future__ import annotations

import gc
import os
import random
import stat
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from balancekit import (
    ConfigurationError,
    Endpoint,
    First,
    LoadBalancer,
    Outcome,
    PowerOfChoices,
    RingHash,
    RoundRobin,
    UniformRandom,
)
from balancekit.health import Lifecycle, WarmUp
from balancekit.loads import FailureAware, InFlight, InFlightCost, PeakEwmaLatency
from balancekit.sharing import Shared, in_flight
from balancekit.sharing._exchange import NO_PLACE
from balancekit.sharing._rows import GENERATION, RowSum, digest, open_rows, row_path
from balancekit.testing import ManualClock

pytestmark = pytest.mark.filterwarnings("ignore:a lease of endpoint")  # tests hold leases to their end


@pytest.fixture
def file(tmp_path):
    """Return the path of a file that is not there yet."""
    return tmp_path / "loads"


def balancer(ids, file, *, clock=None, load=None, d=2, health=None, **options):
    """Return a balancer that shares."""
    return LoadBalancer(
        ids,
        selector=PowerOfChoices(d),
        load=Shared(InFlight() if load is None else load, file=file, **options),
        health=health,
        clock=ManualClock() if clock is None else clock,
        rng=random.Random(4),
    )


def others(lb):
    """Return what a balancer knows of others, by endpoint."""
    return {id: load.others for id, load in pool_of(lb).loads.items()}


def pool_of(lb):
    """Return what the loads of a balancer share."""
    with lb.acquire() as lease:
        return lease.node.load.pool


def test_a_balancer_sees_the_open_leases_of_the_others(file):
    """The load of an endpoint is own leases plus those of others, which are known after one period at most."""
    clock = ManualClock()
    one, other = balancer(["a", "b"], file, clock=clock), balancer(["a", "b"], file, clock=clock)
    leases = [other.acquire() for _ in range(6)]
    held = {id: [lease.target for lease in leases].count(id) for id in "ab"}
    clock.advance(1.0)
    one.acquire().release()
    assert others(one) == held
    with one.acquire() as mine:
        assert mine.node.load.value(now=clock()) == held[mine.target] + 1
    for lease in leases:
        lease.release()
    clock.advance(0.002)
    one.acquire().release()
    assert others(one) == {"a": 0, "b": 0}


@pytest.mark.parametrize(
    ("endpoints", "workers", "pause_s"), [(2, 2, 0.002), (1_000, 2, 0.02), (1_000, 3, 0.03)]
)
def test_sums_are_brought_up_to_date_after_a_pause(file, endpoints, workers, pause_s):
    """The pause is a period, or 10 microseconds for each count of each worker, whichever is longer."""
    clock, ids = ManualClock(), [f"e{number}" for number in range(endpoints)]
    one, other, *_rest = [
        balancer(ids, file, clock=clock, period=0.002, max_endpoints=1_000) for _ in range(workers)
    ]
    clock.advance(1.0)  # each worker knows of the others
    one.acquire().release()
    with other.acquire():
        clock.advance(0.99 * pause_s)
        assert sum(others(one).values()) == 0
        clock.advance(0.02 * pause_s)
        assert sum(others(one).values()) == 1


@pytest.mark.parametrize(
    "load", [InFlight(), PeakEwmaLatency(), FailureAware()], ids=["count", "peak", "aware"]
)
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3)], ids=["alike", "weighted"])
def test_what_is_published_is_what_is_open(file, load, d, weights):
    """The file has the open leases at once, whatever the load, number of choices, weights and outcomes."""
    clock, rng = ManualClock(), random.Random(7)
    lb = balancer(
        [Endpoint(id, weight=weight) for id, weight in zip("abc", weights, strict=True)],
        file,
        clock=clock,
        load=load,
        d=d,
    )
    open_leases = []
    for _ in range(400):
        clock.advance(rng.expovariate(100.0))
        if open_leases and rng.random() < 0.5:
            lease = open_leases.pop(rng.randrange(len(open_leases)))
            lease.release(rng.choice([Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE, Outcome.CANCELLED]))
        else:
            open_leases.append(lb.acquire())
        wanted = {id: [lease.target for lease in open_leases].count(id) for id in "abc"}
        assert in_flight(file, ["a", "b", "c"]) == wanted


HANGING = {
    "plain": lambda lb: [lb.acquire()],
    "with an exclusion": lambda lb: [lb.acquire(exclude=["a"]) for _ in range(3)],
    "with a cost": lambda lb: [lb.acquire(cost=2.0)],
    "with attributes": lambda lb: [lb.acquire(attributes={"x": 1})],
    "with a key": lambda lb: [lb.acquire("k"), lb.acquire("other")],
    "of attempts": lambda lb: [next(lb.attempts(3))],
    "before a drain": lambda lb: [lb.acquire(exclude=["b"]), lb.drain("a")][:1],
    "after a lone endpoint": lambda lb: [lb.drain("a"), lb.acquire(), lb.acquire()][1:],
    "of which one failed": lambda lb: [lb.acquire(exclude=["a"]), lb.acquire().release(Outcome.FAILURE)][:1],
}


SELECTORS = [PowerOfChoices, partial(PowerOfChoices, 1), RoundRobin, UniformRandom, RingHash, First]


@pytest.mark.parametrize("make", SELECTORS, ids=lambda make: repr(make()))
@pytest.mark.parametrize("load", [InFlight(), PeakEwmaLatency()], ids=repr)
@pytest.mark.parametrize("requests", HANGING)
def test_hanging_requests_of_any_kind_are_published(file, make, load, requests):
    """The file has open leases from their start on, however the endpoints were picked, and though no request follows."""
    lb = LoadBalancer(["a", "b", "c"], selector=make(), load=Shared(load, file=file), clock=ManualClock())
    keyed = make is RingHash and requests != "with a key"
    if keyed:
        acquire, attempts = lb.acquire, lb.attempts
        lb = SimpleNamespace(
            acquire=partial(acquire, "k"), attempts=lambda limit: attempts(limit, "k"), drain=lb.drain
        )
    leases = HANGING[requests](lb)
    wanted = {id: [lease.target for lease in leases].count(id) for id in "abc"}
    assert in_flight(file, ["a", "b", "c"]) == wanted
    assert sum(wanted.values()) == len(leases)
    for lease in leases:
        lease.release()
    assert in_flight(file, ["a", "b", "c"]) == {"a": 0, "b": 0, "c": 0}


def test_plain_requests_that_are_compared_keep_the_fast_path(file):
    """Two choices count on the request that follows, so plain ones need no call more; of one endpoint they do."""
    lb = balancer(["a", "b"], file)
    assert lb._runtime.current.fast[0] is not None
    lb.drain("a")
    assert lb._runtime.current.fast[0] is None
    lb.undrain("a")
    stop = lb.on_start(lambda endpoint: None)
    lb.acquire().release()
    assert lb._runtime.current.fast[0] is None
    stop()


def test_requests_that_go_elsewhere_leave_nothing(file):
    """When all requests have ended, nothing is left in the file.

    This holds for picks that slow start turns away, and for failures.
    """
    clock, rng = ManualClock(), random.Random(2)
    lb = balancer(["a", "b", "c"], file, clock=clock, health=Lifecycle(warm_up=WarmUp(5.0)))
    for _ in range(60):
        held = []
        for _ in range(rng.randrange(1, 6)):
            clock.advance(rng.expovariate(50.0))
            held.append(lb.acquire())
        for lease in held:
            clock.advance(rng.expovariate(50.0))
            lease.release(rng.choice([Outcome.SUCCESS, Outcome.FAILURE]))
        assert in_flight(file, ["a", "b", "c"]) == {"a": 0, "b": 0, "c": 0}


def test_a_file_that_no_worker_has_made_has_nothing_in_flight(file):
    """Before the first worker starts, nothing is in flight, and to ask makes no file."""
    assert in_flight(file, ["a", "b"]) == {"a": 0, "b": 0}
    assert not file.exists()


def test_picks_avoid_what_others_load(file):
    """With two endpoints, one loaded by others, every pick takes the other one until loads are equal."""
    clock = ManualClock()
    one, other = balancer(["a", "b"], file, clock=clock), balancer(["a", "b"], file, clock=clock)
    held = [other.acquire(exclude={"b"}) for _ in range(5)]
    clock.advance(1.0)
    other.acquire(exclude={"a"}).release()
    assert [one.acquire().target for _ in range(5)] == ["b"] * 5
    assert len(held) == 5


def test_old_and_new_configurations_share_by_id(file):
    """Balancers with different endpoints, in different order, share what they have in common and mix up nothing."""
    clock = ManualClock()
    old = balancer(["a", "b", "c"], file, clock=clock)
    new = balancer(["d", "c", "b"], file, clock=clock)
    held = [old.acquire() for _ in range(9)]
    clock.advance(1.0)
    new.acquire().release()
    counts = {id: [lease.target for lease in held].count(id) for id in "bc"}
    assert others(new) == {"d": 0, **dict(reversed(counts.items()))}
    old.update(["c", "e"])
    clock.advance(1.0)
    new.acquire().release()
    assert others(new) == {"d": 0, **counts}  # open leases count to their end
    for lease in held:
        lease.release()
    clock.advance(1.0)
    new.acquire().release()
    assert others(new) == {"d": 0, "b": 0, "c": 0}


@pytest.mark.parametrize(
    "returning", [{"a": "here", "b": "here"}, {"a": "elsewhere", "b": "here"}], ids=["same", "moved"]
)
def test_an_endpoint_that_leaves_and_returns_keeps_its_open_leases(file, returning):
    """Open leases of an endpoint that left count until they end: while it is gone, after it came back, and for its own process."""
    clock = ManualClock()
    lb = balancer({"a": "here", "b": "here"}, file, clock=clock)
    other = balancer(["a", "b"], file, clock=clock)
    held = [lb.acquire() for _ in range(6)]
    wanted = {"a": 3, "b": 3}
    for _ in range(3):
        lb.update({"b": "here"})
        assert in_flight(file, ["a", "b"]) == wanted
        lb.update(returning)
        assert in_flight(file, ["a", "b"]) == wanted
    clock.advance(1.0)
    assert others(other) == wanted
    assert others(lb) == {"a": 3, "b": 0}
    more = [lb.acquire(exclude={"b"}) for _ in range(2)]
    assert in_flight(file, ["a", "b"]) == {"a": 5, "b": 3}
    for lease in (*held, *more):
        assert lease.release()
    assert in_flight(file, ["a", "b"]) == {"a": 0, "b": 0}
    lb.update(["c"])
    assert not pool_of(lb)._left
    assert len(pool_of(lb).exchange._free) == 256 - 1


def test_leases_that_are_lost_after_their_endpoint_left_stop_counting(file):
    """A lease that is collected without its end counts no longer with the next refresh, though its endpoint has left."""
    clock = ManualClock()
    lb = balancer(["a", "b"], file, clock=clock)
    held = [lb.acquire(exclude={"b"}) for _ in range(3)]
    lb.update(["b"])
    for left in (3, 1, 0):
        del held[left:]
        gc.collect()
        clock.advance(1.0)
        lb.acquire().release()
        assert in_flight(file, ["a", "b"]) == {"a": left, "b": 0}


def test_a_late_write_for_an_endpoint_that_left_is_corrected(file):
    """The next refresh publishes what is open, whatever another thread wrote last: for endpoints that left, too."""
    clock = ManualClock()
    lb = balancer(["a", "b"], file, clock=clock)
    held = lb.acquire(exclude={"b"})
    words, index = held.node.load.place
    lb.update(["b"])
    lb.acquire().release()
    words[index] = 9
    clock.advance(1.0)
    lb.acquire().release()
    assert in_flight(file, ["a", "b"]) == {"a": 1, "b": 0}
    held.release()


def test_endpoints_that_serve_take_the_places_of_those_that_left(file, caplog):
    """In a row without a free place, an endpoint that joins gets the place of one that left with open leases."""
    lb = balancer(["a", "b"], file, max_endpoints=2)
    held = [lb.acquire() for _ in range(4)]
    lb.update(["b"])
    assert in_flight(file, ["a", "b"]) == {"a": 2, "b": 2}
    lb.update(["b", "c"])
    with lb.acquire(exclude={"b"}):
        assert in_flight(file, ["a", "b", "c"]) == {"a": 0, "b": 2, "c": 1}
    for lease in held:
        assert lease.release()
    assert in_flight(file, ["a", "b", "c"]) == {"a": 0, "b": 0, "c": 0}
    assert not caplog.records


def test_endpoints_without_a_place_get_those_of_endpoints_that_leave(file):
    """A list that is replaced as a whole is shared, though the old and the new one together have no room."""
    lb = balancer(["a", "b", "c"], file, max_endpoints=4)
    new = ["d", "e", "f"]
    for ids in (new, ["a", "b", "c"], new):
        lb.update(ids)
        held = [lb.acquire() for _ in range(6)]
        assert sum(in_flight(file, ids).values()) == 6
        for lease in held:
            assert lease.release()
    lb.acquire().release()
    assert in_flight(file, list("abcdef")) == dict.fromkeys("abcdef", 0)


def test_a_slot_that_is_used_again_gets_no_late_count(file):
    """A lease on a removed endpoint that ends later writes nothing into the slot's next count."""
    lb = balancer(["a", "b"], file)
    late = [lb.acquire() for _ in range(4)]
    lb.update(["b", "c"])
    for lease in late:
        lease.release()
    assert in_flight(file, ["a", "b", "c"]) == {"a": 0, "b": 0, "c": 0}
    with lb.acquire() as lease:
        assert in_flight(file, ["a", "b", "c"]) == {"a": 0, "b": 0, "c": 0, lease.target: 1}


def test_a_balancer_that_is_gone_gives_its_row_back(file):
    """A balancer that is gone gives its row back. The file has no more rows in use than there are balancers."""
    for _ in range(5):
        lb = balancer(["a", "b"], file, max_workers=2)
        lease = lb.acquire()
        assert sum(in_flight(file, ["a", "b"]).values()) == 1
        lease.release()
        del lb, lease
        gc.collect()
    assert in_flight(file, ["a", "b"]) == {"a": 0, "b": 0}


def test_one_too_many_counts_for_itself(file, caplog):
    """A worker that finds no row, and endpoints beyond the room of a row, work by own counts; each is logged once."""
    clock = ManualClock()
    lb = balancer(["a", "b", "c"], file, clock=clock, max_workers=1, max_endpoints=2)
    too_many = balancer(["a", "b"], file, clock=clock)
    held = [too_many.acquire() for _ in range(4)]
    assert {lease.target for lease in held} == {"a", "b"}
    clock.advance(1.0)
    lb.acquire().release()
    assert set(others(lb).values()) == {0}
    assert len([record for record in caplog.records if "row" in record.message]) == 1
    assert len([record for record in caplog.records if "room for 2 endpoints" in record.message]) == 1


def test_the_file_is_small_and_private(file):
    """Room for 128 workers and 256 endpoints takes less than a megabyte, which others cannot read."""
    balancer(["a"], file)
    facts = file.stat()
    assert facts.st_size < 1_000_000
    assert stat.S_IMODE(facts.st_mode) == 0o600


def test_names_are_files_in_memory():
    """A name without a separator is a file of this user in memory or the temporary directory."""
    path = row_path("checkout")
    assert path.name == f"balancekit-{os.geteuid()}-checkout"
    assert path.is_absolute()


@pytest.mark.parametrize(
    "content", [b"", b"x" * 64, b"x" * 4096, b"x" * 4099], ids=["empty", "header", "page", "no-whole-words"]
)
def test_a_foreign_file_is_left_alone(file, content):
    """A file that is not one of rows is refused by name and not changed."""
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="file"):
        balancer(["a"], file)
    assert file.read_bytes() == content


def test_links_are_not_followed(file, tmp_path):
    """A symbolic link is refused: another user may have put it there."""
    balancer(["a"], tmp_path / "real")
    file.symlink_to(tmp_path / "real")
    with pytest.raises(ConfigurationError, match="file"):
        balancer(["a"], file)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"file": "x", "store": object()},
        {"load": InFlightCost(), "file": "x"},
        {"load": Shared(file="y"), "file": "x"},
        {"load": 3, "file": "x"},
        {"file": "x", "period": 0.0},
        {"file": "x", "max_workers": 0},
        {"file": "x", "max_endpoints": 0},
    ],
    ids=["none", "both", "cost", "twice", "no load", "period", "workers", "endpoints"],
)
def test_options_that_cannot_be_are_refused(options):
    """Each wrong value raises ConfigurationError at construction, which names the parameter."""
    with pytest.raises(ConfigurationError):
        Shared(**options)


def test_an_explanation_changes_nothing(file):
    """``explain`` picks as ``acquire`` would, and publishes nothing."""
    lb = balancer(["a", "b"], file)
    lb.acquire().release()
    for _ in range(20):
        lb.explain()
    assert in_flight(file, ["a", "b"]) == {"a": 0, "b": 0}


def test_sums_are_those_of_a_model(file):
    """Sums over rows with any endpoints in any slots are those that a dictionary gives, also while rows change."""
    rng = np.random.default_rng(5)
    rows = open_rows(file, make=(6, 40))
    ids = [f"e{number}" for number in range(60)]
    claimed = [rows.claim() for _ in range(6)]
    sums = RowSum(rows, [digest(id) for id in ids])
    model = [dict.fromkeys(range(40), (None, 0)) for _ in claimed]
    for _ in range(500):
        row, slot = int(rng.integers(6)), int(rng.integers(40))
        taken = {id for id, _ in model[row].values()} - {model[row][slot][0]}
        id = None if rng.random() < 0.2 else str(rng.choice([id for id in ids if id not in taken]))
        count = int(rng.integers(100))
        rows.set_digest(row, slot, 0 if id is None else digest(id))
        rows.words[rows.count_at(row, slot)] = count
        model[row][slot] = (id, count)
        some = sorted(rng.choice(6, size=int(rng.integers(1, 7)), replace=False).tolist())
        wanted = [
            sum(count for row in some for id, count in model[row].values() if id == name) for name in ids
        ]
        assert sums.over(some) == wanted


def test_a_row_that_is_being_rewritten_is_passed_over(file):
    """A row counts for nothing while its generation is odd, which means that it is being rewritten."""
    rows = open_rows(file, make=(2, 4))
    row = rows.claim()
    rows.set_digest(row, 0, digest("a"))
    rows.words[rows.count_at(row, 0)] = 3
    sums = RowSum(rows, [digest("a")])
    assert sums.over([row]) == [3]
    rows.table[row, GENERATION] += 1
    assert sums.over([row]) == [0]
    rows.table[row, GENERATION] += 1
    assert sums.over([row]) == [3]


def test_an_endpoint_whose_change_is_refused_is_still_shared(file):
    """A selector that cannot prepare for a new target leaves the old one, and its leases go on being published."""

    class Refusing:
        refuse = False

        def select(self, snapshot, ctx):
            return next(iter(snapshot.candidates(ctx)), None)

        def prepare(self, snapshot):
            if self.refuse:
                raise ValueError("not that one")

    selector = Refusing()
    lb = LoadBalancer(
        {"a": "here"}, selector=selector, load=Shared(InFlight(), file=file), clock=ManualClock()
    )
    pool = pool_of(lb)
    (before,) = pool.loads.values()
    selector.refuse = True
    for _ in range(3):
        with pytest.raises(ValueError, match="not that one"):
            lb.update({"a": "elsewhere"})
    assert [*pool.loads.values()] == [before]
    assert before.place != NO_PLACE
    assert not pool._replaced
    selector.refuse = False
    lb.update({"a": "elsewhere"})
    (after,) = pool.loads.values()
    assert (after.node is before.node, before.place, after.place == NO_PLACE) == (False, NO_PLACE, False)
    assert not pool._replaced
