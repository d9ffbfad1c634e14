"""Checks of a run in tiers: what finds out that a site or an L7 node is down, and up again.

Each site is checked for the GSLB policy, and each L7 node by every L4 node for itself, at a fixed interval from a random
phase on.
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
"""What happens at a time: called with its subject, and the turn of the subject that it was scheduled in."""


class Schedule(Protocol):
    """What puts an action into the event loop."""

    def __call__(self, time: float, action: Action, subject: Any, /) -> None:
        """Have an action carried out at a time."""
        ...


@final
class CheckedTarget:
    """One thing that is checked."""

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
        """Called with whether it is up now."""
        self.machine: AccruedFailuresMachine = machine
        self.last: float = 0.0
        """When it was last checked."""


@final
class Checks:
    """All checks of one run.

    Parameters
    ----------
    rule
        Makes the machine that decides from the checks of one thing.
    interval
        Seconds between two checks of one thing.
    clock
        Of the run.
    at
        Puts an action into the event loop.
    detected
        Gets each change: when, by what, of what, and whether it is up.
    phases
        Draws when each thing is first checked.
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
        """Check a site for the policy, and each of its L7 nodes for each of its L4 nodes."""
        self._sites[site.id] = self._begin(site.id, site.serves, _ignore_change)
        for node in site.l4.values():
            alive = set(site.l7)
            for name, l7 in site.l7.items():
                self._begin(f"{node.name} of {name}", l7.answers, _steering_update(site, node, alive, name))

    def standing(self, site: str) -> Standing:
        """Return what the checks say of a site, and until when they cannot say anything else."""
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


def _ignore_change(up: bool) -> None:  # noqa: FBT001 - what a check says
    """Do nothing: the policy reads standings."""


def _steering_update(site: SiteState, node: L4Node, alive: set[str], name: str) -> Callable[[bool], None]:
    """Return what counts an L7 node among those alive or not, and has an L4 node steer new flows to these."""

    def change(up: bool) -> None:  # noqa: FBT001 - what a check says
        (alive.add if up else alive.discard)(name)
        site.see(node, frozenset(alive))

    return change
