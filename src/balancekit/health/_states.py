"""Health states and the transitions between them.

The table is the whole truth: the machine in ``_machine.py`` only looks things up, the documentation is
drawn from it, and a test enumerates every pair. **A pair that is not listed is a no-op, by rule.**

Two things are true of an endpoint at once: how it does (this table) and whether it belongs to the pool
(``_membership.py``). They do not wait for each other: an endpoint that is drained while it is ejected is
still ejected when it comes back. What people see is one word, :func:`shown`.
"""

from __future__ import annotations

import enum
from typing import Final

from balancekit.health._membership import Membership
from balancekit.health._table import Table, following, frozen

__all__ = ["CONDITIONS", "ELIGIBLE", "START_STATES", "TRANSITIONS", "Health", "Trigger", "after", "shown"]


class Health(enum.StrEnum):
    """The state of one endpoint."""

    UNKNOWN = "unknown"
    """Not checked yet; not picked until a check has passed."""
    PROBING = "probing"
    """Back on trial, by a few requests at a time: one failure takes it out again."""
    WARMING = "warming"
    """Healthy, and given a growing part of its share."""
    HEALTHY = "healthy"
    """Nothing is known against it."""
    SUSPECT = "suspect"
    """It failed of late, not often enough to be taken out, or the pool cannot spare it."""
    EJECTED = "ejected"
    """Taken out for a time, or for as long as checks fail."""
    SUPPRESSED = "suppressed"
    """Taken out for coming and going: kept out until its penalty has decayed."""
    DRAINING = "draining"
    """Taken out on request, or removed with leases still open."""
    REMOVED = "removed"
    """No longer in the pool, and no lease is open."""


class Trigger(enum.StrEnum):
    """What can happen to the condition of an endpoint."""

    SUCCEEDED = "succeeded"
    """Nothing is held against it any more: a request succeeded, and no check is failing."""
    FAILED = "failed"
    """A request or a check failed."""
    FALL = "fall"
    """It failed often enough to be taken out, and may be."""
    SUPPRESS = "suppress"
    """It came and went so often that its penalty reached the threshold."""
    EXPIRE = "expire"
    """Its time out of the pool is over."""
    REUSE = "reuse"
    """Its penalty has decayed, or it is the last one there is."""
    RISE = "rise"
    """It has proved itself: enough requests on trial succeeded, or enough checks passed."""
    WARMED = "warmed"
    """It takes its full share."""


TRANSITIONS: Final[Table[Health, Trigger]] = frozen(
    {
        (Health.UNKNOWN, Trigger.RISE): Health.WARMING,
        (Health.UNKNOWN, Trigger.FALL): Health.EJECTED,
        (Health.PROBING, Trigger.RISE): Health.WARMING,
        (Health.PROBING, Trigger.FALL): Health.EJECTED,
        (Health.WARMING, Trigger.WARMED): Health.HEALTHY,
        (Health.WARMING, Trigger.FALL): Health.EJECTED,
        (Health.HEALTHY, Trigger.FAILED): Health.SUSPECT,
        (Health.HEALTHY, Trigger.FALL): Health.EJECTED,
        (Health.SUSPECT, Trigger.SUCCEEDED): Health.HEALTHY,
        (Health.SUSPECT, Trigger.FALL): Health.EJECTED,
        (Health.EJECTED, Trigger.EXPIRE): Health.PROBING,
        (Health.EJECTED, Trigger.RISE): Health.WARMING,
        (Health.EJECTED, Trigger.SUPPRESS): Health.SUPPRESSED,
        (Health.SUPPRESSED, Trigger.REUSE): Health.PROBING,
    },
)

CONDITIONS: Final = tuple([health for health in Health if health not in {Health.DRAINING, Health.REMOVED}])
"""The states of the table above; the other two come from membership."""

ELIGIBLE: Final = frozenset({Health.PROBING, Health.WARMING, Health.HEALTHY, Health.SUSPECT})
"""The states in which an endpoint may be picked."""
START_STATES: Final = frozenset({Health.UNKNOWN, Health.PROBING, Health.WARMING, Health.HEALTHY})
"""The states in which an endpoint may join: what ``Lifecycle(start=...)`` takes."""


def after(state: Health, trigger: Trigger) -> Health:
    """Return the state that ``trigger`` leads to; the same one if the table has nothing to say."""
    return following(TRANSITIONS, state, trigger)


def shown(condition: str, membership: Membership) -> str:
    """Return the one word for an endpoint of this condition and membership.

    Example
    -------
    >>> shown("ejected", Membership.SERVING), shown("ejected", Membership.DRAINED)
    ('ejected', 'draining')
    """
    if membership is Membership.SERVING:
        return condition
    return Health.REMOVED.value if membership is Membership.REMOVED else Health.DRAINING.value
