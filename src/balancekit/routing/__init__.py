"""Routing selectors: they narrow the pool, then delegate to another selector.

====================  =======================================================================
:class:`Priority`     tiers; the next takes over gradually
:class:`Locality`     the own zone first, what it cannot carry elsewhere
:class:`Subset`       only endpoints whose metadata match the request
:class:`Subsetting`   only a part of the pool, so that many clients spread their connections
:class:`Canary`       a stable share of the users to the new version
:class:`Sticky`       back to the endpoint that knows the client, by a signed value
:class:`MaxInFlight`  each endpoint below its limit of requests in flight, given or adapting (:class:`Gradient`, :class:`Aimd`)
:class:`RateLimit`    each endpoint below its limit of requests, or of their cost, per second
====================  =======================================================================

Each takes the selector to delegate to as ``child=``, a class or a function that makes one: every part gets
its own. They nest: ``Sticky(values, child=lambda: Locality("eu-1", child=RoundRobin))``.
"""

from __future__ import annotations

from balancekit._selection.grouping import MakeSelector
from balancekit.routing._adaptive_limits import Aimd, Gradient
from balancekit.routing._canary import Canary
from balancekit.routing._max_inflight import MaxInFlight
from balancekit.routing._priority import Locality, Priority, tier_loads
from balancekit.routing._rate_limit import RateLimit
from balancekit.routing._signed_values import StickyValues
from balancekit.routing._source_prefix import source_prefix
from balancekit.routing._sticky import STICKY, Sticky
from balancekit.routing._subset import Subset
from balancekit.routing._subsetting import Subsetting, deterministic_subset, rendezvous_subset

__all__ = [
    "STICKY",
    "Aimd",
    "Canary",
    "Gradient",
    "Locality",
    "MakeSelector",
    "MaxInFlight",
    "Priority",
    "RateLimit",
    "Sticky",
    "StickyValues",
    "Subset",
    "Subsetting",
    "deterministic_subset",
    "rendezvous_subset",
    "source_prefix",
    "tier_loads",
]
