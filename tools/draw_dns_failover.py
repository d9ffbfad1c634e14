"""Draw one name over three sites during a failover: answers, caches and requests over time.

    uv run python tools/draw_dns_failover.py    writes docs/pictures/dns-failover.svg

The figures come from ``balancekit.sim.DnsSimulation``. Every run gives the same figures.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from balancekit.bench._style import BLUE, FAINT, GREEN, GREY, INK, ORANGE, bare, canvas, styled, svg, titled
from balancekit.gslb import AllUp, FailBack, Geo, GeoMap, Ttl
from balancekit.sim import DnsReport, DnsSimulation, EndpointChange

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "dns-failover.svg"
SECONDS, STEP = 480, 6
DEATH, RETURN = 60.0, 180.0
LABELLED = 3
"""The step at which areas are labelled."""
COLOURS = {"eu": BLUE, "us": ORANGE, "ap": GREEN}


def simulated() -> DnsReport:
    """Return the report of a run with 192 resolvers, a third near each site."""
    world = GeoMap.build(
        networks={"10.0.0.0/18": ["eu", "us", "ap"], "10.0.64.0/18": ["us", "eu", "ap"]},
        default=["ap", "us", "eu"],
    )
    policy = Geo(
        world,
        {site: AllUp([site]) for site in COLOURS},
        fail_back=FailBack(hold_down=60.0, ramp=120.0, steps=4),
    )
    simulation = DnsSimulation(policy, resolvers=192, ttl=Ttl(minimum=30, maximum=30), every=0.5)
    return simulation.run(
        float(SECONDS), [EndpointChange(DEATH, ("eu",), up=False), EndpointChange(RETURN, ("eu",), up=True)]
    )


def main() -> None:
    """Write the picture."""
    report = simulated()
    times = range(0, SECONDS, STEP)
    answers, caches, requests, failed = [], [], [], []
    held: dict[int, str] = {}
    for start in times:
        inside = [request for request in report.requests if start <= request.at < start + STEP]
        held |= {request.resolver: request.endpoint or "" for request in inside}
        answers.append(Counter(request.endpoint for request in inside if not request.cached))
        caches.append(Counter(held.values()))
        requests.append(Counter(request.endpoint for request in inside))
        failed.append(sum(not request.served for request in inside) / len(inside))
    with styled("dns-failover"):
        figure = canvas(8.0, 7.2)
        titled(
            figure,
            "A dead site keeps its traffic for a TTL, and gets it back in steps",
            "192 resolvers, a third near each site; TTL 30 s; eu dies at 60 s, is back at 180 s",
        )
        for place, (title, rows) in enumerate(
            (
                ("what the name server answers", answers),
                ("what caches hold", caches),
                ("where requests go", requests),
            )
        ):
            axes = figure.add_axes((0.09, 0.65 - 0.28 * place, 0.84, 0.2))
            bottom = [0.0] * len(rows)
            for site, colour in COLOURS.items():
                share = [row[site] / max(1, sum(row.values())) for row in rows]
                axes.fill_between(
                    times,
                    bottom,
                    [low + one for low, one in zip(bottom, share, strict=True)],
                    color=colour,
                    step="post",
                    linewidth=0,
                    alpha=0.8,
                )
                middle = bottom[LABELLED] + share[LABELLED] / 2
                axes.text(LABELLED * STEP - 5, middle, site, color="white", va="center", weight="bold")
                bottom = [low + one for low, one in zip(bottom, share, strict=True)]
            if place == 2:
                axes.fill_between(times, 0, failed, color=INK, step="post", linewidth=0)
                axes.annotate(
                    "failed",
                    (74, failed[18]),
                    (96, 0.12),
                    color=INK,
                    weight="bold",
                    arrowprops={"arrowstyle": "-", "color": INK},
                )
            axes.set_xlim(0, SECONDS - STEP)
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 1], ["0", "all"])
            axes.set_title(title, fontsize=12, color=GREY, pad=16 if place == 0 else 6)
            for at, word in ((DEATH, "dies"), (RETURN, "is back"), (RETURN + 62.0, "hold-down over")):
                axes.axvline(at, color=FAINT, linewidth=1)
                if place == 0:
                    axes.text(at + 2, 1.02, word, color=GREY, fontsize=10)
            bare(axes)
            if place == 2:
                axes.set_xlabel("seconds")
        PICTURE.write_text(svg(figure, "dns-failover") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
