"""Simulation in tiers: one request through resolver, GSLB, L4, L7 and server.

:class:`TierSimulation` has the decision objects of production at every tier and queues between them; a :class:`Loss` takes
a node or a site away; :func:`scenario_of` makes the scenario of a capacity plan, with the losses that it promises to
survive.
"""

from __future__ import annotations

from balancekit.sim.tiers._plan import TierScenario, scenario_of
from balancekit.sim.tiers._report import STAGES, TierReport
from balancekit.sim.tiers._simulation import TierSimulation
from balancekit.sim.tiers._sites import Loss, Nodes, Site

__all__ = ["STAGES", "Loss", "Nodes", "Site", "TierReport", "TierScenario", "TierSimulation", "scenario_of"]
