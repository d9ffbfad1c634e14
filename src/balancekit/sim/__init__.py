"""What would happen? Simulations in virtual time of the very balancers that production runs.

:class:`Simulation` joins servers (:class:`Server`, with service times), arrivals and faults with balancers made
by any function. :class:`Report` says what came of it.
"""

from __future__ import annotations

from balancekit.sim._arrivals import Arrivals, Bursty, Callers, Diurnal, Poisson, RecordedArrivals
from balancekit.sim._claims import Claim, ProbeResult
from balancekit.sim._engine import Simulation, simulate
from balancekit.sim._faults import (
    Add,
    Crash,
    Drain,
    FailFast,
    FailSlow,
    Fault,
    Flap,
    Hang,
    Partial,
    Remove,
    Slow,
)
from balancekit.sim._recorder import RecordedLease, Recorder
from balancekit.sim._replay import Recording, read_recording, replay
from balancekit.sim._report import QUANTILES, Report, jain
from balancekit.sim._scenario import Scenario, load_scenario, shipped
from balancekit.sim._services import Always, Bimodal, Exponential, Lognormal, Pareto, Recorded, Service
from balancekit.sim._station import Server
from balancekit.sim._sweep import sweep
from balancekit.sim._world import MakeBalancer

__all__ = [
    "QUANTILES",
    "Add",
    "Always",
    "Arrivals",
    "Bimodal",
    "Bursty",
    "Callers",
    "Claim",
    "Crash",
    "Diurnal",
    "Drain",
    "Exponential",
    "FailFast",
    "FailSlow",
    "Fault",
    "Flap",
    "Hang",
    "Lognormal",
    "MakeBalancer",
    "Pareto",
    "Partial",
    "Poisson",
    "ProbeResult",
    "Recorded",
    "RecordedArrivals",
    "RecordedLease",
    "Recorder",
    "Recording",
    "Remove",
    "Report",
    "Scenario",
    "Server",
    "Service",
    "Simulation",
    "Slow",
    "jain",
    "load_scenario",
    "read_recording",
    "replay",
    "shipped",
    "simulate",
    "sweep",
]
