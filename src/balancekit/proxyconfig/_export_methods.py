"""Selectors and what each proxy has in their place, with how near it comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["METHODS", "Method"]


class Method(NamedTuple):
    """A method of a proxy in the place of a selector."""

    words: str
    """The directive; ``KEY`` stands for what is hashed."""
    fidelity: str
    """How near it comes to the selector: a word that ``Export.fidelity`` explains."""
    weighted: bool = True
    why: str = ""
    """What differs, if it is only the nearest."""


NO_LATENCY: Final = "it does not measure latency; the fewest requests in flight instead"
RING: Final = "a ring of {n} instead: keys move as little, shares are less even"

METHODS: Final[Mapping[str, Mapping[str, Method]]] = {
    "nginx": {
        "RoundRobin": Method("", "same", weighted=False),
        "SmoothWeightedRoundRobin": Method("", "same"),
        "StrideScheduling": Method("", "rule"),
        "LeastRequest": Method("least_conn", "rule"),
        "LeastResponseTime": Method("least_conn", "nearest", why=NO_LATENCY),
        "ShortestExpectedDelay": Method("least_conn", "nearest", why=NO_LATENCY),
        "PowerOfChoices": Method("random two least_conn", "rule"),
        "UniformRandom": Method("random", "rule", weighted=False),
        "WeightedRandom": Method("random", "rule"),
        "First": Method("", "same", weighted=False),
        "RingHash": Method("hash KEY consistent", "keys"),
        "MaglevHash": Method("hash KEY consistent", "nearest", why=RING.format(n="160 points a weight")),
        "RendezvousHash": Method("hash KEY consistent", "nearest", why=RING.format(n="160 points a weight")),
        "SourceHash": Method("hash KEY", "keys", weighted=False),
    },
    "haproxy": {
        "RoundRobin": Method("roundrobin", "same", weighted=False),
        "SmoothWeightedRoundRobin": Method("roundrobin", "rule"),
        "StrideScheduling": Method("roundrobin", "rule"),
        "LeastRequest": Method("leastconn", "rule"),
        "LeastResponseTime": Method("leastconn", "nearest", why=NO_LATENCY),
        "ShortestExpectedDelay": Method("leastconn", "nearest", why=NO_LATENCY),
        "PowerOfChoices": Method("random(D)", "rule"),
        "UniformRandom": Method("random(1)", "rule", weighted=False),
        "WeightedRandom": Method("random(1)", "rule"),
        "First": Method("first", "same", weighted=False),
        "RingHash": Method("KEY consistent", "keys"),
        "MaglevHash": Method("KEY consistent", "nearest", why=RING.format(n="160 points a weight")),
        "RendezvousHash": Method("KEY consistent", "nearest", why=RING.format(n="160 points a weight")),
        "SourceHash": Method("KEY map-based", "keys", weighted=False),
    },
    "envoy": {
        "RoundRobin": Method("ROUND_ROBIN", "same", weighted=False),
        "SmoothWeightedRoundRobin": Method("ROUND_ROBIN", "rule"),
        "StrideScheduling": Method("ROUND_ROBIN", "rule"),
        "LeastRequest": Method("LEAST_REQUEST", "rule"),
        "LeastResponseTime": Method("LEAST_REQUEST", "nearest", why=NO_LATENCY),
        "ShortestExpectedDelay": Method("LEAST_REQUEST", "nearest", why=NO_LATENCY),
        "PowerOfChoices": Method("LEAST_REQUEST", "rule"),
        "UniformRandom": Method("RANDOM", "rule", weighted=False),
        "WeightedRandom": Method(
            "ROUND_ROBIN", "nearest", why="RANDOM ignores weights; the weighted rotation has the same shares"
        ),
        "First": Method("ROUND_ROBIN", "same", weighted=False),
        "RingHash": Method("RING_HASH", "keys"),
        "MaglevHash": Method("MAGLEV", "keys"),
        "RendezvousHash": Method(
            "MAGLEV", "nearest", why="a Maglev table instead: shares as even, a few more keys move"
        ),
        "SourceHash": Method(
            "RING_HASH",
            "nearest",
            weighted=False,
            why="a ring instead: fewer keys move than by hash modulo n",
        ),
    },
}
"""The method in the place of each selector, by proxy."""
