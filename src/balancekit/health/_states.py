"""Health states and the transitions between them.

The machine in ``_machine.py`` changes its state only by the table of this module. The documentation is generated from the
table, and a test enumerates every pair of state and trigger. **A pair that is not in the table changes nothing.**

An endpoint has two independent states: its health (this table) and its membership (``_membership.py``). An endpoint
that is drained while it is ejected is still ejected after the drain. :func:`shown` combines both states into one word
for statistics.
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
    """Not checked yet. The endpoint is not picked until a check has passed."""
    PROBING = "probing"
    """On trial after an ejection. The endpoint gets a few requests at a time; one failure ejects it again."""
    WARMING = "warming"
    """Healthy, with a growing fraction of its usual share."""
    HEALTHY = "healthy"
    """Healthy: no recent failures."""
    SUSPECT = "suspect"
    """Recent failures, but too few for an ejection, or the pool does not allow the ejection."""
    EJECTED = "ejected"
    """Not picked for a time, or until checks pass."""
    SUPPRESSED = "suppressed"
    """Not picked because of flapping, until the penalty has decayed."""
    DRAINING = "draining"
    """Not picked because of a drain, or removed with open leases."""
    REMOVED = "removed"
    """Removed from the pool, without open leases."""


class Trigger(enum.StrEnum):
    """The triggers of the table of health states."""

    SUCCEEDED = "succeeded"
    """A request has succeeded or a check has passed, and neither requests nor checks are failing."""
    FAILED = "failed"
    """A request or a check has failed."""
    FALL = "fall"
    """There were enough failures for an ejection, and the pool allows it."""
    SUPPRESS = "suppress"
    """The penalty of flapping has reached its threshold."""
    EXPIRE = "expire"
    """The ejection has ended."""
    REUSE = "reuse"
    """The penalty has decayed, or no other endpoint is eligible."""
    RISE = "rise"
    """Enough requests on trial have succeeded, or enough checks have passed."""
    WARMED = "warmed"
    """The warm-up has ended, or there is none."""


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
"""The states of the table above. The other two states are those of the membership."""

ELIGIBLE: Final = frozenset({Health.PROBING, Health.WARMING, Health.HEALTHY, Health.SUSPECT})
"""The states in which an endpoint may be picked."""
START_STATES: Final = frozenset({Health.UNKNOWN, Health.PROBING, Health.WARMING, Health.HEALTHY})
"""The states in which an endpoint may join: the values of ``Lifecycle(start=...)``."""


def after(state: Health, trigger: Trigger) -> Health:
    """Return the state after a trigger; the same state if the table does not list the pair."""
    return following(TRANSITIONS, state, trigger)


def shown(condition: str, membership: Membership) -> str:
    """Return the state that statistics show for an endpoint: its health if it serves, else its membership.

    Example
    -------
    >>> from balancekit.health import Membership, shown
    >>> shown("ejected", Membership.SERVING), shown("ejected", Membership.DRAINED)
    ('ejected', 'draining')
    """
    if membership is Membership.SERVING:
        return condition
    return Health.REMOVED.value if membership is Membership.REMOVED else Health.DRAINING.value
