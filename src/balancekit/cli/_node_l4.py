"""An L4 proxy of the tiers demo, as a process: ``python -m balancekit.cli._node_l4``.

It shares no state with the other proxies of its site. They send a flow to the same edge because their Maglev tables are
equal. There are two kinds of site addresses: both proxies listen on it with ``SO_REUSEPORT``, so the kernel distributes flows,
or VRRP moves it between two network namespaces.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from contextlib import closing, suppress
from functools import partial

from balancekit.adapters.vrrp import AsyncVrrp, RoleChange, ip_address_hook
from balancekit.balancer import LoadBalancer
from balancekit.checks import AsyncChecks, HttpCheck
from balancekit.cli._network import enter_namespace
from balancekit.cli._node import ALIVE, CHECKS, emit, endpoints, lifecycle, on_event, run_until_orphaned
from balancekit.errors import UnavailableError
from balancekit.ha import VirtualRouter
from balancekit.l4 import FlowTable, StickyFlows
from balancekit.outcome import Outcome
from balancekit.selectors import MaglevHash

__all__ = ["main"]

ATTEMPTS = 2
CONNECT_TIMEOUT_S = 1.0
CHUNK_BYTES = 65_536
FLOWS = 10_000
IDLE_S = 60.0
NICENESS = -10
"""Priority of a process that sends adverts, as for keepalived: if an advert is late, the address moves to the other router."""


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward bytes until the sender has finished, then end the other direction too."""
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def forward(
    pool: LoadBalancer[str],
    connections: set[asyncio.Task[object]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Connect a client to an edge. The key of a flow is the client's address and port."""
    # The event loop keeps no reference to a half-closed connection. Without this one, its task could be collected.
    task = asyncio.current_task()
    assert task is not None
    connections.add(task)
    task.add_done_callback(connections.discard)
    with closing(writer), suppress(OSError, UnavailableError):
        host, port = writer.get_extra_info("peername")[:2]
        for lease in pool.attempts(ATTEMPTS, f"{host}:{port}"):
            with lease:
                try:
                    async with asyncio.timeout(CONNECT_TIMEOUT_S):
                        answers, server = await asyncio.open_connection(*lease.target.split(":"))
                except (OSError, TimeoutError):
                    lease.release(Outcome.CONNECT_FAILED)
                    continue
                with closing(server):  # closing sends the rest of the data first
                    try:
                        async with asyncio.TaskGroup() as both:
                            both.create_task(copy(reader, server))
                            both.create_task(copy(answers, writer))
                    except* OSError:  # one side has reset the connection; only the client can retry
                        lease.release(Outcome.IGNORED)
                        server.transport.abort()
                break


async def serve(options: argparse.Namespace) -> None:
    """Serve until standard input is closed."""
    pool = LoadBalancer(
        endpoints(options.edges),
        selector=StickyFlows(MaglevHash(), FlowTable(capacity=FLOWS, idle={"tcp": IDLE_S})),
        health=lifecycle(),
        listeners=[on_event],
    )
    server = await asyncio.start_server(
        partial(forward, pool, set()), options.host, options.port, reuse_port=True, backlog=1024
    )
    async with server, AsyncChecks(pool, HttpCheck(ALIVE), schedule=CHECKS):
        emit("ready")
        if options.vrid is None:
            await run_until_orphaned(pool)
            return
        router = VirtualRouter(
            vrid=options.vrid,
            addresses=(options.address.partition("/")[0],),
            source=options.source,
            priority=options.priority,
            interval=options.interval,
        )
        address = ip_address_hook(options.interface, options.address)

        def hold(change: RoleChange) -> None:
            address.add(change)
            emit("role", role="active")

        def release(change: RoleChange) -> None:
            address.remove(change)
            emit("role", role="backup")

        async with AsyncVrrp(router, interface=options.interface, on_active=hold, on_backup=release):
            await run_until_orphaned(pool)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m balancekit.cli._node_l4")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--namespace", type=int, help="the descriptor of a network namespace to enter")
    parser.add_argument("--vrid", type=int, help="take part in an election for the address")
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--address", help="the shared address, with a prefix length")
    parser.add_argument("--source", help="the address of this router")
    parser.add_argument("--priority", type=int, default=100)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two adverts")
    parser.add_argument("edges", nargs="+", metavar="NAME=HOST:PORT")
    options = parser.parse_args()
    if options.namespace is not None:
        enter_namespace(options.namespace)
        os.close(options.namespace)
    if options.vrid is not None:
        with suppress(OSError):
            os.nice(NICENESS)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
