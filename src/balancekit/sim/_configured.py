"""Conversion of a configuration to a scenario.

The table ``[simulation]`` of a configuration holds the keys of a scenario. If it has no ``servers``, each endpoint of the
configuration becomes a server with the settings of ``[simulation.server]``. The balancer of the configuration is the first
one that is compared; its name is ``configured``. It is compared with those under ``[[simulation.balancers]]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from balancekit._support import tables
from balancekit.config import endpoints_of
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

__all__ = ["scenario_tables"]

CONFIGURED: Final = "configured"
SHARED: Final = ("attempts", "timeout", "hedge")
"""Keys that the table ``[retry]`` and a scenario have in common."""


def scenario_tables(
    facts: Mapping[str, Any], *, discovered: Callable[[str], Iterable[Endpoint[Any]]] | None = None
) -> dict[str, Any]:
    """Return the tables of a scenario that simulates a configuration.

    Parameters
    ----------
    facts
        The tables of the configuration.
    discovered
        Function that returns the endpoints of the source that ``[discovery]`` names.

    Raises
    ------
    ConfigurationError
        If there is no table ``[simulation]``. If that table has no ``servers``, and there is no ``[simulation.server]``
        or no list of endpoints.
    """
    if "simulation" not in facts:
        raise ConfigurationError(
            "simulation", None, "a table with arrivals and a server, which describes the simulation"
        )
    scenario = tables.table("simulation", facts["simulation"])
    server = scenario.pop("server", None)
    if "servers" not in scenario:
        listed = _listed(facts, discovered)
        if server is None or listed is None:
            raise ConfigurationError(
                "simulation", sorted(scenario), "servers, or a server for the endpoints of the file"
            )
        described = tables.table("simulation.server", server)
        scenario["servers"] = {endpoint.id: {"weight": endpoint.weight, **described} for endpoint in listed}
    others = scenario.get("balancers", [])
    if not isinstance(others, list):
        raise ConfigurationError(
            "simulation.balancers", others, "tables, each under [[simulation.balancers]]"
        )
    retry = tables.table("retry", facts.get("retry", {}))
    own = {"name": CONFIGURED, **tables.table("balancer", facts.get("balancer", {}))}
    return {
        "title": facts.get("title", "a configuration"),
        **{word: retry[word] for word in SHARED if word in retry},
        **scenario,
        "balancers": [own, *others],
    }


def _listed(
    facts: Mapping[str, Any], discovered: Callable[[str], Iterable[Endpoint[Any]]] | None
) -> Iterable[Endpoint[Any]] | None:
    """Return the endpoints of a configuration; ``None`` if it lists none and they cannot be discovered."""
    if "endpoints" in facts:
        return endpoints_of("endpoints", facts["endpoints"], environ=None)
    if discovered is None:
        return None
    source = tables.table("discovery", facts.get("discovery", {})).get("source")
    return discovered(source) if isinstance(source, str) else None
