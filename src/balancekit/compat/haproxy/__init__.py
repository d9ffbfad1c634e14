"""The choices of HAProxy 2.6, one by one: a ``backend`` section as a class.

:class:`Backend` holds servers, states, cookies and queues. :class:`Balance` holds the settings ``balance`` and
``hash-type``. :class:`Header`, :class:`UrlParam`, :class:`Uri`, :class:`Source` and :class:`Sample` are the parts of a
request that can be hashed. :class:`Checker` decides by health checks whether a server is up, and :func:`slow_start`
computes its weight after a start. :class:`UseBackend` chooses the backend of a request.
"""

from __future__ import annotations

from balancekit.compat._routing import RawRequest, Routed
from balancekit.compat.haproxy._backend import Backend
from balancekit.compat.haproxy._balance import Balance
from balancekit.compat.haproxy._check import Check, Checker, slow_start
from balancekit.compat.haproxy._hashes import HASHES, avalanche, crc32, djb2, sdbm, wt6
from balancekit.compat.haproxy._keys import HashedBy, Header, Sample, Source, Uri, UrlParam
from balancekit.compat.haproxy._members import Server, State
from balancekit.compat.haproxy._request import Request
from balancekit.compat.haproxy._use_backend import UseBackend, use_backend

__all__ = [
    "HASHES",
    "Backend",
    "Balance",
    "Check",
    "Checker",
    "HashedBy",
    "Header",
    "RawRequest",
    "Request",
    "Routed",
    "Sample",
    "Server",
    "Source",
    "State",
    "Uri",
    "UrlParam",
    "UseBackend",
    "avalanche",
    "crc32",
    "djb2",
    "sdbm",
    "slow_start",
    "use_backend",
    "wt6",
]
