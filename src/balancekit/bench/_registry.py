"""Registry of the measured algorithms: the selectors, and the structures of ``hashing``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random as Generator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from balancekit import hashing, selectors
from balancekit._support.record import Record
from balancekit.balancer import LoadBalancer
from balancekit.endpoint import Endpoint
from balancekit.loads import InFlight
from balancekit.sim import MakeBalancer

__all__ = ["SELECTORS", "STRUCTURES", "SelectorCase", "StructureCase", "names", "places"]


class SelectorCase(Record):
    """A selector and the options with which it is measured.

    Parameters
    ----------
    make
        Function that makes the selector.
    load
        Function that makes the load policy; ``None`` for the selector's default.
    keyed
        Whether requests have keys.
    weighted
        Whether the selector follows weights.
    exact
        Rule for the expected shares: ``"rotation"`` for exact shares, ``"random"`` for a multinomial distribution, or ``""``
        if they depend on loads or keys.
    health
        Whether the balancer has the default health policy.
    linear
        Whether the cost of a pick is proportional to the number of endpoints.
    """

    make: Callable[[], Any]
    load: Callable[[], Any] | None = None
    keyed: bool = False
    weighted: bool = True
    exact: str = ""
    health: bool = False
    linear: bool = False

    def balancer(self) -> MakeBalancer:
        """Return a function that makes a balancer with this selector for a simulation."""

        def make(pool: list[Endpoint[str]], clock: Callable[[], float], rng: Generator) -> LoadBalancer[str]:
            return LoadBalancer(pool, selector=self.make(), clock=clock, rng=rng, **self.options())

        return make

    def options(self) -> dict[str, Any]:
        """Return the options of a balancer other than endpoints, selector, clock and random generator."""
        options: dict[str, Any] = {} if self.load is None else {"load": self.load()}
        return options if self.health else options | {"health": None}


SELECTORS: Final[Mapping[str, SelectorCase]] = {
    "RoundRobin": SelectorCase(make=selectors.RoundRobin, weighted=False, exact="rotation"),
    "SmoothWeightedRoundRobin": SelectorCase(make=selectors.SmoothWeightedRoundRobin, exact="rotation"),
    "StrideScheduling": SelectorCase(make=selectors.StrideScheduling, exact="rotation"),
    "UniformRandom": SelectorCase(make=selectors.UniformRandom, weighted=False, exact="random"),
    "WeightedRandom": SelectorCase(make=selectors.WeightedRandom, exact="random"),
    "First": SelectorCase(make=selectors.First, weighted=False),
    "PowerOfChoices": SelectorCase(make=selectors.PowerOfChoices, load=InFlight),
    "PowerOfChoices, failure-aware": SelectorCase(make=selectors.PowerOfChoices, health=True),
    "ShortestExpectedDelay": SelectorCase(make=selectors.ShortestExpectedDelay, health=True),
    "LeastRequest": SelectorCase(make=selectors.LeastRequest),
    "LeastResponseTime": SelectorCase(make=selectors.LeastResponseTime, linear=True),
    "SourceHash": SelectorCase(make=selectors.SourceHash, keyed=True, weighted=False),
    "RingHash": SelectorCase(make=selectors.RingHash, keyed=True),
    "MaglevHash": SelectorCase(make=selectors.MaglevHash, keyed=True),
    "RendezvousHash": SelectorCase(make=selectors.RendezvousHash, keyed=True),
    "BoundedLoad": SelectorCase(make=selectors.BoundedLoad, keyed=True),
}


class StructureCase(Record):
    """A structure of ``hashing`` and its properties.

    Parameters
    ----------
    make
        Function that makes the structure from nodes.
    exact
        Whether ``shares()`` returns the exact shares of the structure. Otherwise they are expected values.
    weighted
        Whether nodes may have weights.
    last_only
        Whether only changes at the end of the list of nodes move no key needlessly.
    history
        Whether owners depend on earlier changes of the nodes.
    """

    make: Callable[[Any], Any]
    exact: bool = False
    weighted: bool = False
    last_only: bool = False
    history: bool = False


STRUCTURES: Final[Mapping[str, StructureCase]] = {
    "HashRing": StructureCase(make=hashing.HashRing, exact=True, weighted=True),
    "MaglevTable": StructureCase(make=hashing.MaglevTable, exact=True, weighted=True),
    "RendezvousHash": StructureCase(make=hashing.RendezvousHash, weighted=True),
    "AnchorHash": StructureCase(make=hashing.AnchorHash, history=True),
    "JumpHash": StructureCase(make=hashing.JumpHash, last_only=True),
    "MultiProbeHash": StructureCase(make=hashing.MultiProbeHash, exact=True),
}


def names(count: int, seed: int, run: int = 0) -> list[str]:
    """Return ascending ids of servers, which differ for each seed and run."""
    width = len(str(count))
    return [f"{seed}.{run}.{number:0{width}}" for number in range(count)]


def places(count: int, seed: int) -> NDArray[np.int64]:
    """Return keys: random whole numbers from 0 to 2**62 - 1."""
    return np.random.default_rng(seed).integers(0, 1 << 62, count)
