"""Turns by deadline: a naive model in fractions, the published cycles, and weights read at the pick."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.compat import envoy
from balancekit.compat.envoy._deadlines import Deadlines
from balancekit.errors import ConfigurationError
from balancekit.snapshot import PickContext
from balancekit.testing import chi_square_z, make_nodes, make_snapshot

weights_of = st.lists(st.integers(1, 60), min_size=1, max_size=6)


class Model:
    """The rule as it is written: a list of deadlines, searched from end to end."""

    def __init__(self, weights, activity):
        self.weights, self.activity, self.turn = weights, activity, len(weights)
        self.entries = {host: (self.period(host), weight, host) for host, weight in enumerate(weights)}

    def period(self, host):
        return Fraction(self.activity[host] + 1, self.weights[host])

    def pick(self):
        host = min(self.entries, key=self.entries.__getitem__)
        deadline, weight, _ = self.entries[host]
        self.turn += 1
        self.entries[host] = (deadline + self.period(host), weight, self.turn)
        return host


@given(weights=weights_of, changes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60))
def test_deadlines_are_those_of_the_model(weights, changes):
    """Deadlines are those of the model, whatever the activity is at each pick."""
    activity = [0] * len(weights)
    model = Model(weights, activity)
    schedule = Deadlines(weights, stretch=lambda host: activity[host] + 1)
    for host, active in changes or [(0, 0)]:
        activity[host % len(weights)] = active
        assert schedule.pick() == model.pick()


@given(weights=weights_of, start=st.integers(0, 400))
def test_a_start_is_that_many_picks_in(weights, start):
    """A start is the state after that many picks, however it is computed."""
    walked = Deadlines(weights, stretch=lambda host: 1)
    for _ in range(start):
        walked.pick()
    jumped = Deadlines(weights, stretch=lambda host: 1, start=start)
    assert [walked.pick() for _ in range(130)] == [jumped.pick() for _ in range(130)]


@pytest.mark.parametrize(("weights", "cycle"), [((5, 1, 1), "aaaabca"), ((4, 2, 1), "abaacba")])
def test_the_cycles_are_the_documented_ones(weights, cycle):
    """The cycles are those in the rules recorded with the traces."""
    selector = envoy.RoundRobin(start=0)
    snapshot = make_snapshot(make_nodes(dict(zip("abc", weights, strict=True))))
    picked = [selector.select(snapshot, PickContext(rng=Random(1))).id for _ in range(2 * len(cycle))]
    assert "".join(picked) == 2 * cycle


@given(weights=weights_of, start=st.integers(0, 99))
def test_a_cycle_holds_every_host_as_often_as_it_weighs(weights, start):
    """From any starting point, a cycle holds every host as often as it weighs."""
    schedule = Deadlines(weights, stretch=lambda host: 1, start=start)
    counts = Counter(schedule.pick() for _ in range(sum(weights)))
    assert [counts[host] for host in range(len(weights))] == weights


def test_of_equal_deadlines_the_smaller_weight_comes_first():
    """Of equal deadlines the smaller weight comes first.

    The weight is that of the schedule, not the one that activity made of it.
    """
    activity = [0, 0]
    schedule = Deadlines([4, 2], stretch=lambda host: activity[host] + 1)
    activity[0] = 1
    # a is due at 1/4; picked while one is active, it is due again at 1/4 + 1/2. b is due at 1/2.
    assert schedule.pick() == 0
    activity[0], activity[1] = 0, 0
    assert schedule.pick() == 1  # at 1/2, due again at 1
    assert schedule.pick() == 0  # at 3/4, due again at 1
    assert schedule.pick() == 1


def test_of_equal_deadlines_and_weights_who_waits_longer_comes_first():
    """Of equal deadlines and weights the host that waits longer comes first, wherever it is listed."""
    stretches = [1, 1]
    schedule = Deadlines([1, 1], stretch=stretches.__getitem__)
    assert schedule.pick() == 0  # at 1, due again at 2
    stretches[1] = 2
    assert schedule.pick() == 1  # at 1, due again at 3
    assert schedule.pick() == 0  # at 2, due again at 3
    assert schedule.pick() == 1


def test_those_to_skip_keep_their_turns():
    """A host that a retry passes over keeps its turn."""
    schedule = Deadlines([3, 1], stretch=lambda host: 1)
    assert [schedule.pick({0}) for _ in range(5)] == [1] * 5
    assert schedule.pick() == 0


def test_fractional_weights_are_taken_as_written():
    """Fractional weights are taken as written: 0.5 and 0.25 stand as 2 to 1.

    An irrational share is kept to 32 binary places.
    """
    schedule = Deadlines([0.5, 0.25], stretch=lambda host: 1)
    assert Counter(schedule.pick() for _ in range(300)) == {0: 200, 1: 100}
    rough = Deadlines([1.0, 1.0], stretch=lambda host: 2**0.5 if host else 1.0)
    counts = Counter(rough.pick() for _ in range(10_000))
    assert abs(counts[0] / counts[1] - 2**0.5) < 1e-3


# ---------------------------------------------------------------------- round robin


def test_equal_weights_go_in_list_order_and_on_through_changes_of_health():
    """Equal weights go in list order, and the number of the turn survives changes of health."""
    nodes = make_nodes(dict.fromkeys("abcd", 2.0))
    selector, ctx = envoy.RoundRobin(start=2), PickContext(rng=Random(1))
    whole = make_snapshot(nodes)
    assert "".join(selector.select(whole, ctx).id for _ in range(6)) == "cdabcd"
    some = make_snapshot(nodes, down={"b"}, version=1)
    assert "".join(selector.select(some, ctx).id for _ in range(4)) == "dacd"  # turns 8, 9, 10, 11 of a c d


def test_equal_weights_pass_over_who_was_tried():
    """With equal weights, hosts that were tried are passed over, and the next request goes on behind the one picked."""
    selector, nodes = envoy.RoundRobin(start=0), make_nodes(dict.fromkeys("abc", 1.0))
    snapshot = make_snapshot(nodes)
    assert selector.select(snapshot, PickContext(rng=Random(1), exclude={"a"})).id == "b"
    assert selector.select(snapshot, PickContext(rng=Random(1))).id == "c"


def test_the_start_is_random_and_the_same_for_the_same_seed():
    """The start is random and the same for the same seed, so that many balancers begin at different hosts."""
    snapshot = make_snapshot(make_nodes(dict.fromkeys("abc", 1.0)))
    starts = Counter(envoy.RoundRobin().select(snapshot, PickContext(rng=Random(n))).id for n in range(300))
    assert chi_square_z(starts, dict.fromkeys("abc", 1.0)) < 5


def test_a_host_that_warms_up_makes_it_a_schedule():
    """A host that warms up at a quarter of its weight makes equal weights a schedule."""
    nodes = make_nodes(dict.fromkeys("ab", 1.0))
    nodes[0].ramp = 0.25
    selector, snapshot = envoy.RoundRobin(), make_snapshot(nodes)
    counts = Counter(selector.select(snapshot, PickContext(rng=Random(1))).id for _ in range(500))
    assert counts == {"a": 100, "b": 400}


# ---------------------------------------------------------------------- least request


def test_draws_may_repeat_and_a_later_one_must_be_strictly_better():
    """Draws may repeat and a later one must be strictly better.

    With two draws, the busy one of two hosts wins a quarter of the time.
    """
    nodes = make_nodes({"idle": 1.0, "busy": 1.0})
    nodes[1].inflight = 3
    selector, snapshot, ctx = envoy.LeastRequest(), make_snapshot(nodes), PickContext(rng=Random(3))
    counts = Counter(selector.select(snapshot, ctx).id for _ in range(4_000))
    assert chi_square_z(counts, {"idle": 3.0, "busy": 1.0}) < 5


def test_of_equally_busy_draws_the_first_stays():
    """Of equally busy draws the first stays."""

    class Scripted(Random):
        draws = iter("cab")

        def choice(self, seq):
            wanted = next(self.draws)
            return next(node for node in seq if node.id == wanted)

    snapshot = make_snapshot(make_nodes(dict.fromkeys("abc", 1.0)))
    assert envoy.LeastRequest(choice_count=3).select(snapshot, PickContext(rng=Scripted())).id == "c"


def test_more_draws_find_the_idle_one_more_often():
    """Of two hosts with k draws, the busy one wins once in 2 ** k."""
    nodes = make_nodes({"idle": 1.0, "busy": 1.0})
    nodes[1].inflight = 1
    selector, snapshot = envoy.LeastRequest(choice_count=4), make_snapshot(nodes)
    ctx = PickContext(rng=Random(3))
    counts = Counter(selector.select(snapshot, ctx).id for _ in range(8_000))
    assert chi_square_z(counts, {"idle": 15.0, "busy": 1.0}) < 5


def test_a_full_scan_takes_one_of_those_with_the_fewest():
    """A full scan takes one of the hosts with the fewest requests, all of them equally often."""
    nodes = make_nodes(dict.fromkeys("abcd", 1.0))
    nodes[1].inflight = 1
    selector, snapshot = envoy.LeastRequest(selection_method="FULL_SCAN"), make_snapshot(nodes)
    ctx = PickContext(rng=Random(4))
    counts = Counter(selector.select(snapshot, ctx).id for _ in range(3_000))
    assert "b" not in counts
    assert chi_square_z(counts, dict.fromkeys("acd", 1.0)) < 5


def test_activity_counts_when_a_host_is_picked_and_not_later():
    """A host whose requests have all ended keeps the deadline it got while it was busy."""
    nodes = make_nodes({"a": 2.0, "b": 1.0})
    selector, snapshot = envoy.LeastRequest(start=0), make_snapshot(nodes)
    nodes[0].inflight = 9
    assert selector.select(snapshot, PickContext(rng=Random(1))).id == "b"  # a is due at 10 / 2 only
    nodes[0].inflight = 0
    picked = [selector.select(snapshot, PickContext(rng=Random(1))).id for _ in range(5)]
    assert "".join(picked) == "bbbab"


def test_without_bias_it_is_a_weighted_round_robin():
    """Without bias, least request is a weighted round robin that ignores activity."""
    nodes = make_nodes({"a": 5.0, "b": 1.0, "c": 1.0})
    for node in nodes:
        node.inflight = 7
    selector, snapshot = envoy.LeastRequest(active_request_bias=0, start=0), make_snapshot(nodes)
    assert "".join(selector.select(snapshot, PickContext(rng=Random(1))).id for _ in range(7)) == "aaaabca"


def test_a_stronger_bias_turns_to_idle_hosts_sooner():
    """The busy host's share falls as the bias grows."""
    shares = []
    for bias in (0.0, 0.5, 1.0, 2.5):
        nodes = make_nodes({"busy": 2.0, "idle": 1.0})
        nodes[0].inflight = 3
        selector, snapshot = envoy.LeastRequest(active_request_bias=bias, start=0), make_snapshot(nodes)
        picks = [selector.select(snapshot, PickContext(rng=Random(1))).id for _ in range(500)]
        shares.append(picks.count("busy") / 500)
        expected = 2 / 4**bias / (2 / 4**bias + 1)
        assert abs(shares[-1] - expected) < 0.01
    assert all(before > after for before, after in pairwise(shares))


