"""Health checks in a simulation of tiers. They detect that a site or an L7 node is down, or up again.

Each site is checked on behalf of the GSLB policy. Each L7 node is checked by each L4 node of its site separately. Checks
run at a fixed interval; the time of the first one is random.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol, TypeAlias, final

from balancekit.gslb import Standing
from balancekit.health import AccruedFailures, AccruedFailuresMachine
from balancekit.sim._context import Clock
from balancekit.sim.tiers._site_state import L4Node, SiteState

__all__ = ["Action", "Checks"]

Action: TypeAlias = Callable[[Any, int], None]
"""A scheduled action. Called with its subject, and the subject's version number at the time of scheduling."""


class Schedule(Protocol):
    """Function that schedules an action in the event loop."""

    def __call__(self, time: float, action: Action, subject: Any, /) -> None:
        """Schedule an action for a time in seconds."""
        ...


@final
class CheckedTarget:
    """A site or an L7 node that is checked, as one checker sees it."""

    __slots__ = ("change", "last", "machine", "name", "passes")

    def __init__(
        self,
        name: str,
        passes: Callable[[], bool],
        change: Callable[[bool], None],
        machine: AccruedFailuresMachine,
    ) -> None:
        self.name: str = name
        self.passes: Callable[[], bool] = passes
        self.change: Callable[[bool], None] = change
        """Called when the detected state changes, with whether the target is up."""
        self.machine: AccruedFailuresMachine = machine
        self.last: float = 0.0
        """Time of the last check in seconds."""


@final
class Checks:
    """All checks of one run.

    Parameters
    ----------
    rule
        Rule that decides from the checks of one target whether it is up.
    interval
        Seconds between two checks of one target.
    clock
        Clock of the run.
    at
        Function that schedules an action in the event loop.
    detected
        List to which each change is appended: time, checker, target, and whether it is up.
    phases
        Random generator for the time of the first check of each target.
    """

    def __init__(
        self,
        rule: AccruedFailures,
        interval: float,
        clock: Clock,
        at: Schedule,
        detected: list[tuple[float, str, str, bool]],
        phases: Random,
    ) -> None:
        self._rule = rule
        self._interval = interval
        self._clock = clock
        self._at = at
        self._detected = detected
        self._phases = phases
        self._sites: dict[str, CheckedTarget] = {}

    def watch(self, site: SiteState) -> None:
        """Start the checks of a site for the policy, and of each of its L7 nodes for each of its L4 nodes."""
        self._sites[site.id] = self._begin(site.id, site.serves, _ignore_change)
        for node in site.l4.values():
            alive = set(site.l7)
            for name, l7 in site.l7.items():
                self._begin(f"{node.name} of {name}", l7.answers, _steering_update(site, node, alive, name))

    def standing(self, site: str) -> Standing:
        """Return the detected state of a site, and the earliest time at which it can change."""
        watched = self._sites[site]
        machine = watched.machine
        return Standing(up=bool(machine.up), until=watched.last + machine.checks_left * self._interval)

    def _begin(self, name: str, passes: Callable[[], bool], change: Callable[[bool], None]) -> CheckedTarget:
        machine = self._rule()
        machine.observe(passed=True, now=0.0)
        watched = CheckedTarget(name, passes, change, machine)
        self._at(self._phases.random() * self._interval, self._check, watched)
        return watched

    def _check(self, watched: CheckedTarget, _turn: int) -> None:
        machine = watched.machine
        now = watched.last = self._clock.now
        before = machine.up
        machine.observe(passed=watched.passes(), now=now)
        if machine.up is not before:
            self._detected.append((now, "checks", watched.name, bool(machine.up)))
            watched.change(bool(machine.up))
        self._at(now + self._interval, self._check, watched)


def _ignore_change(up: bool) -> None:  # noqa: FBT001 - a callback with one argument
    """Do nothing: the policy reads the state of sites from :meth:`Checks.standing`."""


def _steering_update(site: SiteState, node: L4Node, alive: set[str], name: str) -> Callable[[bool], None]:
    """Return a callback that adds an L7 node to an L4 node's live nodes, or removes it, and updates the L4 node's table."""

    def change(up: bool) -> None:  # noqa: FBT001 - a callback with one argument
        (alive.add if up else alive.discard)(name)
        site.see(node, frozenset(alive))

    return change
