"""The commands ``explain`` and ``plan`` for route files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from balancekit._support.files import in_file
from balancekit._support.parser import Parser
from balancekit.cli._text_file import read_text
from balancekit.errors import ConfigurationError
from balancekit.l7 import Request, Route, RouteTable, route_table
from balancekit.l7._changes import may_move

__all__ = ["explain", "plan", "read_routes"]

Document = Mapping[str, Any]
TABLE: Final = ("order", "spelling", "no_match")
"""The options of a route table."""


def explain(path: Path, document: Document, words: Sequence[str]) -> int:
    """Print the route of a request and the reasons why the others do not match, or the problems of the route table."""
    parser = Parser(
        prog=f"balancekit explain {path}",
        description="Print which route takes a request, and the failing condition of every other. Without a URL, print problems. "
        "Exit status 1 if no route takes it, or if there are problems.",
    )
    parser.add_argument("url", metavar="URL", nargs="?", help="https://host/path?query, or a path")
    parser.add_argument("-X", "--method", default="GET", help="the method (default GET)")
    parser.add_argument(
        "-H", "--header", action="append", default=[], metavar="NAME:VALUE", help="a header; may be repeated"
    )
    parser.add_argument("--key", help="the key for splits, if the request lacks the value that `by` names")
    parser.add_argument("--json", action="store_true", help="print data")
    options = parser.parsed(words)
    table = read_routes(path, document)
    if options.url is None:
        return _problems(table, as_json=options.json)
    request = _request(options.method, options.url, options.header)
    found, match = table.explain(request), table.match(request)
    pool = None if match is None else match.pool(options.key)
    if options.json:
        answers = [
            {"route": one.route, "matches": one.matches, "reason": one.reason} for one in found.answers
        ]
        data = {
            "request": found.request,
            "route": found.route,
            "why": found.why,
            "pool": pool,
            "answers": answers,
        }
        sys.stdout.write(json.dumps(data, indent=1) + "\n")
    else:
        sys.stdout.write(
            f"{found}\n" + ("" if pool is None else f"pool {pool}, forward {match and match.target}\n")
        )
    return 0 if match is not None else 1


def plan(before: tuple[Path, Document], after: tuple[Path, Document], options: argparse.Namespace) -> int:
    """Print the routes that differ, the requests of a sample that take another route, and problems of the new table."""
    old, new = read_routes(*before), read_routes(*after)
    sample = [] if options.observed is None else _sample(options.observed)
    routes = _differing(old, new)
    moved = _compared(old, new, sample) if routes["table"] else [
        (str(change.request), change.before, change.after) for change in old.plan(new.routes, sample).changes
    ]  # fmt: skip
    problems = [str(problem) for problem in new.check()]
    if options.json:
        requests = [{"request": request, "before": was, "after": will} for request, was, will in moved]
        data = {**routes, "sample": len(sample), "requests": requests, "problems": problems}
        sys.stdout.write(json.dumps(data, indent=1) + "\n")
        return 0
    lines = [f"{what}: {', '.join(names)}" for what, names in routes.items() if names] or ["no route changes"]
    if sample:
        lines.append(f"{len(moved)} of {len(sample)} requests take another route, or may get another pool")
        lines += [f"  {request}: {_move(was, will)}" for request, was, will in moved]
    lines += [f"problem: {problem}" for problem in problems]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _move(before: str | None, after: str | None) -> str:
    if before == after:
        return f"{after}, whose pools change"
    return f"{before or 'no route'} -> {after or 'no route'}"


def read_routes(path: Path, document: Document) -> RouteTable[Any]:
    """Return the route table of a document. Errors name its file."""
    with in_file(path):
        return route_table(document)


def _differing(old: RouteTable[Any], new: RouteTable[Any]) -> dict[str, list[str]]:
    """Return the names of routes that were added, removed, changed and reordered, and of changed options of the table."""
    before = {route.name: _facts(route) for route in old.routes}
    after = {route.name: _facts(route) for route in new.routes}
    places = [[name for name in names if name in before and name in after] for names in (before, after)]
    ordered = old.order == new.order == "first"
    return {
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
        "changed": [name for name in after if before.get(name, after[name]) != after[name]],
        "reordered": [name for was, name in zip(*places, strict=True) if was != name and ordered],
        "table": [name for name in TABLE if getattr(old, name) != getattr(new, name)],
    }


def _facts(route: Route[Any]) -> list[object]:
    """Return what distinguishes a route from another one of its name. Patterns of paths are compared by their text."""
    return [repr(route.path), *[getattr(route, name) for name in Route.__slots__ if name != "path"]]


def _problems(table: RouteTable[Any], *, as_json: bool) -> int:
    problems = table.check()
    if as_json:
        data = [{"kind": p.kind, "route": p.route, "other": p.other, "text": p.text} for p in problems]
        sys.stdout.write(json.dumps(data, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join([str(problem) for problem in problems] or ["no problems"]) + "\n")
    return 1 if problems else 0


def _compared(
    old: RouteTable[Any], new: RouteTable[Any], sample: Sequence[Request]
) -> list[tuple[str, str | None, str | None]]:
    """Return the requests that move, for tables of different options, which have no ``plan``."""
    found = []
    for request in sample:
        before, after = old.match(request), new.match(request)
        was = None if before is None else before.route
        will = None if after is None else after.route
        if may_move(was, will, request):
            found.append((str(request), was and was.name, will and will.name))
    return found


def _sample(path: str) -> list[Request]:
    """Read requests from a file. Each line is a URL, or a method and a URL."""
    requests = []
    for line in read_text(path, parameter="--observed").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        method, url = ["GET", *words][-2:]
        if len(words) > 2 or not url.startswith(("/", "http://", "https://")):
            raise ConfigurationError("--observed", line, "requests, as 'GET https://shop.test/x' or '/x'")
        requests.append(_request(method, url, []))
    return requests


def _request(method: str, url: str, headers: Sequence[str]) -> Request:
    pairs = []
    for line in headers:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ConfigurationError("--header", line, "NAME:VALUE")
        pairs.append((name.strip(), value.strip()))
    request = Request.from_url(url, method=method, headers=pairs)
    host = next((value for name, value in pairs if name.lower() == "host"), None)
    if host is None:
        return request
    return Request(request.path, method=method, host=host, query=request.query, headers=pairs)
