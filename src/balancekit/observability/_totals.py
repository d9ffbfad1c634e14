"""Totals per endpoint that never decrease, for exporters that compute differences.

The counters of an endpoint start at 0 when it is removed and added again. A difference between two readings would then be
negative. Here the total of a removed endpoint is kept, and the counts of its successor are added to it. A removed
endpoint with open leases is counted until the last one ends, beside a successor with the same id.

Requests that end between the last reading and the departure are in no reading, and so in no total.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeVar, final

from balancekit._support.fork import new_lock
from balancekit.events import Event, Removed
from balancekit.protocols import ObservableBalancer
from balancekit.statistics_view import BalancerStats, EndpointStats

__all__ = ["Count", "EndpointTotals", "Total", "by_id", "tokens_of", "with_leaving"]

Result = TypeVar("Result")

MAX_READINGS: Final = 8
"""The most readings under no lock. So many changes during readings mean that endpoints come and go all the time."""
MAX_REMOVED: Final = 1_000
"""The most endpoints that have left whose totals are kept. At the next reading, those removed first are dropped."""


def with_leaving(balancer: ObservableBalancer[Any]) -> list[tuple[EndpointStats, bool]]:
    """Return the statistics of each endpoint, and whether it was removed and still has open leases."""
    # The ids are read first: an endpoint that is removed after that is not reported yet.
    present = {endpoint.id for endpoint in balancer.endpoints}
    found = []
    for one in balancer.stats().endpoints:
        found.append((one, one.id not in present))
        present.discard(one.id)
    return found


def by_id(stats: BalancerStats) -> dict[str, EndpointStats]:
    """Return one endpoint for each id: the present one, or the one that leaves if there is no successor."""
    found: dict[str, EndpointStats] = {}
    for endpoint in stats.endpoints:  # those that leave are last
        found.setdefault(endpoint.id, endpoint)
    return found


class Count(NamedTuple):
    """One counter of an endpoint."""

    endpoint: str
    """The id."""
    name: str
    """The name of the counter."""
    label: str
    """The outcome or reason that is counted."""
    value: int
    leaving: bool = False
    """Whether the endpoint was removed, and still has open leases."""


class Total(NamedTuple):
    """The total of one counter over all endpoints that had the same id."""

    endpoint: str
    """The id."""
    name: str
    """The name of the counter."""
    label: str
    """The outcome or reason that is counted."""
    value: int
    increase: int
    """What the last reading did not have."""


def tokens_of(balancer: ObservableBalancer[Any]) -> list[Count]:
    """Return the counts of tokens of all endpoints."""
    return [Count(one.id, "tokens", "", one.tokens, leaving) for one, leaving in with_leaving(balancer)]


@final
class _Sums:
    """The total of one counter, and what it consists of."""

    __slots__ = ("_departed", "_early", "_leaving", "_present", "value")

    def __init__(self) -> None:
        self.value = 0
        self._departed = self._leaving = self._present = 0
        self._early = False
        """Whether a reading has noticed a removal before it was reported."""

    def read(self, present: int, leaving: int) -> int:
        """Take the counts of a reading; return by how much the total increases."""
        if present < self._present:
            self.remove()
            self._early = True
        self._departed += max(0, self._leaving - leaving)
        self._leaving, self._present = leaving, present
        before, self.value = self.value, max(self.value, self._departed + leaving + present)
        return self.value - before

    def remove(self) -> None:
        """Take the present endpoint for one that leaves."""
        if not self._early:
            self._leaving, self._present = self._leaving + self._present, 0
        self._early = False


@final
class EndpointTotals:
    """The totals of the endpoints of one balancer.

    Register :meth:`on_event` with the balancer.

    Example
    -------
    >>> totals = EndpointTotals()
    >>> [total.value for total in totals.read(lambda: [Count("a", "attempts", "success", 7)])]
    [7]
    >>> totals.on_event(Removed(endpoint="a", at=0.0))
    >>> leaving = Count("a", "attempts", "success", 8, leaving=True)
    >>> [total.value for total in totals.read(lambda: [Count("a", "attempts", "success", 2), leaving])]
    [10]
    >>> [total.value for total in totals.read(lambda: [Count("a", "attempts", "success", 2)])]
    [10]
    """

    __slots__ = ("_changes", "_lock", "_present", "_removed")

    def __init__(self) -> None:
        self._lock = new_lock()
        self._changes = 0
        """The number of readings and removals."""
        self._present: dict[str, dict[tuple[str, str], _Sums]] = {}
        self._removed: dict[str, dict[tuple[str, str], _Sums]] = {}

    def read(self, counts: Callable[[], Iterable[Count]]) -> list[Total]:
        """Return the totals for some counts. See :meth:`read_into`."""
        return self.read_into(counts, lambda totals: totals)

    def read_into(
        self, counts: Callable[[], Iterable[Count]], take: Callable[[list[Total]], Result]
    ) -> Result:
        """Return what a function makes of the totals for some counts. It is called under the lock, and so in the order of readings.

        The counts are read under no lock, because reading them calls the clock and the listeners of the application. They
        are read again if another reading or a removal came in between. After some of these they are read under the lock.
        """
        for _ in range(MAX_READINGS):
            changes, found = self._changes, list(counts())
            with self._lock:
                if changes == self._changes:
                    return take(self._read(found))
        with self._lock:
            return take(self._read(counts()))

    def _read(self, counts: Iterable[Count]) -> list[Total]:
        self._changes += 1
        found: dict[tuple[str, str, str], list[int]] = {}
        for one in counts:
            if not one.leaving and one.endpoint not in self._present:
                self._present[one.endpoint] = self._removed.pop(one.endpoint, {})
            found.setdefault(one[:3], [0, 0])[one.leaving] += one.value
        totals = [self._total(key, present, leaving) for key, (present, leaving) in found.items()]
        if len(self._removed) > MAX_REMOVED:
            self._drop_oldest({endpoint for endpoint, _, _ in found})
        return totals

    def _total(self, key: tuple[str, str, str], present: int, leaving: int) -> Total:
        endpoint, name, label = key
        totals = self._present.get(endpoint)
        if totals is None:
            totals = self._removed.setdefault(endpoint, {})
        sums = totals.get((name, label))
        if sums is None:
            if not present and not leaving:  # most outcomes of most endpoints
                return Total(endpoint, name, label, 0, 0)
            sums = totals[name, label] = _Sums()
        increase = sums.read(present, leaving)
        return Total(endpoint, name, label, sums.value, increase)

    def on_event(self, event: Event) -> None:
        """Keep the totals of a removed endpoint."""
        if isinstance(event, Removed):
            with self._lock:
                self._changes += 1
                self._keep(event.endpoint)

    def _keep(self, endpoint: str) -> None:
        totals = self._present.pop(endpoint, None)
        if totals is None:
            return
        for sums in totals.values():
            sums.remove()
        self._removed[endpoint] = totals

    def _drop_oldest(self, counted: set[str]) -> None:
        """Drop the totals of the endpoints removed first. Those that are still counted would be counted again."""
        gone = [endpoint for endpoint in self._removed if endpoint not in counted]
        for endpoint in gone[: max(0, len(gone) - MAX_REMOVED)]:
            del self._removed[endpoint]
