"""Programs of a small fleet on one machine: servers with one queue each, and workers that balance over them.

    python -m benchmarks._workers servers 10        prints the ports, and serves until its input ends
    python -m benchmarks._workers worker '{...}'    sends its requests, and prints their latencies

A server works on one request at a time. The request contains its service time. So two runs with the same seeds have the same
work, whatever the balancers decide. A worker sends at random times that do not depend on the responses.
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
"""The mean service time, in seconds. Service times have an exponential distribution."""


class Queue:
    """One server. It serves requests in the order of arrival, each for the service time in it."""

    def __init__(self) -> None:
        self.free_at = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection."""
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
    """The idle connections by address."""

    def __init__(self) -> None:
        self.idle: dict[str, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}

    async def request(self, address: str, service: float) -> None:
        """Send one request, and wait for its response."""
        host, _, port = address.partition(":")
        idle = self.idle.setdefault(address, [])
        reader, writer = idle.pop() if idle else await asyncio.open_connection(host, int(port))
        writer.write(f"{service}\n".encode())
        if not await reader.readline():
            raise ConnectionResetError("no response")
        idle.append((reader, writer))


class Run(NamedTuple):
    """The measurements of all workers of a run."""

    took: list[float]
    """The latency of each request, in mean service times."""
    late: float
    """The 99th percentile of the delay with which requests were sent, in mean service times. The machine causes it."""


async def work(options: dict[str, Any]) -> dict[str, list[float]]:
    """Send requests. Return their latencies, and the delays with which they were sent, in mean service times."""
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
            await connections.request(lease.target, service)
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
    """Run servers. Yield their ports."""
    with program("servers", str(count)) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.communicate("")


def run_workers(
    ports: list[int], *, workers: int, seconds: float, load: str, file: str, utilization: float, seed: int
) -> Run:
    """Run workers that begin at the same time. Return their measurements."""
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
