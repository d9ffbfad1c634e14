"""Plot of one balancer over time: throughput, failures, retries, latency, and states of endpoints.

Faults are grey bands in all panels. The lowest panel shows when endpoints were ejected, suppressed, cooling down or
draining.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from balancekit.bench._style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RULE, SKY, bare, canvas, titled
from balancekit.events import (
    Cooling,
    Drained,
    Draining,
    Ejected,
    Event,
    Probing,
    Removed,
    Restored,
    Suppressed,
)
from balancekit.sim import Fault, SimulationReport

__all__ = ["Period", "over_time", "periods"]

WIDTH: Final = 5.6
"""Width in inches. On a telephone with a width of 400 pixels, letters have two thirds of their size."""
MAX_LANES: Final = 8
"""Maximum number of endpoints in the lowest panel."""
MAX_FINE_RANGE: Final = 60.0
"""If the ends of an axis have a larger ratio, only powers of ten are labelled."""
COLOURS: Final[Mapping[str, str]] = {
    "ejected": ORANGE,
    "suppressed": PURPLE,
    "cooling": GREEN,
    "draining": SKY,
}


class Period(NamedTuple):
    """A period in which an endpoint was in a state. Times in seconds."""

    endpoint: str
    state: str
    begin: float
    end: float


def periods(events: Iterable[Event], end: float) -> list[Period]:
    """Return the periods in which endpoints were ejected, suppressed, cooling down or draining.

    Parameters
    ----------
    events
        Events of a balancer, in the order of their times.
    end
        End of the run in seconds. Periods that last longer end there.
    """
    found: list[Period] = []
    ends: dict[str, list[float]] = {}
    kept = list(events)
    for event in kept:
        if isinstance(event, Probing | Restored | Removed | Drained):
            ends.setdefault(event.endpoint, []).append(event.at)
    for event in kept:
        if isinstance(event, Ejected | Suppressed | Cooling):
            back = [at for at in ends.get(event.endpoint, ()) if at > event.at]
            until = event.until if isinstance(event, Cooling) else min([event.until, *back])
            found.append(Period(event.endpoint, type(event).__name__.lower(), event.at, min(until, end)))
        elif isinstance(event, Draining):
            gone = [at for at in ends.get(event.endpoint, ()) if at >= event.at]
            found.append(Period(event.endpoint, "draining", event.at, min([end, *gone])))
    return found


def over_time(name: str, report: SimulationReport, faults: Sequence[Fault]) -> Figure | None:
    """Draw the run of one balancer; return ``None`` if no time passed."""
    line = report.timeline
    if not line.width:
        return None
    end = line.begin + line.width * len(line.requests)
    states = periods(report.events, end)
    lanes = list(
        dict.fromkeys([*(fault.endpoint for fault in faults), *(period.endpoint for period in states)])
    )
    lanes = lanes[:MAX_LANES]
    heights = [1.5, 1.5, *([0.28 * len(lanes) + 0.1] if lanes else [])]
    total = 1.15 + sum(heights) + 0.5 * len(heights)
    figure = canvas(WIDTH, total)
    panels, top = [], total - 1.05
    for height in heights:
        panels.append(
            figure.add_axes((0.75 / WIDTH, (top - height) / total, (WIDTH - 0.95) / WIDTH, height / total))
        )
        top -= height + 0.5
    for axes in panels:
        axes.set_xlim(line.begin, end)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        for fault in faults:
            _band(axes, fault, end)
        bare(axes)
    _rates(panels[0], report)
    _latencies(panels[1], report)
    if lanes:
        _lanes(panels[2], lanes, states, faults, end)
    panels[-1].set_xlabel("seconds")
    titled(figure, name, _summary(report))
    return figure


def _band(axes: Axes, fault: Fault, end: float) -> None:
    last = min(end, fault.at + getattr(fault, "seconds", 0.0))
    if last > fault.at:
        axes.axvspan(fault.at, last, color=RULE, alpha=0.5, lw=0)
    else:
        axes.axvline(fault.at, color=RULE, lw=2.0)


def _rates(axes: Axes, report: SimulationReport) -> None:
    """Draw requests, failures and retries per second."""
    line = report.timeline
    rows = [
        ("requests", line.requests, BLUE),
        ("retries", line.retries, PURPLE),
        ("failures", line.failures, ORANGE),
    ]
    for label, counts, colour in rows:
        if any(counts):
            rates = [count / line.width for count in counts]
            axes.plot(line.middles, rates, color=colour, label=label, lw=1.6)
    axes.set_ylim(bottom=0.0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    _legend(axes, "a second")


def _latencies(axes: Axes, report: SimulationReport) -> None:
    """Draw the median and the 99th percentile."""
    line = report.timeline
    for label, values, colour in (("p99", line.p99, ORANGE), ("p50", line.p50, BLUE)):
        axes.plot(
            line.middles,
            [math.nan if value is None else value for value in values],
            color=colour,
            label=label,
        )
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < MAX_FINE_RANGE * low else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _seconds(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    _legend(axes, "latency")


def _lanes(
    axes: Axes, lanes: Sequence[str], states: Sequence[Period], faults: Sequence[Fault], end: float
) -> None:
    """Draw a row for each endpoint that had a fault or was ejected, suppressed, cooling down or draining."""
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_yticks(
        range(len(lanes)), [lane if len(lane) <= 9 else f"{lane[:8]}…" for lane in lanes], color=INK
    )
    named = set()
    for fault in faults:
        if fault.endpoint in lanes:
            label = "" if "fault" in named else "fault"
            named.add("fault")
            last = max(
                fault.at + 0.004 * (end - axes.get_xlim()[0]), fault.at + getattr(fault, "seconds", 0.0)
            )
            place = lanes.index(fault.endpoint)
            axes.barh(
                place,
                min(end, last) - fault.at,
                left=fault.at,
                height=0.8,
                color=GREY,
                alpha=0.45,
                label=label,
            )
    for period in states:
        if period.endpoint in lanes:
            label = "" if period.state in named else period.state
            named.add(period.state)
            least = 0.004 * (end - axes.get_xlim()[0])
            length = max(period.end - period.begin, least)
            place = lanes.index(period.endpoint)
            axes.barh(place, length, left=period.begin, height=0.4, color=COLOURS[period.state], label=label)
    _legend(axes, "")


def _legend(axes: Axes, title: str) -> None:
    """Write the names of the lines above a panel, each in the colour of its line."""
    handles: Any
    handles, labels = axes.get_legend_handles_labels()
    shift = 0.0
    if title:
        axes.text(0.0, 1.04, title, transform=axes.transAxes, color=GREY, size=10.5)
        shift = 0.012 * len(title) + 0.08
    for handle, label in zip(handles, labels, strict=True):
        colour = handle.get_color() if hasattr(handle, "get_color") else handle.patches[0].get_facecolor()
        axes.text(shift, 1.04, label, transform=axes.transAxes, color=colour, size=10.5)
        shift += 0.021 * len(label) + 0.05


def _summary(report: SimulationReport) -> str:
    failed = f"{report.failures:,} of {report.requests:,} failed" if report.failures else "no request failed"
    return f"p99 {_seconds(report.quantile(0.99))}, {failed}, {report.retries:,} retries"


def _seconds(value: float) -> str:
    if math.isnan(value):
        return "none"
    return f"{value * 1e3:.3g} ms" if value < 1.0 else f"{value:.3g} s"
