"""Selectors: algorithms from a snapshot to a node; one is given to a balancer as ``selector=``.

=================================  =======================================================
:class:`ShortestExpectedDelay`     the soonest expected answer; the default
:class:`PowerOfChoices`            two at random, the less loaded one
:class:`LeastRequest`              the fewest open leases per weight, exactly
:class:`LeastResponseTime`         the soonest expected answer, looking at all
:class:`RoundRobin`                each in turn
:class:`SmoothWeightedRoundRobin`  each in turn by weight, as nginx does
:class:`StrideScheduling`          each in turn by weight, for large pools and odd weights
:class:`UniformRandom`             at random
:class:`WeightedRandom`            at random, by weight
:class:`First`                     the first that may be picked
:class:`RingHash`                  by key, on a consistent-hash ring
:class:`MaglevHash`                by key, in an evenly filled table
:class:`RendezvousHash`            by key, the highest bid; exact weights
:class:`BoundedLoad`               by key, passing over endpoints above their bound
:class:`SourceHash`                ``hash(key) % n``
=================================  =======================================================
"""

from __future__ import annotations

from balancekit.selectors._bounded import BoundedLoad
from balancekit.selectors._choices import PowerOfChoices
from balancekit.selectors._consistent_hash import MaglevHash, RendezvousHash, RingHash
from balancekit.selectors._expected_delay import ShortestExpectedDelay
from balancekit.selectors._first import First
from balancekit.selectors._least_request import LeastRequest
from balancekit.selectors._modulo_hash import SourceHash
from balancekit.selectors._random import UniformRandom, WeightedRandom
from balancekit.selectors._response_time import LeastResponseTime
from balancekit.selectors._round_robin import RoundRobin
from balancekit.selectors._weighted import SmoothWeightedRoundRobin, StrideScheduling

__all__ = [
    "BoundedLoad",
    "First",
    "LeastRequest",
    "LeastResponseTime",
    "MaglevHash",
    "PowerOfChoices",
    "RendezvousHash",
    "RingHash",
    "RoundRobin",
    "ShortestExpectedDelay",
    "SmoothWeightedRoundRobin",
    "SourceHash",
    "StrideScheduling",
    "UniformRandom",
    "WeightedRandom",
]
