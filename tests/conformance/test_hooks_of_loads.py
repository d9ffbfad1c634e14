"""Loads whose optional hooks and statements are wrong: each is found by the law that states it."""

from __future__ import annotations

import math
from collections import deque
from time import monotonic

import pytest

from balancekit import Outcome
from balancekit.testing import LawBroken, check_load


class Fine:
    """A load without a mistake."""

    def __init__(self, node):
        self.node = node

    def started(self, *, now, cost):
        """Count nothing: the node does."""

    def finished(self, completion):
        """Count nothing: the node does."""

    def value(self, *, now):
        """Return open requests by capacity."""
        return self.node.inflight / self.node.capacity


class Counts(Fine):
    """Counts open requests itself."""

    count = 0

    def started(self, *, now, cost):
        """Count one more."""
        self.count += 1

    def finished(self, completion):
        """Count one less."""
        self.count -= 1

    def value(self, *, now):
        """Return the count."""
        return self.count


class NeedsStarts(Counts):
    """States that it needs no starts."""

    needs_start = False


class NeedsEnds(Counts):
    """States that it needs no ends."""

    needs_end = False


class NeedsTimes(Fine):
    """States that it needs no times, and takes off half a request for the last success, or less if that was fast."""

    timed = False
    bonus = 0.0

    def finished(self, completion):
        """Remember the latency of a success."""
        if completion.outcome is Outcome.SUCCESS:
            self.bonus = min(0.5, completion.latency)

    def value(self, *, now):
        """Return open requests, less the bonus."""
        return self.node.inflight - self.bonus


class ForgetsInflight(Counts):
    """Forgets open requests when it is reset."""

    def reset(self):
        """Begin again."""
        self.count = 0


class ForgetsNothing(Fine):
    """Holds failures against an endpoint that is back."""

    failures = 0

    def finished(self, completion):
        """Count failures in a row."""
        self.failures = min(9, self.failures + 1) if completion.outcome is not Outcome.SUCCESS else 0

    def reset(self):
        """Forget nothing."""

    def value(self, *, now):
        """Return open requests and failures."""
        return self.node.inflight + self.failures


class Resets(ForgetsNothing):
    """Forgets failures: nothing wrong here."""

    def reset(self):
        """Forget failures."""
        self.failures = 0


class NeverForgives(Fine):
    """Is infinite after a failure."""

    failed = False

    def finished(self, completion):
        """Remember a failure."""
        self.failed = self.failed or completion.outcome is Outcome.FAILURE

    def value(self, *, now):
        """Return open requests, or infinity."""
        return math.inf if self.failed else self.node.inflight


class Keeps(Fine):
    """Keeps each end."""

    def __init__(self, node):
        self.node, self.ends = node, self.made()

    def made(self):
        """Return what keeps them."""
        return []

    def finished(self, completion):
        """Keep it."""
        self.ends.append(completion.outcome)


class KeepsSome(Keeps):
    """Keeps a hundred ends: nothing wrong here."""

    def made(self):
        """Return what keeps them."""
        return deque(maxlen=100)


class ByWeight(Fine):
    """Divides by a weight that may be zero."""

    def value(self, *, now):
        """Return open requests by weight."""
        return self.node.inflight / self.node.weight


class ClockByName(Fine):
    """Reads a clock that was imported by name."""

    def __init__(self, node):
        self.node, self.made_at = node, monotonic()

    def value(self, *, now):
        """Return open requests, and a little that depends on the clock."""
        return self.node.inflight + self.made_at % 7.0


class HashOfText(Fine):
    """Breaks ties by ``hash`` of an id."""

    def value(self, *, now):
        """Return open requests, and a little that depends on the process."""
        return self.node.inflight + hash(self.node.id) % 97 / 1e3


class Pool:
    """A policy whose loads have a comparison in common: nothing wrong here."""

    def for_pool(self):
        """Return another."""
        return type(self)()

    def __call__(self, node):
        """Make a load."""
        return Fine(node)

    def comparer(self, *, weighted):
        """Return a function that compares open requests by capacity."""
        return lambda one, other, now: min(one, other, key=lambda node: node.inflight / node.capacity)


class ComparesMost(Pool):
    """Compares the wrong way round."""

    def comparer(self, *, weighted):
        """Return a function that returns the busier one."""
        return lambda one, other, now: max(one, other, key=lambda node: node.inflight / node.capacity)


class ComparesCounts(Pool):
    """Ignores capacities when it compares."""

    def comparer(self, *, weighted):
        """Return a function that compares open requests."""
        return lambda one, other, now: min(one, other, key=lambda node: node.inflight)


class Forgets(Pool):
    """A pool that knows its nodes, and forgets them: nothing wrong here."""

    def __init__(self):
        self.nodes = {}

    def __call__(self, node):
        """Make a load."""
        self.nodes[node.id] = node
        return Fine(node)

    def forget(self, node):
        """Forget it."""
        self.nodes.pop(node.id, None)


class Remembers(Forgets):
    """A pool that keeps the nodes that have left."""

    def forget(self, node):
        """Forget nothing."""


FOUND = {
    NeedsStarts: r"law 12, needs_start = False is true: 0 became -1 without started\(\)",
    NeedsEnds: "law 12, needs_end = False is true: 0 became 1 without successes",
    NeedsTimes: "law 12, timed = False is true: .* without times",
    ForgetsInflight: "law 15, .*: 0 after failures and reset.*, 1 of an endpoint that has just joined, with one",
    ForgetsNothing: "law 15, .*: 10 after failures and reset",
    NeverForgives: "law 17, failures are forgotten: inf after 5 failures",
    Keeps: "law 16, memory .* another 3,000 requests",
    ByWeight: "law 2, value raises nothing: ZeroDivisionError",
    ClockByName: "law 10, ",
    HashOfText: "law 10, ",
    ComparesMost: "law 13, the comparer returns the lower value",
    ComparesCounts: "law 13, the comparer returns the lower value",
    Remembers: r"law 14, forget drops the node: the pool still refers to \['b', 'c'\]",
}


def maker(kind):
    """Return a function that makes the policy."""
    return kind if issubclass(kind, Pool) else lambda: kind


@pytest.mark.parametrize("wrong", FOUND, ids=lambda wrong: wrong.__name__)
def test_a_mistake_is_found_by_its_law(wrong):
    """The error names the law and the values."""
    with pytest.raises(LawBroken, match=FOUND[wrong]):
        check_load(maker(wrong))


@pytest.mark.parametrize(
    "right", [Fine, Counts, Resets, KeepsSome, Pool, Forgets], ids=lambda right: right.__name__
)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_right_breaks_no_law(right, seed):
    """Counts, resets, bounded memories, comparisons and pools that forget are no mistakes."""
    check_load(maker(right), seed=seed)
