"""Outlier sweeps: rules that are evaluated for all endpoints at regular intervals, without a cost per request.

Every node has counters of outcomes. A sweep stores a copy of the counters of each endpoint. The difference between two
copies is the number of requests between them. So a rate over a window needs no call at the end of a request.

An endpoint that is not eligible takes no part in a sweep. When it returns, its earlier results are forgotten. A window
is longer than configured by up to the interval of sweeps: a window of 10 s with one sweep per second covers 10 to 11 s.

Cost: O(n) per sweep and rule, and about 180 bytes per copy of the counters.
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
"""Endpoints per second that sweeps may read. In large pools the interval is longer."""


class Rule(Protocol):
    """A rule that decides from reports which endpoints to eject. Any object with these three members is a rule.

    The thread that finds a sweep to be due calls the rule, under no lock; no other thread calls it at the same time. An
    exception is logged, and the rule then ejects nothing. A rule with the attribute ``timed = False`` uses no
    latencies. Without it, the balancer measures them.
    """

    @property
    def window(self) -> float:
        """The time in seconds that the reports cover, > 0."""
        ...

    @property
    def enforcing(self) -> float:
        """The probability that an outlier is ejected, in (0, 1]."""
        ...

    def __call__(self, reports: Sequence[EndpointReport], /) -> Mapping[str, str]:
        """Return the causes of ejection of the outliers, by endpoint id. It must not change anything."""
        ...


class Note(NamedTuple):
    """A copy of the counters of one endpoint at one time."""

    at: float
    successes: int = 0
    failures: int = 0
    measured: int = 0


@final
class OutlierSweep(ConstructorRepr):
    """The sweep of one pool.

    Parameters
    ----------
    rules
        The rules, at least one. They are evaluated in this order; for each endpoint, the first cause is reported.
    interval
        Seconds between two sweeps, > 0.
    rng
        The random generator for rules whose ``enforcing`` is below 1.
    """

    def __init__(self, rules: Sequence[Rule], interval: float, rng: random.Random) -> None:
        self._rules = tuple(rules)
        self._interval = interval
        self._rng = rng
        self._longest = max(rule.window for rule in self._rules)
        self._notes: dict[Node, list[Note]] = {}
        self.deadline: float = -math.inf
        """The time at which :meth:`advance` is due."""

    def advance(self, nodes: Iterable[Node], *, now: float) -> dict[str, str]:
        """Sweep the eligible nodes. Return the causes of ejection of the outliers, by endpoint id."""
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
    """Return the outliers of a rule. If the rule raises, the error is logged and there are none."""
    try:
        return rule(reports)
    except Exception:
        contain_error("rule %r failed", rule)
        return {}


def check_rules(rules: object) -> None:
    """Raise ``ConfigurationError`` if a value is no tuple of rules, or a rule has no valid ``window`` or ``enforcing``."""
    if not isinstance(rules, tuple) or not all(callable(rule) for rule in rules):
        raise ConfigurationError("rules", rules, "a tuple of rules such as SuccessRate()")
    for rule in rules:
        if not hasattr(rule, "window") or not hasattr(rule, "enforcing"):
            raise ConfigurationError(
                "rules", rule, "rules with a window and enforcing, such as SuccessRate()"
            )
        valid.number("window", rule.window, above=0.0)
        valid.number("enforcing", rule.enforcing, above=0.0, maximum=1.0)


def check_window(volume: object, window: object, enforcing: object) -> None:
    """Raise ``ConfigurationError`` unless ``volume`` is an integer >= 1, ``window`` > 0 and ``enforcing`` in (0, 1]."""
    valid.integer("volume", volume, minimum=1)
    valid.number("window", window, above=0.0)
    valid.number("enforcing", enforcing, above=0.0, maximum=1.0)


def _note(node: Node, now: float) -> Note:
    outcomes, latency = node.outcomes, node.latency
    failures = sum([outcomes.get(outcome, 0) for outcome in FAILURES]) if outcomes else 0
    return Note(now, node.successes, failures, 0 if latency is None else latency.recorded)


def _place(notes: Sequence[Note], since: float) -> int:
    """Return the index of the note at which a window begins: the last one not after ``since``, or the first."""
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
