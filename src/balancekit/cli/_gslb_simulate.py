"""The command ``balancekit gslb simulate``: failures of endpoints in virtual time, with caching resolvers."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final

from balancekit._support import tables
from balancekit._support import validation as valid
from balancekit.cli._zone_file import observed_clients
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, ZoneFile
from balancekit.health import AccruedFailures
from balancekit.sim import DnsSimulation, EndpointChange

__all__ = ["simulate"]

MAX_STEPS: Final = 1_000
"""Maximum number of lines of output."""
DIGITS: Final = 9
"""Digits to which the number of steps is rounded before it is rounded up: 30 s are 300 steps of 0.1 s, not 301."""


def simulate(read: ZoneFile, options: argparse.Namespace) -> int:
    """Print the shares of endpoints and of failed requests for each step of time; return the exit status."""
    policy = read.zone.policies.get(options.name)
    if policy is None:
        raise ConfigurationError(
            "NAME", options.name, f"a name with a policy: {', '.join(read.zone.policies)}"
        )
    known = policy.members()
    changes = [EndpointChange(*_change("--down", text, known), False) for text in options.down]
    changes += [EndpointChange(*_change("--up", text, known), True) for text in options.up]
    ttl = read.zone.ttl(options.name)
    seconds = valid.number("--seconds", options.seconds, above=0.0, unit="seconds")
    width = valid.number("--step", options.step, above=0.0, minimum=seconds / MAX_STEPS, unit="seconds")
    report = DnsSimulation(
        policy,
        resolvers=options.resolvers,
        clients=None if options.clients is None else _clients(options.clients),
        ttl=ttl,
        detection=AccruedFailures(fall=options.fall, reset=options.rise, rise=options.rise),
        interval=options.interval,
        seed=options.seed,
    ).run(seconds, changes)
    steps: list[dict[str, Any]] = []
    count = max(1, math.ceil(round(seconds / width, DIGITS)))
    for number in range(count):
        start, end = number * width, seconds if number + 1 == count else (number + 1) * width
        steps.append(
            {"from": start, "failed": report.failed_share(start, end), "shares": report.shares(start, end)}
        )
    last = report.last_failure()
    longest = options.fall * options.interval + ttl.maximum
    if options.json:
        data = {"steps": steps, "last_failure": last, "detection_and_ttl": longest}
        sys.stdout.write(json.dumps(data, indent=1) + "\n")
        return 0
    for step in steps:
        shares = ", ".join(
            f"{id or 'no answer'} {share:.0%}" for id, share in sorted(step["shares"].items(), key=str)
        )
        sys.stdout.write(f"{step['from']:6.10g} s  failed {step['failed']:6.1%}  {shares}\n")
    failures = "no request failed" if last is None else f"the last request failed at {last:.1f} s"
    sys.stdout.write(
        f"{failures}; if another endpoint is up, requests fail for at most {longest:g} s after one dies "
        f"(detection {longest - ttl.maximum:g}, TTL {ttl.maximum})\n"
    )
    return 0


def _clients(path: str) -> list[Client]:
    """Return a client for each subnet in a file. The resolver's address is one for documentation (RFC 5737)."""
    return [
        Client(address="192.0.2.53", subnet=subnet) for subnet in observed_clients(path, option="--clients")
    ]


def _change(option: str, text: str, known: Collection[str]) -> tuple[float, tuple[str, ...]]:
    """Return the time and the ids of an argument such as ``eu-1,eu-2@60``."""
    ids, _, at = text.rpartition("@")
    found = tuple(id for id in ids.split(",") if id)
    for id in found:
        tables.choice(option, id, sorted(known))
    with suppress(ValueError):  # a ConfigurationError is one
        if found:
            return valid.number(option, float(at), minimum=0.0), found
    raise ConfigurationError(option, text, "ids, @ and seconds >= 0: eu-1,eu-2@60")
