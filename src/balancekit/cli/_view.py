"""Views of the demo: a live table in a terminal, plain lines elsewhere, nothing with ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from balancekit.cli._plain_output import PlainOutput
from balancekit.cli._report import DemoReport, EndpointRow, Note, milliseconds
from balancekit.statistics_view import BalancerStats

__all__ = ["LiveView", "PlainView", "Silent", "View", "print_report"]

MAX_NOTES_SHOWN = 8
STYLES = {"healthy": "green", "suspect": "yellow", "probing": "yellow", "ejected": "red", "draining": "cyan"}


class View(Protocol):
    """A view that shows a run of the demo. A context manager."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, elapsed: float, stats: BalancerStats, notes: Sequence[Note]) -> None:
        """Show the state of the run."""

    def record(self, note: Note) -> None:
        """Show an event."""


class Silent:
    """A view that shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, elapsed: float, stats: BalancerStats, notes: Sequence[Note]) -> None: ...

    def record(self, note: Note) -> None: ...


class PlainView(Silent):
    """A view that prints a line for each event, and a status line every two seconds."""

    def __init__(self) -> None:
        self._output = PlainOutput()

    def show(self, elapsed: float, stats: BalancerStats, notes: Sequence[Note]) -> None:
        if self._output.due(elapsed):
            parts = [f"{e.id} {e.state}, {e.inflight} in flight" for e in stats.endpoints]
            self._output.write(elapsed, f"{stats.completed} attempts ended; {'; '.join(parts)}")

    def record(self, note: Note) -> None:
        self._output.record(note)


class LiveView(Silent):
    """A view with a table of endpoints that is redrawn, and the latest events below it."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, elapsed: float, stats: BalancerStats, notes: Sequence[Note]) -> None:
        table = Table(title=f"balancekit demo, {elapsed:.1f} s", title_justify="left")
        for column in ("endpoint", "state", "in flight", "ended", "failed", "p50", "p95"):
            table.add_column(column, justify="left" if column in {"endpoint", "state"} else "right")
        for endpoint in stats.endpoints:
            succeeded = next(iter(endpoint.outcomes.values()))
            latency = endpoint.latency
            table.add_row(
                endpoint.id,
                Text(endpoint.state, style=STYLES.get(endpoint.state, "")),
                str(endpoint.inflight),
                str(endpoint.completed),
                str(endpoint.completed - succeeded),
                milliseconds(latency.p50 if latency else None),
                milliseconds(latency.p95 if latency else None),
            )
        lines = [Text(f"{note.time:5.1f} s  {note}") for note in notes[-MAX_NOTES_SHOWN:]]
        self._live.update(Group(table, *lines))


def print_report(console: Console, report: DemoReport) -> None:
    """Print the summary of a run. The burst has a table of its own, because its latencies are much higher."""
    console.print(_table("what the callers saw, without the burst", report.endpoints))
    if report.burst:
        console.print(_table("during the burst: 2 000 requests at once, and concurrent ones", report.burst))
    if console.is_terminal:  # otherwise each event has already been printed
        events = Table(title="what happened", title_justify="left", show_header=False, box=None)
        for note in report.events:
            events.add_row(f"{note.time:6.2f} s", str(note))
        console.print(events)
    console.print(
        f"{report.requests} requests (at most {report.max_in_flight} at once), "
        f"{report.failures} failures seen by the caller, {report.retries} retries",
        style="bold",
        highlight=False,
    )


def _table(title: str, rows: Sequence[EndpointRow]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("endpoint", "served", "share", "p50", "p95", "p99"):
        table.add_column(column, justify="left" if column == "endpoint" else "right")
    for row in rows:
        share, spread = (
            f"{row.share:.1%}",
            [milliseconds(row.p50), milliseconds(row.p95), milliseconds(row.p99)],
        )
        table.add_row(row.id, str(row.requests), share, *spread)
    return table
