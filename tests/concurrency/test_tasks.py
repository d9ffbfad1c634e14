"""Tasks: cancelled anywhere, a lease ends, and a cancellation blames none."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from balancekit import LoadBalancer, Outcome, RoundRobin


def test_a_thousand_cancelled_tasks_leave_nothing_in_flight():
    """1 000 tasks cancelled while they hold a lease: in-flight 0, each counted as cancelled."""
    balancer = LoadBalancer([f"e{k}" for k in range(5)])

    async def request():
        with balancer.acquire():
            await asyncio.sleep(3600)

    async def run():
        tasks = [asyncio.create_task(request()) for _ in range(1_000)]
        await asyncio.sleep(0)
        assert balancer.stats().inflight == 1_000
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)

    asyncio.run(run())
    stats = balancer.stats()
    assert stats.inflight == 0
    assert stats.outcomes[Outcome.CANCELLED] == 1_000
    assert {endpoint.state for endpoint in stats.endpoints} == {"healthy"}


def test_tasks_cancelled_at_any_point_balance_the_books():
    """Tasks that are cancelled before, between and after several leases leave nothing in flight."""
    balancer, rng = LoadBalancer(["a", "b", "c"], selector=RoundRobin()), Random(3)

    async def request():
        for _ in range(3):
            async with balancer.acquire() as lease:
                await asyncio.sleep(0)
                lease.first_byte()
                await asyncio.sleep(0)

    async def run():
        for _ in range(200):
            tasks = [asyncio.create_task(request()) for _ in range(5)]
            for _ in range(rng.randrange(8)):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    assert balancer.stats().inflight == 0


def test_a_timeout_around_the_block_is_the_callers():
    """A timeout of ``asyncio.timeout`` around a block ends its lease as cancelled, and the endpoint is not blamed."""
    balancer = LoadBalancer(["a"])

    async def run():
        async with asyncio.timeout(0.01):
            with balancer.acquire():
                await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert balancer.stats().outcomes[Outcome.CANCELLED] == 1


def test_a_timeout_inside_the_block_is_the_endpoints():
    """A TimeoutError that a client raises inside the block has the outcome of a timeout of the endpoint."""
    balancer = LoadBalancer(["a"])
    with pytest.raises(TimeoutError), balancer.acquire():
        raise TimeoutError
    assert balancer.stats().outcomes[Outcome.TIMEOUT] == 1


def test_a_closed_generator_cancels_its_lease():
    """The lease of a generator that is closed early ends as cancelled, and not as a failure."""
    balancer = LoadBalancer(["a"])

    def stream():
        with balancer.acquire():
            yield from range(1_000)

    chunks = stream()
    next(chunks)
    chunks.close()
    assert balancer.stats().outcomes[Outcome.CANCELLED] == 1