# ---------------------------------------------------------------------- all of them


@pytest.mark.parametrize("make", [envoy.RoundRobin, envoy.LeastRequest])
def test_a_weight_of_zero_is_a_last_resort(make):
    """A host of weight zero is never picked while another may be, and is picked when all others were tried."""
    nodes = make_nodes({"a": 2.0, "zero": 0.0, "b": 1.0})
    selector, snapshot = make(), make_snapshot(nodes)
    picked = {selector.select(snapshot, PickContext(rng=Random(1))).id for _ in range(50)}
    assert picked == {"a", "b"}
    assert selector.select(snapshot, PickContext(rng=Random(1), exclude={"a", "b"})).id == "zero"
    assert selector.select(snapshot, PickContext(rng=Random(1), exclude={"a", "b", "zero"})) is None


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: envoy.RoundRobin(start=-1), "start"),
        (lambda: envoy.RoundRobin(start=1.0), "start"),
        (lambda: envoy.LeastRequest(choice_count=1), "choice_count"),
        (lambda: envoy.LeastRequest(choice_count=True), "choice_count"),
        (lambda: envoy.LeastRequest(selection_method="BEST"), "selection_method"),
        (lambda: envoy.LeastRequest(active_request_bias=-1), "active_request_bias"),
        (lambda: envoy.LeastRequest(active_request_bias=float("nan")), "active_request_bias"),
    ],
)
def test_bad_configuration_is_refused(make, parameter):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match=parameter):
        make()
