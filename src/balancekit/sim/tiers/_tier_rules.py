"""Options of clients, resolvers, routers and checks of a simulation of tiers."""

from __future__ import annotations

from typing import Final

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.gslb import Policy, Ttl
from balancekit.health import AccruedFailures

__all__ = ["Rules"]

MAX_ATTEMPTS: Final = 100


class Rules(Record):
    """Options of all parts: the parameters of :class:`~balancekit.sim.tiers.TierSimulation`, by their names there."""

    requests_per_second: float
    connections: int
    per_connection: int
    attempts: int
    server_attempts: int
    timeout: float
    pause: float
    paths: tuple[str, ...]
    policy: Policy
    ttl: Ttl
    checks: AccruedFailures
    interval: float
    l4_down: float

    def _check(self) -> None:
        for name in ("requests_per_second", "timeout", "interval"):
            valid.number(name, getattr(self, name), above=0.0)
        for name in ("pause", "l4_down"):
            valid.number(name, getattr(self, name), minimum=0.0)
        for name in ("connections", "per_connection", "server_attempts"):
            valid.integer(name, getattr(self, name), minimum=1)
        valid.integer("attempts", self.attempts, minimum=1, maximum=MAX_ATTEMPTS)
        if not isinstance(self.ttl, Ttl):
            raise ConfigurationError("ttl", self.ttl, "a Ttl")
        if not isinstance(self.checks, AccruedFailures):
            raise ConfigurationError("checks", self.checks, "an AccruedFailures")
        if not self.paths:
            raise ConfigurationError("paths", self.paths, "paths, at least one")
        for path in self.paths:
            if not valid.text("paths", path).startswith("/"):
                raise ConfigurationError("paths", path, "paths that begin with /")
