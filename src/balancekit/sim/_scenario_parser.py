"""Parser of scenarios: from tables of plain values to servers, arrivals, faults and balancers.

Every table is checked word by word: one that we do not know is an error that names it, not a wish that is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import accumulate
from random import Random
from types import ModuleType
from typing import Any, Final

from balancekit import exhaustion, loads, selectors
from balancekit._support import validation as valid
from balancekit.balancer import LoadBalancer
from balancekit.errors import ConfigurationError
from balancekit.health import (
    ConsecutiveFailures,
    Ejection,
    FlapDamping,
    Health,
    Lifecycle,
    Probation,
    SuccessRate,
    WarmUp,
)
from balancekit.sim import _arrivals, _faults, _services
from balancekit.sim._context import MakeBalancer
from balancekit.sim._queues import Server
from balancekit.snapshot import Key

__all__ = ["ARRIVALS", "CENTRAL", "FAULTS", "balancer", "keys", "made", "nothing_left", "servers"]

SERVICES: Final[Mapping[str, type[Any]]] = {
    "deterministic": _services.Deterministic,
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
    "closed": _arrivals.ClosedLoop,
}
FAULTS: Final[Mapping[str, type[Any]]] = {
    "crash": _faults.Crash,
    "hang": _faults.Hang,
    "fail fast": _faults.FailFast,
    "fail slow": _faults.FailSlow,
    "partial": _faults.Partial,
    "slow": _faults.Slow,
    "flap": _faults.Flap,
    "add": _faults.Add,
    "remove": _faults.Remove,
    "drain": _faults.Drain,
}
LOADS: Final = ("FailureAware", "InFlight", "InFlightCost", "EwmaLatency", "PeakEwmaLatency")
EXHAUSTION: Final = ("FailClosed", "FailOpen", "LeastBad")
HEALTH: Final[Mapping[str, type[Any]]] = {
    "failures": ConsecutiveFailures,
    "ejection": Ejection,
    "damping": FlapDamping,
    "probation": Probation,
    "warm_up": WarmUp,
}
"""Tables within the table of health, by the parameter of ``Lifecycle`` that they describe."""
CENTRAL: Final = "central queue"
"""Not a balancer: all servers work off one line, the best that could be done."""


def made(what: str, facts: object, kinds: Mapping[str, type[Any]]) -> Any:
    """Make one of several kinds of thing from a table with a ``kind``."""
    if not isinstance(facts, dict):
        raise ConfigurationError(what, facts, "a table with a kind")
    options = dict(facts)
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigurationError(f"{what}.kind", kind, f"one of {', '.join(kinds)}")
    if kind == "closed" and "pause" in options:
        options["pause"] = made("pause", options["pause"], SERVICES)
    return _called(what, kinds[kind], options)


def servers(groups: object) -> dict[str, Server]:
    """Make servers from groups of them."""
    if not isinstance(groups, dict) or not groups:
        raise ConfigurationError("servers", groups, "groups of servers, at least one")
    found: dict[str, Server] = {}
    for name, group in groups.items():
        facts = _table(f"servers.{name}", group)
        count = facts.pop("count", None)
        service = made("service", facts.pop("service", {}), SERVICES)
        options = {
            key: facts.pop(key) for key in ("workers", "speed", "weight", "discipline") if key in facts
        }
        nothing_left(f"servers.{name}", facts)
        server = Server(service=service, **options)
        if count is None:
            ids = [name]
        else:
            ids = [f"{name}-{number}" for number in range(valid.integer("count", count, minimum=1))]
        for id in ids:
            if id in found:
                raise ConfigurationError(f"servers.{name}", id, "servers whose names differ from all others")
            found[id] = server
    return found


def keys(facts: object) -> Callable[[Random], Key] | None:
    """Make a source of keys: so many, at random, the k-th one ``k ** -skew`` times as often as the first (Zipf)."""
    if facts is None:
        return None
    options = _table("keys", facts)
    count = valid.integer("keys.count", options.pop("count", None), minimum=1)
    skew = valid.number("keys.skew", options.pop("skew", 0.0), minimum=0.0)
    nothing_left("keys", options)
    names = [f"key {number}" for number in range(1, count + 1)]
    heights = list(accumulate(number**-skew for number in range(1, count + 1)))
    return lambda rng: rng.choices(names, cum_weights=heights)[0]


def balancer(facts: dict[str, Any]) -> MakeBalancer | None:
    """Make a maker of balancers, and take its words out of the table; ``None`` is the central queue."""
    selector = facts.pop("selector", None)
    options = _table("options", facts.pop("options", {}))
    load = facts.pop("load", None)
    policy = facts.pop("exhaustion", None)
    chosen: dict[str, Any] = {"health": _health(facts.pop("health", True))}
    if selector == CENTRAL:
        return None
    if load is not None:
        chosen["load"] = _named("load", load, loads, LOADS)()
    if policy is not None:
        chosen["exhaustion"] = _named("exhaustion", policy, exhaustion, EXHAUSTION)()
    if selector is None:
        return lambda endpoints, clock, rng: LoadBalancer(endpoints, clock=clock, rng=rng, **chosen)
    kind = _named("selector", selector, selectors, selectors.__all__)
    _called("options", kind, options)  # now, so that a wrong word is found before anything runs
    return lambda endpoints, clock, rng: LoadBalancer(
        endpoints, clock=clock, rng=rng, selector=kind(**options), **chosen
    )


def _health(facts: object) -> Lifecycle | None:
    """Return a policy: the default for ``true``, none for ``false``, or what a table says."""
    if isinstance(facts, bool):
        return Lifecycle() if facts else None
    tables = _table("health", facts)
    parts = {
        name: _called(f"health.{name}", kind, _table(f"health.{name}", tables.pop(name)))
        for name, kind in HEALTH.items()
        if name in tables
    }
    if "success_rate" in tables:
        rate = _table("health.success_rate", tables.pop("success_rate"))
        parts["rules"] = (_called("health.success_rate", SuccessRate, rate),)
    if "start" in tables:
        start = tables.pop("start")
        if not isinstance(start, str) or start not in set(Health):
            raise ConfigurationError("health.start", start, f"one of {', '.join(Health)}")
        parts["start"] = Health(start)
    nothing_left("health", tables)
    return Lifecycle(**parts)


def nothing_left(where: str, facts: Mapping[str, object]) -> None:
    """Refuse words that nobody asked for."""
    for word in facts:
        raise ConfigurationError(where, word, "a word that this table knows")


def _table(what: str, facts: object) -> dict[str, Any]:
    if not isinstance(facts, dict):
        raise ConfigurationError(what, facts, "a table")
    return dict(facts)


def _named(what: str, word: object, module: ModuleType, words: Collection[str]) -> Callable[..., Any]:
    """Return the class of that name."""
    if not isinstance(word, str) or word not in words:
        raise ConfigurationError(what, word, f"one of {', '.join(words)}")
    kind: Callable[..., Any] = getattr(module, word)
    return kind


def _called(what: str, kind: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    try:
        return kind(**options)
    except TypeError as error:
        raise ConfigurationError(what, dict(options), str(error)) from None
