"""State that the expected delays of one pool share: the mean pace, the least, and the clock of turns.

Cost: a sweep once a second looks at every endpoint, 256 at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from random import Random
from typing import Final, Protocol, TypeAlias, final

from balancekit.loads._success_rate import FailurePenalty
from balancekit.node import Load, Node

__all__ = ["ExpectedDelayPool", "PacedLoad", "SweepTotals"]

MIN_PACE_S: Final = 1e-9
"""The least pace, in seconds."""
TIE: Final = 0.15
"""Paces count as equal to the least one within this share of it, which covers noise and short bursts of requests."""
TIE_ERRORS: Final = 0.5
"""They also do within this many standard errors of the mean of exponential times."""
TURN: Final = 0.01
"""A turn, in paces and standard errors. With more, slow endpoints are picked more often; with less, noise breaks the ties."""
MIN_TURN: Final = 0.002
"""The least turn, in paces, for any number of answers."""
MAX_TURN_PACE: Final = 4.0
"""The longest turn is that of an endpoint this many times as slow as the mean."""
CROWD: Final = 5.0
"""A queue counts as ``queue * (queue + 5)``: a queue of two 2.3 times as much as one request, a queue of four six times."""
LONE: Final = CROWD + 1.0
"""The count of a single request. So the numbers that picks compare are in sixths of a second."""
QUEUES: Final = tuple([(found + 1.0) * (found + 1.0 + CROWD) for found in range(1024)])
"""The count of a queue at an endpoint of capacity 1, by the number of requests that a new one finds there."""
MAX_FOUND: Final = len(QUEUES) - 1
"""The counts of longer queues are computed when needed."""
SWEEP_S: Final = 1.0
"""Seconds between two sweeps."""
SWEPT_PER_S: Final = 2500
"""The most endpoints per second that sweeps visit: 0.5 % of a processor."""
MAX_UNORDERED: Final = 16
"""Up to this many endpoints that join together are made in the order of the list, and get their places when a selector needs
them."""
BATCH: Final = 256
"""The most endpoints that one request visits when a sweep is due."""


class PacedLoad(Load, Protocol):
    """What a pool needs of the load of one endpoint."""

    known: bool
    """Whether there has been an answer, or a wait long enough to learn from."""
    place: float | None
    """Where the endpoint stands in the order of picks from a large pool, 0 to 1; ``None`` until it is drawn."""

    @property
    def pace(self) -> float:
        """What one request takes of the endpoint, in seconds."""
        ...

    def restate(self, now: float) -> None:
        """Restate what picks compare."""
        ...

    def sweep(self, now: float, totals: SweepTotals) -> None:
        """Let time pass, and add to the totals of this round."""
        ...


def queue_count(found: int, capacity: float) -> float:
    """Return the count of the queue of a new request that finds ``found`` others at an endpoint of this capacity."""
    queue = found / capacity + 1.0
    return queue * (queue + CROWD)


LoadMaker: TypeAlias = Callable[["ExpectedDelayPool", Node, float], PacedLoad]
"""Makes the load of one node of a pool, with a guess at its pace in seconds, or 0."""


@final
class ExpectedDelayPool:
    """What the loads of one pool share.

    Parameters
    ----------
    make
        Makes the load of a node.
    memory
        Time constant of the pace in seconds.
    penalty
        How much failures raise a delay.
    """

    __slots__ = (
        "_guesses",
        "_learned",
        "_loads",
        "_make",
        "_paces",
        "_pending",
        "_places",
        "_totals",
        "clock",
        "deadline",
        "least",
        "longest",
        "memory",
        "penalty",
        "picks",
        "rate",
        "taken",
        "taken_delay",
        "turn",
        "typical",
    )

    def __init__(self, make: LoadMaker, *, memory: float, penalty: FailurePenalty) -> None:
        self.memory: float = memory
        self.penalty: FailurePenalty = penalty
        self.rate: float = 1.0 / memory
        self.typical: float = 0.0
        """Mean pace of the endpoints that have answered, in seconds; 0 until one has."""
        self.least: float = MIN_PACE_S
        """Paces below this are taken for equal to it."""
        self.turn: float = LONE * TURN
        """How far a pick moves the turn of an endpoint of mean capacity, for each second of its price, in sixths of a second."""
        self.longest: float = MAX_TURN_PACE
        """The greatest price of which it moves by that much, in seconds."""
        self.clock: float = 0.0
        """The turn of the endpoint picked last, or an earlier one that was greater."""
        self.taken: Node | None = None
        """The endpoint that a selector has picked last on the slow path."""
        self.taken_delay: float = 0.0
        """Its delay as stated by that pick. Another one shows that its request has begun and ended, or time has passed."""
        self.picks: int = 0
        """Requests seen by sweeps."""
        self.deadline: float = -math.inf
        """When :meth:`advance` is due next."""
        self._make = make
        self._learned = 0
        self._loads: dict[Node, PacedLoad] = {}
        self._paces: Sequence[float] = ()  # of those that had answered, when they were last looked at
        self._pending: list[PacedLoad] = []
        self._places: Iterator[float] = iter(())
        self._guesses: Iterator[float] = iter(())
        self._totals = SweepTotals()

    @property
    def size(self) -> int:
        """How many endpoints there are."""
        return len(self._loads)

    @property
    def round_s(self) -> float:
        """Seconds in which sweeps come to every endpoint, if there are requests enough."""
        return max(SWEEP_S, len(self._loads) / SWEPT_PER_S)

    def joining_order(self, count: int, rng: Random) -> Sequence[int]:
        """Draw places and guesses for the next ``count`` loads; return in what order to make them, by their numbers.

        What is made one after the other lies side by side in memory. So a pick from a large pool, which looks at
        neighbours in the order of places, and the picks after it find much of what they read in the caches.

        Of a newcomer to a pool that has answered is guessed what one of the others is, drawn at random. So of ``n`` callers
        with ``n`` endpoints one takes it for the best: it is not avoided, as with a mean, and not all come at once.
        """
        self._guesses = iter(rng.choices(self._paces, k=count) if self._paces else ())
        if count <= MAX_UNORDERED:
            self._places = iter(())
            return range(count)
        drawn = [rng.random() for _ in range(count)]
        order = sorted(range(count), key=drawn.__getitem__)
        self._places = iter([drawn[number] for number in order])
        return order

    def __call__(self, node: Node) -> PacedLoad:
        """Make the load of one node."""
        load = self._make(self, node, next(self._guesses, 0.0))
        load.place = next(self._places, None)
        self.add(node, load)
        return load

    def add(self, node: Node, load: PacedLoad) -> None:
        """Have a node's load share with the others."""
        self._loads[node] = load

    def forget(self, node: Node) -> None:
        """Leave out a node that has gone."""
        self._loads.pop(node, None)

    def advance(self, *, now: float) -> None:
        """Look at the next endpoints; with the last one of a round, recompute mean and least."""
        if not self._pending:
            self._pending = list(self._loads.values())
            self._totals = SweepTotals()
        batch = self._pending[-BATCH:]
        del self._pending[-BATCH:]
        for load in batch:
            load.sweep(now, self._totals)
        self.deadline = now + self.round_s / max(1, math.ceil(len(self._loads) / BATCH))
        if not self._pending:
            self._conclude(self._totals)

    def learn(self, now: float) -> None:
        """Record that one more endpoint has answered; when their number has doubled, recompute the mean at once."""
        self._learned += 1
        if self._learned <= len(self._paces):
            return
        self._settle([load.pace for load in list(self._loads.values()) if load.known])
        self._learned = 0
        for load in list(self._loads.values()):
            load.restate(now)

    def _conclude(self, totals: SweepTotals) -> None:
        self.picks += totals.picks
        paces = totals.paces
        if not paces:
            return
        error = 1.0 / sqrt(1.0 + totals.count / len(paces))
        self._settle(paces)
        self.least = max(MIN_PACE_S, min(paces) * (1.0 + TIE + TIE_ERRORS * error))
        self.turn = LONE * max(MIN_TURN, TURN * error)

    def _settle(self, paces: Sequence[float]) -> None:
        self._paces = paces
        self.typical = typical = math.fsum(paces) / len(paces) if paces else 0.0
        self.longest = MAX_TURN_PACE * (typical or 1.0)


@final
class SweepTotals:
    """What one round of sweeps has added up."""

    __slots__ = ("count", "paces", "picks")

    def __init__(self) -> None:
        self.paces: list[float] = []
        """Of the endpoints that have answered."""
        self.count: float = 0.0
        self.picks: int = 0
