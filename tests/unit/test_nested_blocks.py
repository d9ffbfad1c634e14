"""Blocks inside each other: what a block starts runs until the outermost one ends."""

from __future__ import annotations

import asyncio
import json

import pytest

from balancekit import LoadBalancer, UnavailableError, config
from balancekit._support.runner import AsyncRunner, ThreadRunner
from balancekit.sharing import AsyncRedisStore, RedisStore
from balancekit.sim import Recorder
from balancekit.waiting import WaitingQueue, WaitingRoom

NOTHING = json.dumps({"sums": [], "hints": [], "granted": []})
FACTS = {"endpoints": ["127.0.0.1:1"], "checks": {"kind": "tcp", "interval": 60.0}}


class Threads(ThreadRunner):
    """A runner that notes what happens to it."""

    def __init__(self, *, failing=False):
        self.running = False
        self.failing = failing

    def _start(self):
        if self.failing:
            raise OSError("no thread")
        self.running = True

    def stop(self):
        """Note it."""
        self.running = False


class Tasks(AsyncRunner):
    """The same on asyncio."""

    def __init__(self, *, failing=False):
        self.running = False
        self.failing = failing

    async def start(self):
        """Note it."""
        await asyncio.sleep(0)
        if self.failing:
            raise OSError("no task")
        self.running = True

    async def stop(self):
        """Note it."""
        self.running = False


def configured():
    """Return a configuration with a check, which its blocks run."""
    return config.load(FACTS)


def running(thing):
    """Return whether a runner or a configuration runs."""
    return bool(thing._running) if isinstance(thing, config.Configuration) else thing.running


@pytest.mark.parametrize("make", [Threads, configured])
def test_an_inner_block_stops_nothing(make):
    """After the inner block the runner goes on; after the outer one it is stopped, and another block starts it again."""
    runner = make()
    for _ in range(2):
        with runner:
            with runner:
                assert running(runner)
            assert running(runner)
        assert not running(runner)


@pytest.mark.parametrize("make", [Tasks, configured])
def test_an_inner_block_of_a_coroutine_stops_nothing(make):
    """An inner block of ``async with`` stops nothing, in one task or in two at a time."""

    async def whole():
        runner = make()
        for _ in range(2):
            async with runner:
                async with runner:
                    assert running(runner)
                assert running(runner)

                async def briefly():
                    async with runner:
                        await asyncio.sleep(0)

                await asyncio.gather(briefly(), briefly())
                assert running(runner)
            assert not running(runner)

    asyncio.run(whole())


def test_a_block_that_could_not_be_entered_does_not_count():
    """A start that fails leaves no block behind: the next block stops at its end."""
    threads = Threads(failing=True)
    with pytest.raises(OSError, match="no thread"), threads:
        pass
    threads.failing = False
    with threads:
        pass
    assert not threads.running

    async def whole():
        tasks = Tasks(failing=True)
        with pytest.raises(OSError, match="no task"):
            async with tasks:
                pass
        tasks.failing = False
        async with tasks:
            pass
        assert not tasks.running

    asyncio.run(whole())


def test_a_recorder_writes_until_its_outermost_block_ends(tmp_path):
    """Requests after an inner block are in the log, and those after the outer one are dropped and counted."""
    recorder = Recorder(LoadBalancer(["a"]), tmp_path / "log.jsonl")
    with recorder:
        with recorder:
            recorder.acquire().release()
        recorder.acquire().release()
    assert (tmp_path / "log.jsonl").read_text().count("success") == 2
    recorder.acquire().release()
    assert recorder.dropped == 1


def test_a_waiting_room_is_open_until_its_outermost_block_ends():
    """Requests after an inner block are served, and those after the outer one are refused."""
    room = WaitingRoom(LoadBalancer(["a"]), WaitingQueue(max_waiting=1))
    with room:
        with room:
            pass
        assert room.acquire().release()
    with pytest.raises(UnavailableError):
        room.acquire()


class Client:
    """A client of redis-py that answers nothing."""

    def eval(self, _script, _keys, *_arguments):
        """Answer nothing."""
        return NOTHING


class AsyncClient:
    """The same on asyncio."""

    async def eval(self, _script, _keys, *_arguments):
        """Answer nothing."""
        return NOTHING


def test_a_store_exchanges_until_its_outermost_block_ends():
    """After an inner block a store goes on; after the outer one it has ended."""
    store = RedisStore(Client(), name="x")
    with store:
        with store:
            pass
        store.start()
        assert store._thread is not None
    store._thread.join(5.0)
    assert not store._thread.is_alive()

    async def whole():
        store = AsyncRedisStore(AsyncClient(), name="x")
        async with store:
            async with store:
                pass
            assert store._task is not None
        assert store._task is None

    asyncio.run(whole())
