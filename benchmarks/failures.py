"""Errors that callers get while servers crash, hang, refuse, flap and drain: real processes, for one minute.

    uv run python -m benchmarks.failures                 one minute
    uv run python -m benchmarks.failures --check         fail if a figure is wrong
    uv run python -m benchmarks.failures --seconds 30    a shorter run

There are six HTTP servers. Passive health, damping and active checks are on. During the run, ``crash`` gets SIGKILL and is
started again. ``hang`` gets SIGSTOP and later SIGCONT. ``refuse`` answers 503 at once and later recovers. ``flap`` answers 503
for 3 s, then normally for 3 s, and so on. ``drain`` is drained. Nothing happens to ``well``. Callers make idempotent
requests, each with up to four attempts on different endpoints.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import threading
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp

from balancekit import LoadBalancer, Outcome, UnavailableError
from balancekit.checks import AsyncChecks, HttpCheck, Schedule
from balancekit.events import Drained, Draining, Ejected, Event, Restored
from balancekit.health import FlapDamping, Lifecycle, Thresholds

NAMES = ("crash", "hang", "refuse", "flap", "drain", "well")
SCHEDULE = Schedule(interval=1.0, timeout=0.5, fast=0.5)
THRESHOLDS = Thresholds(rise=2, fall=3)
POLICY = Lifecycle(thresholds=THRESHOLDS, damping=FlapDamping(half_life=10.0, max_suppress=50.0))
CALLERS, PAUSE, ATTEMPTS, ATTEMPT_TIMEOUT = 24, 0.02, 4, 0.5
BOUND = THRESHOLDS.detection(interval=SCHEDULE.interval, timeout=SCHEDULE.timeout).latest


class Fleet:
    """The server processes."""

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self.ports: dict[str, int] = {}

    async def start(self, name: str) -> None:
        """Start a server, on the port that it had before, if any."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks._faulty_server", f"--name={name}"),
            f"--port={self.ports.get(name, 0)}",
            stdin=PIPE,
            stdout=PIPE,
        )
        assert process.stdout is not None
        self.ports[name] = int(await asyncio.wait_for(process.stdout.readline(), 20.0))
        self.processes[name] = process

    def url(self, name: str) -> str:
        """Return the URL of a server."""
        return f"http://127.0.0.1:{self.ports[name]}"


@contextlib.asynccontextmanager
async def fleet() -> AsyncIterator[Fleet]:
    """Run the servers. Kill them at the end."""
    servers = Fleet()
    try:
        for name in NAMES:
            await servers.start(name)
        yield servers
    finally:
        for process in servers.processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()


class Callers:
    """Callers that make requests with several attempts, and the results."""

    def __init__(self, balancer: LoadBalancer[str], session: aiohttp.ClientSession) -> None:
        self.balancer, self.session = balancer, session
        self.served: Counter[str] = Counter()
        self.starts: list[tuple[float, str]] = []
        self.failures: Counter[str] = Counter()
        self.retries = 0
        self.slowest = 0.0
        self.stopping = False

    async def run(self) -> None:
        """Make requests until :attr:`stopping` is set, each caller one after the other."""

        async def caller(number: int) -> None:
            await asyncio.sleep(PAUSE * number / CALLERS)
            while not self.stopping:
                began = time.monotonic()
                await self.request()
                self.slowest = max(self.slowest, time.monotonic() - began)
                await asyncio.sleep(PAUSE)

        await asyncio.gather(*[caller(number) for number in range(CALLERS)])

    async def request(self) -> None:
        """Make one request."""
        failed = []
        try:
            for number, lease in enumerate(self.balancer.attempts(ATTEMPTS)):
                self.retries += number > 0
                self.starts.append((time.monotonic(), lease.endpoint.id))
                with contextlib.suppress(aiohttp.ClientError, TimeoutError), lease:
                    async with self.session.get(lease.target + "/") as response:
                        await response.read()
                        if response.ok:
                            self.served[lease.endpoint.id] += 1
                            return
                        lease.release(Outcome.FAILURE)
                failed.append(lease.endpoint.id)
        except UnavailableError as error:
            failed.append(str(error))
        self.failures[", ".join(failed)] += 1


