"""The command ``balancekit lint``: findings in configurations of nginx, HAProxy and Envoy."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

__all__ = ["add_lint", "run_lint"]


def add_lint(commands: Any) -> None:
    """Add ``balancekit lint`` to the commands."""
    parser = commands.add_parser(
        "lint",
        help="find lines of a proxy's configuration that do not do what they seem to do",
        description="Print findings with file, line, effect, and correction. Exit status 1 if there are any.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="configurations of nginx, HAProxy or Envoy")
    parser.add_argument(
        "--kind",
        choices=("nginx", "haproxy", "envoy"),
        help="the kind of the files; recognised by their text if left out",
    )
    parser.add_argument("--json", action="store_true", help="print data")


def run_lint(options: argparse.Namespace) -> int:
    """Print the findings; return the exit status."""
    from balancekit.proxyconfig import lint_config, read_config  # noqa: PLC0415 - needs a package of an extra

    found = [one for path in options.files for one in lint_config(read_config(path, kind=options.kind))]
    if options.json:
        data = [
            {
                "file": one.origin.file,
                "line": one.origin.line,
                "rule": one.rule,
                "text": one.text,
                "advice": one.advice,
            }
            for one in found
        ]
        sys.stdout.write(json.dumps(data, indent=1) + "\n")
    else:
        sys.stdout.writelines(f"{one}\n" for one in found)
    return 1 if found else 0
