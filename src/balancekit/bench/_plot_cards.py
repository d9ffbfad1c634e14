"""Plots of cards: shares on the left, latency or moved keys on the right."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from balancekit.bench._cards import HashingCard, SelectorCard
from balancekit.bench._style import BLUE, FAINT, GREY, INK, ORANGE, bare, canvas, titled

__all__ = ["card_of_selector", "card_of_structure"]

WIDTH, HEIGHT = 6.4, 3.0
LEFT, RIGHT = (0.09, 0.19, 0.47, 0.48), (0.65, 0.19, 0.31, 0.48)


def _panels(left: str, right: str) -> tuple[Figure, Axes, Axes]:
    figure = canvas(WIDTH, HEIGHT)
    one, other = figure.add_axes(LEFT), figure.add_axes(RIGHT)
    for axes, title in ((one, left), (other, right)):
        axes.set_title(title, size=11, color=GREY, pad=8)
        bare(axes)
    return figure, one, other


def card_of_selector(name: str, figures: SelectorCard) -> Figure:
    """Draw the shares of endpoints, with the slow one in another colour, and the latency."""
    figure, left, right = _panels("share of the requests", "latency, service times")
    places = range(len(figures.shares))
    left.bar(places, figures.shares, width=0.7, color=[ORANGE, *[BLUE] * (len(figures.shares) - 1)])
    left.plot([-0.5, 0.5], [figures.serves] * 2, color=INK, lw=2, solid_capstyle="butt")
    most = max(figures.shares)
    left.text(
        0,
        max(*figures.shares[:2], figures.serves) + most * 0.04,  # the text is wider than its bar
        f"{figures.shares[0]:.1%}",
        ha="center",
        size=11,
    )
    left.set_xticks(places, ["slow", *[str(place + 1) for place in places[1:]]], size=10)
    left.set_xlabel("endpoint; line: what the slow one can serve", size=10)
    left.set_ylim(0.0, most * 1.25)
    left.set_yticks(
        [0.0, 0.1] if most < 0.4 else [0.0, 0.5, 1.0], ["0%", "10%"] if most < 0.4 else ["0%", "50%", "100%"]
    )
    _latency(right, figures)
    titled(
        figure,
        _finding(name, figures),
        "one of ten takes three times as long; 80% load, 20,000 requests",
        size=13,
    )
    return figure


def _finding(name: str, figures: SelectorCard) -> str:
    first, most = figures.shares[0], max(figures.shares)
    if first > 1.2 * figures.serves:
        return f"{name}: {first:.0%} drown the slow one"
    if figures.drowned:
        return f"{name}: {most:.0%} overload an endpoint"
    return f"{name}: the slow one gets {first:.1%}"


def _latency(axes: Axes, figures: SelectorCard) -> None:
    labels = ("p50", "p90", "p99")
    colour = ORANGE if figures.drowned else BLUE
    axes.barh(range(len(labels)), figures.quantiles, height=0.6, color=colour)
    for place, value in enumerate(figures.quantiles):
        text = f"{value:.1f}" if value < 100.0 else f"{value:,.0f}"
        axes.annotate(text, (value, place), (5, 0), textcoords="offset points", va="center", size=11)
    axes.set_yticks(range(len(labels)), labels, color=INK)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0.0, max(figures.quantiles) * 1.4)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def card_of_structure(name: str, figures: HashingCard) -> Figure:
    """Draw the shares of servers, and the new owners of the moved keys when one server leaves."""
    figure, left, right = _panels("share of the keys", "moved keys, by new owner")
    places = range(len(figures.shares))
    colours = [ORANGE if place == figures.left else BLUE for place in places]
    left.bar(places, figures.shares, width=0.7, color=colours)
    left.axhline(1.0 / len(figures.shares), color=FAINT, lw=1.2, zorder=0)
    left.text(figures.left, max(figures.shares) * 1.05, "leaves", ha="center", size=11, color=ORANGE)
    left.set_xticks(places, [str(place + 1) for place in places], size=10)
    left.set_xlabel("server", size=10)
    left.set_ylim(0.0, max(figures.shares) * 1.25)
    left.set_yticks([0.0, 0.1], ["0%", "10%"])
    right.bar(places, figures.gained, width=0.7, color=BLUE)
    right.bar(places, figures.needless, bottom=figures.gained, width=0.7, color=ORANGE)
    right.set_xticks(places, [str(place + 1) for place in places], size=9)
    right.set_xlabel("server (orange: needless)", size=10)
    top = max(a + b for a, b in zip(figures.gained, figures.needless, strict=True))
    right.set_ylim(0.0, top * 1.2)
    right.set_yticks([0.0, top], ["0%", f"{top:.1%}"])
    needless = sum(figures.needless)
    most = max(figures.shares) * len(figures.shares)
    spread = f"the busiest of ten has {most:.2f}x the mean"
    what = f"{needless:.2%} of all keys move needlessly" if needless else "no key moves needlessly"
    titled(figure, f"{name}: {spread}", f"when one of ten servers leaves, {what}", size=13)
    return figure
