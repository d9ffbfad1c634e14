"""Distances on a sphere of the size of the Earth, by the haversine formula."""

from __future__ import annotations

import math
from typing import Final

EARTH_RADIUS_KM: Final = 6371.0
"""Mean radius of the Earth."""


def distance_km(here: tuple[float, float], there: tuple[float, float]) -> float:
    """Return the great-circle distance in kilometres between two places, each a latitude and a longitude in degrees.

    Example
    -------
    >>> round(distance_km((0.0, 0.0), (0.0, 90.0)))
    10008
    """
    first, second = math.radians(here[0]), math.radians(there[0])
    north = math.sin((second - first) / 2.0) ** 2
    east = math.sin(math.radians(there[1] - here[1]) / 2.0) ** 2
    return 2.0 * EARTH_RADIUS_KM * math.asin(math.sqrt(north + math.cos(first) * math.cos(second) * east))
