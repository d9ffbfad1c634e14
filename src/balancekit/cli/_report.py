"""Report of a run of the demo: counts, latencies and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from balancekit._support.record import Record
from balancekit.cli._traffic import RequestCounters
from balancekit.events import Event
from balancekit.stats import summary

__all__ = ["DemoReport", "EndpointRow", "Note", "milliseconds"]


TIMES: Final = frozenset({"until", "deadline"})
"""Fields of events that are times of the balancer's clock."""


class Note(Record):
    """An event of a run, ``time`` seconds after its beginning."""

    time: float
    event: str
    endpoint: str
    details: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        more = ", ".join(f"{name} {_short(name, value)}" for name, value in self.details)
        return f"{self.endpoint} {self.event}{f' ({more})' if more else ''}"

    @classmethod
    def of(cls, event: Event, began: float) -> Note:
        """Return the note of a balancer's event. ``began`` is the begin of the run by the balancer's clock."""
        details = [
            (name, getattr(event, name) - began if name in TIMES else getattr(event, name))
            for name in event._fields
            if name not in {"endpoint", "at"} and getattr(event, name) is not None
        ]
        name = type(event).__name__.lower()
        return cls(time=event.at - began, event=name, endpoint=event.endpoint, details=tuple(details))


class EndpointRow(Record):
    """Requests and latencies of one endpoint. Times in seconds; ``None`` without requests."""

    id: str
    requests: int
    share: float
    p50: float | None
    p95: float | None
    p99: float | None


class DemoReport(Record):
    """The summary of a run of the demo."""

    seconds: float
    requests: int
    failures: int
    retries: int
    max_in_flight: int
    endpoints: tuple[EndpointRow, ...]
    """Figures of the requests outside the burst, by endpoint."""
    burst: tuple[EndpointRow, ...]
    """Figures of the requests that were open during the burst, by endpoint."""
    events: tuple[Note, ...]

    @classmethod
    def of(
        cls, counters: RequestCounters, seconds: float, names: list[str], events: list[Note]
    ) -> DemoReport:
        """Make the report of a run."""
        return cls(
            seconds=seconds,
            requests=counters.requests,
            failures=counters.failures,
            retries=counters.retries,
            max_in_flight=counters.max_in_flight,
            endpoints=_rows(names, counters.seconds),
            burst=_rows([name for name in names if counters.burst.get(name)], counters.burst),
            events=tuple(events),
        )

    def data(self) -> dict[str, object]:
        """Return the report as plain values for JSON."""
        return {
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "failures": self.failures,
            "retries": self.retries,
            "max_in_flight": self.max_in_flight,
            "endpoints": [{name: getattr(row, name) for name in row._fields} for row in self.endpoints],
            "burst": [{name: getattr(row, name) for name in row._fields} for row in self.burst],
            "events": [
                {"time": round(e.time, 3), "event": e.event, "endpoint": e.endpoint, **dict(e.details)}
                for e in self.events
            ],
        }


def _rows(names: Sequence[str], seconds: Mapping[str, Sequence[float]]) -> tuple[EndpointRow, ...]:
    served = sum(map(len, seconds.values())) or 1
    rows = []
    for name in names:
        durations = seconds.get(name, ())
        quantiles = summary(durations)
        row = EndpointRow(
            id=name,
            requests=len(durations),
            share=len(durations) / served,
            p50=quantiles.p50 if quantiles else None,
            p95=quantiles.p95 if quantiles else None,
            p99=quantiles.p99 if quantiles else None,
        )
        rows.append(row)
    return tuple(rows)


def milliseconds(seconds: float | None) -> str:
    """Return a time as text in milliseconds."""
    return "-" if seconds is None else f"{seconds * 1e3:.1f} ms"


def _short(name: str, value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1f} s" if name in TIMES else f"{value:g}"
