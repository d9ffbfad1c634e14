"""Changes of the pool, and turns, that others overtake or come between; what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from balancekit import Endpoint, LoadBalancer
from balancekit.engine.locks import EngineLocks
from balancekit.engine.turn import Turn
from balancekit.events import Event
from balancekit.loads import ExpectedDelay, FailureAware, InFlight, InFlightCost
from balancekit.node import Node
from balancekit.outcome import Completion
from balancekit.protocols import LoadPolicy

POLICIES: list[LoadPolicy] = [ExpectedDelay(), FailureAware()]


class Interfering:
    """A selector that does something once, or raises, when it prepares for a change."""

    thread_safe = True
    act: Callable[[], None] | None = None

    def select(self, snapshot: Any, ctx: Any) -> Node | None:
        """Return the first candidate."""
        return next(iter(snapshot.candidates(ctx)), None)

    def prepare(self, snapshot: Any) -> None:
        """Act."""
        act, self.act = self.act, None
        if act is not None:
            act()


def pool(ids: Any, load: LoadPolicy) -> tuple[LoadBalancer[str], Interfering, Callable[[], set[Node]]]:
    """Return a balancer, its selector, and what tells which nodes its loads know."""
    selector = Interfering()
    lb = LoadBalancer(ids, selector=selector, load=load)
    shared: Any = lb._runtime._loads.make
    return lb, selector, lambda: set(shared._loads)


def nodes(lb: LoadBalancer[str]) -> set[Node]:
    """Return the nodes of the pool."""
    return {member.node for member in lb._runtime.state.members.values()}


@pytest.mark.parametrize("load", POLICIES, ids=repr)
def test_an_endpoint_that_another_change_added_first_joins_once(load: LoadPolicy) -> None:
    """The node that the overtaken attempt had made is left out of what the loads share."""
    lb, selector, known = pool(["a"], load)
    selector.act = lambda: lb.update(["a", "b"])
    lb.update(["a", "b"])
    assert known() == nodes(lb)


@pytest.mark.parametrize("load", POLICIES, ids=repr)
def test_a_new_target_that_is_refused_leaves_the_endpoint_known(load: LoadPolicy) -> None:
    """If the selector refuses the change, its loads share what they shared before."""
    lb, selector, known = pool({"a": "here", "b": "there"}, load)

    def refuse() -> None:
        raise ValueError("not that one")

    selector.act = refuse
    with pytest.raises(ValueError, match="not that one"):
        lb.update({"a": "elsewhere", "b": "there"})
    assert known() == nodes(lb)


def test_an_observer_that_comes_during_a_change_sees_the_endpoint_that_joins() -> None:
    """An observer that comes during a change sees every end of the endpoint that joins, also without a timed load."""
    lb, selector, _ = pool(["a"], InFlight())
    seen: list[str] = []

    def observe() -> None:
        lb.on_completion(lambda endpoint, completion: seen.append(endpoint.id))

    selector.act = observe
    lb.add("b")
    with lb.acquire(exclude={"a"}), lb.acquire():
        pass
    assert seen == ["a", "b"]


def test_a_change_that_another_overtakes_is_made_again() -> None:
    """What the selector itself changes while it prepares is kept, and so is the change that it prepared for."""
    lb, selector, _ = pool(["a"], InFlight())
    selector.act = lambda: lb.add("early")
    lb.add("late")
    assert [endpoint.id for endpoint in lb.endpoints] == ["a", "early", "late"]


def test_a_change_that_changes_nothing_keeps_the_state() -> None:
    """A change to the same endpoints in the same order keeps the pool that is there."""
    lb = LoadBalancer(["a", "b"])
    before = lb._runtime.state
    lb.update(lb.endpoints)
    lb.update(["a", "b"])
    assert lb._runtime.state is before


@pytest.mark.parametrize("ids", [["a"], ["a", "b"]])
def test_a_change_of_every_member_is_a_change(ids: list[str]) -> None:
    """New weights of all endpoints are a change, although the ids are the same in the same order."""
    lb = LoadBalancer(ids)
    versions = [lb._runtime.state.nodes.version]
    lb.update([Endpoint(id, weight=3.0) for id in ids])
    versions.append(lb._runtime.state.nodes.version)
    assert [endpoint.weight for endpoint in lb.endpoints] == [3.0] * len(ids)
    lb.add("more")
    versions.append(lb._runtime.state.nodes.version)
    assert versions == sorted(set(versions))


def test_a_request_with_an_exclusion_leaves_no_cost_behind() -> None:
    """Only requests with a cost of their own are counted as such."""
    lb = LoadBalancer(["a", "b"], load=InFlightCost())
    with lb.acquire(exclude={"b"}):
        assert {node.costed for node in nodes(lb)} == {0}
    with lb.acquire(exclude={"b"}, cost=3.0):
        assert {node.open_cost for node in nodes(lb)} == {0.0, 3.0}
    assert {(node.costed, node.open_cost) for node in nodes(lb)} == {(0, 0.0)}


class Learning(Interfering):
    """A selector that wants to know how requests end."""

    learns_from_successes = True

    def __init__(self, *, thread_safe: bool) -> None:
        self.thread_safe = thread_safe
        self.held: list[tuple[str, ...]] = []
        self.locks: Any = None

    def learn(self, node: Node, completion: Completion) -> None:
        """Note the locks that it is told under."""
        self.held.append(self.locks.held())


@pytest.mark.parametrize("thread_safe", [True, False])
@pytest.mark.parametrize("observed", [True, False])
def test_a_selector_that_learns_is_told_of_every_success(*, thread_safe: bool, observed: bool) -> None:
    """A selector that learns is told of every success, beside observers too.

    It is told under its own lock if it is not thread-safe, and under none if it is.
    """
    selector = Learning(thread_safe=thread_safe)
    lb = LoadBalancer(["a"], selector=selector, load=InFlight())
    selector.locks = lb._runtime.locks
    seen: list[str] = []
    if observed:
        lb.on_completion(lambda endpoint, completion: seen.append(endpoint.id))
    for _ in range(5):
        with lb.acquire():
            pass
    assert selector.held == [() if thread_safe else ("serial",)] * 5
    assert len(seen) == 5 * observed


def test_a_task_that_queues_another_keeps_the_turn() -> None:
    """While a queued task runs, nothing else tells the machines. A task that it queues is done after it."""
    turn, done = Turn(EngineLocks()), list[str]()

    def outer() -> list[Event]:
        turn.run(lambda: done.append("inner") or [])
        assert turn.run_if_free(lambda: done.append("other") or []) == []
        done.append("outer")
        return []

    turn.run(outer)
    assert done == ["outer", "inner"]
