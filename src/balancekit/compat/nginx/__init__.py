"""The choices of nginx 1.22, one by one: an ``upstream`` block as a class, its directives as methods.

=======================  =====================================
:class:`RoundRobin`      (no directive)
:class:`LeastConn`       ``least_conn``
:class:`IpHash`          ``ip_hash``
:class:`Hash`            ``hash $variable``
:class:`ConsistentHash`  ``hash $variable consistent``
:class:`Random`          ``random``, ``random two least_conn``
=======================  =====================================

:class:`Upstream` holds servers and failures; :class:`AsNginx` is a selector for a ``LoadBalancer``.
"""

from __future__ import annotations

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
    "Method",
    "Random",
    "Request",
    "RoundRobin",
    "Server",
    "Upstream",
]
