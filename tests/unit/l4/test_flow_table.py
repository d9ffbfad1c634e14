"""A flow table: what it remembers, for how long, what it gives up when it is full, and what a flood cannot take."""

from __future__ import annotations

import random

import pytest

from balancekit.errors import ConfigurationError
from balancekit.hashing import MaglevTable
from balancekit.l4 import FlowTable, Steer, flow_key

ALIVE = frozenset({"a", "b"})


def flow(number, proto=6):
    """Return one of many flows."""
    return number.to_bytes(12, "big") + bytes([proto])


def always(owner):
    """Return a hash that knows one answer."""
    return lambda _flow: owner


def unasked(_flow):
    """Stand for a hash that must not be asked."""
    raise AssertionError("the table knows")


def seen(table, number, now, owner="a", *, proto=6, alive=ALIVE, **flags):
    """Steer one packet; return how."""
    return table.steer(flow(number, proto), now=now, owner=always(owner), alive=alive, **flags).how


def test_the_first_packet_pins_and_the_hash_is_not_asked_again():
    """A new flow goes where the hash says; every later packet goes there too, whatever the hash would say."""
    table = FlowTable(capacity=100)
    assert table.steer(flow(1), now=0.0, owner=always("a"), alive=ALIVE) == Steer(owner="a", how="new")
    assert table.steer(flow(1), now=0.1, owner=unasked, alive=ALIVE) == Steer(owner="a", how="pinned")
    assert table.steer(flow(1), now=5.0, owner=unasked, alive=ALIVE) == Steer(owner="a", how="pinned")
    assert table.lookup(flow(1), now=5.0) == "a"
    assert table.lookup(flow(2), now=5.0) is None
    assert len(table) == 1


def test_a_flow_whose_owner_is_not_alive_moves_once_and_stays_there():
    """The hash decides again when the owner cannot serve; the new owner keeps the flow when the old one is back."""
    table = FlowTable(capacity=100)
    seen(table, 1, 0.0, "a")
    assert table.steer(flow(1), now=0.1, owner=always("b"), alive={"b"}) == Steer(owner="b", how="moved")
    assert table.steer(flow(1), now=0.2, owner=unasked, alive=ALIVE) == Steer(owner="b", how="pinned")


@pytest.mark.parametrize(
    ("packets", "proto", "idle"),
    [
        ([{}], 6, 7200.0),
        ([{"syn": True}], 6, 60.0),
        ([{"syn": True}, {"syn": True}], 6, 60.0),
        ([{"syn": True}, {}], 6, 7200.0),
        ([{}, {"syn": True}], 6, 7200.0),
        ([{}, {"fin": True}], 6, 10.0),
        ([{}, {"rst": True}], 6, 10.0),
        ([{"syn": True}, {"fin": True}], 6, 10.0),
        ([{}, {"fin": True}, {}], 6, 10.0),
        ([{"fin": True}], 6, 10.0),
        ([{}], 17, 30.0),
        ([{"syn": True}], 17, 30.0),
        ([{}], 1, 7200.0),
    ],
)
@pytest.mark.parametrize("begin", [0.0, 0.4, 1234.999])
def test_a_flow_is_kept_for_the_idle_time_of_its_state_and_at_most_a_second_longer(
    packets, proto, idle, begin
):
    """A flow is kept for the idle time of its state and at most a second longer.

    The state is that of its flags and protocol.
    """
    for later, pinned in ((idle - 0.001, True), (idle + 1.001, False)):
        table = FlowTable(capacity=100)
        for number, flags in enumerate(packets):
            seen(table, 1, begin + number, proto=proto, **flags)
        now = begin + len(packets) - 1 + later
        assert (table.lookup(flow(1, proto), now=now) == "a") is pinned
        assert seen(table, 1, now, "b", proto=proto) == ("pinned" if pinned else "new")


def test_every_packet_begins_the_idle_time_anew():
    """A flow with a packet within each idle time is never forgotten."""
    table = FlowTable(capacity=100, idle={"udp": 5.0})
    seen(table, 1, 0.0, proto=17)
    for second in range(4, 400, 4):
        assert seen(table, 1, float(second), "b", proto=17) == "pinned"


