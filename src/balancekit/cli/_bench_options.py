"""Options of ``balancekit bench``. They are not in the module of the command, so ``--help`` imports little."""

from __future__ import annotations

import argparse
import os

__all__ = ["CARDS_OF_ALL", "DEFAULT_WORKERS", "TOPICS", "add_bench"]

TOPICS = ("distribution", "disruption", "speed", "latency")
CARDS_OF_ALL = "cards"
MAX_WORKERS = 64
DEFAULT_WORKERS = min(os.cpu_count() or 1, 8)


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``balancekit bench``."""
    parser.add_argument(
        "topic",
        nargs="?",
        choices=(*TOPICS, CARDS_OF_ALL),
        metavar="TOPIC",
        help=", ".join((*TOPICS, CARDS_OF_ALL)),
    )
    parser.add_argument(
        "--out", metavar="DIR", help="write pictures, figures.json and report.html to this directory"
    )
    parser.add_argument("--json", action="store_true", help="print data")
    parser.add_argument("--seed", type=_seed, default=1, help="the random seed (default 1)")
    parser.add_argument("--quick", action="store_true", help="use small samples and wide tolerances")
    parser.add_argument(
        "--workers",
        type=_workers,
        help="the number of processes for simulations (default: one per processor, at most 8)",
    )


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 0")
    return int(text)


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes from 1 to {MAX_WORKERS}")
    return int(text)
