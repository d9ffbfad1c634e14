"""Waiting rooms over limits that time lifts: what waits is served when the limit says."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from balancekit import LoadBalancer, SaturatedError
from balancekit.routing import Locality, MaxInFlight, Priority, RateLimit
from balancekit.waiting import WaitingQueue, WaitingRoom

TIMED_LIMITS = {
    "RateLimit": lambda: RateLimit(50, burst=1),
    "Priority of RateLimit": lambda: Priority(lambda: RateLimit(50, burst=1)),
    "Locality of RateLimit": lambda: Locality("home", child=lambda: RateLimit(50, burst=1)),
    "MaxInFlight of RateLimit": lambda: MaxInFlight(4, child=lambda: RateLimit(50, burst=1)),
    "RateLimit of MaxInFlight": lambda: RateLimit(50, burst=1, child=lambda: MaxInFlight(4)),
}


@pytest.mark.parametrize("name", TIMED_LIMITS)
@pytest.mark.parametrize("tasks", [False, True], ids=["threads", "tasks"])
def test_a_rate_is_used_to_the_full_by_those_who_wait(name, tasks):
    """Thirteen requests at 50 a second and a burst of one take a quarter of a second; all get a lease within two seconds.

    Looks that come four times a second, whatever the limit says, would serve eight of them.
    """
    balancer = LoadBalancer(["a"], selector=TIMED_LIMITS[name]())
    served = []
    with WaitingRoom(balancer, WaitingQueue(max_waiting=20), timeout=2.0) as room:

        def ask():
            with suppress(SaturatedError), room.acquire() as lease:
                served.append(lease.target)

        async def ask_async():
            with suppress(SaturatedError), await room.acquire_async() as lease:
                served.append(lease.target)

        async def ask_all():
            await asyncio.gather(*[ask_async() for _ in range(13)])

        if tasks:
            asyncio.run(ask_all())
        else:
            threads = [threading.Thread(target=ask) for _ in range(13)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert len(served) == 13
    assert not any(seen.inflight for seen in balancer.stats().endpoints)
