"""Law 18: the memory of a selector, which must not grow with requests, publications, and endpoints that have left."""

from __future__ import annotations

import gc
from collections.abc import Callable
from random import Random
from typing import Final

from balancekit._selection.pickers import pickers_of
from balancekit.outcome import Completion, Outcome
from balancekit.protocols import Selector, SupportsFeedback, SupportsPrepare
from balancekit.snapshot import Members, Node, Snapshot
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context
from balancekit.testing._memory import MIN_BYTES, held_bytes
from balancekit.testing.laws._subject import Subject

__all__ = ["forgets_what_left"]

LAW: Final = "18, forgets_what_left"
PICKS: Final = 12_000
"""Number of picks in half a history. A record of the last 10,000 of them is full by then."""
PUBLICATIONS: Final = 100
"""Number of published snapshots in half a history."""
GENERATIONS: Final = 3
"""Number of times in half a history that all endpoints are replaced."""
ENDPOINTS: Final = 200


def forgets_what_left(subject: Subject) -> None:
    """Law 18. The memory of a selector does not grow with picks, snapshots, and endpoints that have left.

    It is measured halfway and at the end of three histories: 24,000 picks, 200 snapshots of the same endpoints, and six
    generations of 200 endpoints. What a selector keeps by key is not checked. It may hold as much as the first half fills.
    """
    _check(_picks(subject), f"{PICKS:,} picks from one snapshot", PICKS)
    _check(_publications(subject), f"{PUBLICATIONS} snapshots of the same endpoints", PUBLICATIONS)
    _check(_generations(subject), f"{GENERATIONS * ENDPOINTS} endpoints had left", GENERATIONS * ENDPOINTS)


def _check(sizes: tuple[int, int], what: str, count: int) -> None:
    before, after = sizes
    if after - before >= MIN_BYTES * count:
        raise LawBroken(LAW, f"the selector held {before:,} bytes, and {after:,} after another {what}")


def _picks(subject: Subject) -> tuple[int, int]:
    nodes = subject.nodes({"a": 2.0, "b": 1.0, "c": 1.0})
    snapshot = Snapshot(Members(nodes, version=1), nodes, version=1)
    selector = subject.make()
    pick = _Picking(selector)
    sizes = []
    for _ in range(2):
        pick.publish(snapshot)
        pick.requests(snapshot, PICKS)
        sizes.append(held_bytes([selector, *_memos(snapshot)]))
    return sizes[0], sizes[1]


def _publications(subject: Subject) -> tuple[int, int]:
    nodes = subject.nodes({"a": 2.0, "b": 1.0, "c": 1.0})
    members = Members(nodes, version=1)
    selector = subject.make()
    pick = _Picking(selector)
    sizes = []
    for half in range(2):
        for number in range(PUBLICATIONS):
            version = half * PUBLICATIONS + number + 1
            snapshot = Snapshot(members, nodes[number % 2 :], version=version)
            pick.publish(snapshot)
            pick.requests(snapshot, 2)
        sizes.append(held_bytes([selector]))
    return sizes[0], sizes[1]


def _generations(subject: Subject) -> tuple[int, int]:
    selector = subject.make()
    pick = _Picking(selector)
    sizes = []
    for half in range(2):
        for number in range(GENERATIONS):
            version = half * GENERATIONS + number + 1
            nodes = subject.nodes({f"v{version}-{place:03}": 1.0 for place in range(ENDPOINTS)})
            snapshot = Snapshot(Members(nodes, version=version), nodes, version=version)
            pick.publish(snapshot)
            pick.requests(snapshot, 2 * ENDPOINTS)
        sizes.append(held_bytes([selector]))
    return sizes[0], sizes[1]


class _Picking:
    """Requests that use a selector as a balancer does: prepared, picked, learned."""

    def __init__(self, selector: Selector) -> None:
        self._selector = selector
        self._rng = Random(41)
        self._now = 0.0

    def publish(self, snapshot: Snapshot) -> None:
        """Prepare the selector for a snapshot, and make its pickers."""
        if isinstance(self._selector, SupportsPrepare):
            self._selector.prepare(snapshot)
        pickers_of(self._selector, snapshot, self._rng)

    def requests(self, snapshot: Snapshot, count: int) -> None:
        """Send requests with one key, one after the other; each succeeds at once."""
        selector: object = self._selector
        learn: Callable[[Node, Completion], None] | None = None
        if isinstance(selector, SupportsFeedback):
            learn = selector.learn
        for _ in range(count):
            self._now += 0.01
            node = self._selector.select(snapshot, make_context(self._rng, key="user:1", now=self._now))
            if node is not None and learn is not None:
                learn(node, Completion(Outcome.SUCCESS, started_at=self._now, ended_at=self._now + 0.005))


def _memos(snapshot: Snapshot) -> list[object]:
    """Return the tables that were derived from a snapshot and its members."""
    both = (snapshot, snapshot.members)
    return [found for one in both for found in gc.get_referents(one) if isinstance(found, dict)]
