"""Requests to a balancer that may refuse those without a key."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from balancekit.errors import MissingKeyError
from balancekit.lease import Lease

__all__ = ["KEY", "open_lease", "request_key"]

KEY: Final = "a key"


def open_lease(balancer: Any, exclude: Collection[str] = ()) -> Lease[str]:
    """Open a lease without a key, or with one if the balancer refuses requests without a key."""
    lease: Lease[str]
    try:
        lease = balancer.acquire(exclude=exclude)
    except MissingKeyError:
        lease = balancer.acquire(KEY, exclude=exclude)
    return lease


def request_key(balancer: Any) -> str | None:
    """Return a key if the balancer refuses requests without one. Sends it a request to find out."""
    try:
        balancer.acquire().release()
    except MissingKeyError:
        return KEY
    return None
