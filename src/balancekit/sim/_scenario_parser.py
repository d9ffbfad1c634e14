"""Parser of scenarios: makes servers, arrivals, faults, keys and balancers from tables of plain values.

Balancers are parsed by ``balancekit.config``, so a scenario and a configuration use the same keys.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Any, Final

from balancekit._support import tables
from balancekit._support import validation as valid
from balancekit._support.tables import Kinds, words
from balancekit.config import recipe
from balancekit.errors import ConfigurationError
from balancekit.sim import _arrivals, _faults, _services
from balancekit.sim._context import MakeBalancer
from balancekit.sim._queues import Server
from balancekit.snapshot import Key

__all__ = ["ARRIVALS", "CENTRAL", "FAULTS", "balancer", "keys", "made", "one_server", "servers"]

SERVICES: Final[Kinds] = {
    "deterministic": words(_services.Deterministic),
    "exponential": words(_services.Exponential),
    "lognormal": words(_services.Lognormal),
    "pareto": words(_services.Pareto),
    "bimodal": words(_services.Bimodal),
    "recorded": words(_services.Recorded),
}
ARRIVALS: Final[Kinds] = {
    "poisson": words(_arrivals.Poisson),
    "bursty": words(_arrivals.Bursty),
    "diurnal": words(_arrivals.Diurnal),
    "recorded": words(_arrivals.RecordedArrivals),
    "closed": words(_arrivals.ClosedLoop),
}
FAULTS: Final[Kinds] = {
    "crash": words(_faults.Crash),
    "hang": words(_faults.Hang),
    "fail fast": words(_faults.FailFast),
    "fail slow": words(_faults.FailSlow),
    "partial": words(_faults.Partial),
    "slow": words(_faults.Slow),
    "flap": words(_faults.Flap),
    "add": words(_faults.Add),
    "remove": words(_faults.Remove),
    "drain": words(_faults.Drain),
}
SERVER_WORDS: Final = ("service", "workers", "speed", "weight", "discipline")
CENTRAL: Final = "central queue"
"""One queue with the workers of all servers, at their mean speed and without faults, in place of a balancer. If the servers
are equal, it is a lower bound for the mean latency of all balancers."""
MAX_SERVERS: Final = 100_000
MAX_KEYS: Final = 10_000_000


def made(where: str, facts: object, kinds: Kinds) -> Any:
    """Make an object from a table. Its key ``kind`` selects the class.

    Raises
    ------
    ConfigurationError
        If the kind is unknown, or the class refuses the other keys.
    """
    if isinstance(facts, dict) and facts.get("kind") == "closed" and "pause" in facts:
        facts = {**facts, "pause": made(f"{where}.pause", facts["pause"], SERVICES)}
    return tables.make(where, facts, kinds)


def servers(groups: object) -> dict[str, Server]:
    """Make servers from a table of groups.

    Raises
    ------
    ConfigurationError
        If there is no group, a group has a wrong value, or two servers have the same id.
    """
    if not isinstance(groups, dict) or not groups:
        raise ConfigurationError("servers", groups, "groups of servers, at least one")
    found: dict[str, Server] = {}
    for name, group in groups.items():
        facts = tables.table(f"servers.{name}", group)
        count = facts.pop("count", None)
        server = one_server(f"servers.{name}", facts)
        if count is None:
            ids = [name]
        else:
            number_of = valid.integer(f"servers.{name}.count", count, minimum=1, maximum=MAX_SERVERS)
            ids = [f"{name}-{number}" for number in range(number_of)]
        for id in ids:
            if id in found:
                raise ConfigurationError(f"servers.{name}", id, "ids that no other server has")
            found[id] = server
    return found


def one_server(where: str, facts: dict[str, Any]) -> Server:
    """Make a server from a table."""
    service = made(f"{where}.service", facts.pop("service", {}), SERVICES)
    server: Server = tables.call(where, Server, {**facts, "service": service}, SERVER_WORDS)
    return server


def keys(facts: object) -> Callable[[Random], Key] | None:
    """Return a function that draws one of ``count`` keys by Zipf's law; ``None`` if ``facts`` is ``None``.

    The k-th key is drawn ``k ** -skew`` times as often as the first.
    """
    if facts is None:
        return None
    options = tables.table("keys", facts)
    count = valid.integer("keys.count", options.pop("count", None), minimum=1, maximum=MAX_KEYS)
    skew = valid.number("keys.skew", options.pop("skew", 0.0), minimum=0.0)
    tables.reject_unknown("keys", options, ("count", "skew"))
    names = [f"key {number}" for number in range(1, count + 1)]
    heights = list(accumulate(number**-skew for number in range(1, count + 1)))
    return lambda rng: rng.choices(names, cum_weights=heights)[0]


def balancer(where: str, facts: dict[str, Any]) -> MakeBalancer | None:
    """Return a function that makes a balancer from a table; ``None`` if the table is for the central queue."""
    if facts.get("selector") == CENTRAL:
        tables.reject_unknown(where, [word for word in facts if word != "selector"], ("selector",))
        return None
    made = recipe(where, facts)
    return lambda endpoints, clock, rng: made.make(endpoints, clock=clock, rng=rng)
