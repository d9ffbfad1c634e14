"""Scenarios in files: servers, arrivals, faults, and the balancers to compare.

A scenario is a TOML file:

.. code-block:: toml

    title = "One server of four is slow"
    requests = 20000
    warm_up = 2000

    [arrivals]
    kind = "poisson"
    rate = 120.0

    [servers.fast]
    count = 3
    service = { kind = "exponential", mean = 0.02 }

    [servers.slow]
    service = { kind = "exponential", mean = 0.02 }
    speed = 0.3

    [[balancers]]
    name = "round robin"
    selector = "RoundRobin"

    [[balancers]]
    name = "default"

    [[claims]]
    text = "round robin gives the slow server as much as the others"
    balancer = "round robin"
    measure = "share slow"
    low = 0.24
    high = 0.26

A group of servers with a ``count`` is named ``fast-0``, ``fast-1`` and so on. A group without a ``count`` is one server
with the name of the group. All balancers are simulated with the same arrivals and the same seed. ``attempts``, ``timeout``
and ``hedge`` apply to all balancers; in the table of a balancer they apply to that balancer only. An unknown key raises a
``ConfigurationError`` that names it.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Final

from balancekit._support import tables
from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.files import in_file
from balancekit._support.record import Record
from balancekit._support.tables import one_of
from balancekit.config import read
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.sim import _scenario_parser as words
from balancekit.sim._arrivals import Arrivals
from balancekit.sim._claims import Claim, Finding
from balancekit.sim._configured import scenario_tables
from balancekit.sim._context import MakeBalancer
from balancekit.sim._engine import Simulation
from balancekit.sim._faults import Fault
from balancekit.sim._queues import Server
from balancekit.sim._report import SimulationReport
from balancekit.snapshot import Key

__all__ = ["Scenario", "builtin_scenarios", "load_scenario", "scenario_text"]

SCENARIO_WORDS: Final = (
    "title",
    "why",
    "servers",
    "arrivals",
    "faults",
    "balancers",
    "requests",
    "warm_up",
    "attempts",
    "timeout",
    "hedge",
    "clients",
    "keys",
    "seed",
    "claims",
)
RULES: Final = ("attempts", "timeout", "hedge")
"""Keys of a scenario that the table of a balancer can override."""


class Scenario(Record):
    """Servers, arrivals and faults, and the balancers that are compared with them. Made by :func:`load_scenario`.

    Fields without a description are those of :class:`~balancekit.sim.Simulation`.
    """

    title: str
    """One line that describes the situation."""
    servers: Mapping[str, Server]
    arrivals: Arrivals
    faults: tuple[Fault, ...]
    balancers: Mapping[str, MakeBalancer | None]
    """Functions that make a balancer, by name; ``None`` stands for the central queue."""
    requests: int
    """Number of requests that are counted."""
    warm_up: int
    """Number of requests before them that are not counted."""
    attempts: int
    timeout: float | None
    seed: int
    hedge: float | None = None
    clients: int = 1
    """Number of balancers that share the servers. Each handles a share of the requests."""
    keys: Callable[[Random], Key] | None = None
    rules: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """Values of ``attempts``, ``timeout`` and ``hedge`` that a balancer overrides, by name of the balancer."""
    claims: tuple[Claim, ...] = ()
    why: str = ""
    """The result of the scenario and its reason."""

    def run(self, balancer: str) -> SimulationReport:
        """Simulate with one of the balancers.

        Parameters
        ----------
        balancer
            The name of the balancer.

        Raises
        ------
        ConfigurationError
            If the scenario has no balancer with that name, or :meth:`Simulation.run` refuses the scenario.
        """
        if balancer not in self.balancers:
            raise ConfigurationError("balancer", balancer, f"one of {', '.join(self.balancers)}")
        make = self.balancers[balancer]
        rules = {name: getattr(self, name) for name in RULES} | dict(self.rules.get(balancer, {}))
        if make is None:
            simulation = Simulation(
                {words.CENTRAL: _central(self.servers)}, self.arrivals, seed=self.seed, **rules
            )
        else:
            simulation = Simulation(
                self.servers,
                self.arrivals,
                balancer=make,
                balancers=self.clients,
                faults=self.faults,
                keys=self.keys,
                seed=self.seed,
                **rules,
            )
        return simulation.run(requests=self.requests, warm_up=self.warm_up)

    def check(self, reports: Mapping[str, SimulationReport]) -> list[Finding]:
        """Measure the claims of the scenario.

        Parameters
        ----------
        reports
            Reports of all balancers, by name.

        Raises
        ------
        ConfigurationError
            If a report that a claim needs is missing.

        Example
        -------
        >>> from balancekit.sim import load_scenario
        >>> scenario = load_scenario("slow-server")
        >>> all(finding.holds for finding in scenario.check({name: scenario.run(name) for name in scenario.balancers}))
        True
        """
        fault = min((fault.at for fault in self.faults), default=0.0)
        return [claim.find(reports, fault) for claim in self.claims]


def builtin_scenarios() -> dict[str, str]:
    """Return the texts of the scenarios that the library contains, by name.

    Example
    -------
    >>> from balancekit.sim import builtin_scenarios
    >>> sorted(builtin_scenarios())[:3]
    ['all-failing', 'black-hole', 'drain']
    """
    folder = resources.files("balancekit.sim").joinpath("scenarios")
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in files
        if file.name.endswith(".toml")
    }


@checked_arguments
def load_scenario(
    source: str | Path, *, discovered: Callable[[str], Iterable[Endpoint[Any]]] | None = None
) -> Scenario:
    """Read a scenario.

    Parameters
    ----------
    source
        The name of a built-in scenario, the path of a scenario file, or the path of a configuration with a
        ``[simulation]`` table.
    discovered
        Function that returns the endpoints of a source such as ``"dns:orders.svc:8080"``, for a configuration with
        ``[discovery]``. Without it, such a configuration needs ``[simulation.servers]``.

    Raises
    ------
    ConfigurationError
        If ``source`` is no such name or file, or the file is not valid TOML, has an unknown key, or a value that is not
        allowed.

    Example
    -------
    >>> from balancekit.sim import load_scenario
    >>> load_scenario("slow-server").title
    'One server of four is slow'
    """
    known = builtin_scenarios()
    if str(source) in known:
        return _scenario(tomllib.loads(known[str(source)]))
    try:
        facts = read(source)
    except ConfigurationError as error:
        raise ConfigurationError(
            "scenario", str(source), f"{error.allowed}, or {one_of(str(source), known)}"
        ) from None
    with in_file(source):
        if set(facts) & {"endpoints", "discovery", "simulation"}:
            facts = scenario_tables(facts, discovered=discovered)
        return _scenario(facts)


@checked_arguments
def scenario_text(source: str | Path) -> str:
    """Return the text of a built-in scenario, or of a scenario file.

    Parameters
    ----------
    source
        The name of a built-in scenario, or the path of a file.

    Raises
    ------
    OSError
        If there is no such file.
    """
    known = builtin_scenarios()
    return known[str(source)] if str(source) in known else Path(source).read_text(encoding="utf-8")


def _scenario(facts: dict[str, Any]) -> Scenario:
    balancers, rules = _balancers(_tables(facts, "balancers") or [{"name": "default"}])
    scenario = Scenario(
        title=valid.text("title", facts.pop("title", "a scenario")),
        servers=words.servers(facts.pop("servers", {})),
        arrivals=words.made("arrivals", facts.pop("arrivals", {}), words.ARRIVALS),
        faults=tuple([words.made("faults", fault, words.FAULTS) for fault in _tables(facts, "faults")]),
        balancers=balancers,
        rules=rules,
        requests=valid.integer("requests", facts.pop("requests", 20_000), minimum=1),
        warm_up=valid.integer("warm_up", facts.pop("warm_up", 2_000), minimum=0),
        attempts=valid.integer("attempts", facts.pop("attempts", 1), minimum=1),
        timeout=_seconds("timeout", facts.pop("timeout", None)),
        hedge=_seconds("hedge", facts.pop("hedge", None)),
        clients=valid.integer("clients", facts.pop("clients", 1), minimum=1),
        keys=words.keys(facts.pop("keys", None)),
        seed=valid.integer("seed", facts.pop("seed", 1), minimum=0),
        claims=tuple([_claim(claim, balancers) for claim in _tables(facts, "claims")]),
        why=valid.text("why", facts.pop("why", ""), empty=True).strip(),
    )
    tables.reject_unknown("scenario", facts, SCENARIO_WORDS)
    if None in balancers.values() and any(
        server.service != next(iter(scenario.servers.values())).service
        for server in scenario.servers.values()
    ):
        raise ConfigurationError(
            "balancers", words.CENTRAL, "a central queue only if all servers have the same service"
        )
    for claim in scenario.claims:
        if claim.endpoint and claim.endpoint not in scenario.servers:
            raise ConfigurationError(
                "claims.measure", claim.measure, f"servers {', '.join(scenario.servers)}"
            )
    return scenario


def _tables(facts: dict[str, Any], name: str) -> list[dict[str, Any]]:
    listed = facts.pop(name, [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ConfigurationError(name, listed, f"a list of tables, each under [[{name}]]")
    return listed


def _balancers(
    listed: list[dict[str, Any]],
) -> tuple[dict[str, MakeBalancer | None], dict[str, dict[str, Any]]]:
    makers: dict[str, MakeBalancer | None] = {}
    rules: dict[str, dict[str, Any]] = {}
    for one in listed:
        facts = dict(one)
        name = valid.text("name", facts.pop("name", facts.get("selector", "default")))
        if name in makers:
            raise ConfigurationError("balancers", name, "a name that no other balancer has")
        rules[name] = {
            word: _rule(f"balancers.{name}.{word}", word, facts.pop(word)) for word in RULES if word in facts
        }
        makers[name] = words.balancer(f"balancers.{name}", facts)
    return makers, rules


def _rule(where: str, word: str, value: Any) -> int | float | None:
    return valid.integer(where, value, minimum=1) if word == "attempts" else _seconds(where, value)


def _claim(facts: Mapping[str, Any], balancers: Mapping[str, object]) -> Claim:
    try:
        claim = Claim(**facts)
    except TypeError as error:
        raise ConfigurationError("claims", dict(facts), str(error)) from None
    for name in (claim.balancer, claim.over):
        if name is not None and name not in balancers:
            raise ConfigurationError("claims", name, f"one of {', '.join(balancers)}")
    return claim


def _seconds(parameter: str, value: Any) -> float | None:
    return None if value is None else valid.number(parameter, value, above=0.0)


def _central(servers: Mapping[str, Server]) -> Server:
    """Return one server with the workers of all servers and their mean speed."""
    workers = sum(server.workers for server in servers.values())
    speed = math.fsum(server.speed * server.workers for server in servers.values()) / workers
    first = next(iter(servers.values()))
    return Server(service=first.service, workers=workers, speed=speed)
