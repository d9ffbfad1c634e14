"""Totals per endpoint that never decrease, for exporters that compute differences.

The counters of an endpoint start at 0 when it is removed and added again. A difference between two readings would then be
negative. Here the total of a removed endpoint is kept, and the counts of its successor are added to it.

Requests that end between the last reading and the removal are in no reading, and so in no total.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias, final

from balancekit._support.fork import new_lock
from balancekit.events import Event, Removed

__all__ = ["Count", "EndpointTotals"]

MAX_REMOVED: Final = 1_000
"""The most removed endpoints whose totals are kept. The totals of the one removed first are dropped."""


class Count(NamedTuple):
    """One counter of an endpoint."""

    endpoint: str
    """The id."""
    name: str
    """The name of the counter."""
    label: str
    """The outcome or reason that is counted."""
    value: int


_Totals: TypeAlias = dict[tuple[str, str], tuple[int, int]]
"""By name and label: the total at the removal of the predecessor, and the total that was last reported."""


@final
class EndpointTotals:
    """The totals of the endpoints of one balancer.

    Register :meth:`on_event` with the balancer.

    Example
    -------
    >>> totals = EndpointTotals()
    >>> [count.value for count in totals.read(lambda: [Count("a", "attempts", "success", 7)])]
    [7]
    >>> totals.on_event(Removed(endpoint="a", at=0.0))
    >>> [count.value for count in totals.read(lambda: [Count("a", "attempts", "success", 2)])]
    [9]
    """

    __slots__ = ("_lock", "_present", "_removed")

    def __init__(self) -> None:
        self._lock = new_lock()
        self._present: dict[str, _Totals] = {}
        self._removed: dict[str, _Totals] = {}

    def read(self, counts: Callable[[], Iterable[Count]]) -> list[Count]:
        """Return the totals for some counts. The function is called under the lock, so that no removal comes in between."""
        with self._lock:
            return self._read(counts)

    def _read(self, counts: Callable[[], Iterable[Count]]) -> list[Count]:
        return [one._replace(value=self._total(one)) for one in counts()]

    def _total(self, count: Count) -> int:
        totals = self._present.get(count.endpoint)
        if totals is None:
            totals = self._present[count.endpoint] = self._removed.pop(count.endpoint, {})
        before, reported = totals.get((count.name, count.label), (0, 0))
        # A successor may be read before the removal of its predecessor is reported.
        total = max(reported, before + count.value)
        totals[count.name, count.label] = before, total
        return total

    def on_event(self, event: Event) -> None:
        """Keep the totals of a removed endpoint."""
        if isinstance(event, Removed):
            with self._lock:
                self._keep(event.endpoint)

    def _keep(self, endpoint: str) -> None:
        totals = self._present.pop(endpoint, None)
        if totals is None:
            return
        self._removed[endpoint] = {key: (reported, reported) for key, (_, reported) in totals.items()}
        while len(self._removed) > MAX_REMOVED:
            del self._removed[next(iter(self._removed))]
