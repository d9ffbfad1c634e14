"""Resilient next-hop groups: which buckets move, when, and where to.

Tables recorded from Linux are compared in ``tests/oracles``; here are the laws.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.errors import ConfigurationError
from balancekit.l4 import ResilientGroup

GROUPS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=1)


@given(first=GROUPS, second=GROUPS, buckets=st.integers(1, 200))
def test_with_idle_buckets_every_next_hop_has_what_it_wants(first, second, buckets):
    """After creation and after every change; wanted numbers add up, and are within one of the exact share."""
    group = ResilientGroup(first, buckets=buckets, idle_timer=10.0)
    for members in (first, second, first):
        group.replace(members, now=0.0)
        wanted, total = group.wanted(), sum(members.values())
        assert Counter(group.table) == Counter(wanted)
        assert sum(wanted.values()) == buckets
        assert all(abs(wanted[id] - buckets * weight / total) <= 1 for id, weight in members.items())
        assert group.deadline is None


@given(first=GROUPS, second=GROUPS, seed=st.integers(0, 999))
def test_a_bucket_in_use_moves_only_if_its_next_hop_is_gone(first, second, seed):
    """Without an unbalanced timer, whatever the change; an idle bucket of a next hop with too few stays too."""
    rng = random.Random(seed)
    group = ResilientGroup(first, buckets=64, idle_timer=100.0)
    busy = {bucket for bucket in range(64) if rng.random() < 0.5}
    for bucket in busy:
        group.pick(bucket, now=1.0)
    before = group.table
    group.replace(second, now=2.0)
    after, wanted = group.table, group.wanted()
    had = Counter(before)
    for bucket, (old, new) in enumerate(zip(before, after, strict=True)):
        if old != new:
            assert old not in second or (bucket not in busy and had[old] > wanted[old])
    assert set(after) <= set(second)


def test_a_bucket_moves_when_it_has_been_idle():
    """A bucket moves when it has been idle, at its deadline and not before.

    A pick in between puts the deadline off.
    """
    group = ResilientGroup(["a", "b"], buckets=4, idle_timer=10.0)
    for bucket in range(4):
        group.pick(bucket, now=0.0)
    group.replace(["a", "b", "c", "d"], now=1.0)
    assert (group.table, group.deadline) == (("b", "b", "a", "a"), 10.0)
    group.pick(0, now=5.0)
    group.advance(9.999)
    assert group.table == ("b", "b", "a", "a")
    group.advance(10.0)
    assert group.table == ("b", "d", "c", "a")
    assert group.deadline is None


def test_a_pick_makes_what_is_due():
    """A pick moves the buckets that are due, so that nothing but picks is needed."""
    group = ResilientGroup(["a"], buckets=2, idle_timer=10.0)
    group.pick(0, now=0.0)
    group.pick(1, now=4.0)
    group.replace(["a", "b"], now=5.0)
    assert group.pick(0, now=9.9) == "a"
    assert group.deadline == 10.0
    assert group.pick(1, now=14.0) == "b"


def test_without_an_idle_bucket_the_unbalanced_timer_forces_the_move():
    """Without an idle bucket the unbalanced timer forces the move of buckets in use.

    It counts from the loss of balance, also over a second change.
    """
    group = ResilientGroup(["a", "b"], buckets=8, idle_timer=100.0, unbalanced_timer=5.0)
    busy = [group.pick(bucket, now=0.0) for bucket in range(8)]
    group.replace(["a", "b", "c"], now=1.0)
    group.replace(["a", "b", "c", "d"], now=4.0)
    assert list(group.table) == busy
    assert group.deadline == 6.0
    group.advance(5.99)
    assert list(group.table) == busy
    group.advance(6.0)
    assert Counter(group.table) == Counter({"a": 2, "b": 2, "c": 2, "d": 2})


def test_a_new_next_hop_gets_nothing_while_all_flows_live():
    """Without an unbalanced timer, a new next hop gets nothing for as long as all buckets are used."""
    group = ResilientGroup(["a", "b"], buckets=8, idle_timer=10.0)
    for second in range(50):
        for bucket in range(8):
            group.pick(bucket, now=second * 5.0)
        if second == 1:
            group.replace(["a", "b", "c"], now=5.0)
    assert "c" not in group.table


def test_a_refused_change_changes_nothing():
    """A refused change leaves members, timers and table as they were."""
    group = ResilientGroup(["a", "b"], buckets=8)
    before = group.table, group.members
    for arguments in (([], 1.0, {}), (["a", "a"], 1.0, {}), (["c"], 1.0, {"idle_timer": -1.0})):
        with pytest.raises(ConfigurationError):
            group.replace(*arguments[:2], **arguments[2])
    assert (group.table, group.members) == before


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *[("buckets", value) for value in (0, -1, 65_536, 8.0, True, None)],
        *[("idle_timer", value) for value in (-1.0, float("nan"), "soon")],
        *[("unbalanced_timer", value) for value in (-1.0, float("inf"), None)],
    ],
)
def test_a_wrong_option_is_refused_by_name(parameter, value):
    """Each wrong value raises ConfigurationError at construction, which names the parameter and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        ResilientGroup(["a"], **{"buckets": 8} | {parameter: value})
    assert caught.value.parameter == parameter


def test_it_says_what_it_is():
    """The text of a group has the numbers of next hops and buckets."""
    group = ResilientGroup({"a": 2, "b": 1}, buckets=8)
    assert (len(group), group.members) == (8, {"a": 2, "b": 1})
    assert repr(group) == "<ResilientGroup of 2 next hops, 8 buckets>"
