"""Callers of the tiers demo: resolve a name, connect, request; up to three attempts, each on a new connection."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Final

import aiohttp

from balancekit.cli._node import HOST
from balancekit.cli._tiers_gslb import Resolver
from balancekit.cli._tiers_report import Phase

__all__ = ["CALLERS", "NETWORKS", "RESOLVERS", "Callers"]

CALLERS: Final = 200
RESOLVERS: Final = 20
NETWORKS: Final = {"198.18.0.0/16": ["eu", "us"], "198.19.0.0/16": ["us", "eu"]}
"""Sites by the network of clients, the nearest first (addresses of RFC 2544)."""
PAUSE_S: Final = 4.0
"""Between two requests of a caller."""
RETRY_AFTER_S: Final = (0.3, 0.9)
"""Before the second and third attempt: together more than the down time of an address that moves."""
CONNECT_TIMEOUT_S: Final = 1.5
"""More than the second after which a lost SYN is sent again (RFC 6298)."""
ATTEMPT_TIMEOUT_S: Final = 3.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)


class Callers:
    """Two hundred callers behind twenty resolvers.

    Parameters
    ----------
    session
        A client session that keeps no connections.
    dns_port
        Of the authority.
    port
        Of the sites.
    phase
        Where requests are counted; assign another when a new one begins.
    """

    def __init__(self, session: aiohttp.ClientSession, *, dns_port: int, port: int, phase: Phase) -> None:
        self.phase = phase
        self.resolvers = [Resolver(f"192.0.2.{number}", dns_port) for number in range(1, RESOLVERS + 1)]
        self._session = session
        self._port = port
        self._rng = Random(1)
        self._stopping = asyncio.Event()

    async def keep_coming(self) -> None:
        """Let every caller make one request after the other until :meth:`stop`."""
        await asyncio.gather(*[self._caller(number) for number in range(CALLERS)])

    def stop(self) -> None:
        """Let the callers finish what they are at."""
        self._stopping.set()

    async def _caller(self, number: int) -> None:
        resolver = self.resolvers[number % RESOLVERS]
        side = number // RESOLVERS % len(NETWORKS)
        subnet = f"198.{18 + side}.{number % RESOLVERS}.0/24"
        path = "/api/orders" if number % 3 else "/"
        await self._pause(PAUSE_S * number / CALLERS)
        while not self._stopping.is_set():
            await self.request(resolver, subnet, path)
            await self._pause(PAUSE_S * self._rng.uniform(0.8, 1.2))

    async def request(self, resolver: Resolver, subnet: str, path: str) -> bool:
        """Make one request; count what came of it in the phase in which it ended."""
        began = time.monotonic()
        retries = 0
        cause = await self._attempt(resolver, subnet, path)
        for pause in RETRY_AFTER_S:
            if cause is None:
                break
            self.phase.causes[cause] += 1
            retries += 1
            await asyncio.sleep(pause)
            cause = await self._attempt(resolver, subnet, path)
        self.phase.record(began=began, ended=time.monotonic(), retries=retries, cause=cause)
        return cause is None

    async def _attempt(self, resolver: Resolver, subnet: str, path: str) -> str | None:
        """Return why an attempt failed, ``None`` if it did not."""
        address = await resolver.resolve(subnet)
        if address is None:
            return "no address"
        url = f"http://{address}:{self._port}{path}"
        try:
            async with self._session.get(url, headers={"Host": HOST}, timeout=TIMEOUT) as response:
                await response.read()
                return None if response.ok else f"status {response.status}"
        except aiohttp.ClientConnectorError as error:
            return "refused" if isinstance(error.os_error, ConnectionRefusedError) else "not connected"
        except TimeoutError:
            return "timeout"
        except (aiohttp.ClientError, OSError):
            return "connection lost"

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass
