"""The pure updates of a pool's state: each returns a new state and its events, and changes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from balancekit import Endpoint, UnknownEndpointError
from balancekit._support.fork import new_lock
from balancekit.engine.guard import Guard
from balancekit.engine.hooks import HealthHooks, Reading
from balancekit.engine.locks import EngineLocks
from balancekit.engine.member import Member
from balancekit.engine.state import (
    Exhaustion,
    PoolState,
    Show,
    advanced,
    drained,
    empty,
    find,
    recorded,
    refreshed,
    show,
    started_over,
    undrained,
)
from balancekit.events import Cooling, Drained, Draining, Event
from balancekit.exhaustion import Choice, FailClosed, PoolMember
from balancekit.health import Health, Lifecycle, Membership
from balancekit.loads import InFlight
from balancekit.node import Node
from balancekit.outcome import Completion, Outcome
from balancekit.snapshot import Members

ILL = Reading(healthy=False, deadline=50.0)


class Shown:
    """Makes snapshots by failing closed, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, state: PoolState) -> PoolState:
        self.count += 1
        return show(state, Exhaustion(FailClosed(), Guard(EngineLocks(), debug=True)), self.count)


def node(id: str, weight: float = 1.0) -> Node:
    """Return a node of an endpoint."""
    return Node(Endpoint(id, weight=weight), InFlight(), lock=new_lock())


def health() -> HealthHooks:
    """Return a machine of the shipped policy."""
    return HealthHooks(Lifecycle()("x", lambda _: True, None), Guard(EngineLocks(), debug=False))


def pool(*ids: str, shown: Show | None = None, **changes: object) -> PoolState:
    """Return the state of a pool of healthy endpoints."""
    members = {}
    for id in ids:
        made = node(id)
        members[id] = Member(made, made.endpoint, health())._replace(**changes)
    nodes = Members(tuple([member.node for member in members.values()]), version=1)
    state = empty()._replace(members=members, nodes=nodes)
    return (shown or Shown())(state)


def ended(outcome: Outcome = Outcome.SUCCESS, retry_after: float | None = None) -> Completion:
    """Return how a request ended at 7 seconds."""
    return Completion(outcome, started_at=5.0, ended_at=7.0, retry_after=retry_after)


def eligible(state: PoolState) -> list[str]:
    """Return the ids that a snapshot offers."""
    return [node.id for node in state.snapshot.eligible]


def held(state: PoolState, id: str, count: int) -> PoolState:
    """Return the state with leases open on an endpoint."""
    state.members[id].node.inflight = count
    return state


def kinds(events: Iterable[Event]) -> list[type[Event]]:
    """Return the classes of events."""
    return [type(event) for event in events]


# ------------------------------------------------------------------ the empty pool, and looking up


def test_an_empty_pool_has_no_members_and_nothing_due() -> None:
    """The state before the first update has no endpoints, no deadline, and zero ends of every outcome."""
    state = empty()
    assert not state.members
    assert not state.leaving
    assert not state.snapshot.eligible
    assert state.deadline == math.inf
    assert state.retired == dict.fromkeys(Outcome, 0)


@pytest.mark.parametrize("id", ["z", 3, None, ["a"]])
def test_an_unknown_id_is_named_with_those_that_are_known(id: object) -> None:
    """Looking up an id that is not in the pool, or is no id at all, raises ``UnknownEndpointError``."""
    with pytest.raises(UnknownEndpointError, match="'a', 'b'") as caught:
        find(pool("a", "b"), id)
    assert caught.value.__cause__ is None


# ------------------------------------------------------------------ snapshots


def test_a_snapshot_shows_eligible_and_draining_endpoints_in_order() -> None:
    """Endpoints that drain are shown apart, and those that are ill or cool down are not eligible."""
    state = pool("a", "b", "c", "d", "e")
    members = dict(state.members)
    members["b"] = members["b"]._replace(membership=Membership.DRAINING)
    members["c"] = members["c"]._replace(healthy=False)
    members["d"] = members["d"]._replace(cooling=9.0)
    shown = Shown()(state._replace(members=members))
    assert eligible(shown) == ["a", "e"]
    assert [node.id for node in shown.snapshot.draining] == ["b"]
    assert shown.snapshot.version == 1
    assert not shown.snapshot.panic


def test_if_all_cool_down_all_are_offered() -> None:
    """A pool in which every endpoint cools down offers those that are healthy, rather than none."""
    state = pool("a", "b", cooling=9.0)
    assert eligible(state) == []  # member.eligible: cooling endpoints are not
    policy_saw: list[list[str]] = []

    def policy(serving: list[PoolMember], healthy: list[PoolMember]) -> Choice:
        policy_saw.append([candidate.endpoint.id for candidate in serving])
        return Choice(healthy)

    show(state, Exhaustion(policy, Guard(EngineLocks(), debug=True)), 1)
    assert policy_saw == [["a", "b"]]


@pytest.mark.parametrize("ramping", [True, False])
def test_a_state_says_whether_a_chosen_endpoint_ramps(ramping: bool) -> None:
    """``ramping`` is that of endpoints that may be picked, not of those that may not."""
    state = pool("a", "b")
    members = dict(state.members)
    members["a"] = members["a"]._replace(ramping=True, healthy=ramping)
    assert Shown()(state._replace(members=members)).ramping is ramping


def test_endpoints_of_weight_zero_are_chosen_only_alone() -> None:
    """Weight 0 sends nothing to an endpoint while another is chosen, and counts for nothing if none is."""
    heavy, light, other = node("a"), node("b", 0.0), node("c", 0.0)
    members = {n.id: Member(n, n.endpoint, None) for n in (heavy, light, other)}
    assert eligible(Shown()(empty()._replace(members=members))) == ["a"]
    del members["a"]
    assert eligible(Shown()(empty()._replace(members=members))) == ["b", "c"]


def test_an_exhaustion_policy_is_asked_once_for_the_same_question() -> None:
    """Attempts at one change ask the policy again only if the members they ask about differ."""
    asked = []

    def policy(serving: list[PoolMember], healthy: list[PoolMember]) -> Choice:
        asked.append(len(serving))
        return Choice(healthy, panic=True)

    exhaustion = Exhaustion(policy, Guard(EngineLocks(), debug=True))
    members = list(pool("a", "b").members.values())
    first = exhaustion.choose(members, members[:1])
    assert exhaustion.choose(list(members), members[:1]) == first == ((members[0].node,), False, True)
    assert asked == [2]
    exhaustion.choose(members, members)
    exhaustion.choose(members[:1], members[:1])
    assert asked == [2, 2, 1]


def test_an_exhaustion_policy_that_raises_is_replaced_by_the_healthy_endpoints(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The healthy endpoints are offered without panic, and the error is logged."""

    def policy(serving: list[PoolMember], healthy: list[PoolMember]) -> Choice:
        raise ValueError("boom")

    members = list(pool("a", "b").members.values())
    exhaustion = Exhaustion(policy, Guard(EngineLocks(), debug=True))
    assert exhaustion.choose(members, members[1:]) == ((members[1].node,), False, False)
    assert "exhaustion policy" in caplog.text


# ------------------------------------------------------------------ the end of a request


def test_a_success_of_a_serving_endpoint_changes_nothing() -> None:
    """If health says what it said before, the very same state is returned."""
    state, shown = pool("a", "b"), Shown()
    step = recorded(state, state.members["a"].node, ended(), Reading(), 7.0, shown)
    assert step.state is state
    assert step.events == ()
    assert shown.count == 0


def test_an_end_after_which_health_takes_an_endpoint_out_shows_the_rest() -> None:
    """The state has a new snapshot without the endpoint, and is due when health says."""
    state = pool("a", "b")
    step = recorded(state, state.members["a"].node, ended(Outcome.FAILURE), ILL, 7.0, Shown())
    assert eligible(step.state) == ["b"]
    assert step.state.deadline == 50.0
    assert eligible(state) == ["a", "b"]
    assert state.deadline == math.inf


def test_a_new_deadline_of_health_makes_no_new_snapshot() -> None:
    """What a snapshot does not show is no reason to build one; the deadline is the earliest of all."""
    state, shown = pool("a", "b"), Shown()
    step = recorded(state, state.members["a"].node, ended(), Reading(deadline=40.0), 7.0, shown)
    assert step.state.deadline == 40.0
    step = recorded(step.state, state.members["b"].node, ended(), Reading(deadline=60.0), 7.0, shown)
    assert step.state.deadline == 40.0
    assert step.state.snapshot is state.snapshot
    assert shown.count == 0


def test_a_wish_to_be_left_alone_counts_from_the_end_of_the_request() -> None:
    """``retry_after`` cools an endpoint down until ``now`` and that many seconds; a shorter wish changes nothing."""
    state = pool("a", "b")
    a = state.members["a"].node
    step = recorded(state, a, ended(retry_after=3.0), Reading(), 7.0, Shown())
    assert step.events == (Cooling(endpoint="a", at=7.0, until=10.0),)
    assert eligible(step.state) == ["b"]
    assert step.state.members["a"].cooling == step.state.deadline == 10.0
    for seconds in (1.0, 3.0):  # no later than the first
        again = recorded(step.state, a, ended(retry_after=seconds), Reading(), 7.0, Shown())
        assert again.state is step.state
        assert again.events == ()
    longer = recorded(step.state, a, ended(retry_after=3.5), Reading(), 7.0, Shown())
    assert longer.state.members["a"].cooling == 10.5
    assert kinds(longer.events) == [Cooling]


@pytest.mark.parametrize("inflight", [0, 1])
def test_the_last_lease_ends_a_drain(inflight: int) -> None:
    """A draining endpoint is drained by its last lease, without force, and by no earlier one."""
    state = drained(held(pool("a", "b"), "a", 1), "a", 1.0, 100.0, Shown()).state
    held(state, "a", inflight)
    step = recorded(state, state.members["a"].node, ended(), Reading(), 7.0, Shown())
    if inflight:
        assert step.state is state
        assert step.events == ()
    else:
        assert step.events == (Drained(endpoint="a", at=7.0, forced=False, remaining=0),)
        assert step.state.members["a"].membership is Membership.DRAINED


def test_an_end_on_a_node_that_was_replaced_is_no_news_of_its_successor() -> None:
    """A completion of an old node with the same id changes neither cooling nor health of the new one."""
    state = pool("a", "b")
    old = node("a")
    step = recorded(state, old, ended(Outcome.FAILURE, retry_after=9.0), ILL, 7.0, Shown())
    assert step.state.members is state.members
    assert step.state.deadline == math.inf
    assert step.events == ()


# ------------------------------------------------------------------ what health says


def test_a_reading_of_another_machine_is_ignored() -> None:
    """If an endpoint was replaced while its old machine was told, the reading is dropped."""
    state = pool("a", "b")
    assert refreshed(state, health(), "a", ILL, Shown()).state is state
    assert refreshed(state, health(), "gone", ILL, Shown()).state is state
    machine = state.members["a"].health
    assert machine is not None
    assert eligible(refreshed(state, machine, "a", ILL, Shown()).state) == ["b"]


def test_readings_are_taken_by_machine_when_time_passes() -> None:
    """Of the readings of an advance, each counts for the member with that machine and for no other."""
    state = pool("a", "b")
    machine = state.members["a"].health
    step = advanced(state, {machine: ILL, health(): ILL}, 7.0, Shown(), rebuild=False)
    assert eligible(step.state) == ["b"]
    assert step.state.members["b"] is state.members["b"]
    assert step.state.deadline == 50.0


# ------------------------------------------------------------------ time


@pytest.mark.parametrize(("now", "ids"), [(9.999, ["b"]), (10.0, ["a", "b"])])
def test_cooling_ends_at_its_time(now: float, ids: list[str]) -> None:
    """An endpoint that cools down is back at the named time, and not before."""
    state = pool("a", "b")
    state = recorded(state, state.members["a"].node, ended(retry_after=3.0), Reading(), 7.0, Shown()).state
    step = advanced(state, {}, now, Shown(), rebuild=False)
    assert eligible(step.state) == ids
    assert step.state.deadline == (math.inf if len(ids) == 2 else 10.0)


def test_time_alone_makes_no_snapshot() -> None:
    """If nothing that a snapshot shows has changed, it is kept, unless it must be made rebuild."""
    state, shown = pool("a", "b")._replace(deadline=-math.inf), Shown()
    step = advanced(state, {}, 7.0, shown, rebuild=False)
    assert step.state.snapshot is state.snapshot
    assert step.state.deadline == math.inf
    assert shown.count == 0
    assert advanced(state, {}, 7.0, shown, rebuild=True).state.snapshot is not state.snapshot
    assert shown.count == 1


def test_the_next_deadline_is_the_earliest_of_all_members() -> None:
    """The next deadline is the earliest of drains, coolings and health machines of all members."""
    state = pool("a", "b", "c")
    machines = [member.health for member in state.members.values()]
    step = advanced(state, {machines[0]: Reading(deadline=30.0)}, 1.0, Shown(), rebuild=False)
    assert step.state.deadline == 30.0
    cooled = recorded(
        step.state, state.members["b"].node, ended(retry_after=10.0), Reading(), 7.0, Shown()
    ).state
    assert advanced(cooled, {}, 8.0, Shown(), rebuild=False).state.deadline == 17.0
    draining = drained(held(cooled, "c", 1), "c", 8.0, 4.0, Shown()).state
    assert advanced(draining, {}, 8.0, Shown(), rebuild=False).state.deadline == 12.0


@pytest.mark.parametrize("inflight", [0, 2])
def test_a_drain_ends_at_its_deadline_by_force(inflight: int) -> None:
    """Before the deadline open leases keep a drain going; at it they are counted as remaining."""
    state = drained(held(pool("a", "b"), "a", 2), "a", 1.0, 10.0, Shown()).state
    early = advanced(state, {}, 10.999, Shown(), rebuild=False)
    assert early.events == ()
    assert early.state.deadline == 11.0
    held(state, "a", inflight)
    step = advanced(state, {}, 11.0, Shown(), rebuild=False)
    assert step.events == (Drained(endpoint="a", at=11.0, forced=inflight > 0, remaining=inflight),)
    assert step.state.members["a"].membership is Membership.DRAINED
    assert step.state.members["a"].drain_deadline == math.inf
    assert advanced(step.state, {}, 99.0, Shown(), rebuild=False).events == ()


# ------------------------------------------------------------------ draining


@pytest.mark.parametrize(("seconds", "until"), [(10.0, 11.0), (math.inf, None)])
def test_draining_takes_an_endpoint_out_and_is_due_at_once(seconds: float, until: float | None) -> None:
    """The event says how many leases are open and until when; a drain without leases ends with the next look."""
    state = held(pool("a", "b"), "a", 2)
    step = drained(state, "a", 1.0, seconds, Shown())
    assert step.events == (Draining(endpoint="a", at=1.0, inflight=2, deadline=until),)
    assert eligible(step.state) == ["b"]
    assert step.state.deadline == -math.inf
    assert step.state.members["a"].drain_deadline == 1.0 + seconds


def test_draining_again_moves_the_deadline_and_is_no_event() -> None:
    """The second ``drain`` of an endpoint sets its new deadline; of a drained one it changes nothing."""
    state = drained(held(pool("a", "b"), "a", 1), "a", 1.0, 10.0, Shown()).state
    again = drained(state, "a", 2.0, 3.0, Shown())
    assert again.events == ()
    assert again.state.members["a"].drain_deadline == 5.0
    over = advanced(held(again.state, "a", 0), {}, 3.0, Shown(), rebuild=False).state
    assert drained(over, "a", 4.0, 10.0, Shown()).state is over


@pytest.mark.parametrize("over", [False, True])
def test_undraining_brings_an_endpoint_back_as_health_sees_it(over: bool) -> None:
    """Draining or drained, it serves again with no drain deadline, and is eligible if health says so."""
    state = drained(held(pool("a", "b"), "a", 1), "a", 1.0, 10.0, Shown()).state
    if over:
        state = advanced(held(state, "a", 0), {}, 3.0, Shown(), rebuild=False).state
    back = undrained(state, "a", Reading(), Shown()).state
    assert eligible(back) == ["a", "b"]
    assert back.members["a"].drain_deadline == math.inf
    assert eligible(undrained(state, "a", ILL, Shown()).state) == ["b"]
    untouched = pool("a")
    assert undrained(untouched, "a", Reading(), Shown()).state is untouched


# ------------------------------------------------------------------ forks


def test_starting_over_replaces_every_node_and_keeps_the_rest() -> None:
    """After a fork all nodes are new, none is leaving, and membership and cooling are as before."""
    state = pool("a", "b")
    gone = node("z")
    state = state._replace(leaving={gone: Member(gone, gone.endpoint)})
    made = {id: node(id) for id in "ab"}
    step = started_over(state, made, Shown())
    assert step.state.members == {id: state.members[id]._replace(node=made[id]) for id in "ab"}
    assert not step.state.leaving
    assert step.state.nodes.version == state.nodes.version + 1
    assert step.state.snapshot.eligible == (made["a"], made["b"])
    assert step.state.deadline == state.deadline
    assert step.events == ()


def test_starting_over_watches_nodes_that_are_left_and_ends_drains() -> None:
    """Every end of a lease on an old node is reported, as on a node that drains; a drain is due to end at once."""
    state = drained(pool("a", "b"), "a", 1.0, 10.0, Shown()).state._replace(deadline=11.0)
    gone, made = node("z"), {id: node(id) for id in "ab"}
    state = state._replace(leaving={gone: Member(gone, gone.endpoint)})
    step = started_over(state, made, Shown())
    assert set(step.leaving) == {*[member.node for member in state.members.values()], gone, made["a"]}
    assert step.state.deadline == -math.inf


def test_every_health_state_is_reachable_from_a_machine() -> None:
    """The machines of these tests are the shipped ones: a new one is warming or healthy."""
    assert health().state in {Health.WARMING.value, Health.HEALTHY.value}
