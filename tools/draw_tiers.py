"""Draw requests through several tiers: the time in each stage, and failed attempts after a loss in each tier.

    uv run python tools/draw_tiers.py    writes docs/pictures/tiers-time.svg and docs/pictures/tiers-losses.svg

The figures come from ``balancekit.sim.TierSimulation``. Every run gives the same figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

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
    styled,
    svg,
    titled,
)
from balancekit.gslb import Ttl
from balancekit.sim import Exponential, Loss, Nodes, Server, Site, TierReport, TierSimulation

PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures"
SECONDS: Final = 120.0
LOSSES: Final = (
    Loss(tier="server", site="eu", node=0, at=15.0, seconds=15.0),
    Loss(tier="l7", site="eu", node=0, at=35.0, seconds=15.0),
    Loss(tier="l4", site="eu", node=0, at=55.0, seconds=15.0),
    Loss(tier="site", site="eu", at=75.0, seconds=20.0),
)
COLOURS: Final = {"l4": BLUE, "l7": GREEN, "site": ORANGE}
STAGE_COLOURS: Final = {"l4": BLUE, "l7": GREEN, "server line": ORANGE, "service": PURPLE}
SHORT_NAMES: Final = {"l4": "L4", "l7": "L7"}


def simulated() -> TierReport:
    """Return the report of a run with two sites, in which a node of every tier and then a site is lost."""
    nodes = Nodes(count=2, requests_per_second=400.0)
    site = Site(
        l4=nodes,
        l7=Nodes(count=4, requests_per_second=200.0),
        servers=8,
        server=Server(service=Exponential(0.05), workers=4),
    )
    return TierSimulation(
        {"eu": site, "us": site},
        requests_per_second=400.0,
        connections=400,
        per_connection=20,
        resolvers=200,
        ttl=Ttl(minimum=5, maximum=5),
        interval=1.0,
        l4_down=3.0,
        timeout=1.0,
        losses=LOSSES,
        seed=1,
    ).run(SECONDS)


def draw_time(report: TierReport) -> None:
    """Draw the mean and the 99th percentile of each stage's time while nothing is lost."""
    calm = (0.0, 15.0)
    with styled("tiers-time"):
        figure = canvas(8.0, 2.9)
        titled(
            figure,
            "Most of a request is its work; the tiers in front take a seventh",
            "two sites, nodes busy for a quarter of the time, nothing lost; milliseconds in each stage",
        )
        axes = figure.add_axes((0.29, 0.2, 0.66, 0.42))
        for place, (label, share) in enumerate((("mean", None), ("99th percentile of each", 0.99))):
            left = 0.0
            for stage, seconds in report.spent(share, calm).items():
                if stage == "retries":
                    continue
                axes.barh(
                    1 - place, seconds * 1e3, left=left, height=0.55, color=STAGE_COLOURS[stage], linewidth=0
                )
                if seconds * 1e3 > 12.0:
                    axes.text(
                        left + seconds * 5e2,
                        1 - place,
                        SHORT_NAMES.get(stage, stage),
                        color="white",
                        ha="center",
                        va="center",
                        size=11,
                    )
                left += seconds * 1e3
            if share is None:
                axes.text(left + 2, 1 - place, f"{left:.0f} ms", va="center", color=GREY, size=11)
            axes.text(-3, 1 - place, label, ha="right", va="center", color=INK)
        for number, (stage, colour) in enumerate(STAGE_COLOURS.items()):
            name = f"{SHORT_NAMES[stage]} node" if stage in SHORT_NAMES else stage
            figure.text(0.29 + 0.16 * number, 0.66, name, color=colour, size=11, weight="bold")
        axes.set_yticks([])
        axes.set_xlim(0, axes.get_xlim()[1] * 1.12)
        axes.set_xlabel("milliseconds")
        bare(axes)
        (PICTURES / "tiers-time.svg").write_text(svg(figure, "tiers-time") + "\n", encoding="utf-8")


def draw_losses(report: TierReport) -> None:
    """Draw the failed attempts and the latency over time."""
    edges = np.arange(0.0, SECONDS + 1.0)
    with styled("tiers-losses"):
        figure = canvas(8.0, 6.0)
        titled(
            figure,
            "Each tier has a clock of its own",
            "400 requests a second; something of each tier is lost and returns; clients try up to four times",
        )
        lost = figure.add_axes((0.1, 0.47, 0.86, 0.34))
        bottom = np.zeros(len(edges) - 1)
        for tier, colour in COLOURS.items():
            counts, _ = np.histogram(report.lost.get(tier, ()), edges)
            lost.bar(edges[:-1], counts, width=1.0, align="edge", bottom=bottom, color=colour, linewidth=0)
            bottom += counts
        lost.set_title("attempts of clients that failed, a second", fontsize=12, color=GREY, pad=18)
        lost.set_ylim(0, float(bottom.max()) * 1.08)
        latency = figure.add_axes((0.1, 0.1, 0.86, 0.25))
        course = report.course(120)
        times = np.array(course["time"], dtype=float)
        for name, colour in (("p99", INK), ("p50", GREY)):
            values = np.array([np.nan if value is None else value for value in course[name]])
            latency.plot(times, values, color=colour, linewidth=1.6)
            latency.text(SECONDS + 0.7, values[-1], name, color=colour, va="center", size=11)
        latency.set_yscale("log")
        latency.set_yticks([0.03, 0.1, 0.3, 1.0, 3.0], ["30 ms", "100 ms", "300 ms", "1 s", "3 s"])
        latency.minorticks_off()
        latency.set_title("latency of requests that arrived, log scale", fontsize=12, color=GREY)
        for axes in (lost, latency):
            axes.set_xlim(0, SECONDS)
            bare(axes)
            for loss in LOSSES:
                axes.axvspan(loss.at, loss.at + loss.seconds, color=FAINT, alpha=0.25, linewidth=0)
        for loss in LOSSES:
            name = {"server": "a server", "l7": "an L7 node", "l4": "an L4 node", "site": "a site"}[loss.tier]
            lost.text(
                loss.at + 0.5, float(bottom.max()) * 1.1, name, color=COLOURS.get(loss.tier, INK), size=11
            )
        latency.set_xlabel("seconds")
        (PICTURES / "tiers-losses.svg").write_text(svg(figure, "tiers-losses") + "\n", encoding="utf-8")


def main() -> None:
    """Write both pictures, and print the figures that the documents quote."""
    report = simulated()
    draw_time(report)
    draw_losses(report)
    print(report.requests, "requests,", report.failures, "failed,", report.broken, "connections broken")
    print("mean", {name: round(value * 1e3, 2) for name, value in report.spent(None, (0.0, 15.0)).items()})
    for loss in LOSSES:
        times = [at for at in report.lost.get(loss.tier, ()) if loss.at <= at]
        span = (loss.at, loss.at + loss.seconds)
        print(loss.tier, len(times), "attempts, last", round(max(times) - loss.at, 2) if times else None,
              "p99", round(report.quantile(0.99, span), 3), "failed", report.failed(span))  # fmt: skip
    print([row for row in report.detected if row[0] > 1.0])


if __name__ == "__main__":
    main()
