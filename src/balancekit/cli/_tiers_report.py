"""Report of the tiers demo: what was killed, when that was noticed, and what the callers saw, compared with the formulas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console

from balancekit.cli._report import Note, milliseconds
from balancekit.cli._tables import figure_tables
from balancekit.stats import summary

__all__ = ["Phase", "TiersReport", "print_tiers"]

FIGURES: Final = (
    "noticed after",
    "at most",
    "requests",
    "retries",
    "failures",
    "until",
    "at most",
    "p50",
    "p99",
)
COLUMNS: Final = (("killed", False), *[(name, True) for name in FIGURES])


@dataclass
class Phase:
    """One part of the script, and what callers saw of it. Times in seconds."""

    name: str
    killed: tuple[str, ...] = ()
    killed_at: float = 0.0
    detection_bound: float | None = None
    """The longest detection by the formula."""
    failure_bound: float | None = None
    """How long after the kill a caller may see a failure; ``None``: never."""
    detected: dict[str, float] = field(default_factory=dict)
    """After how long each of the nodes before it noticed."""
    durations: list[float] = field(default_factory=list)
    retries: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    """Why attempts failed."""
    failed_at: list[float] = field(default_factory=list)
    stall: float = 0.0
    """The longest time for which this process was late itself."""

    @property
    def requests(self) -> int:
        """Requests that ended in this phase."""
        return len(self.durations) + self.failures

    @property
    def failures(self) -> int:
        """Requests that failed, all attempts included."""
        return len(self.failed_at)

    @property
    def last_failure(self) -> float | None:
        """Seconds from the kill to the end of the last request that failed."""
        return max(self.failed_at) - self.killed_at if self.failed_at else None

    @property
    def as_promised(self) -> bool:
        """Whether no caller saw a failure, or none later than the formula says, and than this process was late."""
        last = self.last_failure
        return last is None or (self.failure_bound is not None and last <= self.failure_bound + self.stall)

    def record(self, *, began: float, ended: float, retries: int, cause: str | None) -> None:
        """Count one request; ``cause`` is why its last attempt failed."""
        self.retries += retries
        if cause is None:
            self.durations.append(ended - began)
        else:
            self.causes[cause] += 1
            self.failed_at.append(ended)

    def on_detection(self, node: str, at: float) -> None:
        """Take note that a node has noticed the deaths of this phase; the first time counts."""
        if self.killed and node not in self.killed:
            self.detected.setdefault(node, at - self.killed_at)

    def data(self) -> dict[str, Any]:
        """Return plain data."""
        quantiles = summary(self.durations)
        return {
            "name": self.name,
            "killed": list(self.killed),
            "detected_after": {name: round(after, 3) for name, after in self.detected.items()},
            "detection_bound": _rounded(self.detection_bound),
            "requests": self.requests,
            "failures": self.failures,
            "retries": self.retries,
            "causes": dict(self.causes),
            "p50": _rounded(quantiles.p50 if quantiles else None),
            "p99": _rounded(quantiles.p99 if quantiles else None),
            "last_failure_after": _rounded(self.last_failure),
            "failure_bound": _rounded(self.failure_bound),
            "stall": round(self.stall, 3),
            "as_promised": self.as_promised,
        }


@dataclass(frozen=True)
class TiersReport:
    """The summary of a run."""

    seconds: float
    vrrp: bool
    why_not: str | None
    """Why no address was moved by VRRP."""
    phases: Sequence[Phase]
    notes: Sequence[Note]
    dns_queries: int

    @property
    def as_promised(self) -> bool:
        """Whether every phase was."""
        return all(phase.as_promised for phase in self.phases)

    def data(self) -> dict[str, Any]:
        """Return the report as plain data for JSON."""
        return {
            "seconds": round(self.seconds, 3),
            "vrrp": self.vrrp,
            "why_not": self.why_not,
            "dns_queries": self.dns_queries,
            "requests": sum(phase.requests for phase in self.phases),
            "failures": sum(phase.failures for phase in self.phases),
            "as_promised": self.as_promised,
            "phases": [phase.data() for phase in self.phases],
            "events": [
                {"time": round(note.time, 3), "event": note.event, "node": note.endpoint}
                for note in self.notes
            ],
        }


def print_tiers(console: Console, report: TiersReport) -> None:
    """Print the summary of a run."""
    rows = []
    for phase in report.phases:
        quantiles = summary(phase.durations)
        after = phase.detected.values()
        figures = [
            _span(min(after), max(after)) if after else "-",
            _seconds(phase.detection_bound),
            str(phase.requests),
            str(phase.retries),
            str(phase.failures),
            _seconds(phase.last_failure),
            "none" if phase.failure_bound is None else _seconds(phase.failure_bound),
            milliseconds(quantiles.p50 if quantiles else None),
            milliseconds(quantiles.p99 if quantiles else None),
        ]
        rows.append([_what(phase), *figures])
    for table in figure_tables(COLUMNS, rows, width=console.width, title="what the callers saw"):
        console.print(table)
    causes = sum((phase.causes for phase in report.phases), Counter[str]())
    if causes:
        counted = ", ".join(f"{count} {cause}" for cause, count in causes.most_common())
        console.print(f"attempts that failed: {counted}", highlight=False)
    console.print(
        f"{report.dns_queries} DNS queries for {sum(phase.requests for phase in report.phases)} requests",
        highlight=False,
    )
    if report.why_not:
        console.print(f"no address moved by VRRP: {report.why_not}", highlight=False)
    failures = sum(phase.failures for phase in report.phases)
    kept = "as the formulas say" if report.as_promised else "not as the formulas say"
    console.print(f"{failures} failures seen by callers, {kept}", style="bold", highlight=False)


def _what(phase: Phase) -> str:
    if len(phase.killed) <= 1:
        return phase.killed[0] if phase.killed else "nothing"
    return f"{phase.name} ({len(phase.killed)})"


def _span(first: float, last: float) -> str:
    return _seconds(first) if f"{first:.1f}" == f"{last:.1f}" else f"{first:.1f}-{last:.1f} s"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
