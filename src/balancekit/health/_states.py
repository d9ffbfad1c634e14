"""In which states can an endpoint be, and what leads from one to another?

The table is the whole truth: the machine below it only looks things up, the documentation is drawn
from it, and a test enumerates every pair. **A pair that is not listed is a no-op, by rule.**
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["ELIGIBLE", "TRANSITIONS", "Health", "Trigger", "after"]


class Health(enum.StrEnum):
    """The state of one endpoint."""

    HEALTHY = "healthy"
    """Nothing is known against it."""
    SUSPECT = "suspect"
    """It failed of late, not often enough to be taken out."""
    EJECTED = "ejected"
    """Taken out for a time."""
    PROBING = "probing"
    """Back on trial: one failure takes it out again, one success restores it."""
    DRAINING = "draining"
    """Taken out on request, or removed with leases still open. Set by the pool, not by this table."""


class Trigger(enum.StrEnum):
    """What can happen to an endpoint."""

    SUCCEEDED = "succeeded"
    """A request succeeded."""
    FAILED = "failed"
    """A request failed."""
    FALL = "fall"
    """It failed often enough to be taken out, and may be."""
    EXPIRE = "expire"
    """Its time out of the pool is over."""


TRANSITIONS: Final[Mapping[tuple[Health, Trigger], Health]] = MappingProxyType(
    {
        (Health.HEALTHY, Trigger.FAILED): Health.SUSPECT,
        (Health.HEALTHY, Trigger.FALL): Health.EJECTED,
        (Health.SUSPECT, Trigger.SUCCEEDED): Health.HEALTHY,
        (Health.SUSPECT, Trigger.FALL): Health.EJECTED,
        (Health.EJECTED, Trigger.EXPIRE): Health.PROBING,
        (Health.PROBING, Trigger.SUCCEEDED): Health.HEALTHY,
        (Health.PROBING, Trigger.FALL): Health.EJECTED,
    },
)

ELIGIBLE: Final = frozenset({Health.HEALTHY, Health.SUSPECT, Health.PROBING})
"""The states in which an endpoint may be picked."""


def after(state: Health, trigger: Trigger) -> Health:
    """Return the state that ``trigger`` leads to; the same one if the table has nothing to say."""
    return TRANSITIONS.get((state, trigger), state)
