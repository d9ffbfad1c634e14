"""The command ``balancekit plan`` for configurations of proxies. Needs the extra ``proxyconfig``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from balancekit._support import validation as valid
from balancekit.cli._text_file import read_text, readable
from balancekit.errors import ConfigurationError

if TYPE_CHECKING:
    from balancekit.proxyconfig import ProxyPlan, ProxyRequest

__all__ = ["add_proxy_plan", "plan_proxies"]

MAX_SHOWN: Final = 20
"""Maximum number of clients that are named."""


def add_proxy_plan(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that apply only to configurations of proxies."""
    parser.add_argument(
        "--log",
        metavar="FILE",
        help="for proxies: an access log (nginx combined, HAProxy httplog, Envoy default); its last hour counts",
    )
    parser.add_argument(
        "--hours",
        type=float,
        metavar="HOURS",
        help="how much of the log counts, back from its last line (default 1)",
    )
    parser.add_argument("--host", help="for proxies: the Host header where none is known (default localhost)")


def plan_proxies(options: argparse.Namespace) -> int:
    """Print the effect of a change of a proxy's configuration; return the exit status."""
    from balancekit.proxyconfig import plan_change, read_config  # noqa: PLC0415 - needs a package of an extra

    before, after = read_config(options.before), read_config(options.after)
    requests, left_out = _requests(options)
    plan = plan_change(before, after, requests=requests)
    notes = [str(one) for config in (before, after) for one in config.not_modelled if one.why]
    if options.json:
        sys.stdout.write(
            json.dumps({**_data(plan), "left_out": left_out, "not_modelled": notes}, indent=1) + "\n"
        )
        return 0
    lines = [str(plan)]
    if plan.moved_clients:
        more = len(plan.moved_clients) - MAX_SHOWN
        lines.append(
            "  " + ", ".join(plan.moved_clients[:MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")
        )
    if left_out:
        lines.append(f"{left_out} lines of the log have another format")
    if notes:
        lines.append("not modelled, and may matter:")
        lines += [f"  {note}" for note in notes]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _requests(options: argparse.Namespace) -> tuple[list[ProxyRequest], int]:
    """Return the requests of the log and of the list, and the number of log lines in another format."""
    from balancekit.proxyconfig import ProxyRequest, read_log  # noqa: PLC0415 - needs a package of an extra

    if options.hours is not None and options.log is None:
        raise ConfigurationError("--hours", options.hours, "an option of --log, which names the log")
    if options.host is not None and options.log is None and options.observed is None:
        raise ConfigurationError(
            "--host", options.host, "an option of --log and --observed, which name requests"
        )
    found: list[ProxyRequest] = []
    left_out = 0
    host = "localhost" if options.host is None else options.host
    hours = 1.0 if options.hours is None else valid.number("--hours", options.hours, above=0.0, unit="hours")
    if options.log is not None:
        with (
            readable(options.log, parameter="--log"),
            Path(options.log).open(encoding="utf-8", errors="replace") as file,
        ):
            log = read_log(file, host=host, last_s=hours * 3600.0)
        if log.left_out and not log.requests:
            allowed = f"an access log of nginx (combined), HAProxy (httplog) or Envoy (default): none of {log.left_out} lines is one"
            raise ConfigurationError("--log", options.log, allowed)
        found += log.requests
        left_out = log.left_out
    if options.observed is not None:
        for line in read_text(options.observed, parameter="--observed").splitlines():
            method, blank, target = line.strip().partition(" ")
            if not method or method.startswith("#"):
                continue
            if not blank:
                method, target = "GET", method
            if not target.startswith("/"):
                raise ConfigurationError(
                    "--observed", line, "requests, as 'GET /api?user=7' or '/api?user=7'"
                )
            found.append(ProxyRequest(target, method=method, host=host))
    return found, left_out


def _data(plan: ProxyPlan) -> dict[str, object]:
    return {
        "pools": [
            {
                "name": pool.name,
                "changes": list(pool.changes),
                "moved": pool.moved,
                "exact": pool.exact,
                "before": dict(pool.before),
                "after": dict(pool.after),
                "lost": dict(pool.lost),
            }
            for pool in plan.pools
        ],
        "requests": plan.requests,
        "bound": plan.bound,
        "moved": list(plan.moved),
        "clients": plan.clients,
        "moved_clients": list(plan.moved_clients),
    }