class Log:
    """The events of the balancer, and the time of each server's fault."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.faults: dict[str, float] = {}

    def first(self, name: str, kind: type[Event], after: float) -> Event | None:
        """Return the first event of a kind about an endpoint at or after a time."""
        found = (e for e in self.events if isinstance(e, kind) and e.endpoint == name and e.at >= after)
        return next(found, None)


async def faults(
    servers: Fleet,
    balancer: LoadBalancer[str],
    session: aiohttp.ClientSession,
    log: Log,
    minute: float,
) -> int:
    """Cause all faults. Return how many requests the drained server had answered when the drain had ended."""
    began = time.monotonic()

    async def at(share: float) -> None:
        await asyncio.sleep(max(0.0, began + share * minute - time.monotonic()))

    async def set_mode(name: str, mode: str) -> None:
        log.faults.setdefault(name, time.monotonic())
        async with session.get(f"{servers.url(name)}/mode?mode={mode}") as response:
            await response.read()

    await at(0.05)
    await set_mode("flap", "flapping")
    await at(0.10)
    log.faults["drain"] = time.monotonic()
    balancer.drain("drain", deadline=5.0)
    await at(0.20)
    async with session.get(servers.url("drain") + "/count") as response:
        answered = int(await response.text())
    log.faults["crash"] = time.monotonic()
    servers.processes["crash"].kill()
    await servers.processes["crash"].wait()
    await at(0.32)
    log.faults["hang"] = time.monotonic()
    servers.processes["hang"].send_signal(signal.SIGSTOP)
    await at(0.45)
    await set_mode("refuse", "refusing")
    await at(0.58)
    await servers.start("crash")
    await at(0.64)
    servers.processes["hang"].send_signal(signal.SIGCONT)
    await at(0.70)
    await set_mode("refuse", "well")
    await at(1.0)
    return answered


async def minute(seconds: float) -> list[str]:
    """Run the benchmark and print the figures. Return a line for each wrong one."""
    log = Log()
    timeout = aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT)
    connector = aiohttp.TCPConnector(limit=0, force_close=False)
    async with fleet() as servers, aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        balancer = LoadBalancer(
            {name: servers.url(name) for name in NAMES},
            health=POLICY,
            listeners=[log.events.append],
        )
        callers = Callers(balancer, session)
        async with AsyncChecks(balancer, HttpCheck(path="/health"), schedule=SCHEDULE):
            requests = asyncio.create_task(callers.run())
            answered = await faults(servers, balancer, session, log, seconds)
            callers.stopping = True
            await requests
        tasks = len(asyncio.all_tasks()) - 1
        async with session.get(servers.url("drain") + "/count") as response:
            answered = int(await response.text()) - answered
    return report(balancer, callers, log, answered, tasks)


def report(balancer: LoadBalancer[str], callers: Callers, log: Log, answered: int, tasks: int) -> list[str]:
    """Print the figures. Return a line for each wrong one."""
    total = sum(callers.served.values()) + sum(callers.failures.values())
    wrong = [f"failed: {count} x {why}" for why, count in callers.failures.items()]
    print(f"requests {total}, failures {sum(callers.failures.values())}, retries {callers.retries}, ", end="")
    print(f"slowest {callers.slowest:.2f} s")
    print(f"served by {dict(callers.served)}")
    print(f"\ndetection, bound interval * fall + timeout = {BOUND:.1f} s")
    for name in ("crash", "hang", "refuse", "flap"):
        event = log.first(name, Ejected, log.faults[name])
        if not isinstance(event, Ejected):
            wrong.append(f"{name} was not detected")
            continue
        spent = event.at - log.faults[name]
        print(f"  {name:8}{spent:6.2f} s  {event.cause}")
        if spent > BOUND:
            wrong.append(f"{name} was detected after {spent:.2f} s")
        if name != "flap" and log.first(name, Restored, event.at) is None:
            wrong.append(f"{name} was not restored")
    flaps = Counter(type(event).__name__ for event in log.events if event.endpoint == "flap")
    print(f"\nflap      {dict(flaps)}")
    draining = next(event for event in log.events if isinstance(event, Draining))
    drained = next((event for event in log.events if isinstance(event, Drained)), None)
    late = [name for when, name in callers.starts if name == "drain" and when > draining.at]
    print(
        f"drain     {len(late)} requests started after it began, {answered} answered after it ended; ", end=""
    )
    print("never drained" if drained is None else f"drained after {drained.at - draining.at:.3f} s")
    if late or answered or drained is None or drained.forced:
        wrong.append("the drained endpoint got requests, or was not drained")
    stats = balancer.stats()
    threads = threading.active_count() - 1
    print(f"\nin flight {stats.inflight}, tasks left {tasks}, threads left {threads}")
    print("states    " + ", ".join(f"{endpoint.id} {endpoint.state}" for endpoint in stats.endpoints))
    if stats.inflight or tasks or threads:
        wrong.append("requests, tasks or threads are left")
    return wrong


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.failures", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is wrong")
    options = parser.parse_args()
    wrong = asyncio.run(minute(options.seconds))
    for line in wrong:
        print("wrong:", line)
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
