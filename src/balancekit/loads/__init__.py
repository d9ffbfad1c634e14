"""Loads: how busy an endpoint is; a load policy is given to a balancer as ``load=``.

========================  ==============================================================================
:class:`ExpectedDelay`    pace, in-flight and success rate; the default
:class:`FailureAware`     latency of successes that rises at once and falls slowly, in-flight and success rate
:class:`InFlight`         open leases; exact, no clock
:class:`InFlightCost`     summed cost of the open leases
:class:`WaitingCost`      summed cost of the open leases whose answer has not begun
:class:`PeakEwmaLatency`  latency that rises at once and falls slowly, times in-flight (Finagle)
:class:`EwmaLatency`      symmetric average of latency, times in-flight
========================  ==============================================================================

A policy is a callable that makes one :class:`~balancekit.protocols.Load` per node; a class whose
constructor takes the node is one.
"""

from __future__ import annotations

from balancekit.loads._expected_delay import ExpectedDelay
from balancekit.loads._expected_delay_load import ExpectedDelayLoad
from balancekit.loads._failure_aware import FailureAware, FailureAwareLoad
from balancekit.loads._inflight import CountedLoad, InFlight, InFlightCost, WaitingCost
from balancekit.loads._latency import EwmaLatency, LatencyLoad, PeakEwmaLatency

__all__ = [
    "CountedLoad",
    "EwmaLatency",
    "ExpectedDelay",
    "ExpectedDelayLoad",
    "FailureAware",
    "FailureAwareLoad",
    "InFlight",
    "InFlightCost",
    "LatencyLoad",
    "PeakEwmaLatency",
    "WaitingCost",
]
