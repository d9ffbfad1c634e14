"""Callers of the tiers demo. They resolve a name, connect, and send a request, with up to three attempts."""

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
"""Sites by the network of clients, the nearest site first. The networks are from RFC 2544."""
PAUSE_S: Final = 4.0
"""Mean seconds between two requests of a caller."""
RETRY_AFTER_S: Final = (0.3, 0.9)
"""Seconds before the second and the third attempt. Their sum is more than the VRRP down time of the demo."""
CONNECT_TIMEOUT_S: Final = 1.5
"""Connect timeout. A lost SYN is sent again after 1 s (RFC 6298)."""
ATTEMPT_TIMEOUT_S: Final = 3.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)


class Callers:
    """Two hundred callers behind twenty resolvers.

    Parameters
    ----------
    session
        A client session that does not reuse connections.
    dns_port
        UDP port of the DNS server.
    port
        TCP port of the sites.
    phase
        The phase in which requests are counted. Assign the attribute when a new phase begins.
    """

    def __init__(self, session: aiohttp.ClientSession, *, dns_port: int, port: int, phase: Phase) -> None:
        self.phase = phase
        self.resolvers = [Resolver(f"192.0.2.{number}", dns_port) for number in range(1, RESOLVERS + 1)]
        self._session = session
        self._port = port
        self._rng = Random(1)
        self._stopping = asyncio.Event()

    async def keep_coming(self) -> None:
        """Let each caller send one request after another until :meth:`stop`."""
        await asyncio.gather(*[self._caller(number) for number in range(CALLERS)])

    def stop(self) -> None:
        """Stop after the current request of each caller."""
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
        """Send one request, with retries, and count it in the phase in which it ends; return whether it succeeded."""
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
        """Make one attempt on a new connection; return the reason if it failed, otherwise ``None``."""
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
