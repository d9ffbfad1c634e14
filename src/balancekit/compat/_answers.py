"""What functions of users return, refused by the name of the function if it is something else than expected."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from balancekit._support import validation as valid
from balancekit.errors import ConfigurationError
from balancekit.gslb import Location

__all__ = ["by_latency", "located", "ranked", "row_of"]


def located(found: object) -> Location:
    """Return a location."""
    if not isinstance(found, Location):
        raise ConfigurationError("location_of", found, "a Location")
    return found


def row_of(found: object) -> tuple[Location, int] | None:
    """Return a row of a database of locations: location and prefix length, or nothing."""
    if found is None:
        return None
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], Location):
        raise ConfigurationError("location_of", found, "a Location and a prefix length, or None")
    return found[0], valid.integer("location_of", found[1], minimum=0, maximum=128)


def ranked(found: object, records: Collection[str]) -> list[str]:
    """Return a list of records."""
    if not isinstance(found, list | tuple) or not all(
        isinstance(one, str) and one in records for one in found
    ):
        raise ConfigurationError("order", found, "a list of the policy's records")
    return list(found)


def by_latency(found: object) -> list[str]:
    """Return the records of measured latencies, the lowest first."""
    if not isinstance(found, Mapping):
        raise ConfigurationError("measured", found, "latencies by record")
    measured = cast("Mapping[str, object]", found)
    times = {record: valid.number("measured", time) for record, time in measured.items()}
    return sorted(times, key=lambda record: times[record])
