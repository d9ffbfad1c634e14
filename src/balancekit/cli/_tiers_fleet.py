"""Processes of the tiers demo: L4 proxies, L7 edges and HTTP servers of two sites."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from balancekit.cli._network import BRIDGE_ADDRESS, Network
from balancekit.cli._processes import Processes
from balancekit.ha import VirtualRouter

__all__ = ["ROUTERS", "Node", "OnLine", "SiteAddress", "TierFleet"]

OnLine: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Called with the name of a process and a line of its data."""
NODES_PER_TIER: Final = 2
DELAYS_S: Final = (0.020, 0.030)
"""Median seconds to a response, by server."""
LOOPBACK: Final = "127.0.0.1"
SHARED_ADDRESS: Final = "192.0.2.100"
ROUTERS: Final = tuple(
    VirtualRouter(vrid=51, addresses=(SHARED_ADDRESS,), source=source, priority=priority, interval=0.25)
    for source, priority in (("192.0.2.11", 150), ("192.0.2.12", 100))
)
"""The two routers that share the address of the first site by VRRP."""


@dataclass
class Node:
    """One process of a site."""

    name: str
    tier: str
    site: str
    alive: bool = True
    role: str = ""
    """``"active"`` or ``"backup"`` if VRRP moves the address of the site."""
    behind: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Its last report about its endpoints: state, number in flight, number completed."""


@dataclass(frozen=True)
class SiteAddress:
    """The address of a site, and the network in which VRRP moves it; ``None`` if it does not move."""

    site: str
    host: str
    port: int
    network: Network | None = None


class TierFleet(Processes):
    """The processes of sites by name; see :class:`Processes`.

    Parameters
    ----------
    on_line
        Called with each line of data from a process.
    """

    def __init__(self, on_line: OnLine) -> None:
        super().__init__()
        self.nodes: dict[str, Node] = {}
        self._on_line = on_line
        self._readers: list[asyncio.Task[None]] = []

    async def start_site(self, address: SiteAddress) -> None:
        """Start the servers of a site, then its edges, then its proxies."""
        site = address.site
        host = LOOPBACK if address.network is None else BRIDGE_ADDRESS
        servers = await self._start_tier(
            "server",
            site,
            "balancekit.cli._server",
            [
                [f"--name={site}-server-{number}", f"--delay={delay}"]
                for number, delay in enumerate(DELAYS_S, 1)
            ],
        )
        urls = [f"{name}=http://{LOOPBACK}:{port}" for name, port in servers.items()]
        edges = await self._start_tier(
            "l7", site, "balancekit.cli._node_l7", [[f"--host={host}", *urls]] * NODES_PER_TIER
        )
        words = [f"--port={address.port}", *[f"{name}={host}:{data['port']}" for name, data in edges.items()]]
        if address.network is None:
            both = [[f"--host={address.host}", *words]] * NODES_PER_TIER
            await self._start_tier("l4", site, "balancekit.cli._node_l4", both)
            return
        spaces = [address.network.add_router(f"{site}-l4-{n}", r.source) for n, r in enumerate(ROUTERS, 1)]
        try:
            both = [
                [
                    "--host=0.0.0.0",
                    f"--namespace={space}",
                    f"--vrid={router.vrid}",
                    f"--address={SHARED_ADDRESS}/24",
                    f"--source={router.source}",
                    f"--priority={router.priority}",
                    f"--interval={router.interval}",
                    *words,
                ]
                for space, router in zip(spaces, ROUTERS, strict=True)
            ]
            await self._start_tier("l4", site, "balancekit.cli._node_l4", both, spaces)
        finally:  # the namespaces now exist as long as the processes in them
            for space in spaces:
                os.close(space)

    async def _start_tier(
        self,
        tier: str,
        site: str,
        module: str,
        words: Sequence[Sequence[str]],
        namespaces: Sequence[int] = (),
    ) -> dict[str, Any]:
        names = [f"{site}-{tier}-{number}" for number in range(1, len(words) + 1)]
        for place, (name, own) in enumerate(zip(names, words, strict=True)):
            await self.launch(name, module, own, pass_fds=namespaces[place : place + 1])
        ready = {}
        for name in names:
            ready[name] = json.loads(await self.first_line(name))
            self.nodes[name] = Node(name, tier, site)
            self._readers.append(asyncio.create_task(self._read(name)))
        return ready

    async def _read(self, name: str) -> None:
        reader = self.output(name)
        while line := await reader.readline():
            self._on_line(name, json.loads(line))

    async def kill_nodes(self, *names: str) -> None:
        """Send SIGKILL to nodes."""
        for name in names:
            self.nodes[name].alive = False
        await self.kill(*[name for name in names if self.running(name)])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, traceback)
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
