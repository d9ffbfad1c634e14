"""Checks of a process that has no file descriptor left."""

from __future__ import annotations

import asyncio
import logging
import socket
import time

import pytest
from tests._descriptors import no_descriptor

from balancekit import LoadBalancer
from balancekit.checks import AsyncChecks, Schedule, TcpCheck, ThreadChecks, check_once

QUICK = Schedule(interval=0.05, timeout=0.05)
MAX_WAIT_S = 30.0
CANNOT, CAN = "endpoints cannot be checked", "endpoints can be checked again"


def wait_for(condition):
    """Wait until something is so."""
    deadline = time.monotonic() + MAX_WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


async def wait_in_loop_for(condition):
    """Do the same in a loop."""
    deadline = time.monotonic() + MAX_WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.005)


def judged(lb, caplog):
    """Expect that no endpoint was ejected, and one line about the shortage and one about its end."""
    messages = [record.getMessage() for record in caplog.records]
    assert [one.state for one in lb.stats().endpoints] == ["healthy", "healthy"]
    assert sum(CANNOT in message for message in messages) == 1
    assert sum(CAN in message for message in messages) == 1
    assert not any("eject" in message for message in messages)


@pytest.fixture
def endpoints():
    """Run two endpoints whose connections the system accepts: they need no descriptor for that."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        yield [listening.getsockname()[1] for listening in (one, other)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_threads_without_descriptors_eject_none(host, endpoints, caplog):
    """A check that cannot be made says nothing about its endpoint; it is logged once, and so is the end of the shortage."""
    caplog.set_level(logging.INFO, "balancekit")
    lb = LoadBalancer([f"{host}:{port}" for port in endpoints])
    runner = ThreadChecks(lb, TcpCheck(), schedule=QUICK)
    with no_descriptor():
        runner.start()
        wait_for(lambda: CANNOT in caplog.text)
        time.sleep(10 * QUICK.interval)
    with runner:
        wait_for(lambda: CAN in caplog.text)
    judged(lb, caplog)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tasks_without_descriptors_eject_none(host, endpoints, caplog):
    """On asyncio a check that cannot be made says nothing about its endpoint; it is logged once, and so is the end."""
    caplog.set_level(logging.INFO, "balancekit")
    lb = LoadBalancer([f"{host}:{port}" for port in endpoints])

    async def main():
        runner = AsyncChecks(lb, TcpCheck(), schedule=QUICK)
        with no_descriptor():
            await runner.start()
            await wait_in_loop_for(lambda: CANNOT in caplog.text)
            await asyncio.sleep(10 * QUICK.interval)
        async with runner:
            await wait_in_loop_for(lambda: CAN in caplog.text)

    asyncio.run(main())
    judged(lb, caplog)


def test_a_single_check_that_cannot_be_made_raises():
    """Without descriptors ``check_once`` raises the error of the system: the endpoints are neither well nor unwell."""

    async def main():
        with no_descriptor():
            return await check_once(["127.0.0.1:9"], TcpCheck())

    with pytest.raises(OSError, match="open files"):
        asyncio.run(main())
