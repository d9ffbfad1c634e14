"""How many of each tier carry a demand, and survive the loss of one.

:func:`plan_capacity` takes a :class:`Demand` and the limits of a node in each tier, and returns a :class:`CapacityPlan`:
nodes, what forces each number, what is left after losses, every number with its formula. :func:`read_plan`
makes the same from a document, as the command ``balancekit capacity plan.toml`` does.

Source: Little (1961) for what is in flight and open; Erlang (1917) for waiting.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.capacity._demand import Demand
    from balancekit.capacity._documents import read_plan
    from balancekit.capacity._erlang import Waiting, erlang_c
    from balancekit.capacity._plan import CapacityPlan, plan_capacity
    from balancekit.capacity._sites import Need, SitePlan, TierPlan
    from balancekit.capacity._tiers import L4, L7, Backends, Gslb, Load

__all__ = [
    "L4",
    "L7",
    "Backends",
    "CapacityPlan",
    "Demand",
    "Gslb",
    "Load",
    "Need",
    "SitePlan",
    "TierPlan",
    "Waiting",
    "erlang_c",
    "plan_capacity",
    "read_plan",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_demand": ("Demand",),
            "_documents": ("read_plan",),
            "_erlang": ("Waiting", "erlang_c"),
            "_plan": ("CapacityPlan", "plan_capacity"),
            "_sites": ("Need", "SitePlan", "TierPlan"),
            "_tiers": ("L4", "L7", "Backends", "Gslb", "Load"),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
