"""Plans from documents: the tables of a TOML or JSON file, already read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from balancekit._support import tables
from balancekit._support.arguments import checked_arguments
from balancekit.capacity._demand import Demand
from balancekit.capacity._plan import TIERS, CapacityPlan, plan_capacity
from balancekit.capacity._tiers import Gslb, Tier
from balancekit.errors import ConfigurationError

__all__ = ["read_plan"]

TABLES: Final = ("demand", "gslb", *TIERS, "survive")


@checked_arguments
def read_plan(document: Mapping[str, Any], /) -> CapacityPlan:
    """Return the plan of a document.

    Parameters
    ----------
    document
        Tables ``demand``, ``gslb``, ``l4``, ``l7``, ``backends`` and ``survive``, with the parameters of their classes, and
        ``utilisation``. All but ``demand`` and one tier may be left out.

    Raises
    ------
    ConfigurationError
        For a table or a field that is unknown, missing or wrong; the error names its place, such as ``l4.gbps``.

    Example
    -------
    >>> from balancekit.capacity import read_plan
    >>> plan = read_plan({"demand": {"requests": 1000.0}, "l7": {"requests_per_second": 500.0}})
    >>> plan.sites[0].l7.count
    3
    """
    known = (*TABLES, "utilisation")
    tables.reject_unknown("plan", [key for key in tables.table("plan", document) if key not in known], known)
    kinds: dict[str, type[Demand | Gslb | Tier]] = {"demand": Demand, "gslb": Gslb, **TIERS}
    made = {name: _made(name, kind, document[name]) for name, kind in kinds.items() if name in document}
    demand = made.pop("demand", None)
    if not isinstance(demand, Demand):
        raise ConfigurationError("demand", None, "a table with requests")
    tiers = [tier for tier in made.values() if isinstance(tier, Gslb | Tier)]
    usual = {"utilisation": document["utilisation"]} if "utilisation" in document else {}
    return plan_capacity(demand, tiers, survive=document.get("survive", {}), **usual)


def _made(name: str, kind: type[Demand | Gslb | Tier], fields: object) -> Demand | Gslb | Tier:
    try:
        made: Demand | Gslb | Tier = tables.call(name, kind, tables.table(name, fields), kind._fields)
    except ConfigurationError as error:
        if error.parameter == f"{name}.{kind.__name__}":  # no field is wrong by itself
            raise ConfigurationError(name, fields, error.allowed) from None
        raise
    return made
