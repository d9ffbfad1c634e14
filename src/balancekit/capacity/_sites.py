"""Plans of sites: nodes by tier, the limit that forces each number, and the utilisation after losses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.capacity._demand import Demand
from balancekit.capacity._tiers import Load
from balancekit.errors import ConfigurationError

__all__ = ["TIER_NAMES", "Need", "SitePlan", "TierPlan"]

TIER_NAMES: Final = ("l4", "l7", "backends")
"""From the client on."""
SPARE_SITE: Final = "N+1"


@final
class Need(Record):
    """The nodes that one limit needs.

    Parameters
    ----------
    load
        The demand, and what a node can do.
    utilisation
        How full a node is planned to be.
    nodes
        How many nodes carry the load.
    """

    load: Load
    utilisation: float
    nodes: int

    @property
    def formula(self) -> str:
        """How the number comes about, in figures."""
        load = self.load
        full = "" if self.utilisation == 1.0 else f" * {self.utilisation:g}"
        return f"ceil({load.load:,.6g} {load.unit} / ({load.per_node:,.6g}{full})) = {self.nodes:,}"


@final
class TierPlan(Record):
    """The nodes of one tier in one site.

    Parameters
    ----------
    needs
        What each limit needs, the one that fills the nodes most first.
    spare
        Nodes that may be lost.

    Raises
    ------
    ConfigurationError
        If ``needs`` is empty or no tuple of ``Need``, or ``spare`` is not a whole number >= 0.
    """

    needs: tuple[Need, ...]
    spare: int

    def _check(self) -> None:
        if (
            not isinstance(self.needs, tuple)
            or not self.needs
            or not all(isinstance(need, Need) for need in self.needs)
        ):
            raise ConfigurationError("needs", self.needs, "a tuple of Need, not empty")
        valid.integer("spare", self.spare, minimum=0)

    @property
    def needed(self) -> int:
        """Nodes that carry the load."""
        return self.needs[0].nodes

    @property
    def count(self) -> int:
        """Nodes in all, spare ones included."""
        return self.needed + self.spare

    @property
    def binding(self) -> str:
        """What forces the number: the name of a limit, or ``"N+1"`` where one node would carry everything."""
        return SPARE_SITE if self.needed == 1 and self.spare else self.needs[0].load.name

    @checked_arguments
    def utilisation_after(self, lost: int = 0, *, growth: float = 1.0) -> float:
        """Return how full the nodes are at most when some are lost and the load has grown.

        Infinite if none is left.
        """
        left = self.count - lost
        if left <= 0:
            return math.inf
        return max(need.load.load * growth / need.load.per_node for need in self.needs) / left


@final
class SitePlan(Record):
    """One site.

    Parameters
    ----------
    demand
        Its demand when no site is lost.
    worst
        Its demand when as many sites are lost as the plan has to survive.
    l4, l7, backends
        Its tiers; ``None`` for one that the plan has not.
    """

    demand: Demand
    worst: Demand
    l4: TierPlan | None = None
    l7: TierPlan | None = None
    backends: TierPlan | None = None

    def tiers(self) -> Iterator[tuple[str, TierPlan]]:
        """Yield the tiers that the plan has, by name, from the client on."""
        for name in TIER_NAMES:
            tier = getattr(self, name)
            if tier is not None:
                yield name, tier
