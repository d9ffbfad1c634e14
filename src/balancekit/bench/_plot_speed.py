"""Plots of cost in empty method calls: one dot for each number of endpoints, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from balancekit.bench._claims import Findings
from balancekit.bench._style import BLUE, FAINT, GREEN, INK, ORANGE, RULE, bare, canvas, titled

__all__ = ["look_ups", "picks", "requests"]

COLOURS: Final = (GREEN, BLUE, ORANGE)


def _dots(rows: Sequence[Mapping[str, Any]], subject: str, size: str, cost: str) -> tuple[Figure, list[str]]:
    """Draw a row for each subject, the cheapest on top, with one dot for each size; return figure and row names."""
    found = [row for row in rows if row[cost] is not None]
    sizes = sorted({row[size] for row in found})
    costs = {(row[subject], row[size]): row[cost] for row in found}
    order = sorted({row[subject] for row in found}, key=lambda name: (costs[name, sizes[-1]], name))
    figure = canvas(8.0, 1.75 + 0.27 * len(order))
    height = figure.get_figheight()
    axes = figure.add_axes((0.34, 0.58 / height, 0.55, 1.0 - 1.62 / height))
    axes.set_xscale("log")
    for place, name in enumerate(order):
        values = [costs[name, count] for count in sizes]
        axes.plot([min(values), max(values)], [place, place], color=FAINT, lw=1.5, zorder=1)
        for value, colour in zip(values, COLOURS, strict=False):
            axes.plot(value, place, "o", color=colour, ms=8, mec="white", mew=0.8, zorder=2)
        axes.annotate(
            _short(values[-1]), (max(values), place), (9, 0), textcoords="offset points", va="center", size=11
        )
    axes.set_yticks(range(len(order)), order, color=INK, size=11.5)
    axes.set_ylim(len(order) - 0.4, -0.8)
    least = min(costs.values())
    axes.set_xlim(
        min(0.75 * least, 10.0 if least > 10.0 else 3.0 if least > 3.0 else 1.0), max(costs.values()) * 1.9
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if max(costs.values()) < 200 else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.grid(axis="x", color=RULE, lw=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("empty method calls, logarithmic")
    bare(axes)
    for number, (count, colour) in enumerate(zip(sizes, COLOURS, strict=False)):
        x = 0.34 + number * 0.19
        y = 1.0 - 0.86 / height
        figure.text(x, y, f"\N{BLACK CIRCLE} {count:,}", color=colour, size=11.5, va="center", weight="bold")
    return figure, order


def _short(cost: float) -> str:
    """Return a cost as text with two or three significant digits, or as a whole number."""
    return f"{cost:.1f}" if cost < 10.0 else f"{cost:,.0f}"


def picks(findings: Findings) -> Figure:
    """Draw the cost of a pick alone."""
    rows = findings["speed"].where()
    figure, _ = _dots(rows, "selector", "endpoints", "pick")
    most = max(row["endpoints"] for row in rows)
    turn, two = [
        next(row["pick"] for row in rows if row["endpoints"] == most and row["selector"] == name)
        for name in ("RoundRobin", "PowerOfChoices")
    ]
    titled(
        figure,
        f"A pick costs {turn:.1f} empty method calls by round robin, {two:.1f} by two choices",
        "cost of a pick alone, by number of endpoints; the figure is of the most endpoints",
    )
    return figure


def requests(findings: Findings) -> Figure:
    """Draw the cost of a whole request."""
    rows = findings["speed"].where()
    most = max(row["endpoints"] for row in rows)
    default = next(
        row["request"]
        for row in rows
        if row["endpoints"] == most and row["selector"] == "ShortestExpectedDelay"
    )
    figure, _ = _dots(rows, "selector", "endpoints", "request")
    titled(
        figure,
        f"With the defaults a whole request costs {default:.0f} empty method calls",
        "cost of acquire and release, by number of endpoints; the figure is of the most endpoints",
    )
    return figure


def look_ups(findings: Findings) -> Figure:
    """Draw the cost of a look-up."""
    rows = findings["look-ups"].where()
    figure, order = _dots(rows, "structure", "nodes", "lookup")
    titled(
        figure,
        f"{order[0]} finds a key's owner soonest, and no later among many",
        "cost of a look-up by a str key, by number of nodes; the figure is of the most nodes",
    )
    return figure
