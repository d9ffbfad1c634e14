"""The command ``balancekit plan``: how many keys a change of endpoints moves."""

from __future__ import annotations

import argparse
import json
import sys

from balancekit.balancer import LoadBalancer
from balancekit.cli._file_kinds import are_files, are_proxies, plan_files
from balancekit.cli._proxy_plan import add_proxy_plan, plan_proxies
from balancekit.cli._text_file import read_text
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.planning import Plan
from balancekit.selectors import MaglevHash, RendezvousHash, RingHash

__all__ = ["add_plan", "run_plan"]


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``balancekit plan``."""
    endpoints = "ids or id=weight, with commas or one a line in @FILE; or a zone or route file (.toml, .json), or a proxy's"
    parser.add_argument("before", metavar="BEFORE", help=endpoints)
    parser.add_argument("after", metavar="AFTER", help=endpoints)
    parser.add_argument("--algorithm", choices=("ring", "maglev", "rendezvous"), default="ring")
    parser.add_argument("--vnodes", type=int, help="points per endpoint of weight 1 (ring; default 150)")
    parser.add_argument("--size", type=int, help="slots (maglev; default 65537)")
    parser.add_argument(
        "--imbalance", type=float, help="size it so that the busiest is at most so far above the mean, as 0.1"
    )
    parser.add_argument(
        "--observed",
        metavar="FILE",
        help="of zone files: clients and counts of their queries; of route files and proxies: requests, one a line",
    )
    add_proxy_plan(parser)
    parser.add_argument("--json", action="store_true", help="print data")


def run_plan(options: argparse.Namespace) -> int:
    """Print the plan; return the exit status."""
    try:
        if are_proxies(options.before, options.after):
            return plan_proxies(options)
        if are_files(options.before, options.after):
            return plan_files(options)
        before, after = _read(options.before), _read(options.after)
        selector, sizing = _selector(options, max(len(before), len(after)))
        plan = LoadBalancer(before, selector=selector).plan(after)
    except (ConfigurationError, OSError) as error:
        sys.stderr.write(f"balancekit plan: {error}\n")
        return 2
    data = {
        "algorithm": options.algorithm,
        **sizing,
        "moved": plan.moved,
        "added": plan.added,
        "removed": plan.removed,
        "reweighted": plan.reweighted,
        "before": plan.before,
        "after": plan.after,
    }
    sys.stdout.write(f"{json.dumps(data, indent=1)}\n" if options.json else _text(plan, sizing))
    return 0


def _read(text: str) -> list[Endpoint[str]]:
    words = read_text(text[1:]).splitlines() if text.startswith("@") else text.split(",")
    found = []
    for word in map(str.strip, words):
        id, _, weight = word.rpartition("=") if "=" in word else (word, "", "1")
        try:
            found.append(Endpoint(id, weight=float(weight)))
        except ValueError:
            raise ConfigurationError("endpoint", word, "an id, or id=weight") from None
    return found


def _selector(
    options: argparse.Namespace, nodes: int
) -> tuple[RingHash | MaglevHash | RendezvousHash, dict[str, float]]:
    from balancekit.hashing import expected_peak, table_size_for, vnodes_for  # noqa: PLC0415 - loads numpy

    wanted = options.imbalance
    if options.algorithm == "ring":
        vnodes = options.vnodes or (150 if wanted is None else vnodes_for(wanted, nodes))
        return RingHash(vnodes=vnodes), {"vnodes": vnodes, "expected_peak": expected_peak(nodes, vnodes)}
    if options.algorithm == "maglev":
        size = options.size or (65_537 if wanted is None else table_size_for(wanted, nodes))
        return MaglevHash(size=size), {"size": size, "expected_peak": 1.0 + nodes / size}
    return RendezvousHash(), {}


def _text(plan: Plan, sizing: dict[str, float]) -> str:
    lines = [f"{plan.moved or 0.0:.4%} of all keys move"]
    lines += [f"{name.replace('_', ' ')} {value:g}" for name, value in sizing.items()]
    lines.append(f"{'endpoint':32}{'before':>10}{'after':>10}")
    for id in dict.fromkeys((*plan.before, *plan.after)):
        shares = [f"{share[id]:.3%}" if id in share else "-" for share in (plan.before, plan.after)]
        lines.append(f"{id:32}{shares[0]:>10}{shares[1]:>10}")
    return "\n".join(lines) + "\n"
