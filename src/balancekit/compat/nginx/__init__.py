"""The choices of nginx 1.22, one by one: an ``upstream`` block as a class, its directives as methods.

=======================  =====================================
:class:`RoundRobin`      (no directive)
:class:`LeastConn`       ``least_conn``
:class:`IpHash`          ``ip_hash``
:class:`Hash`            ``hash $variable``
:class:`ConsistentHash`  ``hash $variable consistent``
:class:`Random`          ``random``, ``random two least_conn``
=======================  =====================================

:class:`Upstream` holds servers and counts their failures. :class:`AsNginx` is a selector for a ``LoadBalancer``.
:class:`Locations` chooses the ``server`` and the ``location`` of a request.
"""

from __future__ import annotations

from balancekit.compat._routing import RawRequest, Routed
from balancekit.compat.nginx._locations import Locations, locations
from balancekit.compat.nginx._methods import (
    ConsistentHash,
    Hash,
    IpHash,
    LeastConn,
    Method,
    Random,
    RoundRobin,
)
from balancekit.compat.nginx._peers import Server
from balancekit.compat.nginx._selector import AsNginx
from balancekit.compat.nginx._upstream import Request, Upstream

__all__ = [
    "AsNginx",
    "ConsistentHash",
    "Hash",
    "IpHash",
    "LeastConn",
    "Locations",
    "Method",
    "Random",
    "RawRequest",
    "Request",
    "RoundRobin",
    "Routed",
    "Server",
    "Upstream",
    "locations",
]