def test_short_idle_times_are_kept_within_a_quarter():
    """With an idle time of 0.2 s a flow is forgotten after 0.2 to 0.25 s."""
    table = FlowTable(capacity=100, idle={"fin": 0.2})
    seen(table, 1, 0.0, fin=True)
    assert table.lookup(flow(1), now=0.199) == "a"
    assert table.lookup(flow(1), now=0.2501) is None


def test_a_syn_on_a_closing_flow_opens_a_new_one():
    """A port that is reused after FIN goes where the hash says now, and counts as established again."""
    table = FlowTable(capacity=100)
    seen(table, 1, 0.0)
    seen(table, 1, 0.1, fin=True)
    assert seen(table, 1, 0.2, "b", syn=True) == "new"
    assert seen(table, 1, 0.3, "a") == "pinned"
    assert table.lookup(flow(1), now=1000.0) == "b"


def test_a_forged_syn_does_not_move_an_established_flow():
    """A forged SYN changes neither the owner nor the idle time of an established flow."""
    table = FlowTable(capacity=100)
    seen(table, 1, 0.0)
    assert seen(table, 1, 0.1, "b", syn=True) == "pinned"
    assert table.lookup(flow(1), now=7000.0) == "a"


def test_a_reset_is_never_the_reason_to_store_a_flow():
    """An RST of an unknown flow is answered by the hash and leaves nothing behind."""
    table = FlowTable(capacity=100)
    assert seen(table, 1, 0.0, rst=True) == "unpinned"
    assert len(table) == 0


def test_a_hash_that_raises_changes_nothing():
    """A hash that raises changes nothing, neither for a new flow nor for one that has to move."""
    table = FlowTable(capacity=100, new_per_second=1)
    seen(table, 1, 0.0)
    for number, alive in ((1, {"b"}), (2, ALIVE)):
        with pytest.raises(AssertionError, match="the table knows"):
            table.steer(flow(number), now=0.1, owner=unasked, alive=alive)
    assert table.lookup(flow(1), now=0.2) == "a"
    assert len(table) == 1
    assert table.stats().refused == 0


def test_forgetting_an_owner_makes_all_its_flows_new():
    """Forgetting an owner makes all its flows new at once, young and old, and no others.

    This holds if the owner comes back in between.
    """
    table = FlowTable(capacity=8)
    for number in range(6):
        seen(table, number, 0.0, "ab"[number % 2])
    table.forget("a")
    seen(table, 100, 0.5, "a")
    assert [table.lookup(flow(number), now=0.5) for number in range(6)] == [None, "b"] * 3
    assert [seen(table, number, 0.6, "b") for number in (4, 5)] == ["new", "pinned"]
    table.forget("unknown")


def test_expiring_removes_what_is_idle_or_forgotten():
    """Expiring removes flows that are idle or forgotten, and returns their number.

    Those that are left are still pinned.
    """
    table = FlowTable(capacity=100)
    for number in range(10):
        seen(table, number, 0.0, "ab"[number % 2], syn=number < 4)
    table.forget("b")
    assert table.expire(100.0) == 7
    assert len(table) == 3
    assert all(table.lookup(flow(number), now=100.0) == "a" for number in (4, 6, 8))


def test_the_guard_answers_but_does_not_store():
    """Past the limit of a second new flows are answered and not stored.

    Pinned ones stay, and the next second starts from zero.
    """
    table = FlowTable(capacity=100, new_per_second=3)
    assert [seen(table, number, 10.0) for number in range(5)] == ["new"] * 3 + ["unpinned"] * 2
    assert seen(table, 0, 10.5, "b") == "pinned"
    assert seen(table, 9, 10.999) == "unpinned"
    assert [seen(table, number, 11.0) for number in range(20, 24)] == ["new"] * 3 + ["unpinned"]
    assert table.stats().refused == 4


def test_moving_a_flow_is_no_insertion():
    """When an endpoint dies, all of its flows move, whatever the guard allows."""
    table = FlowTable(capacity=100, new_per_second=5)
    for number in range(5):
        seen(table, number, 0.0, "a")
    assert [seen(table, number, 0.1, "b", alive={"b"}) for number in range(5)] == ["moved"] * 5


@pytest.mark.parametrize("capacity", [2, 3, 10, 1001])
def test_the_table_never_holds_more_than_its_capacity(capacity):
    """The table never holds more than its capacity, whatever comes in whatever order."""
    table, rng = FlowTable(capacity=capacity), random.Random(capacity)
    for step in range(5 * capacity):
        seen(table, rng.randrange(3 * capacity), step / 1000)
        assert len(table) <= capacity


