"""Cost of balancing for HTTP clients: CPU time per request over the bare client's, interleaved.

A bare client asks one server; a balanced one the same server as one of four endpoints, or as the only one. Servers
run in another process, so what is counted is the client's CPU time. A ratio is the median over rounds of balanced
over bare in the same round.

The second table is what pools are about: fifty endpoints and a hundred tasks. The bare client goes to fifty hosts at random
over its one shared pool, the balanced one has a pool for each.

    python -m benchmarks.adapters [--check] [--rounds 15] [--requests 150]
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

Asking = Callable[[int], Awaitable[None]]


def blocking(get: Callable[[str], Any], url: str, read: Callable[[Any], Any]) -> Asking:
    """Ask a client that blocks."""

    async def ask(count: int) -> None:
        for _ in range(count):
            read(get(url))

    return ask


def waiting(get: Callable[[str], Any], url: str, read: Callable[[Any], Awaitable[Any]]) -> Asking:
    """Ask a client that does not."""

    async def ask(count: int) -> None:
        for _ in range(count):
            await read(await get(url))

    return ask


async def _async_content(response: Any) -> None:
    assert response.status_code == 200


def _content(response: Any) -> None:
    assert response.status_code == 200


async def _aiohttp_content(response: aiohttp.ClientResponse) -> None:
    await response.read()
    assert response.status == 200


async def cases(addresses: list[str]) -> tuple[dict[str, dict[str, Asking]], list[Any]]:
    """Return, by client, how to ask it bare, and balanced over one and over four; and what to close."""
    bare = f"http://{addresses[0]}/"
    found: dict[str, dict[str, Asking]] = {}
    open_: list[Any] = []
    for name, module, adapter in (("httpx2", httpx2, for_httpx2), ("httpx", httpx, for_httpx)):
        modules: Any = module
        adapters: Any = adapter
        clients = {
            "bare": modules.Client(trust_env=False),
            "1": modules.Client(transport=adapters.BalancedTransport(LoadBalancer(addresses[:1]))),
            "4": modules.Client(transport=adapters.BalancedTransport(LoadBalancer(addresses[:ENDPOINTS]))),
        }
        later = {
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
            k: waiting(c.get, bare if k == "bare" else "http://orders/", _async_content)
            for k, c in later.items()
        }
        open_ += [*clients.values(), *later.values()]
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
        k: waiting(s.get, bare if k == "bare" else "http://orders/", _aiohttp_content) for k, s in aio.items()
    }
    return found, [*open_, *sessions.values(), *aio.values()]


async def close(clients: list[Any]) -> None:
    """Close clients of all kinds."""
    for client in clients:
        closing = client.aclose() if hasattr(client, "aclose") else client.close()
        if closing is not None:
            await closing


async def cpu(ask: Asking, count: int) -> float:
    """Return the seconds of CPU a number of requests takes."""
    begin = time.process_time()
    await ask(count)
    return time.process_time() - begin


async def overhead(addresses: list[str], rounds: int, count: int) -> dict[str, tuple[float, float, float]]:
    """Return, by client, the microseconds of a bare request and both ratios."""
    found, clients = await cases(addresses)
    table: dict[str, tuple[float, float, float]] = {}
    for name, ways in found.items():
        for ask in ways.values():
            await ask(20)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, ask in ways.items():
                seconds[way].append(await cpu(ask, count))
        ratio = {
            way: statistics.median(
                ours / theirs for ours, theirs in zip(seconds[way], seconds["bare"], strict=True)
            )
            for way in ("1", "4")
        }
        table[name] = (statistics.median(seconds["bare"]) / count * 1e6, ratio["1"], ratio["4"])
    await close(clients)
    return table


async def crowd(addresses: list[str], rounds: int, tasks: int = 100, each: int = 8) -> dict[str, float]:
    """Return, by client, CPU time balanced over bare, of a hundred tasks over fifty endpoints."""
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
            theirs = await all_of(bare, logical=False)
            ours = await all_of(balanced, logical=True)
            if number:
                ratios.append(ours / theirs)
        table[name] = statistics.median(ratios)
        await close([bare, balanced])
    return table


def main() -> int:
    """Print both tables; with ``--check``, fail if a ratio is above its bound."""
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
        crowded = asyncio.run(crowd(addresses, max(3, options.rounds // 3)))
    missed = []
    print(f"{'client':14} {'bare, us':>9} {'1 endpoint':>11} {'4 endpoints':>12} {'bound':>6}")
    for name, (bare, one, four) in table.items():
        print(f"{name:14} {bare:9.0f} {one:11.3f} {four:12.3f} {BOUNDS[name]:6.2f}")
        missed += [name] * (four > BOUNDS[name])
    print("\n50 endpoints, 100 tasks: CPU over the bare client with its one pool")
    for name, ratio in crowded.items():
        print(f"{name:14} {ratio:9.3f}")
    missed += ["httpx, 50 endpoints"] * (crowded["httpx"] >= 1.0)
    figures = {
        f"{name}, {way}": row[1 + (way != "1 endpoint")]
        for name, row in table.items()
        for way in ("1 endpoint", "4 endpoints")
    }
    save(
        "adapters",
        {**figures, **{f"{name}, 50 endpoints": ratio for name, ratio in crowded.items()}},
        options.save,
    )
    if missed:
        print("above the bound:", ", ".join(missed))
    return int(options.check and bool(missed))


if __name__ == "__main__":
    sys.exit(main())
