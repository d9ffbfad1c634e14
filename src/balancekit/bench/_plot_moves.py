"""Plots of disruption: necessary moves of keys in one colour, needless moves in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from balancekit.bench._claims import Findings
from balancekit.bench._style import BLUE, GREY, INK, ORANGE, bare, canvas, titled

__all__ = ["maglev", "moved"]


def moved(findings: Findings) -> Figure:
    """Draw the shares of keys that move when a server joins, and when one in the middle leaves."""
    table = findings["moved"]
    joins = table.where(change="joins", before=4)
    leaves = {row["structure"]: row for row in table.where(change="leaves, in the middle", before=5)}
    order = sorted(joins, key=lambda row: -row["moved"])
    figure = canvas(8.0, 4.3)
    left, right = figure.add_axes((0.20, 0.14, 0.36, 0.57)), figure.add_axes((0.60, 0.14, 0.36, 0.57))
    _bars(left, order, "a fifth server joins")
    _bars(right, [leaves[row["structure"]] for row in order], "one in the middle of five leaves")
    right.set_yticklabels([])
    worst = order[0]
    titled(
        figure,
        f"{worst['structure']} moves {worst['moved']:.0%} of all keys for one new server;\n"
        f"consistent hashing moves {worst['least possible']:.0%}",
        "part of all keys that move: had to (blue), needlessly (orange)",
    )
    return figure


def _bars(axes: Axes, rows: Sequence[Mapping[str, Any]], what: str) -> None:
    for place, row in enumerate(rows):
        had_to = row["moved"] - row["needlessly"]
        axes.barh(place, had_to, height=0.62, color=BLUE)
        axes.barh(place, row["needlessly"], left=had_to, height=0.62, color=ORANGE)
        axes.text(row["moved"] + 0.015, place, f"{row['moved']:.1%}", va="center", size=11)
    axes.set_yticks(range(len(rows)), [row["structure"] for row in rows], color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0.0, 0.95)
    axes.set_xticks([0.0, 0.2, 0.4, 0.6, 0.8])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title(what, size=12, color=GREY, pad=6)
    axes.set_xlabel("part of all keys")
    bare(axes)


def maglev(findings: Findings) -> Figure:
    """Draw the share of a Maglev table that changes when one server leaves: necessary and needless changes."""
    rows = findings["Maglev"].where()
    figure = canvas(8.0, 3.3)
    axes = figure.add_axes((0.16, 0.19, 0.78, 0.56))
    for place, row in enumerate(rows):
        axes.barh(place, row["least possible"], height=0.55, color=BLUE)
        axes.barh(place, row["needlessly"], left=row["least possible"], height=0.55, color=ORANGE)
        end = row["least possible"] + row["needlessly"]
        text = f"{row['needlessly']:.2%} needlessly"
        axes.text(end + 0.001, place, text, va="center")
    axes.set_yticks(range(len(rows)), [f"{row['servers']:,} servers" for row in rows], color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0.0, 0.14)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("part of the table")
    few, many = rows[0], rows[-1]
    titled(
        figure,
        f"A Maglev table changes {few['needlessly']:.1%} to {many['needlessly']:.1%} more than it must",
        "part of 65 537 slots that changes when one server leaves: had to (blue), needlessly (orange)",
    )
    bare(axes)
    return figure
