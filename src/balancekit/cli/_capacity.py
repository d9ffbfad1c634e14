"""The command ``balancekit capacity``: a capacity plan from a file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from balancekit._support.files import in_file
from balancekit.capacity import read_plan
from balancekit.cli._file_kinds import read_document

__all__ = ["add_capacity", "run_capacity"]


def add_capacity(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``balancekit capacity``."""
    parser.add_argument("file", metavar="FILE", help="a plan (TOML or JSON)")
    parser.add_argument("--json", action="store_true", help="print data, every number with its formula")


def run_capacity(options: argparse.Namespace) -> int:
    """Print the plan; return the exit status."""
    path = Path(options.file)
    document = read_document(path)
    with in_file(path):
        plan = read_plan(document)
    sys.stdout.write(f"{json.dumps(plan.to_dict(), indent=1) if options.json else plan}\n")
    return 0
