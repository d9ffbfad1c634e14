"""Outlier sweeps: rules applied to all endpoints from time to time, at no cost for requests.

Nodes count how requests end anyway. A sweep notes the counters of each endpoint; the difference to an
earlier note is what happened since. So a rate over a window needs no hook on the path of a request: a
healthy endpoint's success stays as cheap as it is without rules.

An endpoint that is out takes no part, and starts over when it is back: what it did before is paid for.
Windows are as exact as sweeps are frequent: a window of 10 s swept every second covers 10 to 11 s.

Cost: O(n) a sweep for each rule, and 32 bytes a note.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.log import contain_error
from balancekit.errors import ConfigurationError
from balancekit.health._report import EndpointReport
from balancekit.outcome import FAILURES
from balancekit.snapshot import Node

__all__ = ["OutlierSweep", "Rule", "check_rules", "check_window"]

SWEPT_PER_S: Final = 5000
"""Endpoints per second that sweeps may look at."""


class Rule(Protocol):
    """Decides from reports which endpoints to eject. Write your own: any object with these three.

    An attribute ``timed = False`` says that it looks at no latencies; without it, the balancer measures them.
    """

    @property
    def window(self) -> float:
        """Seconds that the reports cover."""
        ...

    @property
    def enforcing(self) -> float:
        """The probability that an outlier is ejected."""
        ...

    def __call__(self, reports: Sequence[EndpointReport], /) -> Mapping[str, str]:
        """Return the ids of the outliers, each with a cause. Pure."""
        ...


class Note(NamedTuple):
    """The counters of one endpoint at one time; they only grow."""

    at: float
    successes: int = 0
    failures: int = 0
    measured: int = 0


@final
class OutlierSweep(ConstructorRepr):
    """The sweeps over one pool.

    Parameters
    ----------
    rules
        Evaluated in this order; the first cause found for an endpoint is the one that is reported.
    interval
        Seconds between two sweeps.
    rng
        Decides whether to act, for rules that are not always enforced.
    """

    def __init__(self, rules: Sequence[Rule], interval: float, rng: random.Random) -> None:
        self._rules = tuple(rules)
        self._interval = interval
        self._rng = rng
        self._longest = max(rule.window for rule in self._rules)
        self._notes: dict[Node, list[Note]] = {}
        self.deadline: float = -math.inf
        """When :meth:`advance` is due."""

    def advance(self, nodes: Iterable[Node], *, now: float) -> dict[str, str]:
        """Look at every node in service; return the outliers, each with its cause."""
        before, self._notes = self._notes, {}
        for node in nodes:
            notes = before.get(node, [])
            notes.append(_note(node, now))
            del notes[: _place(notes, now - self._longest)]
            self._notes[node] = notes
        self.deadline = now + max(self._interval, len(self._notes) / SWEPT_PER_S)
        outliers: dict[str, str] = {}
        windows: dict[float, list[EndpointReport]] = {}
        for rule in self._rules:
            reports = windows.get(rule.window)
            if reports is None:
                reports = [_report(node, notes, now - rule.window) for node, notes in self._notes.items()]
                windows[rule.window] = reports
            for id, cause in _evaluate(rule, reports).items():
                if rule.enforcing >= 1.0 or self._rng.random() < rule.enforcing:
                    outliers.setdefault(id, cause)
        return outliers


def _evaluate(rule: Rule, reports: Sequence[EndpointReport]) -> Mapping[str, str]:
    """Evaluate a rule; one that raises is logged and ejects none: it may not break a request."""
    try:
        return rule(reports)
    except Exception:
        contain_error("rule %r failed", rule)
        return {}


def check_rules(rules: object) -> None:
    """Refuse what is not a tuple of rules."""
    if not isinstance(rules, tuple) or not all(callable(rule) for rule in rules):
        raise ConfigurationError("rules", rules, "a tuple of rules such as SuccessRate()")
    for rule in rules:
        if not hasattr(rule, "window") or not hasattr(rule, "enforcing"):
            raise ConfigurationError(
                "rules", rule, "rules with a window and enforcing, such as SuccessRate()"
            )
        valid.number("window", getattr(rule, "window", None), above=0.0)
        valid.number("enforcing", getattr(rule, "enforcing", None), above=0.0, maximum=1.0)


def check_window(volume: object, window: object, enforcing: object) -> None:
    """Refuse what no rule can look at: less than one request, no time, or a probability outside (0, 1]."""
    valid.integer("volume", volume, minimum=1)
    valid.number("window", window, above=0.0)
    valid.number("enforcing", enforcing, above=0.0, maximum=1.0)


def _note(node: Node, now: float) -> Note:
    outcomes, latency = node.outcomes, node.latency
    failures = sum([outcomes.get(outcome, 0) for outcome in FAILURES]) if outcomes else 0
    return Note(now, node.successes, failures, 0 if latency is None else latency.recorded)


def _place(notes: Sequence[Note], since: float) -> int:
    """Return where the window begins: at the last note that is not younger than ``since``, or the first."""
    return max(0, bisect_right(notes, (since, math.inf)) - 1)


def _report(node: Node, notes: Sequence[Note], since: float) -> EndpointReport:
    first, last = notes[_place(notes, since)], notes[-1]
    latency, measured = node.latency, last.measured - first.measured
    return EndpointReport(
        node.id,
        successes=last.successes - first.successes,
        failures=last.failures - first.failures,
        latencies=() if latency is None else partial(latency.latest, measured),
    )
