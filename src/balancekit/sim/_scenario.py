"""Which algorithm suits this traffic? A scenario in a file: servers, arrivals, faults, and balancers to compare.

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

A group of servers with a ``count`` becomes ``fast-0``, ``fast-1`` and so on; one without is called as its group.
Every balancer meets the same arrivals and the same seed. A wrong word is a ``ConfigurationError`` that names it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any, Final

from balancekit import _validation as valid
from balancekit import loads, selectors
from balancekit._record import Record
from balancekit.balancer import LoadBalancer
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.sim import _arrivals, _faults, _services
from balancekit.sim._arrivals import Arrivals
from balancekit.sim._engine import Simulation
from balancekit.sim._faults import Fault
from balancekit.sim._report import Report
from balancekit.sim._services import Service
from balancekit.sim._station import Server
from balancekit.sim._world import MakeBalancer

__all__ = ["Scenario", "load_scenario", "shipped"]

SERVICES: Final[Mapping[str, type[Any]]] = {
    "always": _services.Always,
    "exponential": _services.Exponential,
    "lognormal": _services.Lognormal,
    "pareto": _services.Pareto,
    "bimodal": _services.Bimodal,
    "recorded": _services.Recorded,
}
ARRIVALS: Final[Mapping[str, type[Any]]] = {
    "poisson": _arrivals.Poisson,
    "bursty": _arrivals.Bursty,
    "diurnal": _arrivals.Diurnal,
    "recorded": _arrivals.RecordedArrivals,
}
FAULTS: Final[Mapping[str, type[Any]]] = {
    "crash": _faults.Crash,
    "hang": _faults.Hang,
    "fail fast": _faults.FailFast,
    "slow": _faults.Slow,
    "flap": _faults.Flap,
    "add": _faults.Add,
    "remove": _faults.Remove,
    "drain": _faults.Drain,
}
CENTRAL: Final = "central queue"
"""Not a balancer: all servers work off one line, the best that could be done."""


class Scenario(Record):
    """One situation, and the balancers that are compared in it. Made by :func:`load_scenario`."""

    title: str
    servers: Mapping[str, Server]
    arrivals: Arrivals
    faults: tuple[Fault, ...]
    balancers: Mapping[str, MakeBalancer | None]
    """Makers by name; ``None`` is the central queue."""
    requests: int
    warm_up: int
    attempts: int
    timeout: float | None
    seed: int

    def run(self, balancer: str) -> Report:
        """Simulate with one of the balancers.

        Raises
        ------
        ConfigurationError
            If there is none of that name.
        """
        if balancer not in self.balancers:
            raise ConfigurationError("balancer", balancer, f"one of {', '.join(self.balancers)}")
        make = self.balancers[balancer]
        servers = dict(self.servers)
        faults = self.faults
        options: dict[str, Any] = {}
        if make is None:
            servers, faults = {CENTRAL: _central(servers)}, ()
        else:
            options["balancer"] = make
        simulation = Simulation(
            servers,
            self.arrivals,
            attempts=self.attempts,
            timeout=self.timeout,
            faults=faults,
            seed=self.seed,
            **options,
        )
        return simulation.run(requests=self.requests, warm_up=self.warm_up)


def shipped() -> dict[str, str]:
    """Return the texts of the scenarios that come with the library, by name."""
    folder = resources.files("balancekit.sim").joinpath("scenarios")
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in files
        if file.name.endswith(".toml")
    }


def load_scenario(source: str | Path) -> Scenario:
    """Read a scenario.

    Parameters
    ----------
    source
        The path of a file, or the name of a scenario that comes with the library.

    Raises
    ------
    ConfigurationError
        If it is neither, no TOML, or says something we do not know.

    Example
    -------
    >>> load_scenario("slow-server").title
    'One server of four is slow'
    """
    known = shipped()
    if str(source) in known:
        text = known[str(source)]
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                "scenario", str(source), f"a file ({error.strerror}), or one of {', '.join(known)}"
            ) from None
    try:
        facts = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("scenario", str(source), f"TOML: {error}") from None
    return _scenario(facts)


def _scenario(facts: dict[str, Any]) -> Scenario:
    scenario = Scenario(
        title=valid.text("title", facts.pop("title", "a scenario")),
        servers=_servers(facts.pop("servers", {})),
        arrivals=_made("arrivals", facts.pop("arrivals", {}), ARRIVALS),
        faults=tuple([_made("faults", fault, FAULTS) for fault in facts.pop("faults", [])]),
        balancers=_balancers(facts.pop("balancers", [{"name": "default"}])),
        requests=valid.integer("requests", facts.pop("requests", 20_000), minimum=1),
        warm_up=valid.integer("warm_up", facts.pop("warm_up", 2_000), minimum=0),
        attempts=valid.integer("attempts", facts.pop("attempts", 1), minimum=1),
        timeout=facts.pop("timeout", None),
        seed=valid.integer("seed", facts.pop("seed", 1), minimum=0),
    )
    _nothing_left("scenario", facts)
    return scenario


def _servers(groups: object) -> dict[str, Server]:
    if not isinstance(groups, dict) or not groups:
        raise ConfigurationError("servers", groups, "groups of servers, at least one")
    found: dict[str, Server] = {}
    for name, group in groups.items():
        facts = dict(group)
        count = facts.pop("count", None)
        service: Service = _made("service", facts.pop("service", {}), SERVICES)
        options = {key: facts.pop(key) for key in ("workers", "speed", "weight") if key in facts}
        _nothing_left(f"servers.{name}", facts)
        server = Server(service=service, **options)
        if count is None:
            found[name] = server
        for number in range(valid.integer("count", count, minimum=1) if count is not None else 0):
            found[f"{name}-{number}"] = server
    return found


def _balancers(listed: list[dict[str, Any]]) -> dict[str, MakeBalancer | None]:
    found: dict[str, MakeBalancer | None] = {}
    for one in listed:
        facts = dict(one)
        selector, load, health = (
            facts.pop("selector", None),
            facts.pop("load", None),
            facts.pop("health", True),
        )
        name = valid.text("name", facts.pop("name", selector or "default"))
        options = facts.pop("options", {})
        _nothing_left(f"balancer {name}", facts)
        if selector == CENTRAL:
            found[name] = None
            continue
        for module, word, what in ((selectors, selector, "selector"), (loads, load, "load")):
            if word is not None and word not in module.__all__:
                raise ConfigurationError(what, word, f"one of {', '.join(module.__all__)}")
        found[name] = _maker(selector, options, load, health=valid.flag("health", health))
    return found


def _maker(selector: str | None, options: dict[str, Any], load: str | None, *, health: bool) -> MakeBalancer:
    def make(endpoints: list[Endpoint[str]], clock: Callable[[], float], rng: Random) -> LoadBalancer[str]:
        chosen: dict[str, Any] = {}
        if selector is not None:
            chosen["selector"] = getattr(selectors, selector)(**options)
        if load is not None:
            chosen["load"] = getattr(loads, load)()
        if not health:
            chosen["health"] = None
        return LoadBalancer(endpoints, clock=clock, rng=rng, **chosen)

    return make


def _made(what: str, facts: object, kinds: Mapping[str, type[Any]]) -> Any:
    if not isinstance(facts, dict):
        raise ConfigurationError(what, facts, "a table with a kind")
    options = dict(facts)
    kind = options.pop("kind", None)
    if kind not in kinds:
        raise ConfigurationError(f"{what}.kind", kind, f"one of {', '.join(kinds)}")
    try:
        return kinds[kind](**options)
    except TypeError as error:
        raise ConfigurationError(what, kind, str(error)) from None


def _central(servers: Mapping[str, Server]) -> Server:
    """Return one server with the workers of all, of their mean speed."""
    workers = sum(server.workers for server in servers.values())
    speed = sum(server.speed * server.workers for server in servers.values()) / workers
    first = next(iter(servers.values()))
    return Server(service=first.service, workers=workers, speed=speed)


def _nothing_left(where: str, facts: Mapping[str, object]) -> None:
    for word in facts:
        raise ConfigurationError(where, word, "a word that this table knows")
