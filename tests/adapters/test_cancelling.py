"""A request that is cancelled leaves nothing behind, wherever it was waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from balancekit import First, LoadBalancer
from balancekit.adapters import hedge
from balancekit.retry import RetryBudget

from ._clients import make
from ._server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """One server that behaves."""
    with Server("a") as one:
        yield one


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["httpx2-asyncio", "httpx-asyncio", "aiohttp"])
@pytest.mark.parametrize("first_fails", [False, True])
def test_at_every_point_where_it_waits(kind: str, server: Server, first_fails: bool) -> None:
    """Cancelled after each number of steps of the event loop, until the request is fast enough to be whole."""
    dead = "127.0.0.1:1"
    lb = LoadBalancer([dead, server.address][not first_fails :], selector=First(), health=None)

    async def steps_then_cancel(client: Any, steps: int) -> bool:
        task = asyncio.ensure_future(client.get("http://orders/drip?n=3&gap=0.001"))
        for _ in range(steps):
            await asyncio.sleep(0)
            if task.done():
                break
        else:
            await asyncio.sleep(0.0004 * (steps % 7))  # some waits are for the network, not for a turn
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return False
        return True

    async def main() -> tuple[int, int]:
        client = make(kind, lb, budget=RetryBudget(reserve=1e6))
        whole = cut = 0
        try:
            for steps in range(120):
                if await steps_then_cancel(client, steps):
                    whole += 1
                else:
                    cut += 1
                await asyncio.sleep(0)
                assert lb.stats().inflight == 0, steps
            await client.get("http://orders/ok")  # and the pool of connections has survived
        finally:
            await client.aclose()
        return whole, cut

    whole, cut = asyncio.run(main())
    assert cut >= 30, (whole, cut)
    assert lb.stats().inflight == 0


@pytest.mark.parametrize("kind", ["httpx2-asyncio", "httpx-asyncio", "aiohttp"])
def test_a_time_out_around_the_call_blames_none(kind: str, server: Server) -> None:
    """``asyncio.timeout`` looks like cancellation from inside."""
    lb = LoadBalancer([server.address])

    async def main() -> None:
        client = make(kind, lb)
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.get("http://orders/slow?seconds=5")
        finally:
            await client.aclose()

    asyncio.run(main())
    found = lb.stats()[server.address]
    assert found.inflight == 0
    assert {outcome.value for outcome, count in found.outcomes.items() if count} == {"cancelled"}


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # sockets that httpx leaves open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_hedged_call_that_is_cancelled_ends_cancelled(server: Server) -> None:
    """Wherever the caller cancels a hedged call, it ends with a result or as cancelled, never with another error."""
    import httpx

    async def main() -> set[str]:
        ends = set()
        for turn in range(120):
            lb = LoadBalancer([server.address, f"localhost:{server.address.rpartition(':')[2]}"])

            async def call(lb: LoadBalancer[str] = lb) -> int:
                async with httpx.AsyncClient() as client:
                    path = "slow?seconds=0.003"
                    answer = await hedge(
                        lb, lambda lease: client.get(f"http://{lease.target}/{path}"), delay=0.002
                    )
                    return answer.status_code

            task = asyncio.ensure_future(call())
            for _ in range(turn % 8):
                await asyncio.sleep(0.0004)
            task.cancel()
            try:
                ends.add(str(await task))
            except asyncio.CancelledError:
                ends.add("cancelled")
            assert lb.stats().inflight == 0
        return ends

    assert asyncio.run(main()) <= {"200", "cancelled"}
