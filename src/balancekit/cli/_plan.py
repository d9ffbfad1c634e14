"""The command ``balancekit plan``: how many keys a change of endpoints moves."""

from __future__ import annotations

import argparse
import json
from typing import Final

from balancekit._support.validation import MAX_WEIGHT
from balancekit.balancer import LoadBalancer
from balancekit.cli._file_kinds import are_files, are_proxies, plan_files
from balancekit.cli._proxy_plan import add_proxy_plan, plan_proxies
from balancekit.cli._status import print_answer
from balancekit.cli._text_file import read_text
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.planning import Plan
from balancekit.selectors import MaglevHash, RendezvousHash, RingHash

__all__ = ["add_plan", "run_plan"]

SIZES: Final = {"ring": ("vnodes", "imbalance"), "maglev": ("size", "imbalance"), "rendezvous": ()}
"""Options that apply to each algorithm."""
OPTIONS: Final = ("algorithm", "vnodes", "size", "imbalance", "observed", "log", "hours", "host")
DEFAULT_VNODES: Final = 150
DEFAULT_SIZE: Final = 65_537


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``balancekit plan``."""
    endpoints = "ids or id=weight, with commas or one a line in @FILE; or a configuration, zone or route file (.toml, .json), or a proxy's"
    parser.add_argument("before", metavar="BEFORE", help=endpoints)
    parser.add_argument("after", metavar="AFTER", help=endpoints)
    parser.add_argument(
        "--algorithm", choices=tuple(SIZES), help="the algorithm over endpoints (default ring)"
    )
    parser.add_argument(
        "--vnodes", type=int, metavar="POINTS", help="points per endpoint of weight 1 (ring; default 150)"
    )
    parser.add_argument(
        "--size", type=int, metavar="SLOTS", help="slots of the table (maglev; default 65537)"
    )
    parser.add_argument(
        "--imbalance",
        type=float,
        help="choose --vnodes or --size so that the busiest is at most this share above the mean, such as 0.1",
    )
    parser.add_argument(
        "--observed",
        metavar="FILE",
        help="for zone files: clients and counts of their queries; for route files and proxies: requests, one a line",
    )
    add_proxy_plan(parser)
    parser.add_argument("--json", action="store_true", help="print data")


def run_plan(options: argparse.Namespace) -> int:
    """Print the plan; return the exit status."""
    if are_proxies(options.before, options.after):
        _reject_others(options, "configurations of proxies", "observed", "log", "hours", "host")
        return plan_proxies(options)
    if are_files(options.before, options.after):
        _reject_others(options, "zone, route and configuration files", "observed")
        return plan_files(options)
    for name, other in (("before", "after"), ("after", "before")):
        if are_files(getattr(options, other)):
            raise ConfigurationError(
                name, getattr(options, name), f"a file, as {getattr(options, other)} is one"
            )
    algorithm = options.algorithm or "ring"
    _reject_others(options, f"endpoints by {algorithm}", "algorithm", *SIZES[algorithm])
    before, after = _read(options.before), _read(options.after)
    selector, sizing = _selector(algorithm, options, max(len(before), len(after)))
    plan = LoadBalancer(before, selector=selector).plan(after)
    data = {
        "algorithm": algorithm,
        **sizing,
        "moved": plan.moved,
        "added": plan.added,
        "removed": plan.removed,
        "reweighted": plan.reweighted,
        "before": plan.before,
        "after": plan.after,
    }
    print_answer(f"{json.dumps(data, indent=1)}\n" if options.json else _text(plan, sizing))
    return 0


def _reject_others(options: argparse.Namespace, what: str, *known: str) -> None:
    """Raise if an option is given that does not apply and would be ignored."""
    for name in OPTIONS:
        if name not in known and getattr(options, name) is not None:
            allowed = f"only {', '.join(f'--{word}' for word in known)} for {what}"
            raise ConfigurationError(f"--{name}", getattr(options, name), allowed)


def _read(text: str) -> list[Endpoint[str]]:
    words = (
        [line for line in read_text(text[1:]).splitlines() if line.strip()]
        if text.startswith("@")
        else text.split(",")
    )
    found = []
    for word in map(str.strip, words):
        id, _, weight = word.rpartition("=") if "=" in word else (word, "", "1")
        try:
            number = float(weight)
        except ValueError:
            number = -1.0
        if not id or not 0.0 <= number <= MAX_WEIGHT:
            raise ConfigurationError(
                "endpoint", word, f"an id, or id=weight with a weight from 0 to {MAX_WEIGHT:g}"
            )
        found.append(Endpoint(id, weight=number))
    if not found:
        raise ConfigurationError("file", text.removeprefix("@"), "one endpoint per line, at least one")
    return found


def _selector(
    algorithm: str, options: argparse.Namespace, nodes: int
) -> tuple[RingHash | MaglevHash | RendezvousHash, dict[str, float]]:
    from balancekit.hashing import expected_peak, table_size_for, vnodes_for  # noqa: PLC0415 - loads numpy

    wanted = options.imbalance
    for name in ("vnodes", "size"):
        if wanted is not None and getattr(options, name) is not None:
            raise ConfigurationError("--imbalance", wanted, f"--imbalance without --{name}: it computes that")
    if algorithm == "ring":
        vnodes = options.vnodes
        if vnodes is None:
            vnodes = DEFAULT_VNODES if wanted is None else vnodes_for(wanted, nodes)
        return RingHash(vnodes=vnodes), {"vnodes": vnodes, "expected_peak": expected_peak(nodes, vnodes)}
    if algorithm == "maglev":
        size = options.size
        if size is None:
            size = DEFAULT_SIZE if wanted is None else table_size_for(wanted, nodes)
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
