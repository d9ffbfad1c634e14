"""A request that is cancelled leaves nothing behind, wherever it was waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import anyio
import pytest

from balancekit import First, LoadBalancer, Outcome
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
    """A request that is cancelled after any number of steps of the event loop leaves no lease open."""
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
    """A timeout of ``asyncio.timeout`` around a call ends its lease as cancelled, and blames no endpoint."""
    lb = LoadBalancer([server.address])

    async def main() -> None:
        client = make(kind, lb)
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
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


class Streamed:
    """A result that has to be closed."""

    closed = False

    async def aclose(self) -> None:
        """Close it."""
        self.closed = True


@pytest.mark.parametrize(("backend", "natively"), [("asyncio", False), ("asyncio", True), ("trio", False)])
def test_a_result_that_a_cancelled_hedge_does_not_return_is_closed(backend: str, natively: bool) -> None:
    """A call that is cancelled while its slower attempt still cleans up closes the result that it has already."""
    result, lb = Streamed(), LoadBalancer(["a", "b"], selector=First())

    async def attempt(lease: Any) -> Streamed:
        if lease.target == "a":
            try:
                await anyio.sleep(30.0)
            finally:
                with anyio.CancelScope(shield=True):
                    won.set()
                    await over.wait()
        return result

    async def main() -> None:
        nonlocal won, over
        won, over = anyio.Event(), anyio.Event()

        async def end(cancel: Any) -> None:
            await won.wait()
            cancel()
            await anyio.sleep(0.01)
            over.set()

        async with anyio.create_task_group() as group:
            if natively:
                task = asyncio.ensure_future(hedge(lb, attempt, delay=0.001))
                group.start_soon(end, task.cancel)
                with pytest.raises(asyncio.CancelledError):
                    await task
                return
            with anyio.CancelScope() as scope:
                group.start_soon(end, scope.cancel)
                await hedge(lb, attempt, delay=0.001)
            assert scope.cancelled_caught

    won = over = cast("anyio.Event", None)
    anyio.run(main, backend=backend)
    assert result.closed
    assert lb.stats().inflight == 0


class Ending(BaseException):
    """Neither an Exception nor a cancellation."""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", [Ending, SystemExit, KeyboardInterrupt])
def test_what_ends_an_attempt_for_good_ends_the_hedged_call_as_it_is(
    backend: str, kind: type[BaseException]
) -> None:
    """SystemExit and its like arrive at the caller bare, not in an exception group."""
    lb = LoadBalancer(["a", "b"])

    async def attempt(_lease: Any) -> None:
        raise kind

    async def main() -> BaseException | None:
        try:
            await hedge(lb, attempt, delay=30.0)
        except kind as error:
            return error
        return None

    assert isinstance(anyio.run(main, backend=backend), kind)
    assert lb.stats().inflight == 0


class OnceSelector:
    """A selector that raises from its second pick on."""

    picks = 0

    def select(self, snapshot: Any, ctx: Any) -> Any:
        """Pick the first."""
        self.picks += 1
        if self.picks > 1:
            raise ZeroDivisionError
        return snapshot.candidates(ctx)[0]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_error_of_the_second_pick_ends_the_hedged_call_as_it_is(backend: str) -> None:
    """What a selector raises for the second attempt arrives bare, and the first attempt is cancelled."""
    lb = LoadBalancer(["a", "b"], selector=OnceSelector())

    async def attempt(_lease: Any) -> None:
        await anyio.sleep(30.0)

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await hedge(lb, attempt, delay=0.001)

    anyio.run(main, backend=backend)
    assert lb.stats().outcomes[Outcome.CANCELLED] == 1
    assert lb.stats().inflight == 0


class WithoutHash:  # noqa: PLW1641 - to have no hash is what is tested
    """A wrapper that compares by value, and so has no hash."""

    def __init__(self, inner: LoadBalancer[str]) -> None:
        self.inner = inner

    def __eq__(self, other: object) -> bool:
        """Compare by value, which takes the hash away."""
        return isinstance(other, WithoutHash) and other.inner is self.inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class WithoutWeakReferences:
    """A wrapper with slots."""

    __slots__ = ("inner",)

    def __init__(self, inner: LoadBalancer[str]) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize("wrapper", [WithoutHash, WithoutWeakReferences])
def test_a_wrapped_balancer_is_hedged_whatever_the_wrapper_supports(wrapper: Any) -> None:
    """A quantile as the delay needs neither a hash nor weak references of the balancer."""
    lb = wrapper(LoadBalancer(["a", "b"], timed=True))

    async def attempt(lease: Any) -> str:
        return str(lease.target)

    assert asyncio.run(hedge(lb, attempt, delay="p50")) in {"a", "b"}
