"""The commands ``explain`` and ``plan`` for configuration files."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from balancekit._support.files import in_file
from balancekit._support.parser import Parser
from balancekit.balancer import LoadBalancer
from balancekit.cli._first_list import first_list
from balancekit.cli._status import EXIT_FAILED, print_answer
from balancekit.config import load
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

__all__ = ["explain", "plan"]

Document = Mapping[str, Any]
MAX_NAMED: Final = 20
"""Maximum number of endpoints that an error names."""
FIELDS: Final = ("target", "priority", "zone", "metadata")
"""The fields of an endpoint beside its id and its weight."""


def explain(path: Path, document: Document, words: Sequence[str]) -> int:
    """Print the endpoint that the balancer picks for a request, and the reasons; return the exit status."""
    parser = Parser(
        prog=f"balancekit explain {path}",
        description="Pick an endpoint, with reasons. Exit status 1 if none may be picked.",
    )
    parser.add_argument("--key", help="the key of the request")
    parser.add_argument("--exclude", default="", metavar="ID,ID", help="endpoints that the request has tried")
    parser.add_argument("--drain", default="", metavar="ID,ID", help="endpoints that are draining")
    parser.add_argument("--json", action="store_true", help="print data")
    options = parser.parsed(words)
    balancer = _balancer(path, document)
    for id in _ids(options.drain):
        balancer.drain(id)
    tried = _ids(options.exclude)
    ids = [endpoint.id for endpoint in balancer.endpoints]
    for id in tried:
        if id not in ids:
            raise ConfigurationError("--exclude", id, f"endpoints of the file: {', '.join(ids[:MAX_NAMED])}")
    found = balancer.explain(options.key, exclude=tried)
    status = EXIT_FAILED if found.picked is None else 0
    if not options.json:
        print_answer(f"{found}\n")
        return status
    data = {
        "picked": found.picked,
        "key": found.key,
        "selector": found.selector,
        "notes": list(found.notes),
        "candidates": {each.id: {"status": each.status, "weight": each.weight} for each in found.candidates},
    }
    print_answer(json.dumps(data, indent=1) + "\n")
    return status


def plan(before: tuple[Path, Document], after: tuple[Path, Document], options: argparse.Namespace) -> int:
    """Print the endpoints and tables that a change of the file changes, and the share of keys that it moves."""
    if options.observed is not None:
        raise ConfigurationError("--observed", options.observed, "an option for zone files and route files")
    balancer = _balancer(*before)
    wanted = _balancer(*after)
    found = balancer.plan(wanted.endpoints)
    tables = dict.fromkeys((*before[1], *after[1]))
    changed = [word for word in tables if word != "endpoints" and before[1].get(word) != after[1].get(word)]
    altered = _altered(balancer.endpoints, wanted.endpoints)
    if options.json:
        data = {
            "moved": found.moved,
            "added": found.added,
            "removed": found.removed,
            "reweighted": found.reweighted,
            "altered": altered,
            "changed": changed,
        }
        print_answer(json.dumps(data, indent=1) + "\n")
        return 0
    lines = []
    if "balancer" in changed:
        lines.append("[balancer] changes: keys may move even if endpoints stay the same")
    if found.moved is not None:
        lines.append(f"{found.moved:.4%} of all keys move")
    for word, ids in (("added", found.added), ("removed", found.removed), ("reweighted", found.reweighted)):
        lines += [f"{word} {id}" for id in ids]
    lines += [f"altered {id}: {', '.join(fields)}" for id, fields in altered.items()]
    lines += [f"[{word}] changes" for word in changed if word != "balancer"]
    print_answer("\n".join(lines or ["nothing changes"]) + "\n")
    return 0


def _altered(before: Iterable[Endpoint[Any]], after: Iterable[Endpoint[Any]]) -> dict[str, list[str]]:
    """Return the names of the fields that change, without their values, which may be keys; weights are listed apart."""
    found: dict[str, list[str]] = {}
    known = {endpoint.id: endpoint for endpoint in before}
    for new in after:
        old = known.get(new.id, new)
        fields = [name for name in FIELDS if getattr(old, name) != getattr(new, name)]
        if fields:
            found[new.id] = fields
    return found


def _balancer(path: Path, document: Document) -> LoadBalancer[Any]:
    """Return the balancer of a configuration. If it has a source of endpoints, the source is resolved once."""
    with in_file(path):
        found = load(document, environ=os.environ)
        if found.source is not None:
            found.balancer.update(first_list(found.source))
    return found.balancer


def _ids(text: str) -> list[str]:
    return [id for id in text.split(",") if id]
