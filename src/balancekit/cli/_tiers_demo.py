"""The command ``balancekit demo --tiers``: requests through several tiers, and the failure of one node of each.

.. code-block:: text

    caller ─► resolver cache ─► DNS: the nearest site that is up          2 sites
           └► address of the site ─► L4 proxy: equal Maglev tables        2 processes a site
                                     └► L7 edge: routes, attempts         2 processes a site
                                        └► HTTP server                    2 processes a site

All nodes are processes on this machine. While callers send requests, a server, an edge, a proxy and finally a whole site are
killed (SIGKILL) and not started again. As root, VRRP moves the address of the first site between two network namespaces.
Otherwise its two proxies listen on the same address.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import time
from contextlib import ExitStack
from typing import Any, Final

import aiohttp

from balancekit.balancer import LoadBalancer
from balancekit.cli._beside import beside
from balancekit.cli._console import output
from balancekit.cli._network import Network
from balancekit.cli._node import CHECKS, THRESHOLDS
from balancekit.cli._report import Note
from balancekit.cli._status import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, complain, remark
from balancekit.cli._tiers_callers import NETWORKS, Callers
from balancekit.cli._tiers_fleet import ROUTERS, Node, SiteAddress, TierFleet
from balancekit.cli._tiers_gslb import DETECTION_S, TTL_S, Authority, answering, site_pool
from balancekit.cli._tiers_report import Phase, TiersReport, print_tiers
from balancekit.cli._tiers_view import LiveTiers, PlainTiers, SilentTiers, TiersView
from balancekit.errors import ConfigurationError
from balancekit.events import Event

__all__ = ["DEFAULT_SECONDS", "MIN_SECONDS", "run_tiers_demo"]

DEFAULT_SECONDS: Final = 30.0
MIN_SECONDS: Final = 18.0
"""Minimum length of a run. The time after the failure of the site must be longer than detection plus TTL."""
SERVER_AT, EDGE_AT, PROXY_AT, SITE_AT = 0.10, 0.24, 0.38, 0.62
"""Times of the failures, as shares of the run."""
READY_TIMEOUT_S: Final = 60.0
LOOK_EVERY_S: Final = 0.1
WIDE: Final = 110
EDGE_DETECTION_S: Final = THRESHOLDS.detection(interval=CHECKS.interval, timeout=CHECKS.timeout).latest
DOWN_S: Final = ROUTERS[1].down(ROUTERS[1].interval)


class TiersDemo:
    """One run of the demo.

    Parameters
    ----------
    network
        The network in which VRRP moves the first site's address, or the reason why there is none.
    view
        The view that shows the run.
    seconds
        Seconds for which callers send requests.
    """

    def __init__(self, network: Network | str, view: TiersView, seconds: float) -> None:
        self.phases = [Phase("calm")]
        self.notes: list[Note] = []
        self._network = network if isinstance(network, Network) else None
        self._why_not = network if isinstance(network, str) else None
        self._view = view
        self._seconds = seconds
        self._began = time.monotonic()
        self._fleet = TierFleet(self._on_line)
        self._callers: Callers | None = None
        self._held = asyncio.Event()

    async def run(self) -> TiersReport:
        """Run the script; return its report, also if the run was interrupted."""
        with ExitStack() as stack:
            sites = self._addresses(stack)
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            async with self._fleet, aiohttp.ClientSession(connector=connector) as session:
                self._note("start 12 processes", "all")
                await asyncio.gather(*[self._fleet.start_site(site) for site in sites])
                await self._until_the_address_is_held()
                pool = site_pool({site.site: f"{site.host}:{site.port}" for site in sites})
                pool.on_event(self._on_event)
                hosts = {site.site: site.host for site in sites}
                async with answering(pool, hosts, NETWORKS) as authority:
                    return await self._play(session, authority, pool, sites[0].port)

    async def _play(
        self, session: aiohttp.ClientSession, authority: Authority, pool: LoadBalancer[str], port: int
    ) -> TiersReport:
        callers = Callers(session, dns_port=authority.port, port=port, phase=Phase("start"))
        await _until_ready(callers, pool)
        self._callers, callers.phase = callers, self.phases[0]
        self._began, before = time.monotonic(), authority.queries
        self.notes.clear()
        async with beside(callers.keep_coming()) as calling, beside(self._watch(authority, pool)):
            try:
                await self._script()
                callers.stop()
                await calling
            except asyncio.CancelledError:
                self._note("interrupted", "demo")
        return TiersReport(
            seconds=time.monotonic() - self._began,
            vrrp=self._network is not None,
            why_not=self._why_not,
            phases=self.phases,
            notes=self.notes,
            dns_queries=authority.queries - before,
        )

    async def _script(self) -> None:
        await self._until(SERVER_AT)
        await self._kill("server", "eu-server-1", detection=EDGE_DETECTION_S)
        await self._until(EDGE_AT)
        await self._kill("L7 edge", "us-l7-1", detection=EDGE_DETECTION_S)
        await self._until(PROXY_AT)
        holder = next((node.name for node in self._proxies() if node.role == "active"), "eu-l4-1")
        await self._kill("L4 proxy", holder, detection=DOWN_S if self._network else None)
        await self._until(SITE_AT)
        site = [node.name for node in self._fleet.nodes.values() if node.site == "us" and node.alive]
        await self._kill("site us", *site, detection=DETECTION_S, failures=DETECTION_S + TTL_S)
        await self._until(1.0)

    async def _kill(
        self, name: str, *nodes: str, detection: float | None, failures: float | None = None
    ) -> None:
        """Begin a new phase and kill nodes."""
        phase = Phase(name, nodes, time.monotonic(), detection, failures)
        self.phases.append(phase)
        assert self._callers is not None
        self._callers.phase = phase
        self._note("killed (SIGKILL)", nodes[0] if len(nodes) == 1 else name)
        await self._fleet.kill_nodes(*nodes)

    async def _until(self, share: float) -> None:
        await asyncio.sleep(max(0.0, self._began + share * self._seconds - time.monotonic()))

    async def _until_the_address_is_held(self) -> None:
        """Wait until the first proxy is active and the second is backup."""
        if self._network is not None:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._held.wait()

    async def _watch(self, authority: Authority, pool: LoadBalancer[str]) -> None:
        """Show the state of the run continuously, and measure the delays of this process."""
        while True:
            due = time.monotonic() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            phase = self.phases[-1]
            phase.stall = max(phase.stall, time.monotonic() - due)
            seen = sum(one.requests for one in self.phases)
            failures = sum(one.failures for one in self.phases)
            states = ", ".join([f"{one.id} {one.state}" for one in pool.stats().endpoints])
            summary = f"{seen} requests, {failures} failures; DNS: {states}, {authority.queries} queries"
            self._view.show(time.monotonic() - self._began, summary, self._fleet.nodes, self.notes)

    # ------------------------------------------------------------------ reports of nodes

    def _proxies(self) -> list[Node]:
        """Return the proxies of the first site, in order."""
        return [node for node in self._fleet.nodes.values() if (node.tier, node.site) == ("l4", "eu")]

    def _on_line(self, name: str, data: dict[str, Any]) -> None:
        """Process a line of data from a node."""
        node, phase = self._fleet.nodes[name], self.phases[-1]
        if data["kind"] == "stats":
            node.behind = {id: tuple(row) for id, row in data["endpoints"].items()}
        elif data["kind"] == "role":
            node.role = data["role"]
            self._note(f"is {node.role}", name)
            if [one.role for one in self._proxies()] == ["active", "backup"]:
                self._held.set()
            if node.role == "active" and phase.name == "L4 proxy":
                phase.on_detection(name, data["at"])
        elif data["kind"] == "event" and data["event"] in {"ejected", "restored"}:
            self._note(f"{data['event']} {data['endpoint']}", name)
            if data["event"] == "ejected" and data["endpoint"] in phase.killed and len(phase.killed) == 1:
                phase.on_detection(name, data["at"])

    def _on_event(self, event: Event) -> None:
        """Process an event of the balancer over the sites."""
        kind, phase = type(event).__name__.lower(), self.phases[-1]
        if kind in {"ejected", "restored"}:
            self._note(f"{kind} {event.endpoint}", "DNS")
            if kind == "ejected" and phase.name == f"site {event.endpoint}":
                phase.on_detection("DNS", event.at)

    def _note(self, event: str, node: str) -> None:
        note = Note(time=time.monotonic() - self._began, event=event, endpoint=node)
        self.notes.append(note)
        self._view.record(note)

    def _addresses(self, stack: ExitStack) -> list[SiteAddress]:
        """Return the addresses of the sites. Their common port is reserved while the stack is open."""
        hosts = {"eu": "127.0.0.2", "us": "127.0.0.3"}
        port = 0
        for host in hosts.values():
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((host, port))
            port = one.getsockname()[1]
        if self._network is not None:
            hosts["eu"] = ROUTERS[0].addresses[0]
        return [
            SiteAddress(site, host, port, self._network if site == "eu" else None)
            for site, host in hosts.items()
        ]


async def _until_ready(callers: Callers, pool: LoadBalancer[str]) -> None:
    """Send requests until both sites answer and their health checks pass."""
    async with asyncio.timeout(READY_TIMEOUT_S):
        ready = False
        while not ready:
            await asyncio.sleep(LOOK_EVERY_S)
            subnets = [network.replace("/16", "/24") for network in NETWORKS]
            probes = [callers.request(callers.resolvers[0], subnet, "/") for subnet in subnets]
            answered = await asyncio.gather(*probes)
            ready = all(answered) and all(one.state == "healthy" for one in pool.stats().endpoints)


async def _run(network: Network | str, view: TiersView, seconds: float) -> TiersReport:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await TiersDemo(network, view, seconds).run()


def run_tiers_demo(*, seconds: float | None, as_json: bool) -> int:
    """Run the demo and print its report.

    Parameters
    ----------
    seconds
        Seconds for which callers send requests; ``None`` for the default. The time to start the processes is added.
    as_json
        Print the report as JSON, and nothing during the run.

    Returns
    -------
    int
        Exit status: 0 for success, 1 if a request failed that should not fail by the formulas or a process did not start, 2
        if the system is not Linux, 130 if the run was interrupted.

    Raises
    ------
    ConfigurationError
        If ``seconds`` is less than 18.
    """
    seconds = DEFAULT_SECONDS if seconds is None else seconds
    if not sys.platform.startswith("linux"):
        remark("balancekit demo --tiers needs Linux: its sites are addresses of loopback")
        return EXIT_REFUSED
    if seconds < MIN_SECONDS:
        raise ConfigurationError("--seconds", seconds, f"at least {MIN_SECONDS:g} with --tiers")
    console = output(WIDE)
    view: TiersView = (
        SilentTiers() if as_json else LiveTiers(console) if console.is_terminal else PlainTiers()
    )
    with ExitStack() as stack:
        network: Network | str
        try:
            network = stack.enter_context(Network())
        except OSError as error:
            network = f"{error}"
        try:
            with view.opened():
                report = asyncio.run(_run(network, view, seconds))
        except (KeyboardInterrupt, asyncio.CancelledError):  # interrupted before the processes were ready
            return complain("balancekit demo --tiers", "interrupted", EXIT_INTERRUPTED)
        except (TimeoutError, RuntimeError) as error:
            why = f"{error}" or "the processes were not ready in time"
            return complain("balancekit demo --tiers", why, EXIT_FAILED)
    if as_json:
        json.dump(report.data(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        print_tiers(console, report)
    if any(note.event == "interrupted" for note in report.notes):
        return EXIT_INTERRUPTED
    return 0 if report.as_promised else EXIT_FAILED
