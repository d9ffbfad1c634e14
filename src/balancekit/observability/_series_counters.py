"""Counters of the series of one balancer, which never decrease while their series is there.

A series whose value decreases is taken for one that starts again at 0: the whole value counts as new. So a series takes the
increases of its endpoints: of several that follow each other under one id, and of all that share the label ``other``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, final

from balancekit.events import Event
from balancekit.observability._event_counters import EventCounters
from balancekit.observability._series import OTHER
from balancekit.observability._totals import Count, EndpointTotals, Total, with_leaving
from balancekit.protocols import ObservableBalancer

__all__ = ["Series", "SeriesCounters"]


class Series(NamedTuple):
    """One series of a counter of endpoints."""

    family: str
    endpoint: str
    """The label of the endpoint."""
    label: str
    """The outcome or reason; empty if the family has neither."""


@final
class SeriesCounters:
    """The counters of ended requests, of tokens and of ejections, by series.

    Cost: O(endpoints) per reading.
    """

    __slots__ = ("_totals", "_values")

    def __init__(self) -> None:
        self._totals = EndpointTotals()
        self._values: dict[Series, int] = {}

    def on_event(self, event: Event) -> None:
        """Note the removal of an endpoint."""
        self._totals.on_event(event)

    def read(
        self, balancer: ObservableBalancer[Any], events: EventCounters, label: Callable[[str], str]
    ) -> dict[Series, int]:
        """Return the values of all series. Those of endpoints that have left are dropped, except the common one."""
        return self._totals.read_into(
            lambda: _counts(balancer, events), lambda totals: self._add(totals, label)
        )

    def _add(self, totals: Iterable[Total], label: Callable[[str], str]) -> dict[Series, int]:
        """Add the increases of a reading. Called under the lock of the totals."""
        present = {OTHER}
        for total in totals:
            series = Series(total.name, label(total.endpoint), total.label)
            present.add(series.endpoint)
            if total.value or total.label:
                self._values[series] = self._values.get(series, 0) + total.increase
        self._values = {series: value for series, value in self._values.items() if series.endpoint in present}
        return dict(self._values)


def _counts(balancer: ObservableBalancer[Any], events: EventCounters) -> list[Count]:
    ejections = events.ejections  # read first: those of an endpoint that is removed later are not missed
    found, present = [], set[str]()
    for one, leaving in with_leaving(balancer):
        found += [
            Count(one.id, "requests", outcome.value, count, leaving)
            for outcome, count in one.outcomes.items()
        ]
        found.append(Count(one.id, "tokens", "", one.tokens, leaving))
        if not leaving:
            present.add(one.id)
    found += [Count(id, "ejections", why, count) for (id, why), count in ejections.items() if id in present]
    return found
