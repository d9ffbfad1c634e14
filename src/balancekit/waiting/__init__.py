"""Waiting for a slot, in order and with a time limit; and client-side throttling when a backend refuses.

==========================  =========================================================================
:class:`WaitingRoom`        a room in which threads and tasks wait for a balancer that is full
:class:`WaitingQueue`       the order of waiting requests, and the refusals; sans-IO
:class:`ClientThrottle`     a throttle that drops requests that would very likely be refused
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
