"""Plots of scenarios: tail latency and traffic shares by balancer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import wrap
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
    titled,
)

__all__ = ["shares", "slowest"]

COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, INK, GREY)
LINES: Final = ("-", "--", ":")
"""Line styles. The second and third are used if there are more balancers than colours."""
WIDTH: Final = 5.8
"""Width in inches. On a telephone with a width of 400 pixels, letters have two thirds of their size."""
TITLE_LETTERS: Final = 46
"""Number of letters that fit into one line of a title."""
TICKS: Final = (1.0, 0.1, 0.01, 0.001, 0.0001)


def slowest(findings: Findings) -> Figure | None:
    """Draw the latency of the slowest requests, from the slowest half to the slowest ten.

    Returns ``None`` if fewer than twenty requests were served.
    """
    rows = [row for row in findings["slowest"].where() if row["seconds"] > 0.0]  # the axis is logarithmic
    names = list(dict.fromkeys(row["balancer"] for row in rows))
    if not any(row["slower"] <= 0.5 for row in rows):
        return None
    verdict = "\n".join(line for part in _verdict(findings).split("\n") for line in wrap(part, TITLE_LETTERS))
    height = 4.25 + 0.28 * (verdict.count("\n") + 1) + 0.22 * len(names)
    figure = canvas(WIDTH, height)
    axes = figure.add_axes((0.9 / WIDTH, 0.65 / height, (WIDTH - 1.1) / WIDTH, 3.0 / height))
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
        ends.append((own[-1]["seconds"], f"{_called(findings, name)}", colour))
    ticks = [tick for tick in TICKS if tick >= last]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100.0 * value:.3g}%"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _seconds(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="both", color=RULE, lw=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("this share of the requests takes longer")
    axes.set_ylabel("seconds, logarithmic")
    bare(axes)
    for place, (_, text, colour) in enumerate(sorted(ends, reverse=True)):  # the highest line first
        above = (3.75 + 0.22 * (len(names) - place)) / height
        figure.text(0.9 / WIDTH, above - 0.22 / height, text, color=colour, size=11.0, va="bottom")
    titled(figure, verdict, "latency of the slowest requests, of those that succeeded")
    return figure


def shares(findings: Findings) -> Figure | None:
    """Draw a row for each balancer that has several endpoints, with a dot for each; ``None`` if no balancer has."""
    rows = findings["shares"].where()
    several = Counter(row["balancer"] for row in rows)
    rows = [row for row in rows if several[row["balancer"]] > 1]
    if not rows:
        return None
    names = list(dict.fromkeys(row["balancer"] for row in rows))
    height = 1.9 + 0.62 * len(names)
    figure = canvas(WIDTH, height)
    axes = figure.add_axes((0.25 / WIDTH, 0.75 / height, (WIDTH - 0.6) / WIDTH, 1.0 - 1.75 / height))
    endpoints = list(dict.fromkeys(row["endpoint"] for row in rows))
    even = 1.0 / len(endpoints)
    most = max(row["share"] for row in rows)
    axes.set_xlim(-0.16 * most, most * 1.16)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.axvline(even, color=RULE, lw=2.0)
    for place, name in enumerate(names):
        own = sorted((row for row in rows if row["balancer"] == name), key=lambda row: row["share"])
        axes.plot([row["share"] for row in own], [place] * len(own), "o", color=BLUE, ms=8, alpha=0.55, mew=0)
        _name_extremes(axes, own, place, most)
        axes.text(-0.16 * most, place - 0.32, name, color=INK, size=11.0, va="center")
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5, prune="lower"))
    axes.xaxis.set_major_formatter(lambda value, _: f"{100.0 * value:.3g}%")
    axes.set_xlabel("share of all attempts")
    bare(axes)
    titled(figure, "Shares of traffic", f"a dot is an endpoint; the line is an even share of {even:.1%}")
    return figure


def _name_extremes(axes: Any, own: Sequence[Mapping[str, Any]], place: int, most: float) -> None:
    low, high = own[0], own[-1]
    if high["share"] - low["share"] < 0.02 * most:
        return
    for row, side in ((low, "right"), (high, "left")):
        shift = 0.016 * most * (1 if side == "left" else -1)
        axes.text(row["share"] + shift, place, row["endpoint"], va="center", ha=side, size=10, color=GREY)


def _verdict(findings: Findings) -> str:
    """Return the title: the balancers with the lowest and the highest 99th percentile."""
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
