"""Changes of the pool that others overtake: what loads share, and what observers see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from balancekit import LoadBalancer
from balancekit.loads import ExpectedDelay, FailureAware, InFlight
from balancekit.node import Node
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
    """Also without a load that is timed, every end is reported to it."""
    lb, selector, _ = pool(["a"], InFlight())
    seen: list[str] = []

    def observe() -> None:
        lb.on_completion(lambda endpoint, completion: seen.append(endpoint.id))

    selector.act = observe
    lb.add("b")
    with lb.acquire(exclude={"a"}), lb.acquire():
        pass
    assert seen == ["a", "b"]
