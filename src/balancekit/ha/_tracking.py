"""Tracking: checks that add to a priority, take from it, or fault the router.

.. code-block:: text

    priority = base + weights of passing checks that are > 0
                    + weights of failing checks that are < 0 + sum(value * weight), kept in 1..254
    a failing check of weight 0 is a fault; so is a value that is not 0, of weight 0, and a product <= -254

A check changes its state after ``rise`` passes or ``fall`` failures in a row; the first result decides alone.

*A lowered priority hands over slowly*: the active router continues until the backup's down timer has run out, 1.8 s
at an interval of 0.5 s. A fault takes a skew only; so does ``resign_when_outranked``. If the other router has
``preempt=False``, a lowered priority never hands over.

Source: ``track_script`` and ``track_file`` of keepalived 2.2.7; acassen/keepalived#2599.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeVar, cast

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.record import Record
from balancekit._support.whole import put_back
from balancekit.errors import ConfigurationError
from balancekit.ha._group import SyncGroupMachine
from balancekit.ha._router import VirtualRouter
from balancekit.ha._settings import OWNER
from balancekit.health import CheckState, Thresholds

__all__ = ["SupportsTracking", "TrackedCheck", "TrackedState", "Tracking", "TrackingMachine"]

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)

MAX_WEIGHT: Final = 253
"""The largest change of a priority: from 1 to 254."""
FAULT_PRODUCT: Final = -254
"""The product of value and weight that is a fault, or less."""
MAX_VALUE: Final = 1_000_000
"""The largest value, either way: far beyond what moves a priority."""


class TrackedCheck(Record):
    """The effect of a check on a router.

    Parameters
    ----------
    weight
        -253 to 253: added while the check passes if > 0, while it fails if < 0; 0 makes a failure a fault.
    rise, fall
        Results in a row until the check counts as passing, and as failing, >= 1.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.
    """

    weight: int = 0
    rise: int = 1
    fall: int = 1

    def _check(self) -> None:
        valid.integer("weight", self.weight, minimum=-MAX_WEIGHT, maximum=MAX_WEIGHT)
        Thresholds(rise=self.rise, fall=self.fall)


class SupportsTracking(Protocol[E_co]):
    """What checks act on: :class:`VrrpMachine`, :class:`SyncGroupMachine`."""

    def set_priority(self, priority: int, *, now: float) -> tuple[E_co, ...]:
        """Change the priority."""
        ...

    def fault(self, reason: str, *, now: float) -> tuple[E_co, ...]:
        """Report a fault."""
        ...

    def clear(self, reason: str, *, now: float) -> tuple[E_co, ...]:
        """Report that it is over."""
        ...


class TrackedState(NamedTuple):
    """What follows from all checks."""

    priority: int
    faults: tuple[str, ...]
    """The names of failing checks of weight 0, and of values that are faults."""


class Tracking(Record):
    """The checks and values that determine a router's priority.

    Parameters
    ----------
    checks
        The effect of each check, by name. A check that has not reported changes nothing.
    values
        How much one unit of each reported value adds to the priority, -254 to 254; 0 makes any value but 0 a fault.

    Raises
    ------
    ConfigurationError
        If ``checks`` is no mapping to ``TrackedCheck``, or ``values`` no mapping to whole numbers from -254
        to 254.

    Example
    -------
    >>> from balancekit.ha import TrackedCheck, Tracking, VirtualRouter
    >>> router = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", priority=150)
    >>> tracking = Tracking(checks={"web": TrackedCheck(weight=-60, fall=2), "disk": TrackedCheck()})(router)
    >>> tracking.report("web", passed=True)
    TrackedState(priority=150, faults=())
    >>> [tracking.report("web", passed=False).priority for _ in range(2)]
    [150, 90]
    >>> tracking.report("disk", passed=False)
    TrackedState(priority=90, faults=('disk',))
    """

    checks: Mapping[str, TrackedCheck] = MappingProxyType({})
    values: Mapping[str, int] = MappingProxyType({})

    def _check(self) -> None:
        checks, values = self.checks, self.values
        if not isinstance(checks, Mapping) or not all(
            isinstance(one, TrackedCheck) for one in checks.values()
        ):
            raise ConfigurationError("checks", checks, "a mapping from names to TrackedCheck(...)")
        if not isinstance(values, Mapping):
            raise ConfigurationError("values", values, "a mapping from names to weights")
        for name, weight in values.items():
            valid.integer(f"values[{name}]", weight, minimum=FAULT_PRODUCT, maximum=-FAULT_PRODUCT)

    def __call__(self, router: VirtualRouter) -> TrackingMachine:
        """Make the machine of one router.

        Raises
        ------
        ConfigurationError
            If something has a weight and the router owns its addresses: that priority never changes.

        Warns
        -----
        UserWarning
            If something has a weight and the router neither preempts nor resigns when outranked: where all
            routers are configured so, a lowered priority hands over to none.
        """
        weighted = [name for name, check in self.checks.items() if check.weight]
        weighted += [name for name, weight in self.values.items() if weight]
        if weighted and router.priority == OWNER:
            raise ConfigurationError("checks", weighted, "checks of weight 0 for priority 255")
        if weighted and not router.preempt and not router.resign_when_outranked:
            warnings.warn(
                f"{', '.join(weighted)} change the priority, but preempt is False: where all routers have it so, "
                "a lowered priority hands over to none. Use weight 0, or resign_when_outranked",
                stacklevel=2,
            )
        return TrackingMachine(self, router)


class TrackingMachine(StateRepr, prints=("state",)):
    """The checks of one router. Made by :class:`Tracking`."""

    @checked_arguments
    def __init__(self, config: Tracking, router: VirtualRouter) -> None:
        self.config: Tracking = config
        self._base = router.priority
        self._values = dict.fromkeys(config.values, 0)
        self._checks = {
            name: Thresholds(rise=check.rise, fall=check.fall)() for name, check in config.checks.items()
        }
        self._applied: tuple[int, tuple[str, ...]] = (0, ())
        """The change of the priority, and the faults."""

    @checked_arguments
    def report(self, check: str, *, passed: bool) -> TrackedState:
        """Record the result of a check.

        Raises
        ------
        ConfigurationError
            If no check has that name.
        """
        if check not in self._checks:
            raise ConfigurationError("check", check, f"one of {', '.join(self._checks) or 'none'}")
        self._checks[check].observe(passed=passed, now=0.0)
        return self.state

    @checked_arguments
    def set_value(self, name: str, value: int) -> TrackedState:
        """Record a value.

        Raises
        ------
        ConfigurationError
            If no value has that name, or it is not a whole number from -1,000,000 to 1,000,000.
        """
        if name not in self._values:
            raise ConfigurationError("name", name, f"one of {', '.join(self._values) or 'none'}")
        self._values[name] = valid.integer("value", value, minimum=-MAX_VALUE, maximum=MAX_VALUE)
        return self.state

    @property
    def state(self) -> TrackedState:
        """The priority and the faults that follow from what was reported."""
        change, faults = self._found()
        return TrackedState(_within(self._base, change), faults)

    def _found(self) -> tuple[int, tuple[str, ...]]:
        """Return by how much the priority changes, and the faults."""
        change = 0
        faults = []
        for name, value in self._values.items():
            product = value * self.config.values[name]
            if product <= FAULT_PRODUCT or (value and not self.config.values[name]):
                faults.append(name)
            else:
                change += product
        for name, check in self.config.checks.items():
            state = self._checks[name].state
            failing = state in {CheckState.DOWN, CheckState.RISING}
            passing = state in {CheckState.UP, CheckState.FALLING}
            if failing and not check.weight:
                faults.append(name)
            elif (failing and check.weight < 0) or (passing and check.weight > 0):
                change += check.weight
        return change, tuple(faults)

    @checked_arguments
    def apply(self, machine: SupportsTracking[E], *, now: float) -> tuple[E, ...]:
        """Apply the results of the checks to a machine, or a whole sync group; return its effects.

        Weights change the priority of each member of a group by as much, from its own. A call that is interrupted has
        changed nothing, and can be made again.
        """
        restore = put_back(machine)
        try:
            found = self._found()
            effects = self._effects(*found, machine, now)
        except BaseException:
            restore()
            raise
        self._applied = found
        return effects

    def _effects(
        self, change: int, faults: tuple[str, ...], machine: SupportsTracking[E], now: float
    ) -> tuple[E, ...]:
        """Return the effects of what has changed since the last :meth:`apply`."""
        changed, failed = self._applied
        effects: list[E] = []
        for base, set_priority in self._priorities(machine):
            priority = _within(base, change)
            if priority != _within(base, changed):
                effects += set_priority(priority, now=now)
        for name in faults:
            if name not in failed:
                effects += machine.fault(f"check {name}", now=now)
        for name in failed:
            if name not in faults:
                effects += machine.clear(f"check {name}", now=now)
        return tuple(effects)

    def _priorities(self, machine: SupportsTracking[E]) -> Iterable[tuple[int, Callable[..., tuple[E, ...]]]]:
        """Return the priority that each router of a machine is configured with, and what changes it."""
        group: object = machine
        if isinstance(group, SyncGroupMachine):
            change = cast("Callable[..., tuple[E, ...]]", group.set_priority)
            return [(router.priority, partial(change, member=name)) for name, router in group.routers.items()]
        return [(self._base, machine.set_priority)]


def _within(base: int, change: int) -> int:
    """Return a changed priority, from 1 to 254; that of an owner never changes."""
    return base if base == OWNER else min(max(base + change, 1), OWNER - 1)
