"""Comparison of two files of results, side by side.

    uv run python -m benchmarks.compare benchmarks/results/micro.json NEW.json
    uv run python -m benchmarks.compare OLD.json NEW.json --over 1.2    only figures that changed by a factor of 1.2 or more

Figures are ratios within one run, so they can be compared between machines. Differences of a few per cent are noise.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def compare(old: Mapping[str, Any], new: Mapping[str, Any], over: float) -> list[str]:
    """Return the lines of the comparison.

    Parameters
    ----------
    old, new
        Results as ``--save`` writes them.
    over
        Leave out figures that changed by less than this factor, up or down. 1 leaves out nothing.
    """
    lines = [f"old {_origin(old)}", f"new {_origin(new)}", f"{'':56}{'old':>10}{'new':>10}{'new / old':>11}"]
    for label in dict.fromkeys((*old["figures"], *new["figures"])):
        before, after = old["figures"].get(label), new["figures"].get(label)
        if not before or not after:
            lines.append(f"{label:56}{_cell(before)}{_cell(after)}{'-':>11}")
        elif max(after / before, before / after) >= over:
            lines.append(f"{label:56}{_cell(before)}{_cell(after)}{after / before:>11.2f}")
    return lines


def _cell(figure: float | None) -> str:
    return f"{'-' if figure is None else format(figure, '.2f'):>10}"


def _origin(results: Mapping[str, Any]) -> str:
    facts = {**results["machine"], **results["versions"]}
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def main(words: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--over", type=float, default=1.0, metavar="FACTOR", help="leave out smaller changes")
    options = parser.parse_args(words)
    try:
        old, new = [json.loads(path.read_text(encoding="utf-8")) for path in (options.old, options.new)]
        lines = compare(old, new, options.over)
    except (OSError, ValueError, KeyError) as error:
        print(f"the files cannot be compared: {error!r}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
