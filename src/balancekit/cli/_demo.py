"""The command ``balancekit demo``: real servers, a real client, and injected failures.

Four HTTP servers of different speeds run as processes on loopback, and callers send requests continuously. First there is a
burst of 2 000 concurrent requests. Then one server is killed and started again, another one is added, and one is drained.
Each request has up to three attempts at different endpoints. No request should fail.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress

import aiohttp

from balancekit.balancer import LoadBalancer
from balancekit.cli._beside import beside
from balancekit.cli._console import output
from balancekit.cli._fleet import Fleet
from balancekit.cli._report import DemoReport, Note
from balancekit.cli._status import EXIT_FAILED, EXIT_INTERRUPTED, complain
from balancekit.cli._traffic import Traffic
from balancekit.cli._view import LiveView, PlainView, Silent, View, print_report
from balancekit.endpoint import Endpoint
from balancekit.events import Event

__all__ = ["run_demo"]

DELAYS = {"amber": 0.008, "birch": 0.012, "cedar": 0.020, "drift": 0.040}
"""Median seconds to a response, by server."""
NEWCOMER = ("ember", 0.010)
CALLERS, PAUSE = 64, 0.1
BURST = 2_000
FILES = 8_192
WIDE = 100
"""Width of tables in columns if standard output is no terminal."""


class Demo:
    """One run of the demo."""

    def __init__(self, fleet: Fleet, session: aiohttp.ClientSession, view: View, seconds: float) -> None:
        self.notes: list[Note] = []
        self.names = list(DELAYS)
        self._fleet = fleet
        self._session = session
        self._view = view
        self._seconds = seconds
        self._began = 0.0
        self._done = 0.0
        """The share of the script that has been run."""

    async def run(self) -> DemoReport:
        """Run the script; return its report, also if the run was interrupted."""
        urls = await asyncio.gather(*[self._fleet.start(name, delay) for name, delay in DELAYS.items()])
        pool = [Endpoint(name, url) for name, url in zip(DELAYS, urls, strict=True)]
        self._began = time.monotonic()
        balancer = LoadBalancer(pool, listeners=[self._on_event])
        traffic = Traffic(balancer, self._session)
        async with (
            beside(self._show(balancer)),
            beside(traffic.keep_coming(CALLERS, PAUSE)) as calling,
        ):
            try:
                await self._script(balancer, traffic)
                traffic.stop()
                await calling
            except asyncio.CancelledError:
                self._note("interrupted", "demo")
        return DemoReport.of(traffic.counters, time.monotonic() - self._began, self.names, self.notes)

    async def _script(self, balancer: LoadBalancer[str], traffic: Traffic) -> None:
        await self._until(0.10)
        self._note(f"get {BURST} requests at once", "all")
        await traffic.burst(BURST)
        await self._until(0.30)
        self._note("killed (SIGKILL)", "birch")
        await self._fleet.kill("birch")
        await self._until(0.50)
        await self._fleet.start("birch")
        self._note("listens again", "birch")
        await self._until(0.60)
        name, delay = NEWCOMER
        balancer.add(Endpoint(name, await self._fleet.start(name, delay)))
        self.names.append(name)
        await self._until(0.75)
        balancer.drain("cedar", deadline=5.0)
        await self._until(1.0)

    async def _until(self, share: float) -> None:
        """Wait for the time between the previous share of the script and this one. The time of steps is not subtracted."""
        await asyncio.sleep((share - self._done) * self._seconds)
        self._done = share

    async def _show(self, balancer: LoadBalancer[str]) -> None:
        while True:
            self._view.show(time.monotonic() - self._began, balancer.stats(), self.notes)
            await asyncio.sleep(0.125)

    def _on_event(self, event: Event) -> None:
        self._record(Note.of(event, self._began))

    def _note(self, event: str, endpoint: str) -> None:
        self._record(Note(time=time.monotonic() - self._began, event=event, endpoint=endpoint))

    def _record(self, note: Note) -> None:
        self.notes.append(note)
        self._view.record(note)


async def _play(seconds: float, view: View) -> DemoReport:
    task = asyncio.current_task()
    assert task is not None
    # Event loops on Windows have no signal handlers; Ctrl-C works without them.
    with suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=10.0)
    async with Fleet() as fleet, aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        return await Demo(fleet, session, view, seconds).run()


def run_demo(*, seconds: float, as_json: bool) -> int:
    """Run the demo and print its report.

    Parameters
    ----------
    seconds
        Seconds for which callers send requests. The time of the burst and of starts of servers is added.
    as_json
        Print the report as JSON, and nothing during the run.

    Returns
    -------
    int
        Exit status: 0 for success, 1 if a request failed or a server did not start, 130 if the run was interrupted.
    """
    _allow_many_files()
    console = output(WIDE)
    view: View = Silent() if as_json else LiveView(console) if console.is_terminal else PlainView()
    try:
        with view:
            report = asyncio.run(_play(seconds, view))
    except (KeyboardInterrupt, asyncio.CancelledError):  # interrupted before the servers were ready
        return complain("balancekit demo", "interrupted", EXIT_INTERRUPTED)
    except (TimeoutError, RuntimeError) as error:
        return complain("balancekit demo", f"{error}" or "the servers were not ready in time", EXIT_FAILED)
    if as_json:
        json.dump(report.data(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        print_report(console, report)
    if any(note.event == "interrupted" for note in report.events):
        return EXIT_INTERRUPTED
    return EXIT_FAILED if report.failures else 0


def _allow_many_files() -> None:
    """Raise the limit on open files as far as possible: two thousand concurrent requests need two thousand sockets."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - POSIX only

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
