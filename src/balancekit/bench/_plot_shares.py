"""Plots of shares: rings by points, smallest and largest shares of structures and selectors, round robin by pick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from balancekit.bench._claims import Findings
from balancekit.bench._style import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    bare,
    canvas,
    label_lines,
    titled,
)

__all__ = ["by_points", "by_selector", "by_structure", "no_virtual_nodes", "taking_turns"]

MUCH: Final = 2.0
"""Selectors that give an endpoint more than this multiple of its share are only named in the plot of selectors."""


def by_points(findings: Findings) -> Figure:
    """Draw the share of the busiest server of a ring by points per server: theory as lines, measurements as dots."""
    rows = findings["ring by points"].where()
    figure = canvas()
    axes = figure.add_axes((0.08, 0.13, 0.74, 0.68))
    axes.set_xscale("log")
    axes.set_yscale("log")
    colours = dict(
        zip(
            sorted({row["servers"] for row in rows}),
            (SMALL_POOL_COLOUR, MEDIUM_POOL_COLOUR, LARGE_POOL_COLOUR),
            strict=False,
        )
    )
    axes.set_ylim(1.0, max(row["exact peak"] for row in rows) * 1.1)
    axes.set_xlim(0.9, 1_100)
    ends = []
    for servers, colour in colours.items():
        own = [row for row in rows if row["servers"] == servers]
        points = [row["points"] for row in own]
        axes.plot(points, [row["exact peak"] for row in own], color=colour)
        axes.plot(points, [row["peak"] for row in own], "o", color=colour, ms=6, mec="white", mew=0.8)
        ends.append((points[-1], own[-1]["exact peak"], f"{servers:,} servers", colour))
    _ticks(axes.xaxis, [1, 3, 10, 30, 150, 300, 1_000])
    _ticks(axes.yaxis, [1.1, 1.25, 1.5, 2, 3, 5, 8], "x")
    axes.axvline(150, color=FAINT, lw=1, ls=(0, (3, 3)), zorder=0)
    axes.set_xlabel("points per server (virtual nodes)")
    most = max((row for row in rows if row["points"] == 150), key=lambda row: row["servers"])
    label_lines(axes, ends, gap=0.06)
    titled(
        figure,
        f"With 150 points the busiest of {most['servers']:,} servers has {most['exact peak'] - 1:.0%} too much",
        "busiest server of a ring, as a multiple of the mean; lines: exact, dots: measured",
    )
    bare(axes, keep=("bottom", "left"))
    return figure


SMALL_POOL_COLOUR: Final = GREEN
MEDIUM_POOL_COLOUR: Final = BLUE
LARGE_POOL_COLOUR: Final = ORANGE


def _ticks(axis: Any, values: Sequence[float], unit: str = "") -> None:
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FixedFormatter([f"{value:,g}{unit}" for value in values]))


def no_virtual_nodes(findings: Findings) -> Figure:
    """Draw the probability that one of a few servers owns over 60 % of a ring of one point each."""
    rows = findings["no virtual nodes"].where()
    figure = canvas(8.0, 3.4)
    axes = figure.add_axes((0.13, 0.18, 0.80, 0.54))
    for place, row in enumerate(rows):
        axes.barh(place, row["measured"], height=0.55, color=BLUE)
        axes.plot([row["exact"]] * 2, [place - 0.4, place + 0.4], color=INK, lw=2)
        axes.text(
            max(row["measured"], row["exact"]) + 0.008,
            place,
            f"{row['measured']:.1%}   exact {row['exact']:.1%}",
            va="center",
        )
    _rows(axes, [f"{row['servers']} servers" for row in rows])
    axes.set_xlim(0.0, 0.65)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("probability")
    first = rows[0]
    titled(
        figure,
        f"Without virtual nodes, one of {first['servers']} servers owns over 60%\nof all keys"
        f" {first['measured']:.0%} of the time",
        "bars: measured over many rings; marks: exact",
    )
    bare(axes)
    return figure


def _rows(axes: Axes, labels: Sequence[str], *, size: float = 12.0) -> None:
    """Label the rows of a plot, from the top down."""
    axes.set_yticks(range(len(labels)), labels, color=INK, size=size)
    axes.set_ylim(len(labels) - 0.4, -0.6)


def _ranges(axes: Axes, rows: Sequence[Mapping[str, Any]], name: str) -> None:
    """Draw the range from the smallest to the largest share for each row, as multiples of the mean."""
    axes.axvline(1.0, color=FAINT, lw=1)
    for place, row in enumerate(rows):
        colour = ORANGE if row["most"] > 1.1 else BLUE
        ends = [row["least"], row["most"]]
        axes.plot(ends, [place, place], "-o", color=colour, lw=5, ms=5)
        axes.annotate(
            f"{row['most']:.2f}x",
            (row["most"], place),
            (8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            size=11,
        )
    _rows(axes, [row[name] for row in rows], size=11.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")


def by_structure(findings: Findings) -> Figure:
    """Draw the range of shares of each hashing structure."""
    rows = sorted(findings["structures"].where(servers=100), key=lambda row: row["most"])
    figure = canvas(8.0, 3.9)
    axes = figure.add_axes((0.20, 0.15, 0.72, 0.64))
    _ranges(axes, rows, "structure")
    axes.set_xlim(0.0, max(row["most"] for row in rows) + 0.15)
    axes.set_xlabel("share of the keys, as a multiple of the mean")
    ring = next(row for row in rows if row["structure"] == "HashRing")
    titled(
        figure,
        f"Tables are even; on a ring of 150 points one server has {ring['most'] - 1:.0%} too much",
        "from the least to the most of any of 100 servers",
    )
    bare(axes)
    return figure


def by_selector(findings: Findings) -> Figure:
    """Draw the range of shares of each selector with equal endpoints."""
    every = findings["selectors"].where(endpoints="equal")
    rows = sorted((row for row in every if row["most"] < MUCH), key=lambda row: row["most"])
    figure = canvas(8.0, 5.6)
    axes = figure.add_axes((0.32, 0.11, 0.58, 0.74))
    _ranges(axes, rows, "selector")
    axes.set_xlim(min(row["least"] for row in rows) - 0.05, max(row["most"] for row in rows) + 0.06)
    axes.set_xlabel("share of the requests, as a multiple of a tenth")
    others = ", ".join(row["selector"] for row in every if row["most"] >= MUCH)
    titled(
        figure,
        f"Round robin is exact; on a ring one server gets {rows[-1]['most'] - 1:.0%} too much",
        "from the least to the most of any of ten equal endpoints at 70% load"
        + (f"; without {others}" if others else ""),
    )
    bare(axes)
    return figure


def taking_turns(findings: Findings) -> Figure:
    """Draw the lead of the endpoint of weight 5, beside two of weight 1, after each pick."""
    table = findings["lead by pick"]
    figure = canvas(8.0, 4.2)
    axes = figure.add_axes((0.08, 0.14, 0.66, 0.65))
    ends = []
    names = {
        "WeightedRandom": ("at random", ORANGE),
        "SmoothWeightedRoundRobin": ("smooth round robin", BLUE),
        "StrideScheduling": ("stride scheduling", PURPLE),
    }
    for selector, (name, colour) in names.items():
        rows = table.where(selector=selector)
        leads = [row["lead"] for row in rows]
        axes.step([row["pick"] for row in rows], leads, where="post", color=colour, lw=1.6)
        ends.append((rows[-1]["pick"], leads[-1], name, colour))
    axes.axhline(0.0, color=FAINT, lw=1, zorder=0)
    axes.set_xlim(0, max(row["pick"] for row in table.where()))
    axes.set_xlabel("requests")
    axes.set_ylabel("turns ahead of its share")
    label_lines(axes, ends, gap=0.075)
    away = max(abs(row["lead"]) for row in table.where(selector="WeightedRandom"))
    titled(
        figure,
        f"Taking turns stays within one turn; random sampling is {away:.0f} turns off",
        "the endpoint of weight 5 beside two of weight 1",
    )
    bare(axes, keep=("bottom", "left"))
    axes.spines["left"].set_color(GREY)
    return figure
