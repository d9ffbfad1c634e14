"""The schedule of checks: none is late, none runs twice at once, none is forgotten."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.checks import (
    CheckTimer,
    DeepCheck,
    HttpCheck,
    ProbeResult,
    Schedule,
    SharedDependencies,
    TcpCheck,
)

IDS = [f"e{k}" for k in range(5)]


@given(
    seed=st.integers(0, 999),
    jitter=st.floats(0.0, 0.9),
    takes=st.lists(st.floats(0.0, 2.0), min_size=1, max_size=7),
    changing=st.booleans(),
)
def test_no_endpoint_waits_longer_than_the_interval(seed, jitter, takes, changing):
    """From the beginning of a check to the next, at most the interval passes.

    It may be the fast one, with jitter or without.
    """
    schedule = Schedule(interval=5.0, timeout=2.0, jitter=jitter, fast=2.5)
    table, now, begun, count = CheckTimer(schedule, Random(seed)), 0.0, {}, 0
    table.update(IDS, now=now)
    running = []
    while count < 60:
        ends = min([end for end, _ in running], default=math.inf)
        now = max(now, min(table.next_at, ends))
        for end, id in [one for one in running if one[0] <= now]:
            running.remove((end, id))
            table.done(id, now=now, changing=changing)
        while (id := table.begin(now=now)) is not None:
            assert id not in [other for _, other in running]
            longest = schedule.period(changing=changing)
            assert now - begun.get(id, 0.0) <= (longest if id in begun else schedule.interval) + 1e-9
            if id in begun:
                assert now - begun[id] >= longest * (1.0 - jitter) - 1e-9
            begun[id] = now
            running.append((now + takes[count % len(takes)], id))
            count += 1
    assert set(begun) == set(IDS)


def test_the_list_may_change_at_any_time():
    """New endpoints are due at once; gone ones are not checked, nor planned when their check ends."""
    table = CheckTimer(Schedule(jitter=0.0), Random(0))
    table.update(["a", "b"], now=0.0)
    assert table.begin(now=0.0) == "a"
    table.update(["b", "c"], now=1.0)
    table.done("a", now=1.5, changing=False)
    assert [table.begin(now=1.5), table.begin(now=1.5), table.begin(now=1.5)] == ["b", "c", None]
    assert table.next_at == math.inf


def test_a_late_check_is_followed_at_once_not_twice():
    """A check that took longer than the interval is followed by the next one when it has ended."""
    table = CheckTimer(Schedule(interval=2.0, jitter=0.0), Random(0))
    table.update(["a"], now=0.0)
    table.begin(now=0.0)
    table.done("a", now=7.0, changing=False)
    assert table.next_at == 7.0


def test_a_fifth_of_the_interval_is_fast():
    """The fast interval is a fifth of the interval, unless another is given."""
    assert Schedule(interval=10.0).period(changing=True) == 2.0
    assert Schedule(interval=10.0, fast=3.0).period(changing=True) == 3.0
    assert Schedule(interval=10.0, fast=3.0).period(changing=False) == 10.0


@pytest.mark.parametrize(
    ("make", "options", "parameter"),
    [
        (Schedule, {"interval": 0.0}, "interval"),
        (Schedule, {"interval": math.inf}, "interval"),
        (Schedule, {"timeout": 6.0}, "timeout"),
        (Schedule, {"timeout": 0.0}, "timeout"),
        (Schedule, {"jitter": 1.0}, "jitter"),
        (Schedule, {"jitter": -0.1}, "jitter"),
        (Schedule, {"fast": 5.1}, "fast"),
        (Schedule, {"fast": True}, "fast"),
        (TcpCheck, {"address": "10.0.0.1:80"}, "address"),
        (HttpCheck, {"path": "health"}, "path"),
        (HttpCheck, {"path": "/a b"}, "path"),
        (HttpCheck, {"path": "/a\r\nX: y"}, "path"),
        (HttpCheck, {"statuses": ()}, "statuses"),
        (HttpCheck, {"statuses": "200"}, "statuses"),
        (HttpCheck, {"statuses": [99]}, "statuses"),
        (HttpCheck, {"body": 5}, "body"),
        (HttpCheck, {"headers": {"a": "b\r\nc: d"}}, "headers"),
        (HttpCheck, {"headers": {"a": 1}}, "headers"),
        (HttpCheck, {"host": ""}, "host"),
        (HttpCheck, {"tls": True}, "tls"),
        (DeepCheck, {"member": ""}, "member"),
        (DeepCheck, {"address": 3}, "address"),
        (SharedDependencies, {"share": 1.5}, "share"),
    ],
)
def test_bad_options_are_refused(make, options, parameter):
    """Each wrong value raises ConfigurationError at construction, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make(**options)
    assert caught.value.parameter == parameter


@given(
    st.lists(
        st.tuples(st.sampled_from(IDS), st.sets(st.sampled_from(["db", "cache"])), st.booleans()),
        max_size=40,
    )
)
def test_a_dependency_is_shared_iff_it_fails_on_most(history):
    """A dependency is shared if it fails on more than half of those that answered, and on at least two.

    Otherwise it is not.
    """
    shared, last = SharedDependencies(), {}
    for id, failing, answered in history:
        names = tuple(sorted(failing))
        passed, degraded = shared.judge(id, ProbeResult(passed=not names, failing=names, answered=answered))
        if not answered:
            last.pop(id, None)
            assert (passed, degraded) == (False, ())
            continue
        last[id] = names
        counts = {name: sum(name in found for found in last.values()) for name in ("db", "cache")}
        common = {name for name, n in counts.items() if n >= 2 and 2 * n > len(last)}
        assert shared.shared() == common
        assert degraded == tuple(name for name in names if name in common)
        assert passed is (set(names) <= common)
    shared.keep(["e0"])
    assert shared.shared() == frozenset()
