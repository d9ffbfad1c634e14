"""Files of a report: pictures, data, and one HTML page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from balancekit._support.arguments import checked_arguments
from balancekit._support.files import writable_folder, write_files
from balancekit.bench import (
    _plot_latency,
    _plot_moves,
    _plot_scenario,
    _plot_shares,
    _plot_speed,
    _plot_timeline,
)
from balancekit.bench._claims import Findings
from balancekit.bench._html import Section, document, page
from balancekit.bench._results import Results, versions
from balancekit.bench._scenario import compared
from balancekit.bench._style import png, styled, svg
from balancekit.bench._timing import machine
from balancekit.errors import ConfigurationError
from balancekit.sim import Scenario, SimulationReport

__all__ = ["PICTURES", "draw", "write", "write_scenario"]

PICTURES: Final[Mapping[str, Mapping[str, Callable[[Findings], Figure]]]] = {
    "distribution": {
        "no-virtual-nodes": _plot_shares.no_virtual_nodes,
        "points": _plot_shares.by_points,
        "structures": _plot_shares.by_structure,
        "selectors": _plot_shares.by_selector,
        "turns": _plot_shares.taking_turns,
    },
    "disruption": {"moved": _plot_moves.moved, "maglev": _plot_moves.maglev},
    "speed": {
        "picks": _plot_speed.picks,
        "requests": _plot_speed.requests,
        "look-ups": _plot_speed.look_ups,
    },
    "latency": {
        "mean": _plot_latency.means,
        "tail": _plot_latency.tails,
        "slow-server": _plot_latency.slow_server,
    },
}
"""Functions that draw the pictures of each topic, by topic and name."""


@checked_arguments
def draw(topic: str, findings: Findings) -> dict[str, Figure]:
    """Return the pictures of a topic by name, such as ``latency-tail``.

    Parameters
    ----------
    topic
        ``distribution``, ``disruption``, ``speed`` or ``latency``.
    findings
        The results of this topic.

    Raises
    ------
    ConfigurationError
        If there is no such topic.
    """
    if topic not in PICTURES:
        raise ConfigurationError("topic", topic, f"one of {', '.join(PICTURES)}")
    with styled():
        return {f"{topic}-{name}": make(findings) for name, make in PICTURES[topic].items()}


@checked_arguments
def write(results: Results, folder: str | Path) -> list[Path]:
    """Write pictures as PNG and SVG, ``figures.json`` and ``report.html``; return the files.

    Parameters
    ----------
    results
        The results of :func:`measure`.
    folder
        Path of the folder. It is created if it does not exist. Files of the same names are replaced.

    Raises
    ------
    ConfigurationError
        If the path is empty, or no file can be written to the folder.
    OSError
        If a file cannot be written.

    Notes
    -----
    *Guarantee.* All pictures are drawn, and all files are written under temporary names, before a file is replaced.
    """
    figures = {
        name: figure
        for topic, findings in results.topics.items()
        for name, figure in draw(topic, findings).items()
    }
    return _written(folder, figures, results.data(), lambda pictures: page(results, pictures))


@checked_arguments
def write_scenario(
    scenario: Scenario,
    reports: Mapping[str, SimulationReport],
    folder: str | Path,
    *,
    command: str = "",
    source: str = "",
) -> list[Path]:
    """Write a report about the balancers of a scenario; return the files. They are those of :func:`write`.

    Parameters
    ----------
    scenario
        The scenario.
    reports
        Reports of its balancers, by name.
    folder
        Path of the folder. It is created if it does not exist. Files of the same names are replaced.
    command
        Command that repeats the run, shown on the page.
    source
        Text of the scenario, shown on the page.

    Raises
    ------
    ConfigurationError
        If a report that a claim needs is missing, the path is empty, or no file can be written to the folder.
    OSError
        If a file cannot be written.
    """
    findings = compared(scenario, reports)
    with styled():
        drawn: dict[str, Figure | None] = {
            "slowest": _plot_scenario.slowest(findings),
            "shares": _plot_scenario.shares(findings),
        }
        for number, (name, report) in enumerate(reports.items(), 1):
            drawn[f"over-time-{number}"] = _plot_timeline.over_time(name, report, scenario.faults)
    data = {
        "title": scenario.title,
        "why": scenario.why,
        "seed": scenario.seed,
        "claims": [claim.data() for claim in findings.claims],
        "tables": [table.data() for table in findings.tables],
    }
    facts = {"requests": f"{scenario.requests:,}", "seed": scenario.seed, **versions(), **machine()}

    def text(pictures: Mapping[str, str]) -> str:
        timed = {name: one for name, one in pictures.items() if name.startswith("over-time")}
        whole = {name: one for name, one in pictures.items() if name not in timed}
        sections = [
            Section(name="balancers", title="Balancers compared", findings=findings, pictures=whole),
            Section(name="over-time", title="Over time", findings=Findings(), pictures=timed),
        ]
        repeat = [("Repeat it", command), ("Scenario", source)]
        return document(
            scenario.title, scenario.why, facts, sections, texts=[pair for pair in repeat if pair[1]]
        )

    return _written(folder, {name: one for name, one in drawn.items() if one is not None}, data, text)


def _written(
    folder: str | Path,
    figures: Mapping[str, Figure],
    data: Mapping[str, object],
    text: Callable[[Mapping[str, str]], str],
) -> list[Path]:
    """Write all files: draw in memory, write under temporary names in the same folder, then rename over the old files."""
    home = writable_folder("folder", folder)
    pictures: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    for name, figure in figures.items():
        pictures[name] = svg(figure, name)
        contents[f"{name}.svg"] = pictures[name].encode()
        contents[f"{name}.png"] = png(figure)
    contents["figures.json"] = f"{json.dumps(data, indent=1)}\n".encode()
    contents["report.html"] = text(pictures).encode()
    return write_files(home, contents)
