"""Simulation of production balancers in virtual time.

:class:`Simulation` sends simulated requests through real balancers to simulated servers. It takes servers
(:class:`Server`), arrivals, faults, and a function that makes a balancer; it returns a :class:`SimulationReport`.
:class:`TierSimulation` adds resolvers, sites, L4 nodes and L7 nodes in front of the servers.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.sim._arrivals import Arrivals, Bursty, ClosedLoop, Diurnal, Poisson, RecordedArrivals
    from balancekit.sim._claims import Claim, Finding
    from balancekit.sim._context import MakeBalancer
    from balancekit.sim._dns import DnsReport, DnsRequest, DnsSimulation, EndpointChange
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
    from balancekit.sim._model_servers import (
        MODEL_WORKLOADS,
        ModelReport,
        ModelServers,
        ModelWorkload,
        simulate_models,
    )
    from balancekit.sim._queues import Server
    from balancekit.sim._recorder import RecordedLease, Recorder
    from balancekit.sim._replay import Recording, read_recording, replay
    from balancekit.sim._report import QUANTILES, SimulationReport, jain_index
    from balancekit.sim._scenario import Scenario, builtin_scenarios, load_scenario, scenario_text
    from balancekit.sim._services import (
        Bimodal,
        Deterministic,
        Exponential,
        Lognormal,
        Pareto,
        Recorded,
        Service,
    )
    from balancekit.sim._sweep import sweep
    from balancekit.sim._timeline import Timeline
    from balancekit.sim._vrrp_events import VrrpDo, VrrpEvent
    from balancekit.sim._vrrp_network import VrrpSimulation, VrrpSpeaker
    from balancekit.sim._vrrp_report import SentAdvert, Spell, VrrpChange, VrrpReport
    from balancekit.sim._vrrp_scenarios import VrrpClaim, VrrpFound, VrrpScenario, vrrp_scenarios
    from balancekit.sim.tiers import Loss, Nodes, Site, TierReport, TierScenario, TierSimulation, scenario_of

__all__ = [
    "MODEL_WORKLOADS",
    "QUANTILES",
    "Add",
    "Arrivals",
    "Bimodal",
    "Bursty",
    "Claim",
    "ClosedLoop",
    "Crash",
    "Deterministic",
    "Diurnal",
    "DnsReport",
    "DnsRequest",
    "DnsSimulation",
    "Drain",
    "EndpointChange",
    "Exponential",
    "FailFast",
    "FailSlow",
    "Fault",
    "Finding",
    "Flap",
    "Hang",
    "Lognormal",
    "Loss",
    "MakeBalancer",
    "ModelReport",
    "ModelServers",
    "ModelWorkload",
    "Nodes",
    "Pareto",
    "Partial",
    "Poisson",
    "Recorded",
    "RecordedArrivals",
    "RecordedLease",
    "Recorder",
    "Recording",
    "Remove",
    "Scenario",
    "SentAdvert",
    "Server",
    "Service",
    "Simulation",
    "SimulationReport",
    "Site",
    "Slow",
    "Spell",
    "TierReport",
    "TierScenario",
    "TierSimulation",
    "Timeline",
    "VrrpChange",
    "VrrpClaim",
    "VrrpDo",
    "VrrpEvent",
    "VrrpFound",
    "VrrpReport",
    "VrrpScenario",
    "VrrpSimulation",
    "VrrpSpeaker",
    "builtin_scenarios",
    "jain_index",
    "load_scenario",
    "read_recording",
    "replay",
    "scenario_of",
    "scenario_text",
    "simulate",
    "simulate_models",
    "sweep",
    "vrrp_scenarios",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_arrivals": (
                "Arrivals",
                "Bursty",
                "ClosedLoop",
                "Diurnal",
                "Poisson",
                "RecordedArrivals",
            ),
            "_claims": (
                "Claim",
                "Finding",
            ),
            "_context": ("MakeBalancer",),
            "_dns": (
                "DnsReport",
                "DnsRequest",
                "DnsSimulation",
                "EndpointChange",
            ),
            "_engine": (
                "Simulation",
                "simulate",
            ),
            "_faults": (
                "Add",
                "Crash",
                "Drain",
                "FailFast",
                "FailSlow",
                "Fault",
                "Flap",
                "Hang",
                "Partial",
                "Remove",
                "Slow",
            ),
            "_model_servers": (
                "MODEL_WORKLOADS",
                "ModelReport",
                "ModelServers",
                "ModelWorkload",
                "simulate_models",
            ),
            "_queues": ("Server",),
            "_recorder": (
                "RecordedLease",
                "Recorder",
            ),
            "_replay": (
                "Recording",
                "read_recording",
                "replay",
            ),
            "_report": (
                "QUANTILES",
                "SimulationReport",
                "jain_index",
            ),
            "_scenario": (
                "Scenario",
                "builtin_scenarios",
                "load_scenario",
                "scenario_text",
            ),
            "_services": (
                "Bimodal",
                "Deterministic",
                "Exponential",
                "Lognormal",
                "Pareto",
                "Recorded",
                "Service",
            ),
            "_sweep": ("sweep",),
            "_timeline": ("Timeline",),
            "_vrrp_events": (
                "VrrpDo",
                "VrrpEvent",
            ),
            "_vrrp_network": (
                "VrrpSimulation",
                "VrrpSpeaker",
            ),
            "_vrrp_report": (
                "SentAdvert",
                "Spell",
                "VrrpChange",
                "VrrpReport",
            ),
            "_vrrp_scenarios": (
                "VrrpClaim",
                "VrrpFound",
                "VrrpScenario",
                "vrrp_scenarios",
            ),
            "tiers": (
                "Loss",
                "Nodes",
                "Site",
                "TierReport",
                "TierScenario",
                "TierSimulation",
                "scenario_of",
            ),
        },
        packages=("tiers",),
    )


def __dir__() -> list[str]:
    return list(__all__)
