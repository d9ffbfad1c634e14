"""Scenarios with the pool of a proxy as first balancer. Needs the extra ``proxyconfig``."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from balancekit.balancer import LoadBalancer
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.protocols import Clock
from balancekit.sim import Scenario

__all__ = ["with_proxy"]


def with_proxy(scenario: Scenario, path: str | None, pool: str | None) -> tuple[Scenario, tuple[str, ...]]:
    """Return the scenario with one more balancer, and notes about settings of the file that are not modelled.

    The servers of the scenario are matched with those of the file by name if the names are equal, otherwise by order. They
    keep their service times, and get the weights of the file.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or has no such pool, the pool has another number of servers than the scenario, or a
        pool is given without a file.
    """
    if path is None:
        raise ConfigurationError("--pool", pool, "a pool of the file that --proxy names")
    from balancekit.proxyconfig import pool_model, read_config  # noqa: PLC0415 - needs a package of an extra

    config = read_config(path)
    model = pool_model(config, pool)
    names = [server.name for server in model.pool.servers]
    ids = names if set(names) == set(scenario.servers) else list(scenario.servers)
    if len(ids) != len(names):
        raise ConfigurationError(
            "servers",
            f"{len(ids)} in the scenario",
            f"{len(names)}, as pool {model.pool.name} has: {', '.join(names[:20])}",
        )
    endpoints = model.endpoints(ids)
    weights: Mapping[str, float] = {endpoint.id: endpoint.weight for endpoint in endpoints}

    def make(_: list[Endpoint[str]], clock: Clock, rng: Random) -> LoadBalancer[str]:
        return model.balancer(ids=ids, clock=clock, rng=rng)

    name = f"{config.kind} {model.pool.name}"
    return (
        scenario.replace(
            servers={id: scenario.servers[id].replace(weight=weights[id]) for id in ids},
            balancers={name: make, **scenario.balancers},
            rules={**scenario.rules, name: {"attempts": model.attempts}},
        ),
        model.notes,
    )
