"""The exporter of one registry for all its balancers. A registry accepts each metric name from one exporter only.

A balancer without other references is garbage-collected. Its collector is then removed at the next scrape, or when
another one joins.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from operator import is_not
from typing import Any, Final, Protocol, final
from weakref import WeakKeyDictionary

from balancekit._support.extras import extra

with extra("prometheus"):
    from prometheus_client import CollectorRegistry, Histogram, Metric
    from prometheus_client.registry import Collector

from balancekit._support.fork import new_lock
from balancekit.errors import ConfigurationError
from balancekit.observability._event_counters import EventCounters
from balancekit.observability._instruments import BUCKETS, EACH, STATES, TEXTS, Direct, families
from balancekit.observability._series import OTHER
from balancekit.observability._series_counters import Series
from balancekit.observability._totals import by_id
from balancekit.protocols import ObservableBalancer
from balancekit.statistics_view import EndpointStats

__all__ = ["Exporter", "exporter_of"]


class Member(Protocol):
    """The interface of a collector for its exporter."""

    service: str
    counters: EventCounters

    @property
    def balancer(self) -> ObservableBalancer[Any] | None:
        """The balancer; ``None`` once it is collected."""
        ...

    def label(self, endpoint: str) -> str:
        """Return the label of an endpoint."""
        ...

    def count(self, balancer: ObservableBalancer[Any]) -> Mapping[Series, int]:
        """Return the counters of requests, tokens and ejections."""
        ...

    def labelled(self) -> set[str]:
        """Return the ids that have a label of their own."""
        ...

    def forget(self, endpoints: Iterable[str]) -> None:
        """Delete the series of endpoints that have left, and free their places."""
        ...

    def discovered(self) -> Iterator[Any]:
        """Return the statistics of the runners of discovery."""
        ...

    def close(self) -> None:
        """Stop observing the balancer, and remove its metrics."""
        ...


@final
class Exporter(Collector):
    """The exporter of all balancers of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        several = "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ
        self._lock = new_lock()
        self._members: list[Member] = []
        self.duration = Histogram(
            "balancekit_request_duration_seconds",
            TEXTS["duration"],
            EACH,
            buckets=BUCKETS,
            registry=registry if several else None,
        )
        self.direct: Direct | None = Direct(registry) if several else None
        if self.direct is None:
            registry.register(self)

    def join(self, member: Member) -> None:
        """Add a balancer.

        Raises
        ------
        ConfigurationError
            If the registry already has a balancer with the same ``service``.
        """
        self._living()
        with self._lock:
            if any(other.service == member.service for other in self._members):
                raise ConfigurationError(
                    "service", member.service, "a name that this registry does not have yet"
                )
            self._members.append(member)

    def leave(self, member: Member) -> None:
        """Remove a balancer."""
        with self._lock:
            self._members = list(filter(partial(is_not, member), self._members))

    def describe(self) -> Iterable[Metric]:
        """Return the names of the metrics without reading them."""
        return [*self.duration.describe(), *families().values()]

    def collect(self) -> Iterable[Metric]:
        """Return all metrics with their present values."""
        found = families()
        for member, balancer in self._living():
            _read(member, balancer, found)
        return [*self.duration.collect(), *[family for family in found.values() if family.samples]]

    def _living(self) -> list[tuple[Member, ObservableBalancer[Any]]]:
        """Return the members whose balancers exist; remove the others."""
        with self._lock:
            members = list(self._members)
        found = []
        for member in members:
            balancer = member.balancer
            if balancer is None:
                member.close()
            else:
                found.append((member, balancer))
        return found


def _read(member: Member, balancer: ObservableBalancer[Any], found: Mapping[str, Any]) -> None:
    """Add the samples of one balancer."""
    sums = _Sums(member.service)
    labelled = member.labelled()  # read first: a later label may be of an endpoint that the statistics lack
    stats = balancer.stats()
    member.forget(labelled - {endpoint.id for endpoint in stats.endpoints})  # their last leases have ended
    for (family, name, label), count in member.count(balancer).items():
        sums.add(family, count, name, *([label] if label else ()))
    for endpoint in stats.endpoints:
        sums.add("inflight", endpoint.inflight, member.label(endpoint.id))
    for endpoint in by_id(stats).values():
        _add_endpoint(sums, endpoint, member.label(endpoint.id))
    for why, count in stats.refused.items():
        sums.add("failures", count, why)
    sums.add("panic", float(stats.panic))
    _add_counters(sums, member)
    for source in member.discovered():
        for result, count in source.refreshes.items():
            sums.add("refreshes", count, source.source, result)
        sums.add("success", source.last_success_at, source.source)
        sums.add("endpoints", source.endpoints, source.source)
    for (family, labels), value in sums.values.items():
        found[family].add_metric(labels, value)


class _Sums:
    """The samples of one balancer. Samples with equal labels, such as those of endpoints beyond the limit, are added up."""

    def __init__(self, service: str) -> None:
        self._service = service
        self.values: dict[tuple[str, tuple[str, ...]], float] = {}

    def add(self, family: str, value: float, *labels: str) -> None:
        key = family, (self._service, *labels)
        self.values[key] = self.values.get(key, 0.0) + value


def _add_endpoint(sums: _Sums, endpoint: EndpointStats, name: str) -> None:
    if endpoint.first_byte is not None and name != OTHER:
        sums.add("first_byte", endpoint.first_byte.p50, name)
    if endpoint.tokens_per_second is not None and name != OTHER:
        sums.add("speed", endpoint.tokens_per_second.p50, name)
    sums.add("weight", endpoint.weight, name)
    for state in STATES:
        sums.add("state", float(endpoint.state == state), name, state)


def _add_counters(sums: _Sums, member: Member) -> None:
    counters = member.counters
    for why, count in counters.retries.items():
        sums.add("retries", count, why)
    sums.add("exhausted", counters.refused)
    for result in ("won", "lost"):
        sums.add("hedges", counters.hedges[result], result)


_EXPORTERS: Final[WeakKeyDictionary[CollectorRegistry, Exporter]] = WeakKeyDictionary()
_LOCK: Final = new_lock()


def exporter_of(registry: CollectorRegistry) -> Exporter:
    """Return the exporter of a registry, created on first use."""
    with _LOCK:
        found = _EXPORTERS.get(registry)
        if found is None:
            found = _EXPORTERS[registry] = Exporter(registry)
        return found
