"""Explanations of one routing decision, for people and logs.

Cost: O(routes); every route is tested again, by its pattern and not through the index, so an explanation that names
another winner than :meth:`RouteTable.match` would show a defect. Source: ``nginx -T`` and Envoy's ``router_check_tool``
do the same for one configuration; neither shows why the other routes lost.
"""

from __future__ import annotations

from typing import Any

from balancekit._support.record import Record
from balancekit.errors import printable
from balancekit.l7._index import RouteIndex, specificity
from balancekit.l7._patterns import Exact, Prefix, Regex, Template, TextPrefix
from balancekit.l7._request import Request
from balancekit.l7._route import Route
from balancekit.l7._spelling import Spelling

__all__ = ["RouteAnswer", "RouteExplanation", "explain", "failure"]

REASONS = (
    "its exact host is longer",
    "its host is longer",
    "its path is exact",
    "the fixed beginning of its path is longer",
    "its kind of path pattern comes first",
    "it names a method",
    "it has more conditions on headers and cookies",
    "it has more conditions on the query",
)
WORDS = {
    Exact: "is not",
    Prefix: "is not in",
    TextPrefix: "does not begin as",
    Regex: "has no match of",
    Template: "does not fit",
}


class RouteAnswer(Record):
    """The answer of one route to a request.

    Parameters
    ----------
    route
        The route's name.
    matches
        Whether all of its conditions hold.
    reason
        ``"matches"``, or the first condition that fails and what the request has instead.
    """

    route: str
    matches: bool
    reason: str


class RouteExplanation(Record):
    """One routing decision, as it would be taken now.

    Parameters
    ----------
    request
        Method, host and target.
    route
        The winner's name, ``None`` if there is none.
    why
        Why it won, or why there is none.
    answers
        Every route, in the order in which they are tried.
    """

    request: str
    route: str | None
    why: str
    answers: tuple[RouteAnswer, ...]

    def __str__(self) -> str:
        width = max((len(printable(answer.route)) for answer in self.answers), default=0)
        lines = [f"{self.request} -> {self.route or 'no route'}, {self.why}"]
        lines += [
            f"  {printable(answer.route):{width}}  {'yes' if answer.matches else 'no ':3}  {answer.reason}"
            for answer in self.answers
        ]
        return "\n".join(map(printable, lines))


def failure(
    route: Route[Any], host_wanted: str, request: Request, host: str, path: str, spelling: Spelling
) -> str | None:
    """Return the first condition of a route that a request does not meet, as text; ``None`` if it meets all."""
    if host_wanted and not _host_matches(host_wanted, host):
        return f"host {host or '(none)'} is not {host_wanted}"
    pattern = route.path
    if pattern is not None:
        if spelling.decodes:
            pattern = pattern.decoded()
        if not pattern.matches(path):
            return f"path {path[:200]} {WORDS[type(pattern)]} {pattern!r}"
    if route.methods is not None and request.method not in route.methods:
        return f"method {request.method} is not {' or '.join(sorted(route.methods))}"
    for condition in route.conditions:
        if not condition.holds(request):
            return condition.failure(request)
    return None


def explain(
    index: RouteIndex[Any],
    order: str,
    spelling: Spelling,
    request: Request,
    rejection: str | None,
    no_match: Route[Any] | None,
) -> RouteExplanation:
    """Evaluate every route of a table for a request."""
    line = f"{request.method} {request.host}{request.target}"[:300]
    if rejection is not None:
        answers = [
            RouteAnswer(route=route.name, matches=False, reason="rejected before")
            for route, _ in index.ranked
        ]
        return RouteExplanation(
            request=line, route=None, why=f"rejected: {rejection}", answers=tuple(dict.fromkeys(answers))
        )
    path, host = spelling.read(request.path), spelling.host(request.host)
    assert path is not None
    assert host is not None
    found: dict[str, RouteAnswer] = {}
    winners: list[tuple[Route[Any], str]] = []
    for route, wanted in index.ranked:
        reason = failure(route, wanted, request, host, path, spelling)
        if reason is None:
            winners.append((route, wanted))
            found[route.name] = RouteAnswer(route=route.name, matches=True, reason="matches")
        elif route.name not in found:
            found[route.name] = RouteAnswer(route=route.name, matches=False, reason=reason)
    name, why = None, "no route matches"
    if winners:
        name, why = winners[0][0].name, _why(winners, order)
    elif no_match is not None:
        name, why = no_match.name, "no route matches, so the table's pool for that serves"
    return RouteExplanation(request=line, route=name, why=why, answers=tuple(found.values()))


def _why(winners: list[tuple[Route[Any], str]], order: str) -> str:
    others = [one for one in winners[1:] if one[0] is not winners[0][0]]
    if not others:
        return "the only route that matches" if order != "first" else "the first route that matches"
    (winner, host), (second, other) = winners[0], others[0]
    if winner.priority != second.priority:
        return f"before {second.name} because its priority is higher"
    if order == "first":
        return "the first route that matches"
    for one, two, text in zip(specificity(winner, host), specificity(second, other), REASONS, strict=True):
        if one != two:
            return f"before {second.name} because {text}"
    return f"before {second.name} by name; nothing else distinguishes them"


def _host_matches(wanted: str, host: str) -> bool:
    if wanted.startswith("*"):
        return host.endswith(wanted[1:]) and len(host) > len(wanted) - 1
    return host == wanted
