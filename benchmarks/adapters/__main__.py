"""The cost of balancing for HTTP clients: CPU time per request relative to that of the bare client.

    uv run --group bench python -m benchmarks.adapters [--check] [--rounds 15] [--requests 150]

A bare client sends requests to one server. A balanced client sends them to this server as its only endpoint, or to four
endpoints. Servers run in another process, so only the CPU time of the client counts. Rounds of both alternate. A ratio is
the median over rounds of balanced over bare in the same round.

The second table has fifty endpoints and a hundred tasks. The bare client sends requests to fifty hosts at random over one
shared pool of connections. The balanced client has a pool for each endpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
import httpx
import httpx2
import requests
from benchmarks._harness import add_save, machine, save
from benchmarks.adapters._pool import pool

from balancekit import LoadBalancer
from balancekit.adapters import aiohttp as for_aiohttp
from balancekit.adapters import httpx as for_httpx
from balancekit.adapters import httpx2 as for_httpx2
from balancekit.adapters import requests as for_requests

BOUNDS: Final = {
    "httpx2": 1.15,
    "httpx": 1.15,
    "httpx2 async": 1.15,
    "httpx async": 1.15,
    "requests": 1.20,
    "aiohttp": 1.25,
}
ENDPOINTS: Final = 4

Sender = Callable[[int], Awaitable[None]]
"""A function that sends a number of requests."""


def blocking(get: Callable[[str], Any], url: str, read: Callable[[Any], Any]) -> Sender:
    """Return the sender of a blocking client."""

    async def send(count: int) -> None:
        for _ in range(count):
            read(get(url))

    return send


def asynchronous(get: Callable[[str], Any], url: str, read: Callable[[Any], Awaitable[Any]]) -> Sender:
    """Return the sender of an asynchronous client."""

    async def send(count: int) -> None:
        for _ in range(count):
            await read(await get(url))

    return send


async def _async_content(response: Any) -> None:
    assert response.status_code == 200


def _content(response: Any) -> None:
    assert response.status_code == 200


async def _aiohttp_content(response: aiohttp.ClientResponse) -> None:
    await response.read()
    assert response.status == 200


async def cases(addresses: list[str]) -> tuple[dict[str, dict[str, Sender]], list[Any]]:
    """Return, by client, the senders bare and balanced over one and over four endpoints; and the clients to close."""
    bare = f"http://{addresses[0]}/"
    found: dict[str, dict[str, Sender]] = {}
    open_: list[Any] = []
    for name, module, adapter in (("httpx2", httpx2, for_httpx2), ("httpx", httpx, for_httpx)):
        modules: Any = module
        adapters: Any = adapter
        clients = {
            "bare": modules.Client(trust_env=False),
            "1": modules.Client(transport=adapters.BalancedTransport(LoadBalancer(addresses[:1]))),
            "4": modules.Client(transport=adapters.BalancedTransport(LoadBalancer(addresses[:ENDPOINTS]))),
        }
        async_clients = {
            "bare": modules.AsyncClient(trust_env=False),
            "1": modules.AsyncClient(transport=adapters.AsyncBalancedTransport(LoadBalancer(addresses[:1]))),
            "4": modules.AsyncClient(
                transport=adapters.AsyncBalancedTransport(LoadBalancer(addresses[:ENDPOINTS]))
            ),
        }
        found[name] = {
            k: blocking(c.get, bare if k == "bare" else "http://orders/", _content)
            for k, c in clients.items()
        }
        found[f"{name} async"] = {
            k: asynchronous(c.get, bare if k == "bare" else "http://orders/", _async_content)
            for k, c in async_clients.items()
        }
        open_ += [*clients.values(), *async_clients.values()]
    sessions = {"bare": requests.Session(), "1": requests.Session(), "4": requests.Session()}
    for count in ("1", "4"):
        adapter_ = for_requests.BalancedAdapter(LoadBalancer(addresses[: int(count)]))
        sessions[count].mount("http://orders/", adapter_)
    for session in sessions.values():
        session.trust_env = False
    found["requests"] = {
        k: blocking(s.get, bare if k == "bare" else "http://orders/", _content) for k, s in sessions.items()
    }
    aio = {"bare": aiohttp.ClientSession()} | {
        count: aiohttp.ClientSession(
            middlewares=[for_aiohttp.balanced("orders", LoadBalancer(addresses[: int(count)]))]
        )
        for count in ("1", "4")
    }
    found["aiohttp"] = {
        k: asynchronous(s.get, bare if k == "bare" else "http://orders/", _aiohttp_content)
        for k, s in aio.items()
    }
    return found, [*open_, *sessions.values(), *aio.values()]


async def close(clients: list[Any]) -> None:
    """Close blocking and asynchronous clients."""
    for client in clients:
        closing = client.aclose() if hasattr(client, "aclose") else client.close()
        if closing is not None:
            await closing


async def cpu(send: Sender, count: int) -> float:
    """Return the CPU seconds of a number of requests."""
    begin = time.process_time()
    await send(count)
    return time.process_time() - begin


async def overhead(addresses: list[str], rounds: int, count: int) -> dict[str, tuple[float, float, float]]:
    """Return, by client, the CPU time of a bare request in microseconds and the ratios for one and four endpoints."""
    found, clients = await cases(addresses)
    table: dict[str, tuple[float, float, float]] = {}
    for name, senders in found.items():
        for send in senders.values():
            await send(20)
        seconds: dict[str, list[float]] = {kind: [] for kind in senders}
        for _ in range(rounds):
            for kind, send in senders.items():
                seconds[kind].append(await cpu(send, count))
        ratio = {
            kind: statistics.median(
                balanced / bare for balanced, bare in zip(seconds[kind], seconds["bare"], strict=True)
            )
            for kind in ("1", "4")
        }
        table[name] = (statistics.median(seconds["bare"]) / count * 1e6, ratio["1"], ratio["4"])
    await close(clients)
    return table


async def many_tasks(addresses: list[str], rounds: int, tasks: int = 100, each: int = 8) -> dict[str, float]:
    """Return, by client, the CPU time balanced over bare, of a hundred tasks over fifty endpoints."""
    table: dict[str, float] = {}
    for name, module, adapter in (("httpx2", httpx2, for_httpx2), ("httpx", httpx, for_httpx)):
        modules: Any = module
        adapters: Any = adapter
        bare = modules.AsyncClient(trust_env=False)
        balanced = modules.AsyncClient(transport=adapters.AsyncBalancedTransport(LoadBalancer(addresses)))

        async def one(client: Any, *, logical: bool) -> None:
            for _ in range(each):
                host = "orders" if logical else random.choice(addresses)
                await client.get(f"http://{host}/")

        async def all_of(client: Any, *, logical: bool) -> float:
            begin = time.process_time()
            async with asyncio.TaskGroup() as group:
                for _ in range(tasks):
                    group.create_task(one(client, logical=logical))
            return time.process_time() - begin

        ratios = []
        for number in range(rounds + 1):
            bare_seconds = await all_of(bare, logical=False)
            balanced_seconds = await all_of(balanced, logical=True)
            if number:
                ratios.append(balanced_seconds / bare_seconds)
        table[name] = statistics.median(ratios)
        await close([bare, balanced])
    return table


def main() -> int:
    """Print both tables. With ``--check``, fail if a ratio is over its bound."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=150)
    add_save(parser)
    options = parser.parse_args()
    print(machine())
    gc.collect()
    gc.freeze()
    with pool(50) as addresses:
        table = asyncio.run(overhead(addresses, options.rounds, options.requests))
        of_many = asyncio.run(many_tasks(addresses, max(3, options.rounds // 3)))
    missed = []
    print(f"{'client':14} {'bare, us':>9} {'1 endpoint':>11} {'4 endpoints':>12} {'bound':>6}")
    for name, (bare, one, four) in table.items():
        print(f"{name:14} {bare:9.0f} {one:11.3f} {four:12.3f} {BOUNDS[name]:6.2f}")
        missed += [name] * (four > BOUNDS[name])
    print("\n50 endpoints, 100 tasks: CPU time over that of the bare client with one pool")
    for name, ratio in of_many.items():
        print(f"{name:14} {ratio:9.3f}")
    missed += ["httpx, 50 endpoints"] * (of_many["httpx"] >= 1.0)
    figures = {
        f"{name}, {way}": row[1 + (way != "1 endpoint")]
        for name, row in table.items()
        for way in ("1 endpoint", "4 endpoints")
    }
    save(
        "adapters",
        {**figures, **{f"{name}, 50 endpoints": ratio for name, ratio in of_many.items()}},
        options.save,
    )
    if missed:
        print("over the bound:", ", ".join(missed))
    return int(options.check and bool(missed))


if __name__ == "__main__":
    sys.exit(main())
