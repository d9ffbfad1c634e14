"""Style of all plots. The title states the result, and labels are beside the marks.

Colours are based on those of Okabe and Ito (2008), which people with colour blindness can distinguish. They have enough
contrast for lines and marks on white and on near-black. SVG files contain text as text, so a page can restyle it. Files do
not depend on the date or the machine.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["BLUE", "FAINT", "GREEN", "GREY", "INK", "ORANGE", "PURPLE", "RULE", "SKY"]
__all__ += ["bare", "canvas", "label_lines", "png", "styled", "svg", "titled"]

INK: Final = "#1b1f24"
GREY: Final = "#6e7781"
FAINT: Final = "#b1bac4"
RULE: Final = "#d8dee4"
BLUE: Final = "#0072b2"
ORANGE: Final = "#d55e00"
GREEN: Final = "#009e73"
PURPLE: Final = "#b25f93"
SKY: Final = "#3d9bd1"

STYLE: Final = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12.0,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "lines.linewidth": 2.0,
    "path.simplify": True,
}

NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))
"""Metadata of SVG files: no date and no program."""


@contextmanager
def styled(name: str = "balancekit") -> Iterator[None]:
    """Set the style of plots within a block. The ids inside an SVG depend on ``name``."""
    defaults: Any = mpl.rcParamsDefault
    # The backend is left out: it would not be restored, and figures have canvases of their own.
    settings: Any = {setting: value for setting, value in defaults.items() if setting != "backend"}
    settings.update(STYLE, **{"svg.hashsalt": name})
    with mpl.rc_context(settings):
        yield


def canvas(width: float = 8.0, height: float = 4.5) -> Figure:
    """Return an empty figure, with sizes in inches and 100 pixels per inch."""
    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    return figure


def titled(figure: Figure, finding: str, measure: str = "", *, size: float = 14.0) -> None:
    """Write the result as the title of a figure, and below it in smaller letters the measured quantity."""
    height = figure.get_figheight()
    figure.text(0.02, 1.0 - 0.10 / height, finding, size=size, weight="bold", va="top", color=INK)
    below = 0.10 + 0.28 * (finding.count("\n") + 1) * size / 14.0
    if measure:
        figure.text(0.02, 1.0 - below / height, measure, size=size - 2.5, va="top", color=GREY)


def bare(axes: Axes, *, keep: Sequence[str] = ("bottom",)) -> None:
    """Hide the spines of a plot except those in ``keep``."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in keep)
    axes.tick_params(axis="y", length=0 if "left" not in keep else 3)


def label_lines(axes: Axes, ends: Sequence[tuple[float, float, str, str]], *, gap: float) -> None:
    """Write the names of lines beside their ends. Names that would overlap are moved apart.

    Parameters
    ----------
    axes
        The plot. Its scale must be set.
    ends
        Last x, last y, name and colour of each line.
    gap
        Minimum distance of two names, as a share of the axis.
    """
    transform = axes.transData + axes.transAxes.inverted()
    wanted = sorted(
        (float(transform.transform((x, y))[1]), x, y, name, colour) for x, y, name, colour in ends
    )
    placed: list[float] = []
    for height, *_ in wanted:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    for place, (_, x, y, name, colour) in zip(placed, wanted, strict=True):
        left = float(transform.transform((x, y))[0])
        axes.text(left + 0.015, place, name, transform=axes.transAxes, color=colour, va="center", size=11.5)


def svg(figure: Figure, name: str) -> str:
    """Return the figure as SVG text on a white background. Equal figures give equal text."""
    out = io.StringIO()
    with styled(name):
        figure.savefig(out, format="svg", metadata=NO_METADATA, facecolor="white")
    text = out.getvalue()
    begin = text.index("<svg")
    return text[begin:].replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")


def png(figure: Figure, *, dpi: int = 150) -> bytes:
    """Return the figure as PNG on a white background."""
    out = io.BytesIO()
    with styled():
        figure.savefig(out, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return out.getvalue()
