"""Plots of scenarios: tail latency and traffic shares by balancer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from balancekit.bench._claims import Findings
from balancekit.bench._style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RULE,
    SKY,
    bare,
    canvas,
    label_lines,
    titled,
)

__all__ = ["shares", "slowest"]

COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, INK, GREY)
LINES: Final = ("-", "--", ":")
"""For those who come after the colours are used up."""
LETTER: Final = 0.088
"""Inches that a letter of a name takes, about."""
TICKS: Final = (1.0, 0.1, 0.01, 0.001, 0.0001)


def slowest(findings: Findings) -> Figure | None:
    """Draw how long the slowest take, the slowest half to the slowest ten; ``None`` if nobody was served."""
    rows = findings["slowest"].where()
    names = list(dict.fromkeys(row["balancer"] for row in rows))
    if not names:
        return None
    width = 6.4 + LETTER * max(len(_called(findings, name)) for name in names)
    figure = canvas(width, 5.0)
    axes = figure.add_axes((1.0 / width, 0.13, 5.1 / width, 0.67))
    axes.set_xscale("log")
    axes.set_yscale("log")
    last = min(row["slower"] for row in rows)
    axes.set_xlim(1.0, last)
    quick = min(row["seconds"] for row in rows if row["slower"] <= 0.5)
    axes.set_ylim(quick * 0.8, max(row["seconds"] for row in rows) * 1.3)
    ends = []
    for place, name in enumerate(names):
        own = [row for row in rows if row["balancer"] == name]
        colour, line = COLOURS[place % len(COLOURS)], LINES[place // len(COLOURS) % len(LINES)]
        axes.plot([row["slower"] for row in own], [row["seconds"] for row in own], color=colour, ls=line)
        ends.append((own[-1]["slower"], own[-1]["seconds"], _called(findings, name), colour))
    ticks = [tick for tick in TICKS if tick >= last]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100.0 * value:.3g}%"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _seconds(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="both", color=RULE, lw=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("the slowest part of the requests, logarithmic")
    axes.set_ylabel("take at least, logarithmic")
    bare(axes)
    label_lines(axes, ends, gap=0.06)
    titled(figure, _verdict(findings), "how long the slowest requests take, of those that succeeded")
    return figure


def shares(findings: Findings) -> Figure | None:
    """Draw a dot for each endpoint, in a row for each balancer that has several; ``None`` if none has."""
    rows = findings["shares"].where()
    several = Counter(row["balancer"] for row in rows)
    rows = [row for row in rows if several[row["balancer"]] > 1]
    if not rows:
        return None
    names = list(dict.fromkeys(row["balancer"] for row in rows))
    left, height = 0.3 + LETTER * max(map(len, names)), 1.9 + 0.52 * len(names)
    figure = canvas(left + 6.0, height)
    axes = figure.add_axes((left / (left + 6.0), 0.75 / height, 5.7 / (left + 6.0), 1.0 - 1.75 / height))
    endpoints = list(dict.fromkeys(row["endpoint"] for row in rows))
    even = 1.0 / len(endpoints)
    most = max(row["share"] for row in rows)
    axes.set_xlim(-0.16 * most, most * 1.16)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.axvline(even, color=RULE, lw=2.0)
    for place, name in enumerate(names):
        own = sorted((row for row in rows if row["balancer"] == name), key=lambda row: row["share"])
        axes.plot([row["share"] for row in own], [place] * len(own), "o", color=BLUE, ms=8, alpha=0.55, mew=0)
        _name_extremes(axes, own, place, most)
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(6, prune="lower"))
    axes.xaxis.set_major_formatter(lambda value, _: f"{100.0 * value:.3g}%")
    axes.set_xlabel("part of all attempts")
    bare(axes)
    titled(figure, "Who gets how much", f"a dot is an endpoint; the line is an even share of {even:.1%}")
    return figure


def _name_extremes(axes: Any, own: Sequence[Mapping[str, Any]], place: int, most: float) -> None:
    low, high = own[0], own[-1]
    if high["share"] - low["share"] < 0.02 * most:
        return
    for row, side in ((low, "right"), (high, "left")):
        shift = 0.016 * most * (1 if side == "left" else -1)
        axes.text(row["share"] + shift, place, row["endpoint"], va="center", ha=side, size=10, color=GREY)


def _verdict(findings: Findings) -> str:
    """Say who has the shortest tail, and who the longest."""
    known = [row for row in findings["figures"].where() if row["p99"] is not None]
    best, worst = min(known, key=lambda row: row["p99"]), max(known, key=lambda row: row["p99"])
    if best is worst:
        return f"The slowest hundredth takes {_seconds(best['p99'])} or longer"
    one, other = [f"{_seconds(row['p99'])} by {_called(findings, row['balancer'])}" for row in (best, worst)]
    return f"p99 is {one},\nand {other}"


def _called(findings: Findings, name: str) -> str:
    (row,) = findings["figures"].where(balancer=name)
    return name if row["errors"] < 0.0005 else f"{name}, {row['errors']:.1%} failed"


def _seconds(value: float) -> str:
    return f"{value * 1e3:.3g} ms" if value < 1.0 else f"{value:.3g} s"
