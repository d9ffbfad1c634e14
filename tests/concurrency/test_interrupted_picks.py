"""A pick that is interrupted leaves an order that loses no endpoint, and the next picks are right again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from threading import RLock
from typing import Any

import pytest
from tests.concurrency._interrupts import Interrupt, at_every_place

from balancekit.node import Node
from balancekit.scheduling import LowestFirst, Ranked, ScoreBuckets, SmoothWrr
from balancekit.testing import make_nodes

WEIGHTS = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 2.0, "e": 1.5}


def score(node: Node) -> float:
    """Return what both orders compare."""
    return (node.inflight + 1) / node.weight


def buckets(nodes: list[Node]) -> Any:
    """Return the nodes in buckets."""
    found = ScoreBuckets(nodes, Random(3), RLock())
    for node in nodes:
        node.on_low_water = found.record_fall
    return found


def heap(nodes: list[Node]) -> Any:
    """Return the nodes in a heap, which is told of each request that ends."""

    def current(node: Node) -> Callable[[], float]:
        return lambda: score(node)

    found = LowestFirst({node: current(node) for node in nodes}, Random(3), RLock())
    for node in nodes:
        ranked = found.ranked[node]
        node.on_low_water, node.low_water = partial(_ended, ranked), 1 << 30
    return found


def _ended(ranked: Ranked[Node], _node: Node) -> None:
    ranked.changed(ranked)


def end(node: Node) -> None:
    """End a request as a lease does."""
    node.inflight -= 1
    if node.inflight < node.low_water:
        node.on_low_water(node)


def disturbed(make: Callable[[list[Node]], Any]) -> tuple[list[Node], Any]:
    """Return nodes and an order of them that has many to move: requests have begun unseen, and others have ended."""
    nodes = list(make_nodes(WEIGHTS))
    order = make(nodes)
    for node in nodes:
        node.inflight += 3
    order.lowest()
    for node in nodes[1:4]:
        end(node)
    nodes[0].inflight += 1
    nodes[4].inflight += 2
    return nodes, order


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("exclude", [(), ("d",), tuple("abcd"), tuple("abcde")], ids="".join)
@pytest.mark.parametrize("make", [buckets, heap])
@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_an_interrupt_anywhere_in_a_pick_loses_no_endpoint(
    make: Callable[[list[Node]], Any], exclude: tuple[str, ...], *, jumps: bool
) -> None:
    """After a KeyboardInterrupt at any place of a pick, each later pick is a minimum, with exclusions too."""
    for injector in at_every_place(jumps=jumps):
        nodes, order = disturbed(make)
        with suppress(Interrupt), injector:
            order.lowest_except(set(exclude))
        for _ in range(12):
            found = order.lowest()
            assert score(found) == min(map(score, nodes)), injector.where
            found.inflight += 1
        for node in nodes:
            others = {other.id for other in nodes if other is not node}
            assert order.lowest_except(others) is node, injector.where
    assert injector.place > (2 if jumps else 10)


@pytest.mark.parametrize("weights", [[5.0, 1.0, 1.0], [2.5, 2.5, 1.0, 0.3]])
def test_an_interrupted_turn_is_taken_or_not(weights):
    """A KeyboardInterrupt at any place leaves ``SmoothWrr.take`` done or not begun. The order goes on from there."""
    for jumps in (False, True):
        for injector in at_every_place(jumps=jumps):
            turns, wanted = SmoothWrr(weights), SmoothWrr(weights)
            for _ in range(5):
                assert turns.take() == wanted.take()
            with suppress(Interrupt), injector:
                turns.take()
            where = injector.where
            follows = [turns.take() for _ in range(12)]
            expected = [wanted.take() for _ in range(13)]
            assert follows in (expected[:12], expected[1:]), where
        assert jumps or injector.place > 3
