"""All servers are restarted, one after the other, under 200 requests a second: no caller notices."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from balancekit import LoadBalancer
from balancekit.events import Event, Retried
from balancekit.retry import RetryBudget

from ._clients import SYNC, make

RATE = 200.0
CALLERS = 10
PROGRAM = str(Path(__file__).with_name("_process.py"))


class Fleet:
    """Three servers, each a process."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.ports = [0, 0, 0]
        self._processes: list[Any] = [None, None, None]
        for number in range(3):
            self._start(number)

    def _start(self, number: int) -> None:
        command = [sys.executable, PROGRAM, str(self.ports[number])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        self.ports[number] = int(process.stdout.readline())
        self._processes[number] = process

    def restart(self) -> None:
        """Restart each: asked to end, then killed, then started on the same port."""
        for number, process in enumerate(self._processes):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.25)
            process.kill()
            process.wait()
            time.sleep(0.1)
            self._start(number)
            time.sleep(0.25)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Three servers."""
    with ExitStack() as stack:
        yield Fleet(stack)


@contextmanager
def restarting(fleet: Fleet) -> Iterator[threading.Event]:
    """Restart the fleet in a thread; the event is set when it is done."""
    over = threading.Event()

    def work() -> None:
        try:
            time.sleep(0.3)
            fleet.restart()
        finally:
            over.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield over
    finally:
        thread.join()


def call_in_threads(kind: str, lb: LoadBalancer[str], over: threading.Event, **options: Any) -> list[Any]:
    """Call at the rate from threads that share a client, until it is over; return what they saw."""
    client = make(kind, lb, **options)
    seen: list[Any] = []

    def caller(number: int) -> None:
        due = time.monotonic() + number / RATE
        while not over.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            due += CALLERS / RATE
            try:
                seen.append(asyncio.run(client.get("http://orders/x")).status)
            except Exception as error:
                seen.append(error)

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(client.aclose())
    return seen


def call_in_tasks(kind: str, lb: LoadBalancer[str], over: threading.Event, **options: Any) -> list[Any]:
    """Send the same requests from tasks."""
    seen: list[Any] = []

    async def caller(client: Any, number: int) -> None:
        due = time.monotonic() + number / RATE
        while not over.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += CALLERS / RATE
            try:
                seen.append((await client.get("http://orders/x")).status)
            except Exception as error:
                seen.append(error)

    async def main() -> None:
        client = make(kind, lb, **options)
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(caller(client, number))
        await client.aclose()

    asyncio.run(main())
    return seen


@pytest.mark.parametrize("kind", [*SYNC, "httpx2-asyncio", "httpx-asyncio", "aiohttp"])
def test_no_caller_notices_and_retries_stay_within_the_budget(kind: str, fleet: Fleet) -> None:
    """During a rolling restart no idempotent request fails, and retries stay within the budget."""
    events: list[Event] = []
    lb = LoadBalancer([f"127.0.0.1:{port}" for port in fleet.ports], listeners=[events.append])
    call = call_in_threads if kind in SYNC else call_in_tasks
    with restarting(fleet) as over:
        seen = call(kind, lb, over, attempts=3, budget=RetryBudget())
    retries = sum(isinstance(event, Retried) for event in events)
    failures = [one for one in seen if one != 200]
    assert failures == []
    assert len(seen) >= 200, "the callers did not call"
    assert 1 <= retries <= 0.2 * len(seen) + 100.0
    assert lb.stats().inflight == 0
