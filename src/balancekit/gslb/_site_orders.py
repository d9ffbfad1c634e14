"""Orders of sites by location: from a nested map, and by distance.

Source: gdnsd 3.8.1 ``geoip`` maps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.gslb._locations import Location, Locations
from balancekit.gslb._threshold import endpoint_ids

__all__ = ["NEAREST", "Order", "SiteOrders", "location_orders", "nearest"]

Order = tuple[str, ...]


class _Nearest:
    """What a nested map has where distances decide."""


NEAREST: Final = _Nearest()
_NEAREST_NUMBER: Final = -1


@checked_arguments
def nearest(
    latitude: float,
    longitude: float,
    coordinates: Mapping[str, tuple[float, float]],
    *,
    limit: int | None = None,
) -> Order:
    """Return sites by great-circle distance, the nearest first; among equal distances in the order given.

    Parameters
    ----------
    latitude, longitude
        Of the client, in degrees: -90 to 90, and -360 to 360.
    coordinates
        Latitude and longitude by site.
    limit
        How many sites; ``None`` for all.

    Raises
    ------
    ConfigurationError
        If ``latitude`` or ``longitude`` is outside its bounds, ``limit`` is negative, or a coordinate is no
        number.

    Cost: O(n log n).

    Example
    -------
    >>> from balancekit.gslb import nearest
    >>> nearest(52.5, 13.4, {"dallas": (32.9, -97.0), "frankfurt": (50.1, 8.7)})
    ('frankfurt', 'dallas')
    """
    phi = math.radians(valid.number("latitude", latitude, minimum=-90.0, maximum=90.0))
    lam = math.radians(valid.number("longitude", longitude, minimum=-360.0, maximum=360.0))
    most = None if limit is None else valid.integer("limit", limit, minimum=0)

    def chord(site: str) -> float:
        """Return the squared chord, which grows with the distance."""
        there, away = coordinates[site]
        north = math.sin((math.radians(there) - phi) / 2.0)
        east = math.sin((math.radians(away) - lam) / 2.0)
        return north * north + math.cos(phi) * math.cos(math.radians(there)) * east * east

    return tuple(sorted(coordinates, key=chord)[:most])


class SiteOrders:
    """Site lists and their numbers."""

    def __init__(self, default: Sequence[str]) -> None:
        self.orders: dict[Order, int] = {}
        self.default = self.number("default", default)

    def number(self, parameter: str, sites: object) -> int:
        """Return the number of a site list."""
        order = endpoint_ids(parameter, sites) if sites or not isinstance(sites, Sequence) else ()
        return self.orders.setdefault(order, len(self.orders))


def location_orders(
    builder: SiteOrders,
    database: Locations | None,
    locations: Mapping[str, Any] | None,
    coordinates: Mapping[str, tuple[float, float]] | None,
    limit: int,
) -> list[int]:
    """Return the number of the site list for each distinct location."""
    if database is None:
        return []
    tree = _tree(builder, "locations", locations or {})
    points = _points(coordinates or {})
    found: list[int] = []
    for location in database.table:
        number = _walk(tree, location)
        if number is None or number == _NEAREST_NUMBER:
            number = builder.default
            if points and location.latitude is not None and location.longitude is not None:
                order = nearest(location.latitude, location.longitude, points, limit=limit)
                number = builder.number("coordinates", order)
        found.append(number)
    return found


def _tree(builder: SiteOrders, parameter: str, value: object) -> dict[str, Any]:
    """Return a nested map with numbers for its site lists."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(parameter, value, "a mapping from names to sites or to further mappings")
    return {
        valid.text(parameter, name): (
            _tree(builder, parameter, below)
            if isinstance(below, Mapping)
            else _NEAREST_NUMBER
            if below is NEAREST
            else builder.number(parameter, below)
        )
        for name, below in value.items()
    }


def _walk(tree: Mapping[str, Any], location: Location) -> int | None:
    """Return the number that the nested map has for a location; ``None`` if it has none."""
    level: Mapping[str, Any] = tree
    best: int | None = level.get("default")
    for depth, name in enumerate(location.path):
        below = level.get(name) if name else None
        if below is None:
            if depth < 2:
                break
            continue
        if not isinstance(below, Mapping):
            return int(below)
        level = below
        best = level.get("default", best)
    return best


def _points(coordinates: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    points = {}
    for site, point in coordinates.items():
        try:
            latitude, longitude = point
        except (TypeError, ValueError):
            raise ConfigurationError("coordinates", point, "latitude and longitude in degrees") from None
        points[valid.text("coordinates", site)] = (
            valid.number("latitude", latitude, minimum=-90.0, maximum=90.0),
            valid.number("longitude", longitude, minimum=-180.0, maximum=180.0),
        )
    return points
