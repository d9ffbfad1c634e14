"""Report of the tiers demo: killed nodes, detection times, and failures of callers, compared with the formulas."""

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
    """One part of the script, from a failure to the next one, and its requests. Times in seconds."""

    name: str
    killed: tuple[str, ...] = ()
    killed_at: float = 0.0
    detection_bound: float | None = None
    """Maximum detection time by the formula."""
    failure_bound: float | None = None
    """Time after the kill until which requests may fail; ``None`` if no request may fail."""
    detected: dict[str, float] = field(default_factory=dict)
    """Time from the kill to its detection, by detecting node."""
    durations: list[float] = field(default_factory=list)
    retries: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    """Number of failed attempts by reason."""
    failed_at: list[float] = field(default_factory=list)
    stall: float = 0.0
    """Maximum delay of the event loop of this process."""

    @property
    def requests(self) -> int:
        """Number of requests that ended in this phase."""
        return len(self.durations) + self.failures

    @property
    def failures(self) -> int:
        """Number of requests that failed in all their attempts."""
        return len(self.failed_at)

    @property
    def last_failure(self) -> float | None:
        """Seconds from the kill to the end of the last failed request; ``None`` if no request failed."""
        return max(self.failed_at) - self.killed_at if self.failed_at else None

    @property
    def as_promised(self) -> bool:
        """Whether no request failed later than the formula allows, plus the delay of this process."""
        last = self.last_failure
        return last is None or (self.failure_bound is not None and last <= self.failure_bound + self.stall)

    def record(self, *, began: float, ended: float, retries: int, cause: str | None) -> None:
        """Count one request. ``cause`` is the reason why its last attempt failed; ``None`` if it succeeded."""
        self.retries += retries
        if cause is None:
            self.durations.append(ended - began)
        else:
            self.causes[cause] += 1
            self.failed_at.append(ended)

    def on_detection(self, node: str, at: float) -> None:
        """Record that a node has detected the failure of this phase. Only its first detection counts."""
        if self.killed and node not in self.killed:
            self.detected.setdefault(node, at - self.killed_at)

    def data(self) -> dict[str, Any]:
        """Return the phase as plain values for JSON."""
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
    """The summary of a run of the tiers demo."""

    seconds: float
    vrrp: bool
    why_not: str | None
    """The reason why VRRP moved no address; ``None`` if it did."""
    phases: Sequence[Phase]
    notes: Sequence[Note]
    dns_queries: int

    @property
    def as_promised(self) -> bool:
        """Whether all phases are as promised; see :attr:`Phase.as_promised`."""
        return all(phase.as_promised for phase in self.phases)

    def data(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
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