def test_a_flow_stays_while_fewer_than_half_the_capacity_came_between():
    """A flow in a table of 100 stays while 49 others are seen, which is fewer than half the capacity."""
    table = FlowTable(capacity=100)
    seen(table, 0, 0.0)
    for lap in range(40):
        for number in range(49):
            seen(table, 1 + 49 * lap + number, 0.0)
        assert seen(table, 0, 0.0, "b") == "pinned", lap
    assert table.stats().evicted > 0


def test_nothing_is_lost_while_the_table_is_not_full():
    """While the table is not full no flow is lost, however often and in whatever order flows are used."""
    table, rng, last = FlowTable(capacity=100), random.Random(7), {}
    for step in range(5000):
        number = rng.choice(range(90)) if rng.random() < 0.7 else rng.randrange(20)
        assert seen(table, number, step / 100, "ab"[number not in last]) == (
            "pinned" if number in last else "new"
        )
        last[number] = step
        assert len(table) == len(last)
    assert len(last) == 90
    assert table.stats().evicted == 0
    assert all(table.lookup(flow(number), now=50.0) == "b" for number in last)


@pytest.mark.parametrize("seed", [4, 5, 8, 18, 20])
def test_the_guarantee_holds_for_any_order_of_use(seed):
    """A flow is pinned whenever fewer than half of the capacity of other flows were seen since its last packet.

    With these seeds a table that merges other generations than the smallest neighbours breaks it.
    """
    table, rng, recent = FlowTable(capacity=40), random.Random(seed), []
    for step in range(4000):
        if step % rng.choice((50, 100, 200)) == 0:
            reach, fresh = rng.randrange(1, 60), rng.random() ** 3
        number = step + 1000 if rng.random() < fresh or not recent else rng.choice(recent[-reach:])
        distance = len(recent) - 1 - recent.index(number) if number in recent else 40
        assert seen(table, number, step / 1000) == "pinned" or distance >= 20, (step, distance)
        recent = [*[other for other in recent if other != number], number][-60:]


def test_a_full_table_counts_what_it_gave_up():
    """Stored and evicted flows add up to those inserted; the flows stored are those that are found."""
    table, rng, inserted = FlowTable(capacity=60), random.Random(8), 0
    for step in range(3000):
        inserted += seen(table, rng.randrange(200), step / 1000) == "new"
        if step % 100 == 0:
            found = sum(table.lookup(flow(number), now=step / 1000) is not None for number in range(200))
            assert found == len(table) == inserted - table.stats().evicted


def test_oldest_is_a_time_since_which_nothing_was_evicted():
    """Every flow seen since ``oldest`` is still there; before the first eviction there is no such time."""
    table, rng, last = FlowTable(capacity=50), random.Random(3), {}
    for step in range(2000):
        number = rng.randrange(60)
        seen(table, number, float(step))
        last[number] = float(step)
        oldest = table.stats().oldest
        if oldest is None:
            assert table.stats().evicted == 0
        else:
            assert all(
                table.lookup(flow(other), now=float(step)) for other, when in last.items() if when >= oldest
            )
    assert table.stats().evicted > 0


def churn(flows, *, table=None, flood=0, per_second=None):
    """Return how many of ``flows`` live flows were broken by adding one of 20 endpoints, and by removing one.

    Flows of the endpoint that is removed are not counted: they are lost anyway.
    """
    ids = [f"10.0.0.{number}" for number in range(20)]
    before, more = MaglevTable(ids), MaglevTable([*ids, "10.0.0.99"])
    rng = random.Random(14)
    live = [
        flow_key(rng.randbytes(4), rng.randrange(1024, 65536), b"\xc0\x00\x02\x01", 443) for _ in range(flows)
    ]
    homes = [before.lookup(one) for one in live]
    broken = []
    tracked = None if table is None else FlowTable(capacity=table, new_per_second=per_second)

    def where(one, ring, alive, now, **flags):
        if tracked is None:
            return ring.lookup(one)
        return tracked.steer(one, now=now, owner=ring.lookup, alive=alive, **flags).owner

    now, step = 0.0, 2.5 / flows  # half of what the guard lets in
    for one in live:
        now += step
        where(one, before, before, now, syn=True)
        where(one, before, before, now)
    now += 2.0
    for _ in range(flood):
        where(rng.randbytes(12) + b"\x06", before, before, now, syn=True)
    now += 2.0
    broken.append(sum(where(one, more, more, now) != home for one, home in zip(live, homes, strict=True)))
    now += 2.0
    fewer = MaglevTable(ids[1:])
    tracked = None if table is None else FlowTable(capacity=table, new_per_second=per_second)
    for one in live:
        now += step
        where(one, before, before, now)
    broken.append(
        sum(
            where(one, fewer, fewer, now) != home
            for one, home in zip(live, homes, strict=True)
            if home != ids[0]
        )
    )
    return broken


