"""Registry of the measured algorithms: every selector, and every structure of ``hashing``."""

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
    """A selector as it is measured.

    Parameters
    ----------
    make
        Makes one.
    load
        Makes the load it looks at; the selector's own if left out.
    keyed
        Whether requests have keys.
    weighted
        Whether it heeds weights.
    exact
        How its shares of equal endpoints are known: ``"rotation"``, ``"random"``, or ``""`` if they follow from loads.
    health
        Whether the balancer's default health is on.
    linear
        Whether a pick looks at every endpoint.
    """

    make: Callable[[], Any]
    load: Callable[[], Any] | None = None
    keyed: bool = False
    weighted: bool = True
    exact: str = ""
    health: bool = False
    linear: bool = False

    def balancer(self) -> MakeBalancer:
        """Return what makes a balancer of it in a simulation."""

        def make(pool: list[Endpoint[str]], clock: Callable[[], float], rng: Generator) -> LoadBalancer[str]:
            return LoadBalancer(pool, selector=self.make(), clock=clock, rng=rng, **self.options())

        return make

    def options(self) -> dict[str, Any]:
        """Return what a balancer is given besides endpoints, selector, clock and generator."""
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
    """A structure of ``hashing`` as it is measured.

    Parameters
    ----------
    make
        Makes one of some nodes.
    exact
        Whether ``shares()`` says what this very structure owns, not only what is expected of it.
    weighted
        Whether nodes may have weights.
    last_only
        Whether only the end of the list may change without moving more than it must.
    history
        Whether owners depend on the changes that led to these nodes.
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
    """Return ids in order; another seed or run has others."""
    width = len(str(count))
    return [f"{seed}.{run}.{number:0{width}}" for number in range(count)]


def places(count: int, seed: int) -> NDArray[np.int64]:
    """Return keys: numbers with nothing in common."""
    return np.random.default_rng(seed).integers(0, 1 << 62, count)
