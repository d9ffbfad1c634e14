"""What would happen? Simulations in virtual time of the very balancers that production runs.

:class:`Simulation` joins servers (:class:`Server`, with service times), arrivals and faults with balancers made
by any function. :class:`Report` says what came of it.
"""

from __future__ import annotations

from balancekit.sim._engine import MakeBalancer, Simulation, simulate
from balancekit.sim._faults import Add, Crash, Drain, FailFast, Fault, Flap, Hang, Remove, Slow
from balancekit.sim._report import Report, jain
from balancekit.sim._scenario import Scenario, load_scenario, shipped
from balancekit.sim._station import Server
from balancekit.sim._sweep import sweep
from balancekit.sim._times import (
    Always,
    Arrivals,
    Bimodal,
    Bursty,
    Diurnal,
    Exponential,
    Lognormal,
    Pareto,
    Poisson,
    Recorded,
    RecordedArrivals,
    Service,
)

__all__ = [
    "Add",
    "Always",
    "Arrivals",
    "Bimodal",
    "Bursty",
    "Crash",
    "Diurnal",
    "Drain",
    "Exponential",
    "FailFast",
    "Fault",
    "Flap",
    "Hang",
    "Lognormal",
    "MakeBalancer",
    "Pareto",
    "Poisson",
    "Recorded",
    "RecordedArrivals",
    "Remove",
    "Report",
    "Scenario",
    "Server",
    "Service",
    "Simulation",
    "Slow",
    "jain",
    "load_scenario",
    "shipped",
    "simulate",
    "sweep",
]
