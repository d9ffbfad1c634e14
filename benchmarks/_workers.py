"""Programs of a small fleet on one machine: servers with a queue each, and workers that balance over them.

    python -m benchmarks._workers servers 10        prints the ports, serves until its input ends
    python -m benchmarks._workers worker '{...}'    makes its requests, prints what they took

A server works on one request at a time for as long as the request says, so a run of the same seeds asks for the same
work whatever the balancers decide. A worker sends at random moments that do not depend on the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from balancekit import LoadBalancer, PowerOfChoices
from balancekit.loads import InFlight, PeakEwmaLatency
from balancekit.sharing import Shared

MEAN_S = 0.05
"""Mean time of service; exponential."""


class Queue:
    """One server: requests in the order they come, each for as long as it says."""

    def __init__(self) -> None:
        self.free_at = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self.free_at = max(self.free_at, loop.time()) + float(line)
                await asyncio.sleep(self.free_at - loop.time())
                writer.write(b"done\n")
        writer.close()


async def serve(count: int) -> None:
    """Run servers until standard input ends."""
    servers = [await asyncio.start_server(Queue().serve, "127.0.0.1", 0) for _ in range(count)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await asyncio.to_thread(sys.stdin.read)


class Connections:
    """Connections that are open and idle, by address."""

    def __init__(self) -> None:
        self.idle: dict[str, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}

    async def ask(self, address: str, service: float) -> None:
        """Make one request."""
        host, _, port = address.partition(":")
        idle = self.idle.setdefault(address, [])
        reader, writer = idle.pop() if idle else await asyncio.open_connection(host, int(port))
        writer.write(f"{service}\n".encode())
        if not await reader.readline():
            raise ConnectionResetError("no answer")
        idle.append((reader, writer))


class Run(NamedTuple):
    """What workers found."""

    took: list[float]
    """What each request took, in mean times of service."""
    late: float
    """The 99th percentile of how late requests were sent, in the same unit: what the machine adds."""


async def work(options: dict[str, Any]) -> dict[str, list[float]]:
    """Make requests; return what each took and how late it was sent, in mean times of service."""
    load: Any = InFlight() if options["load"] == "in-flight" else PeakEwmaLatency()
    if options["file"]:
        load = Shared(load, file=options["file"])
    addresses = [f"127.0.0.1:{port}" for port in options["ports"]]
    lb = LoadBalancer(addresses, selector=PowerOfChoices(), load=load)
    rng, connections = random.Random(options["seed"]), Connections()
    took: list[float] = []
    late: list[float] = []

    async def request(due: float, service: float) -> None:
        with lb.acquire() as lease:
            await connections.ask(lease.target, service)
        took.append((time.monotonic() - due) / MEAN_S)

    async with asyncio.TaskGroup() as group:
        print("ready", flush=True)
        due = float(await asyncio.to_thread(sys.stdin.readline))
        end = due + options["seconds"]
        while due < end:
            due += rng.expovariate(options["rate"])
            await asyncio.sleep(due - time.monotonic())
            late.append((time.monotonic() - due) / MEAN_S)
            group.create_task(request(due, rng.expovariate(1.0 / MEAN_S)))
    return {"took": took[len(took) // 20 :], "late": late}


def program(*arguments: str) -> subprocess.Popen[str]:
    """Start one of these programs."""
    command = [sys.executable, "-m", "benchmarks._workers", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def servers(count: int) -> Iterator[list[int]]:
    """Run servers; yields their ports."""
    with program("servers", str(count)) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.communicate("")


def run_workers(
    ports: list[int], *, workers: int, seconds: float, load: str, file: str, utilization: float, seed: int
) -> Run:
    """Run workers at once; return what they found."""
    rate = utilization * len(ports) / MEAN_S / workers
    options = {"ports": ports, "load": load, "file": file, "rate": rate, "seconds": seconds}
    running = [
        program("worker", json.dumps({**options, "seed": 1000 * seed + number})) for number in range(workers)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    begin = f"{time.monotonic() + 0.2}\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write(begin)
        process.stdin.flush()
    found = [json.loads(process.communicate()[0]) for process in running]
    late = [lateness for one in found for lateness in one["late"]]
    return Run([latency for one in found for latency in one["took"]], statistics.quantiles(late, n=100)[98])


if __name__ == "__main__":
    if sys.argv[1] == "servers":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        print(json.dumps(asyncio.run(work(json.loads(sys.argv[2])))))
