"""Loads beyond one process: a mapped file for the workers of a host, a store for the hosts of a fleet.

=========================  ================================================================================
:class:`Shared`            a load policy: another load, over the open leases of all processes
:func:`in_flight`          the sums, for people and tests
=========================  ================================================================================

A pick reads memory of its own process. It never waits for another process, a lock or the network.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from balancekit.sharing._file import in_flight
    from balancekit.sharing._policy import Shared, SharedLoad, SharedPool

__all__ = ["Shared", "SharedLoad", "SharedPool", "in_flight"]

__getattr__: Callable[[str], object] = lazily(
    __name__,
    {
        "_file": ("in_flight",),
        "_policy": ("Shared", "SharedLoad", "SharedPool"),
    },
)


def __dir__() -> list[str]:
    return list(__all__)
