"""Measurement of time in empty method calls, with the timer of the library, and storage of results.

Only ratios are stored, with the machine and the versions of packages. ``benchmarks.compare`` compares two such files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from balancekit.bench import Timer as Group
from balancekit.bench import Timing as Result
from balancekit.bench import machine

__all__ = ["Group", "Result", "add_save", "machine", "save"]

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "balancekit",
    "numpy",
    "mmh3",
    "sortedcontainers",
    "aiohttp",
    "cassandra-driver",
    "clandestined",
    "elastic-transport",
    "fastring",
    "httpx",
    "httpx2",
    "jump-consistent-hash",
    "prometheus-client",
    "requests",
    "roundrobin",
    "simpy",
    "stickybalancer",
    "uhashring",
)


def add_save(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--save``, which stores the results."""
    parser.add_argument(
        "--save",
        nargs="?",
        const="",
        metavar="FILE",
        help="store the ratios; without FILE, in benchmarks/results",
    )


def save(name: str, figures: Mapping[str, float], file: str | None) -> None:
    """Write ratios with machine and versions to ``file``: ``None`` writes nothing, an empty name is the default file."""
    if file is None:
        return
    path = Path(file) if file else RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    data = {
        "benchmark": name,
        "machine": machine(),
        "versions": _versions(),
        "figures": {label: round(figure, 3) for label, figure in figures.items()},
    }
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print("saved to", path)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
