"""Loads, ejections and rate limits that are shared by several processes: by a file on one host, or by a store.

=========================  ================================================================================
:class:`Shared`            a load policy that counts the open leases of all processes
:func:`in_flight`          the sums in a file, for operators and tests
:class:`RedisStore`        the store for several hosts; :class:`AsyncRedisStore` on asyncio
:class:`SharedEjections`   ejections that processes share
:class:`SharedRateLimit`   a selector with rate limits per endpoint that apply to all processes together
=========================  ================================================================================

A pick reads memory of its own process. It never waits for another process, a lock or the network.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.sharing._ejections import SharedEjections
    from balancekit.sharing._file import in_flight
    from balancekit.sharing._load import SharedLoad
    from balancekit.sharing._policy import Shared, SharedPool
    from balancekit.sharing._rate_limit import SharedRateLimit
    from balancekit.sharing._redis import AsyncRedisStore, RedisStore
    from balancekit.sharing._store import Hint

__all__ = [
    "AsyncRedisStore",
    "Hint",
    "RedisStore",
    "Shared",
    "SharedEjections",
    "SharedLoad",
    "SharedPool",
    "SharedRateLimit",
    "in_flight",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_ejections": ("SharedEjections",),
            "_file": ("in_flight",),
            "_load": ("SharedLoad",),
            "_policy": ("Shared", "SharedPool"),
            "_rate_limit": ("SharedRateLimit",),
            "_redis": ("AsyncRedisStore", "RedisStore"),
            "_store": ("Hint",),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
