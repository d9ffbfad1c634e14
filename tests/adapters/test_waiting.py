"""Adapters that wait in a room, over real sockets: a request that finds no slot is sent when one is free."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from balancekit import ConfigurationError, LoadBalancer, SaturatedError
from balancekit.adapters import request_options
from balancekit.adapters.requests import BalancedAdapter
from balancekit.routing import MaxInFlight
from balancekit.waiting import WaitingQueue, WaitingRoom, WaitingTimeoutError

from ._clients import KINDS, SYNC, play
from ._server import Server

WAITING_KINDS = [kind for kind in KINDS if not kind.endswith("trio")]
every_client = pytest.mark.parametrize("kind", WAITING_KINDS)


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Two servers."""
    with ExitStack() as stack:
        yield [stack.enter_context(Server(name)) for name in ("a", "b")]


def room_for(servers: list[Server], **options: Any) -> tuple[LoadBalancer[str], WaitingRoom[str]]:
    """Return a balancer with one slot at each server, and a room of it."""
    lb = LoadBalancer([server.address for server in servers], selector=MaxInFlight(1))
    return lb, WaitingRoom(lb, WaitingQueue(max_waiting=32, order="fifo"), **options)


def until(condition: Callable[[], object]) -> None:
    """Let other threads run until something is so."""
    while not condition():
        time.sleep(0.001)


