"""What an export collects: the whole weights of a pool, its levels, and every difference that it cannot avoid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, final

from balancekit._support.record import Record
from balancekit.endpoint import Endpoint
from balancekit.proxyconfig._export_methods import METHODS, Method
from balancekit.proxyconfig._export_pool import ExportPool
from balancekit.proxyconfig._export_text import Address, address_of, whole_weights

__all__ = ["MAX_TIME_S", "Difference", "Exported", "Member"]

ROUTERS: Final = ("Priority", "MaxInFlight", "BoundedLoad")
"""Routers that a proxy may have a word for."""
MAX_WEIGHT: Final = {"nginx": 65_535, "haproxy": 256, "envoy": 100_000}
MAX_TIME_S: Final = {"nginx": 1_000_000_000, "haproxy": 2_147_483, "envoy": 1_000_000_000}
"""HAProxy counts milliseconds in 31 bits."""
RING_WEIGHT: Final = 10
"""What weights on HAProxy's ring are multiplied by, as far as they may: a server has 16 points a weight, and 150 here."""


class Difference(Record):
    """A setting that the exported text does not have, or has in another form.

    Parameters
    ----------
    where
        The pool or the route; empty for the whole.
    text
        What differs.
    """

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


class Member(NamedTuple):
    """A server as it is written."""

    name: str
    address: Address
    weight: int
    level: int
    """0 is the first that serves."""


@final
class Exported:
    """A pool in the words of one proxy.

    Parameters
    ----------
    kind
        The proxy.
    pool
        The pool.
    differences
        Where differences are added.
    """

    __slots__ = ("_differences", "bound", "fidelity", "kind", "max_inflight", "members", "method", "pool")

    def __init__(self, kind: str, pool: ExportPool, differences: list[Difference]) -> None:
        self.kind: str = kind
        self.pool: ExportPool = pool
        self._differences = differences
        self.method: Method = METHODS[kind][pool.selector]
        self.fidelity: str = self.method.fidelity
        bounded, limited = pool.router("BoundedLoad"), pool.router("MaxInFlight")
        self.bound: float | None = None if bounded is None else float(bounded.get("factor", 1.25))
        limit = None if limited is None else limited.get("max_inflight")
        self.max_inflight: int | None = limit if isinstance(limit, int) else None
        if limited is not None and (self.max_inflight is None or limited.get("per_weight")):
            self.differ("MaxInFlight adapts or follows weights, which it cannot; the limit is not written")
            self.max_inflight = None
        self.members: list[Member] = self._members()
        if self.method.why:
            self.differ(f"{pool.selector} has no equal: {self.method.why}")
        elif self.fidelity == "keys":
            self.differ(f"{pool.selector}: each key keeps one server, but another than in Python")
        for word in pool.left_out:
            self.differ(f"{word} has no equal")
        for router in pool.routers:
            if router.get("kind") not in ROUTERS:
                self.fidelity = "nearest"
                self.differ(f"the router {router.get('kind')} is not written")
        if kind != "envoy" and not all(member.address.numeric for member in self.members):
            self.differ("names are looked up once, when it starts; it does not start if one has no address")
        if kind != "nginx" and pool.check is not None:
            self._differ_check()
        for value in (pool.timeout, pool.schedule.interval, *_times_of(pool)):
            if value is not None and value > MAX_TIME_S[kind]:
                self.differ(f"no time is longer than {MAX_TIME_S[kind]:,} s; {value:g} s is cut")

    def differ(self, text: str) -> None:
        """Add a difference."""
        self._differences.append(Difference(where=f"pool {self.pool.name}", text=text))

    def seconds(self, value: float) -> int:
        """Return a time in whole seconds, at least one, at most what the proxy allows."""
        return max(1, math.ceil(min(value, MAX_TIME_S[self.kind])))

    def milliseconds(self, value: float) -> int:
        """Return a time in whole milliseconds, at least one, at most what the proxy allows."""
        return max(1, math.ceil(round(min(value, MAX_TIME_S[self.kind]) * 1000, 6)))

    def _differ_check(self) -> None:
        check, schedule = self.pool.check, self.pool.schedule
        if schedule.jitter:
            self.differ("the jitter of checks is not written")
        if self.kind == "envoy" and schedule.period(changing=True) < schedule.interval:
            self.differ("endpoints that change are not checked faster")
        if check is not None and check.address is not None:
            self.differ("the address of the check is not written: it is that of the server")

    def one_level_of_backups(self, proxy: str) -> None:
        """Add the difference of a proxy without a second level of backups, if the pool has one."""
        if max([member.level for member in self.members]) > 1:
            self.fidelity = "nearest"
            what = "First" if self.pool.selector == "First" else "Priority"
            self.differ(
                f"{what} has no equal beyond two levels: {proxy} has one level of backups, and the further ones share with the second"
            )

    def _members(self) -> list[Member]:
        endpoints: Sequence[Endpoint[Any]] = self.pool.endpoints
        if self.pool.selector == "First":
            levels = list(range(len(endpoints)))
        elif self.pool.router("Priority") is not None:
            order = sorted({endpoint.priority for endpoint in endpoints})
            levels = [order.index(endpoint.priority) for endpoint in endpoints]
        else:
            levels = [0] * len(endpoints)
        weights = [float(endpoint.weight) for endpoint in endpoints]
        if not self.method.weighted:
            weights = [1.0 if weight else 0.0 for weight in weights]
        whole, off = whole_weights(weights, most=MAX_WEIGHT[self.kind])
        if self.kind == "haproxy" and self.method.words.endswith(" consistent"):
            factor = max(1, min(RING_WEIGHT, MAX_WEIGHT["haproxy"] // max(whole)))
            whole = [number * factor for number in whole]
        if off:
            self.differ(f"weights are whole numbers; a share is off by up to {off:.2%}")
        if not all(whole):
            self.differ("endpoints of weight zero get nothing, even if all others fail")
        return [
            Member(endpoint.id, address_of(endpoint), weight, level)
            for endpoint, weight, level in zip(endpoints, whole, levels, strict=True)
        ]


def _times_of(pool: ExportPool) -> list[float]:
    """Return the longest times of a pool's health."""
    if pool.health is None:
        return []
    warm_up = pool.health.warm_up
    return [pool.health.ejection.max_duration, 0.0 if warm_up is None else warm_up.window]
