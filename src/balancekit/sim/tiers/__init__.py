"""Simulation of several tiers: resolver, GSLB, L4, L7 and server.

:class:`TierSimulation` sends requests through the decision objects of production at each tier, and through queues between
them. A :class:`Loss` makes a node or a site unavailable. :func:`scenario_of` makes a scenario from a capacity plan, with
the losses that the plan must survive.
"""

from __future__ import annotations

from balancekit.sim.tiers._plan import TierScenario, scenario_of
from balancekit.sim.tiers._report import STAGES, TierReport
from balancekit.sim.tiers._simulation import TierSimulation
from balancekit.sim.tiers._sites import Loss, Nodes, Site

__all__ = ["STAGES", "Loss", "Nodes", "Site", "TierReport", "TierScenario", "TierSimulation", "scenario_of"]