async def until_async(condition: Callable[[], object]) -> None:
    """Let other tasks run until something is so."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)


@every_client
def test_a_request_is_sent_when_a_slot_becomes_free(kind: str, servers: list[Server]) -> None:
    """While the one slot is taken, a request waits in the room and nothing is sent; when its lease ends, it is answered."""
    lb, room = room_for(servers[:1], timeout=60.0)
    held = lb.acquire()

    def end_it() -> None:
        until(lambda: len(room))
        assert not servers[0].seen
        held.release()

    async def scenario(client: Any) -> None:
        thread = threading.Thread(target=end_it)
        if kind in SYNC:  # the client blocks this thread, whose loop then runs nothing else
            thread.start()
            answer = await client.get("http://orders/ok")
        else:
            task = asyncio.ensure_future(client.get("http://orders/ok"))
            await until_async(lambda: len(room))
            assert not servers[0].seen
            held.release()
            answer = await task
        assert (answer.status, answer.text) == (200, "a")
        if kind in SYNC:
            thread.join()

    play(kind, lb, scenario, waiting=room)
    assert len(room) == 0
    assert lb.stats().completed == 2


@every_client
def test_no_slot_in_time_is_the_clients_own_error(kind: str, servers: list[Server]) -> None:
    """After the room's timeout, or the request's own deadline, the client raises its error from WaitingTimeoutError; nothing is sent."""
    lb, room = room_for(servers[:1], timeout=0.05)
    held = lb.acquire()

    async def scenario(client: Any) -> None:
        for timeout in (None, 0.01):
            with request_options(timeout=timeout), pytest.raises(client.refused) as caught:
                await client.get("http://orders/ok")
            cause: BaseException | None = caught.value
            while cause is not None and not isinstance(cause, WaitingTimeoutError):
                cause = cause.__cause__ or cause.__context__
            assert cause is not None
        held.release()

    play(kind, lb, scenario, waiting=room)
    assert not servers[0].seen
    assert len(room) == 0


@every_client
def test_a_retry_does_not_wait(kind: str, servers: list[Server]) -> None:
    """A further attempt takes a slot that is free, or none: the answer in hand is returned."""
    lb, room = room_for(servers, timeout=60.0)
    for server in servers:
        server.always = "/status?code=503"

    async def scenario(client: Any) -> None:
        answer = await client.get("http://orders/ok")
        assert answer.status == 503
        assert answer.info.attempts == 2
        lease = room.acquire()
        answer = await client.get("http://orders/ok")
        assert answer.status == 503
        assert answer.info.attempts == 1
        lease.release()

    play(kind, lb, scenario, waiting=room)


def test_the_more_critical_request_is_sent_first(servers: list[Server]) -> None:
    """``request_options(criticality=)`` and ``tenant=`` reach the room. The more critical request is sent first."""
    lb, room = room_for(servers[:1], timeout=60.0)
    held = room.acquire()

    async def scenario(client: Any) -> None:
        async def ask(path: str, **options: Any) -> None:
            with request_options(**options):
                await client.get(f"http://orders/{path}")

        tasks = []
        for number, (path, options) in enumerate(
            [
                ("ok?1", {"tenant": "large"}),
                ("ok?2", {"tenant": "large"}),
                ("ok?3", {"tenant": "small"}),
                ("ok?4", {"criticality": 2}),
            ],
            1,
        ):
            tasks.append(asyncio.ensure_future(ask(path, **options)))
            await until_async(lambda number=number: len(room) == number)
        held.release()
        await asyncio.gather(*tasks)

    play("httpx2-asyncio", lb, scenario, waiting=room)
    assert [seen.path[-1] for seen in servers[0].seen] == ["4", "1", "3", "2"]


@pytest.mark.parametrize("kind", ["httpx2-asyncio", "aiohttp"])
def test_a_cancelled_request_leaves_no_place_and_no_slot(kind: str, servers: list[Server]) -> None:
    """A task that is cancelled in the room, or as its slot comes, leaves nothing in flight and the next one is sent."""
    lb, room = room_for(servers[:1], timeout=60.0)

    async def scenario(client: Any) -> None:
        held = lb.acquire()
        tasks = [asyncio.ensure_future(client.get("http://orders/ok")) for _ in range(3)]
        await until_async(lambda: len(room) == 3)
        tasks[1].cancel()
        held.release()  # to the first, which does not run before the next line
        tasks[0].cancel()
        assert (await tasks[2]).text == "a"
        assert all(
            isinstance(one, asyncio.CancelledError)
            for one in await asyncio.gather(*tasks[:2], return_exceptions=True)
        )

    play(kind, lb, scenario, waiting=room)
    assert len(room) == 0
    assert [seen.path for seen in servers[0].seen] == ["/ok"]


def test_many_threads_share_few_slots(servers: list[Server]) -> None:
    """With 32 threads on two slots, all requests are answered and never more than two are in flight."""
    import requests

    lb, room = room_for(servers, timeout=60.0)
    most = [0]
    lb.on_start(lambda _: most.__setitem__(0, max(most[0], lb.stats().inflight)))
    session = requests.Session()
    session.mount("http://orders/", BalancedAdapter(lb, waiting=room, pool_maxsize=32))
    statuses = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(session.get("http://orders/slow?seconds=0.005").status_code)
        )
        for _ in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.close()
    assert statuses == [200] * 32
    assert most[0] <= 2
    assert lb.stats().inflight == len(room) == 0


def test_a_full_room_is_the_clients_own_error(servers: list[Server]) -> None:
    """A request beyond the places of the room fails at once, from SaturatedError."""
    import httpx2

    from balancekit.adapters.httpx2 import BalancedTransport

    lb = LoadBalancer([servers[0].address], selector=MaxInFlight(1))
    room = WaitingRoom(lb, WaitingQueue(max_waiting=0))
    with httpx2.Client(transport=BalancedTransport(lb, waiting=room)) as client, lb.acquire():
        with pytest.raises(httpx2.ConnectError) as caught:
            client.get("http://orders/ok")
        assert isinstance(caught.value.__cause__, SaturatedError)


def test_a_room_of_another_balancer_is_refused(servers: list[Server]) -> None:
    """A room of another balancer, what is not a room, and a second way to wait are refused."""
    lb, room = room_for(servers)
    other, _ = room_for(servers)
    for options in ({"waiting": 5}, {"waiting": room, "wait_for_capacity": 1.0}):
        with pytest.raises(ConfigurationError):
            BalancedAdapter(lb, **options)
    with pytest.raises(ConfigurationError, match="same balancer"):
        BalancedAdapter(other, waiting=room)