SIZES = [
    pytest.param(5_000, 100_000, id="a tenth"),
    pytest.param(50_000, 1_000_000, id="whole", marks=[pytest.mark.nightly, pytest.mark.timeout(1200)]),
]


@pytest.mark.parametrize(("flows", "flood"), SIZES)
def test_no_flow_is_broken_under_churn_and_a_flood(flows, flood):
    """With the table no flow is broken under churn, or under a flood of SYNs with the guard.

    Without either, the flood breaks some.
    """
    assert churn(flows, table=2 * flows) == [0, 0]
    assert churn(flows, table=2 * flows, flood=flood, per_second=flows * 4 // 5) == [0, 0]
    assert churn(flows, table=2 * flows, flood=flood)[0] > 0


@pytest.mark.parametrize(("flows", "flood"), SIZES)
def test_without_a_table_maglev_alone_breaks_its_own_share(flows, flood):
    """One in 21 must move with the new endpoint; Maglev moves less than 6 % there, and 1 % when one of 20 leaves."""
    added, removed = churn(flows)
    assert flows / 21 * 0.8 < added < 0.06 * flows
    assert 0 < removed < 0.01 * flows


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *[("capacity", value) for value in (1, 0, -5, 2.0, True, None, "10")],
        *[("idle", value) for value in ({"icmp": 5.0}, {"tcp": 0.0}, {"udp": float("nan")}, 30.0, ["tcp"])],
        *[("new_per_second", value) for value in (0, -1, 1.5, True, "many")],
    ],
)
def test_a_wrong_option_is_refused_by_name(parameter, value):
    """Each wrong value raises ConfigurationError at construction, which names the parameter and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        FlowTable(**{"capacity": 10} | {parameter: value})
    assert caught.value.parameter == parameter


def test_it_says_what_it_is():
    """The text of a table is one line, with how full it is."""
    table = FlowTable(capacity=10)
    seen(table, 1, 0.0)
    assert repr(table) == "<FlowTable of 1 flows, 10 at most>"
    assert (table.stats().pinned, table.stats().evicted, table.stats().oldest) == (1, 0, None)


def test_owners_without_flows_are_forgotten_by_expire():
    """Endpoints that come and go for weeks leave nothing in a table that is never full; those with flows stay."""
    table = FlowTable(capacity=100_000, idle={"tcp": 10.0})
    for number in range(50):
        table.steer(
            b"flow %d\x06" % number,
            now=float(number),
            owner=lambda _, number=number: f"pod-{number}",
            alive=(),
        )
    table.expire(now=55.0)
    assert set(table._pins) == {f"pod-{number}" for number in range(45, 50)}
    assert table.lookup(b"flow 49\x06", now=55.0) == "pod-49"


def test_owners_that_come_and_go_are_let_go_while_the_table_is_not_full():
    """One flow that is moved to a new owner every hour leaves nothing of the owners before; nor do resets alone."""
    table, held = FlowTable(capacity=1_000, idle={"tcp": 60.0}), []
    flow = flow_key("192.0.2.1", 1, "198.51.100.2", 443)
    for hour in range(5_000):
        owner, rejected = f"server {hour}", f"other {hour}"
        table.steer(flow, now=3600.0 * hour, owner=lambda _, owner=owner: owner, alive=[owner])
        table.steer(
            flow[:-2] + b"!\x06",
            now=3600.0 * hour,
            owner=lambda _, rejected=rejected: rejected,
            alive=(),
            rst=True,
        )
        held.append(len(table._pins))
        assert table.lookup(flow, now=3600.0 * hour + 1.0) == owner
    assert max(held) <= 130
