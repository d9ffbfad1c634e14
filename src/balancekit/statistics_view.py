"""Statistics of the pool: one immutable view, for metrics, live views and debugging.

Membership and totals belong to one state of the pool; counters of requests that end while the view is taken may or
may not be in it. O(n), plus sorting each endpoint's latency window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from balancekit._support.html import bar, html_table
from balancekit._support.record import Record
from balancekit._support.text import figure
from balancekit.errors import UnknownEndpointError, printable
from balancekit.outcome import Outcome
from balancekit.stats import Quantiles

__all__ = ["BalancerStats", "EndpointStats"]


class EndpointStats(Record):
    """What is known of one endpoint.

    Parameters
    ----------
    id
        The endpoint's id.
    state
        Its health or membership state: ``"healthy"``, ``"ejected"``, ``"draining"``...
    weight
        As configured.
    inflight
        Open leases.
    outcomes
        How many leases ended how, since the endpoint joined; every outcome is present.
    latency
        Quantiles of recent successes in seconds, to the first byte where that was reported; ``None`` if there are
        none, or if the balancer does not measure time (``timed=False``). The first 64 successes are all in it, later
        ones one in eight.
    first_byte
        Quantiles of the seconds to the first byte, of recent requests that reported it; ``None`` if there are none.
    tokens
        How many tokens were reported for answers since the endpoint joined.
    tokens_per_second
        Quantiles of the speed of recent answers after their first token; ``None`` if no request reported tokens and first byte.
    """

    id: str
    state: str
    weight: float
    inflight: int
    outcomes: Mapping[Outcome, int]
    latency: Quantiles | None
    first_byte: Quantiles | None = None
    tokens: int = 0
    tokens_per_second: Quantiles | None = None

    @property
    def completed(self) -> int:
        """Leases that have ended, however they did."""
        return sum(self.outcomes.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON: see :meth:`BalancerStats.to_dict`."""
        return {name: _plain(getattr(self, name)) for name in self._fields}


class BalancerStats(Record):
    """What is known of a pool.

    Parameters
    ----------
    at
        Seconds of the balancer's clock.
    endpoints
        Those in the pool, in the order of configuration, then those removed with leases still open.
    outcomes
        How many leases ended how since the balancer was made, removed endpoints included.
    latency
        Quantiles over the recent successes of all endpoints together.
    version
        Of the snapshot behind this view; grows with every change of membership or health.
    panic
        True if health is being ignored because too few endpoints are healthy.
    refused
        How often no endpoint could be picked: ``"empty"``, ``"ineligible"``, ``"saturated"``, ``"exhausted"`` (a request
        had tried them all), after the errors of these names.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> print(LoadBalancer(["a", "b"]).stats())
    0 requests have ended, 0 are in flight
      a  healthy    inflight 0  ended 0  not successful 0
      b  healthy    inflight 0  ended 0  not successful 0
    """

    at: float
    endpoints: tuple[EndpointStats, ...]
    outcomes: Mapping[Outcome, int]
    latency: Quantiles | None
    version: int
    panic: bool
    refused: Mapping[str, int]

    @property
    def inflight(self) -> int:
        """Open leases of all endpoints."""
        return sum(endpoint.inflight for endpoint in self.endpoints)

    @property
    def completed(self) -> int:
        """Leases that have ended, however they did."""
        return sum(self.outcomes.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON: outcomes by their names, numbers that JSON has not as ``None``.

        Example
        -------
        >>> import json
        >>> from balancekit import LoadBalancer
        >>> json.loads(json.dumps(LoadBalancer(["a"]).stats().to_dict()))["endpoints"][0]["outcomes"]["success"]
        0
        """
        return {name: _plain(getattr(self, name)) for name in self._fields}

    def __str__(self) -> str:
        ids = [printable(each.id) for each in self.endpoints]
        width = max(map(len, ids), default=0)
        lines = [f"{self.completed} requests have ended, {self.inflight} are in flight"]
        for id, each in zip(ids, self.endpoints, strict=True):
            failed = each.completed - each.outcomes[Outcome.SUCCESS]
            p50 = "" if each.latency is None else f"  p50 {figure(each.latency.p50 * 1e3)} ms"
            counts = f"inflight {each.inflight}  ended {each.completed}  not successful {failed}"
            lines.append(f"  {id:{width}}  {each.state:9}  {counts}{p50}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        total = self.completed or 1
        rows = [
            (
                each.id,
                each.state,
                f"{each.weight:g}",
                each.inflight,
                bar(each.completed / total),
                each.completed - each.outcomes[Outcome.SUCCESS],
                *(
                    ("", "")
                    if each.latency is None
                    else (f"{figure(each.latency.p50 * 1e3)}", f"{figure(each.latency.p99 * 1e3)}")
                ),
            )
            for each in self.endpoints
        ]
        columns = ("endpoint", "state", "weight", "in flight", "share", "not successful", "p50 ms", "p99 ms")
        return html_table(f"{self.completed:,} requests have ended", columns, rows)

    def __getitem__(self, id: str) -> EndpointStats:
        for endpoint in self.endpoints:
            if endpoint.id == id:
                return endpoint
        raise UnknownEndpointError(id, tuple([endpoint.id for endpoint in self.endpoints]))

    def __iter__(self) -> Iterator[EndpointStats]:
        return iter(self.endpoints)

    def __contains__(self, id: object) -> bool:
        return any(endpoint.id == id for endpoint in self.endpoints)


def _plain(value: Any) -> Any:
    if isinstance(value, EndpointStats):
        return value.to_dict()
    if isinstance(value, Quantiles):
        return {name: _plain(getattr(value, name)) for name in Quantiles._fields}
    if isinstance(value, Mapping):
        return {key.value if isinstance(key, Outcome) else key: count for key, count in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
