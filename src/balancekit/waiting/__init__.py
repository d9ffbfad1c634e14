"""Queues for requests that wait for a free slot, and client-side throttling for a backend that refuses requests.

==========================  =========================================================================
:class:`WaitingRoom`        threads and tasks wait in it until a full balancer has a free slot
:class:`WaitingQueue`       the order of waiting requests, and the refusals; without I/O
:class:`ClientThrottle`     drops requests that the backend would very likely refuse
==========================  =========================================================================
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.waiting._handover import RoomClosedError, WaitingTimeoutError
    from balancekit.waiting._lines import Waiter
    from balancekit.waiting._queue import Order, WaitingQueue
    from balancekit.waiting._room import WaitingRoom
    from balancekit.waiting._throttle import ClientThrottle

__all__ = [
    "ClientThrottle",
    "Order",
    "RoomClosedError",
    "Waiter",
    "WaitingQueue",
    "WaitingRoom",
    "WaitingTimeoutError",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_handover": ("RoomClosedError", "WaitingTimeoutError"),
            "_lines": ("Waiter",),
            "_queue": ("Order", "WaitingQueue"),
            "_room": ("WaitingRoom",),
            "_throttle": ("ClientThrottle",),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
