"""Quorum with hysteresis, and majorities of lent votes."""

from __future__ import annotations

import math
from random import Random

import pytest

from balancekit import ConfigurationError
from balancekit.ha import Majority, Quorum, QuorumState


@pytest.mark.parametrize("start", list(QuorumState))
@pytest.mark.parametrize("hysteresis", [0.0, 1.0, 2.5])
def test_up_at_quorum_plus_hysteresis_down_below_quorum_minus(start, hysteresis):
    """A service is up at quorum plus hysteresis and down below quorum minus hysteresis.

    Between the two it stays what it was.
    """
    machine = Quorum(quorum=5.0, hysteresis=hysteresis, start=start)()
    random = Random(1)
    state = start
    seen = set()
    for _ in range(1000):
        weight = random.choice([5 + hysteresis, 5 - hysteresis, random.uniform(0, 10), 5 - hysteresis - 1e-9])
        if weight >= 5 + hysteresis:
            state = QuorumState.UP
        elif weight < 5 - hysteresis:
            state = QuorumState.DOWN
        assert machine.observe(weight) is state
        seen.add(state)
    assert seen == set(QuorumState)


def late(random):
    """Return after how many seconds a message arrives."""
    return random.choice([0.0, random.uniform(0.0, 4.0)])


def test_two_candidates_never_hold_a_majority_at_once():
    """Two candidates never hold a majority at once in 200 random histories.

    Messages are lost, late or repeated, and clocks are apart within the drift.
    """
    for seed in range(200):
        random = Random(seed)
        majority = Majority(voters=("a", "b", "w"), lease=3.0, drift=0.1)
        rates = {voter: random.uniform(0.96, 1.04) for voter in majority.voters}  # 1.04 / 0.96 < 1 / 0.9
        clock = dict.fromkeys(majority.voters, 0.0)
        votes = {voter: majority.voter(now=0.0) for voter in majority.voters}
        candidates = {"a": majority(), "b": majority()}
        messages = []  # when each arrives, and what it does then
        held = set()
        now = 0.0
        for _ in range(600):
            step = random.uniform(0.0, 0.3)
            now += step
            for voter in clock:
                clock[voter] += step * rates[voter]
            name, voter = random.choice("ab"), random.choice(majority.voters)
            if random.random() < 0.02:
                votes[voter] = majority.voter(now=clock[voter])  # restarted, has forgotten
            kind = "request"
            if random.random() < 0.05:
                candidates[name].release_all(now=clock[name])
                kind = "give back"
            copies = range(random.choice([0, 1, 1, 1, 2]))
            messages += [(now + late(random), kind, name, voter, clock[name]) for _ in copies]
            for message in sorted([message for message in messages if message[0] <= now]):
                messages.remove(message)
                _, kind, name, voter, at = message
                if kind == "give back":
                    votes[voter].give_back(name, released_at=at, now=clock[voter])
                elif kind == "grant":
                    candidates[name].granted(voter, requested_at=at)
                elif votes[voter].request(name, now=clock[voter], requested_at=at):
                    messages.append((now + late(random), "grant", name, voter, at))
            holding = {who for who in candidates if candidates[who].holds(now=clock[who])}
            assert len(holding) < 2, seed
            held |= holding
        assert held, seed


def test_a_node_alone_with_the_witness_takes_over_after_the_lease():
    """A node alone with the witness takes over one lease after the dead node's votes were lent last."""
    majority = Majority(voters=("a", "b", "w"), lease=3.0, drift=0.0)
    votes = {voter: majority.voter(now=-10.0) for voter in majority.voters}
    a, b = majority(), majority()
    for voter in ("a", "w"):
        assert votes[voter].request("a", now=0.0)
        a.granted(voter, requested_at=0.0)
    assert a.deadline == 3.0
    assert not votes["w"].request("b", now=2.9)
    assert votes["w"].request("b", now=3.0)
    assert votes["b"].request("b", now=3.0)
    b.granted("w", requested_at=3.0)
    assert not b.holds(now=3.0)
    b.granted("b", requested_at=3.0)
    assert b.holds(now=3.0)
    assert not a.holds(now=3.0)


def test_a_vote_can_be_given_back():
    """A node that lets go frees its votes at once; one that does not have them cannot."""
    vote = Majority(voters=("a",), lease=3.0).voter(now=-10.0)
    assert vote.request("a", now=0.0, requested_at=70.0)
    vote.give_back("b", released_at=71.0, now=0.5)
    assert not vote.request("b", now=1.0)
    vote.give_back("a", released_at=71.0, now=1.0)
    assert vote.request("b", now=1.0)


@pytest.mark.parametrize("requested_at", [(72.0,), (72.0, 70.0), (None,)])
def test_a_message_of_an_earlier_time_frees_no_vote(requested_at):
    """A vote that was asked for after its candidate let go stays lent, whichever request came last."""
    vote = Majority(voters=("a",), lease=3.0).voter(now=-10.0)
    for at in requested_at:
        assert vote.request("a", now=0.0, requested_at=at)
    vote.give_back("a", released_at=71.0, now=1.0)
    assert not vote.request("b", now=1.0)


def test_a_candidate_that_let_go_counts_no_earlier_vote():
    """A candidate that let go counts no earlier vote, also if the answer comes later.

    The next one that it asks for counts.
    """
    machine = Majority(voters=("a",), lease=3.0)()
    machine.granted("a", requested_at=0.0)
    machine.release_all(now=1.0)
    assert not machine.holds(now=1.0)
    for requested_at, holds in ((0.5, False), (1.0, False), (1.5, True)):
        machine.granted("a", requested_at=requested_at)
        assert machine.holds(now=1.6) is holds


def test_a_refusal_ends_a_vote():
    """A voter that says it has lent its vote elsewhere counts no longer."""
    machine = Majority(voters=("a",), lease=3.0)()
    machine.granted("a", requested_at=0.0)
    assert machine.holds(now=1.0)
    machine.refused("a")
    assert not machine.holds(now=1.0)


@pytest.mark.parametrize(("voters", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_more_than_half_is_needed(voters, needed):
    """More than half is needed: of an even number, half is not enough."""
    majority = Majority(voters=tuple("abcde"[:voters]))
    machine = majority()
    for k, voter in enumerate(majority.voters, 1):
        machine.granted(voter, requested_at=0.0)
        assert machine.holds(now=0.1) is (k >= needed)


def test_wrong_arguments_are_refused_by_name():
    """A wrong argument is refused by a ``ConfigurationError`` that names the parameter."""
    with pytest.raises(ConfigurationError, match="quorum"):
        Quorum(quorum=0)
    with pytest.raises(ConfigurationError, match="hysteresis"):
        Quorum(quorum=2, hysteresis=2)
    with pytest.raises(ConfigurationError, match="weight"):
        Quorum()().observe(-1.0)
    for voters in ((), ("a", "a")):
        with pytest.raises(ConfigurationError, match="voters"):
            Majority(voters=voters)
    with pytest.raises(ConfigurationError, match="lease"):
        Majority(voters=("a",), lease=0.0)
    with pytest.raises(ConfigurationError, match="drift"):
        Majority(voters=("a",), drift=1.0)
    with pytest.raises(ConfigurationError, match="voter"):
        Majority(voters=("a",))().granted("b", requested_at=0.0)
    for time in (math.inf, math.nan):
        with pytest.raises(ConfigurationError, match="requested_at"):
            Majority(voters=("a",))().granted("a", requested_at=time)
        with pytest.raises(ConfigurationError, match="now"):
            Majority(voters=("a",))().release_all(now=time)
