"""Plots of latency: mean and tail by load with theory as circles, and the effect of one slow server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from balancekit.bench._claims import Findings
from balancekit.bench._latency import (
    CENTRAL,
    DEFAULT,
    RANDOM,
    ROUND_ROBIN,
    SHORTEST,
    THREE,
    TWO,
    slow_serves,
)
from balancekit.bench._style import (
    BLUE,
    FAINT,
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

__all__ = ["means", "slow_server", "tails"]

COLOURS: Final[Mapping[str, str]] = {
    RANDOM: ORANGE,
    ROUND_ROBIN: PURPLE,
    TWO: BLUE,
    THREE: SKY,
    SHORTEST: GREEN,
    DEFAULT: INK,
    CENTRAL: GREY,
}


def _curves(rows: Sequence[Mapping[str, Any]], what: str, unit: str, ticks: Sequence[float]) -> Figure:
    figure = canvas(8.0, 5.0)
    axes = figure.add_axes((0.09, 0.12, 0.70, 0.71))
    axes.set_yscale("log")
    axes.set_xlim(0.5, 0.955)
    axes.set_ylim(min(row[what] for row in rows) * 0.93, max(row[what] for row in rows) * 1.12)
    ends = []
    for policy, colour in COLOURS.items():
        own = [row for row in rows if row["policy"] == policy]
        loads = [row["load"] for row in own]
        axes.plot(loads, [row[what] for row in own], color=colour, ls="--" if policy == DEFAULT else "-")
        known = [(row["load"], row[f"right {what}"]) for row in own if row[f"right {what}"] is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "o", mfc="white", mec=colour, mew=1.6, ms=6.5, clip_on=False)
        ends.append((loads[-1], own[-1][what], policy, colour))
    axes.yaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axes.xaxis.set_major_locator(FixedLocator([0.5, 0.6, 0.7, 0.8, 0.9, 0.95]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="y", color=RULE, lw=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("load")
    axes.set_ylabel(unit)
    bare(axes)
    label_lines(axes, ends, gap=0.058)
    return figure


def _headline_load(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the load that titles name: the highest measured one up to 0.9."""
    return max(float(row["load"]) for row in rows if row["load"] <= 0.9)


def _at(rows: Sequence[Mapping[str, Any]], policy: str, load: float) -> Mapping[str, Any]:
    """Return the row of a policy at a load."""
    return next(row for row in rows if row["policy"] == policy and row["load"] == load)


def means(findings: Findings) -> Figure:
    """Draw mean times by load."""
    rows = findings["latency"].where()
    figure = _curves(rows, "mean", "mean service times", (1, 1.5, 2, 3, 5, 10, 20))
    load = _headline_load(rows)
    random, two = [_at(rows, policy, load)["mean"] for policy in (RANDOM, TWO)]
    titled(
        figure,
        f"Looking at two servers instead of one is {random / two:.1f} times as fast at {load:.0%} load",
        "mean time in the system, ten servers; lines: simulated, circles: theory",
    )
    return figure


def tails(findings: Findings) -> Figure:
    """Draw the 99th percentile by load."""
    rows = findings["latency"].where()
    figure = _curves(rows, "p99", "mean service times", (5, 7, 10, 15, 20, 30, 50, 100))
    load = _headline_load(rows)
    turn, two = [_at(rows, policy, load)["p99"] for policy in (ROUND_ROBIN, TWO)]
    titled(
        figure,
        f"At {load:.0%} load round robin's p99 is {turn / two:.1f} times that of two choices",
        "99th percentile of time in the system, ten servers; lines: simulated, circles: theory",
    )
    return figure


def slow_server(findings: Findings) -> Figure:
    """Draw the share of a slow server, and the 99th percentile of all requests, by policy."""
    rows = findings["slow server"].where()
    figure = canvas(8.0, 4.4)
    left, right = figure.add_axes((0.18, 0.13, 0.34, 0.58)), figure.add_axes((0.58, 0.13, 0.34, 0.58))
    names = [row["policy"] for row in rows]
    serves = slow_serves()
    for place, row in enumerate(rows):
        colour = ORANGE if row["p99"] > 100 else BLUE
        if row["its share"] is not None:
            left.barh(place, row["its share"], height=0.62, color=colour)
            left.text(
                max(row["its share"], serves) + 0.003, place, f"{row['its share']:.1%}", va="center", size=11
            )
        else:
            left.text(serves + 0.003, place, "one line for all", va="center", size=11, color=GREY)
        right.barh(place, row["p99"], height=0.62, color=colour)
        text = f"{row['p99']:.1f}" if row["p99"] < 100.0 else f"{row['p99']:,.0f}"
        right.text(row["p99"] * 1.15, place, text, va="center", size=11)
    for axes in (left, right):
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), names if axes is left else [""] * len(rows), color=INK)
        bare(axes)
    left.axvline(serves, color=FAINT, lw=1.5, ls=(0, (3, 2)))
    left.set_xlim(0.0, 0.128)
    left.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    left.set_title("its share (dashed: what it can serve)", size=11, color=GREY, pad=6)
    left.set_xlabel("share of the requests")
    right.set_xscale("log")
    right.set_xlim(1.0, max(row["p99"] for row in rows) * 8)
    right.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    right.xaxis.set_minor_locator(NullLocator())
    right.set_title("99th percentile of all requests", size=11, color=GREY, pad=6)
    right.set_xlabel("mean service times, logarithmic")
    titled(
        figure,
        "Blind policies overload a slow server; those that compare loads\ngive it what it can serve",
        "one of ten servers takes three times as long, 80% load",
    )
    return figure
