"""Timing in empty method calls, with the library's own timer, and storage of results.

Only ratios are kept, with the machine and the versions they were measured on; ``benchmarks.compare`` prints two
such files side by side.
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
    """Add the option that keeps what was measured."""
    parser.add_argument(
        "--save",
        nargs="?",
        const="",
        metavar="FILE",
        help="keep the ratios, in benchmarks/results if no file is named",
    )


def save(name: str, figures: Mapping[str, float], file: str | None) -> None:
    """Write ratios with machine and versions, if that was asked for."""
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
    print("kept in", path)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
