"""Common functions of the proxies of the tiers demo: lines of data for the parent, and the end when the parent ends."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from balancekit.balancer import LoadBalancer
from balancekit.checks import Schedule
from balancekit.events import Event
from balancekit.health import Lifecycle, Thresholds

__all__ = [
    "ALIVE",
    "CHECKS",
    "HOST",
    "THRESHOLDS",
    "emit",
    "endpoints",
    "lifecycle",
    "on_event",
    "run_until_orphaned",
]

HOST: Final = "www.demo.test"
"""The host name in the callers' requests."""
ALIVE: Final = "/-/alive"
"""The path of health checks of an edge, which it answers itself."""
STATS_EVERY_S: Final = 0.5
CHECKS: Final = Schedule(interval=0.5, timeout=0.5)
"""Schedule of a proxy's checks of its endpoints."""
THRESHOLDS: Final = Thresholds(rise=2, fall=2)


def lifecycle() -> Lifecycle:
    """Return the health policy of a proxy's pool."""
    return Lifecycle(thresholds=THRESHOLDS)


def endpoints(words: Sequence[str]) -> dict[str, str]:
    """Return addresses by name, from arguments such as ``web-1=127.0.0.1:8080``."""
    return dict(word.split("=", 1) for word in words)


def emit(kind: str, **data: object) -> None:
    """Write one line of JSON to standard output. If the parent has gone, do nothing."""
    with suppress(OSError):
        os.write(1, json.dumps({"kind": kind, "at": time.monotonic(), **data}).encode() + b"\n")


def on_event(event: Event) -> None:
    """Emit an event of a balancer."""
    emit("event", event=type(event).__name__.lower(), endpoint=event.endpoint)


async def run_until_orphaned(pool: LoadBalancer[Any]) -> None:
    """Emit the statistics of a balancer twice per second, until standard input is closed."""
    closed = asyncio.Event()

    def look() -> None:
        if not os.read(0, 4096):
            closed.set()

    asyncio.get_running_loop().add_reader(0, look)
    while not closed.is_set():
        rows = {one.id: [one.state, one.inflight, one.completed] for one in pool.stats().endpoints}
        emit("stats", endpoints=rows)
        with suppress(TimeoutError):
            async with asyncio.timeout(STATS_EVERY_S):
                await closed.wait()
