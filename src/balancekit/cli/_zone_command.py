"""The commands ``explain`` and ``plan`` for zone files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from balancekit._support.parser import Parser
from balancekit.cli._status import EXIT_FAILED
from balancekit.cli._zone_file import observed_clients, read_zone
from balancekit.errors import ConfigurationError
from balancekit.gslb import (
    ChangePlan,
    Client,
    Query,
    Reply,
    StaticRecords,
    ZoneFile,
    fixed_standings,
)

__all__ = ["explain", "plan"]

Document = Mapping[str, Any]
TABLES: Final = ("zone", "check")
"""The tables of a zone file beside its endpoints, maps and names."""


def explain(path: Path, document: Document, words: Sequence[str]) -> int:
    """Print the answer to one query, with the steps that led to it; return the exit status."""
    parser = Parser(
        prog=f"balancekit explain {path}",
        description="Answer one query, with reasons. Exit status 1 if the answer has no record.",
    )
    parser.add_argument("name", metavar="NAME", help="the queried name, with or without the zone's")
    parser.add_argument("--kind", default="A", help="the record type (default A)")
    parser.add_argument("--subnet", help="the client subnet in the query")
    parser.add_argument("--resolver", default="192.0.2.53", help="the address from which the query comes")
    parser.add_argument(
        "--down", default="", metavar="ID,ID", help="endpoints that are down; all others are up"
    )
    parser.add_argument("--seed", type=int, default=1, help="the random seed (default 1)")
    parser.add_argument("--json", action="store_true", help="print data")
    options = parser.parsed(words)
    zone = read_zone(path, document).zone
    down = [id for id in options.down.split(",") if id]
    unknown = [id for id in down if id not in zone.members()]
    if unknown:
        raise ConfigurationError(
            "--down", unknown[0], f"endpoints of the zone: {', '.join(sorted(zone.members()))}"
        )
    name = options.name.rstrip(".")
    if name != zone.origin and not name.endswith(f".{zone.origin}"):
        name = zone.origin if name == "@" else f"{name}.{zone.origin}"
    client = Client(address=options.resolver, subnet=options.subnet)
    query = Query(name=name, kind=options.kind.upper(), client=client)
    standings = fixed_standings(dict.fromkeys(down, False))
    reply = zone.answer(query, standings, now=0.0, rng=Random(options.seed), explain=True)
    sys.stdout.write(_json_of(reply) if options.json else _text_of(query, reply))
    return 0 if reply.records else EXIT_FAILED


def plan(before: tuple[Path, Document], after: tuple[Path, Document], options: argparse.Namespace) -> int:
    """Print the share of clients that get another first site, for each map, and the names and tables that change."""
    old, new = read_zone(*before), read_zone(*after)
    observed = {} if options.observed is None else observed_clients(options.observed)
    maps = {
        name: old.maps[name].change(new.maps[name], observed=observed)
        for name in old.maps
        if name in new.maps
    }
    names = _changed_names(old, new)
    for name in _changed(before[1]["names"], after[1]["names"]):
        below = name.lower().removesuffix(f".{new.zone.origin}.").removesuffix(f"{new.zone.origin}.")
        names.setdefault(below or "@", "other settings")
    addresses = _changed(old.addresses, new.addresses)
    tables = _changed(*[{word: document.get(word) for word in TABLES} for _, document in (before, after)])
    if options.json:
        data = {
            "maps": {name: _plan_data(change) for name, change in maps.items()},
            "names": names,
            "addresses": addresses,
            "changed": tables,
        }
        sys.stdout.write(json.dumps(data, indent=1) + "\n")
        return 0
    lines = []
    for name, change in maps.items():
        lines.append(
            f"map {name}: {change.shares[4]:.4%} of IPv4 and {change.shares[6]:.4%} of IPv6 get another first site"
        )
        if change.observed_share is not None:
            lines.append(f"  {change.observed_share:.2%} of the observed queries")
        for (version, was, will), count in sorted(change.moves.items(), key=lambda move: -move[1]):
            lines.append(f"  IPv{version}  {was or 'no answer'} -> {will or 'no answer'}  {count} addresses")
    lines += [
        f"map {name}: only in {before[0] if name in old.maps else after[0]}"
        for name in sorted({*old.maps} ^ {*new.maps})
    ]
    lines += [f"name {name}: {what}" for name, what in names.items()]
    lines += [f"endpoint {id}: other addresses" for id in addresses]
    lines += [f"[{word}] changes" for word in tables]
    sys.stdout.write("\n".join(lines or ["nothing changes"]) + "\n")
    return 0


def _text_of(query: Query, reply: Reply) -> str:
    client = query.client
    subnet = f", subnet {client.subnet}" if client.subnet is not None else ""
    lines = [f"{query.name} {query.kind} for {client.address}{subnet}: {reply.rcode}"]
    if reply.answer is not None:
        lines += [f"  {step.policy}: {step.text}" for step in reply.answer.steps]
    lines += [
        f"  {record.name} {record.ttl} IN {record.kind} {record.data}"
        for record in (*reply.records, *reply.authority)
    ]
    if client.subnet is not None:
        lines.append(f"  scope {reply.scope}")
    return "\n".join(lines) + "\n"


def _json_of(reply: Reply) -> str:
    answer = reply.answer
    data = {
        "rcode": reply.rcode,
        "records": [record._asdict() for record in reply.records],
        "authority": [record._asdict() for record in reply.authority],
        "scope": reply.scope,
        "chosen": [] if answer is None else list(answer.chosen),
        "exhausted": None if answer is None or answer.exhausted is None else answer.exhausted.value,
        "steps": [] if answer is None else [step._asdict() for step in answer.steps],
    }
    return json.dumps(data, indent=1) + "\n"


def _plan_data(change: ChangePlan) -> dict[str, Any]:
    return {
        "addresses": {f"IPv{version}": count for version, count in change.addresses.items()},
        "shares": {f"IPv{version}": share for version, share in change.shares.items()},
        "observed_share": change.observed_share,
        "moves": [
            {"version": version, "before": was, "after": will, "addresses": count}
            for (version, was, will), count in change.moves.items()
        ],
    }


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys of both whose values differ."""
    return [key for key in before if key in after and before[key] != after[key]]


def _changed_names(old: ZoneFile, new: ZoneFile) -> dict[str, str]:
    """Return a description of the change of each name that changes: added, removed, or other endpoints."""
    before, after = old.zone.names(), new.zone.names()
    found: dict[str, str] = {}
    for name in dict.fromkeys((*before, *after)):
        was, will = before.get(name), after.get(name)
        shown = name or "@"
        if was is None or will is None:
            found[shown] = "added" if was is None else "removed"
        elif isinstance(was, StaticRecords) or isinstance(will, StaticRecords):
            if was != will:
                found[shown] = "other records"
        else:
            gone, come = was.members() - will.members(), will.members() - was.members()
            parts = [f"{sign}{id}" for sign, ids in (("-", gone), ("+", come)) for id in sorted(ids)]
            if type(was) is not type(will):
                parts.insert(0, f"{type(was).__name__} -> {type(will).__name__}")
            if old.zone.beside.get(shown) != new.zone.beside.get(shown):
                parts.append("other records")
            if parts:
                found[shown] = ", ".join(parts)
    return found
