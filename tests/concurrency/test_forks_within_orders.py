"""A forked child picks as its parent does, whatever another thread was in the middle of moving."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from random import Random
from threading import RLock
from typing import Any

import pytest
from tests.concurrency.test_fork import in_child

from balancekit import Endpoint, Node
from balancekit._support import fork
from balancekit._support.fork import call_in_child
from balancekit.loads import InFlight
from balancekit.scheduling import LowestFirst, OpenTotal, ScoreBuckets

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

WAIT_S = 30.0


class _Gate(Node):
    """A node at which a thread stops, once, in the middle of a move."""

    __slots__ = ("go_on", "reached")

    def __init__(self, id: str) -> None:
        super().__init__(Endpoint(id), InFlight())
        self.reached, self.go_on = threading.Event(), threading.Event()

    def stop(self) -> None:
        """Wait, if it is the first time."""
        if not self.reached.is_set():
            self.reached.set()
            self.go_on.wait(WAIT_S)

    def notify_below(self, low_water: int) -> None:
        """Stop where an item is put in its place."""
        super().notify_below(low_water)
        if low_water == 1 and threading.current_thread() is not threading.main_thread():
            self.stop()


def buckets() -> tuple[list[Node], _Gate, Any, Callable[[Node], None]]:
    """Return buckets in which a thread will stop."""
    gate = _Gate("a")
    nodes: list[Node] = [gate, *[Node(Endpoint(id), InFlight()) for id in "bcd"]]
    made = ScoreBuckets(nodes, Random(1), RLock())
    return nodes, gate, made, made.record_fall


def heap() -> tuple[list[Node], _Gate, Any, Callable[[Node], None]]:
    """Return a heap in which a thread will stop."""
    gate = _Gate("a")
    nodes: list[Node] = [gate, *[Node(Endpoint(id), InFlight()) for id in "bcd"]]

    def score(node: Node) -> float:
        if node is gate and threading.current_thread() is not threading.main_thread():
            gate.stop()
        return node.inflight

    made = LowestFirst({node: lambda node=node: score(node) for node in nodes}, Random(1), RLock())

    def report(node: Node) -> None:
        ranked = made.ranked[node]
        ranked.changed(ranked)

    return nodes, gate, made, report


@pytest.mark.parametrize("make", [buckets, heap])
def test_picks_of_a_child_are_spread_though_a_thread_was_moving_items(make: Callable[[], Any]) -> None:
    """A fork in the middle of a move leaves equal items equally likely in the child, by a lock of the caller too."""
    nodes, gate, order, report = make()

    def settle() -> None:
        gate.inflight = 1
        report(gate)
        for _ in range(50):
            order.lowest()

    thread = threading.Thread(target=settle)
    thread.start()
    assert gate.reached.wait(WAIT_S)

    def child() -> list[str]:
        found = set()
        for node in nodes:
            node.inflight = 0
            report(node)
        for _ in range(200):
            node = order.lowest()
            found.add(node.id)
            report(node)
        return sorted(found)

    try:
        assert in_child(child) == "['a', 'b', 'c', 'd']"
    finally:
        gate.go_on.set()
        thread.join()
    order.lowest()
    assert not getattr(order, "_moving", False)


def test_a_sum_is_right_in_a_child_though_a_thread_was_adding() -> None:
    """The sum of requests in flight is added up again in a child, and its lock is free there."""
    nodes = [Node(Endpoint(id), InFlight()) for id in "ab"]
    lock = RLock()
    total = OpenTotal(nodes, lock)
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            total._sum += 1  # as `starting` does before it notes the level
            inside.set()
            go_on.wait(WAIT_S)
            total._sum -= 1

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(WAIT_S)

    def child() -> int:
        total.starting(nodes[0])
        nodes[0].inflight += 1
        return total.read()

    try:
        assert in_child(child) == "1"
    finally:
        go_on.set()
        thread.join()


def test_an_owner_that_raises_keeps_none_of_the_others_from_starting_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every owner starts over in a child, also if another one fails, or a signal handler raises meanwhile."""
    done: list[int] = []

    class Owner:
        def __init__(self, number: int) -> None:
            self.number = number
            call_in_child(self)

        def after_fork(self) -> None:
            done.append(self.number)
            raise KeyboardInterrupt

    owners = [Owner(number) for number in range(3)]
    monkeypatch.setattr(fork, "_LOCKS", set())
    monkeypatch.setattr(fork, "_OWNERS", owners)
    with pytest.raises(KeyboardInterrupt):
        fork._after_fork()
    assert sorted(done) == [0, 1, 2]
