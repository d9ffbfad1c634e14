"""Traffic of the demo: requests through a real client, each with up to three attempts on different endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass, field

import aiohttp

from balancekit.balancer import LoadBalancer
from balancekit.errors import UnavailableError
from balancekit.lease import Lease
from balancekit.outcome import Outcome

__all__ = ["RequestCounters", "Traffic"]

ATTEMPTS = 3


@dataclass
class RequestCounters:
    """Counts and durations of the callers' requests."""

    requests: int = 0
    failures: int = 0
    retries: int = 0
    max_in_flight: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Duration of each request served outside the burst, by the endpoint that served it."""
    burst: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Duration of each served request that was open during the burst, by the endpoint that served it."""


class Traffic:
    """Callers of one balancer.

    Parameters
    ----------
    balancer
        The balancer. Its targets are base URLs.
    session
        The client session.
    """

    def __init__(self, balancer: LoadBalancer[str], session: aiohttp.ClientSession) -> None:
        self.counters = RequestCounters()
        self._balancer = balancer
        self._session = session
        self._open = 0
        self._bursting = False
        self._stopping = False

    async def request(self) -> None:
        """Send one request, with attempts at different endpoints, and count it."""
        self.counters.requests += 1
        self._open += 1
        self.counters.max_in_flight = max(self.counters.max_in_flight, self._open)
        beside_burst, began = self._bursting, time.perf_counter()
        try:
            served_by = await self._attempt()
        finally:
            self._open -= 1
        if served_by is None:
            self.counters.failures += 1
        else:
            durations = self.counters.burst if beside_burst or self._bursting else self.counters.seconds
            durations[served_by].append(time.perf_counter() - began)

    async def _attempt(self) -> str | None:
        """Return the endpoint that served one request; ``None`` if no endpoint did."""
        with contextlib.suppress(UnavailableError):
            for number, lease in enumerate(self._balancer.attempts(ATTEMPTS)):
                self.counters.retries += number > 0
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    if await self._served(lease):
                        return lease.endpoint.id
        return None

    async def _served(self, lease: Lease[str]) -> bool:
        """Send the request to one endpoint; return whether it succeeded."""
        with lease:
            async with self._session.get(lease.target + "/") as response:
                lease.first_byte()
                await response.read()
                if not response.ok:
                    lease.release(Outcome.FAILURE)
                return response.ok

    async def keep_coming(self, callers: int, pause: float) -> None:
        """Let each of ``callers`` send one request after another until :meth:`stop`, with a pause in seconds."""

        async def caller(number: int) -> None:
            await asyncio.sleep(pause * number / callers)
            while not self._stopping:
                await self.request()
                await asyncio.sleep(pause)

        await asyncio.gather(*[caller(number) for number in range(callers)])

    async def burst(self, requests: int) -> None:
        """Send ``requests`` requests at the same time."""
        self._bursting = True
        try:
            await asyncio.gather(*[self.request() for _ in range(requests)])
        finally:
            self._bursting = False

    def stop(self) -> None:
        """Stop after the current request of each caller."""
        self._stopping = True
