"""The command ``balancekit gslb serve``: a DNS server for a zone file, with health checks of its endpoints."""

from __future__ import annotations

import argparse
import errno
import math
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from balancekit._support import tables
from balancekit._support import validation as valid
from balancekit._support.extras import missing_text
from balancekit.balancer import LoadBalancer
from balancekit.checks import HttpCheck, Schedule, TcpCheck, ThreadChecks
from balancekit.cli._ending import Ending
from balancekit.cli._file_kinds import read_document
from balancekit.cli._status import EXIT_REFUSED, complain, remark
from balancekit.cli._zone_file import read_zone
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.gslb import ZoneFile, fixed_standings
from balancekit.health import Ejection, Lifecycle

__all__ = ["CheckedEndpoints", "reload", "serve"]

MAX_PORT: Final = 65_535
PORTS_TRIED: Final = 32
"""Maximum number of free UDP ports to try for port 0. About one in a few thousand is in use for TCP."""
CHECKS_DECIDE: Final = Lifecycle(ejection=Ejection(keep_last=False))
"""Health policy of the endpoints. It also ejects the last one: if all endpoints fail, all are down, and the policies of the
zone choose the answer. gdnsd does the same, because its monitors are independent of each other."""
CHECK_KEYS: Final = ("kind", "path", "port", "interval", "timeout")


def serve(path: Path, options: argparse.Namespace) -> int:
    """Answer queries until SIGTERM or SIGINT; return the exit status."""
    try:
        from dnslib.server import DNSLogger, DNSServer  # noqa: PLC0415 - a package of an extra

        from balancekit.adapters.dnslib import GslbHandler, GslbResolver, GslbTcpServer, GslbUdpServer  # noqa: PLC0415 - the same
    except ModuleNotFoundError as missing:
        return complain("balancekit gslb serve", missing_text(missing.name, "dnslib"), EXIT_REFUSED)
    from balancekit.cli._log_lines import CHANGES, log_lines  # noqa: PLC0415 - imports logging
    from balancekit.observability.logs import LEVELS, log_events  # noqa: PLC0415 - the same

    valid.integer("--port", options.port, minimum=0, maximum=MAX_PORT)
    seconds = (
        math.inf
        if options.seconds is None
        else valid.number("--seconds", options.seconds, above=0.0, unit="seconds")
    )
    read = read_zone(path, read_document(path))
    checked = None if read.check is None else CheckedEndpoints(read)
    ended = Ending()
    with ExitStack() as stack:
        stack.enter_context(log_lines("balancekit gslb serve"))
        resolver = GslbResolver(read.zone, fixed_standings({}) if checked is None else checked.balancer)

        def again() -> None:
            reload(path, resolver, checked)

        # Handled until all is closed: some supervisors send a second signal, which must not end the process halfway.
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: ended.set()))
        if hasattr(signal, "SIGHUP"):  # not on Windows
            previous = signal.signal(signal.SIGHUP, lambda *_: ended.call(again))
            stack.callback(signal.signal, signal.SIGHUP, previous)
        if checked is not None:
            stack.callback(log_events(checked.balancer, levels={**LEVELS, **CHANGES}))
            stack.enter_context(ThreadChecks(checked.balancer, checked.check, schedule=checked.schedule))
        quiet = DNSLogger("-request,-reply,-truncated,-error", prefix=False)
        rest = {"resolver": resolver, "logger": quiet, "handler": GslbHandler}

        def make(*, tcp: bool, **options: Any) -> Any:
            return DNSServer(tcp=tcp, server=GslbTcpServer if tcp else GslbUdpServer, **options)

        servers = _listening(make, options.host, options.port, **rest)
        for server in servers:
            stack.callback(server.server.server_close)
            server.start_thread()
            stack.callback(server.stop)
        host = f"[{options.host}]" if ":" in options.host else options.host
        port = servers[0].server.server_address[1]
        sys.stdout.write(f"{read.zone.origin} on {host}:{port}, UDP and TCP\n")
        sys.stdout.flush()
        ended.wait(seconds)
    return 0


def _listening(serve: Any, host: str, port: int, **rest: Any) -> tuple[Any, Any]:
    """Return a UDP server and a TCP server on the same port. Port 0 chooses one that is free for both.

    Raises
    ------
    ConfigurationError
        If a server cannot listen.
    """
    left = PORTS_TRIED if port == 0 else 1
    while True:
        left -= 1
        protocol = "UDP"
        with ExitStack() as stack:
            try:
                datagrams = serve(address=host, port=port, tcp=False, **rest)
                stack.callback(datagrams.server.server_close)
                protocol = "TCP"
                streams = serve(address=host, port=datagrams.server.server_address[1], tcp=True, **rest)
            except OSError as error:
                if left and error.errno == errno.EADDRINUSE:
                    continue
                why = f"{protocol}: {error.strerror or error}"
                allowed = f"an address of this machine and a port that is free ({why})"
                raise ConfigurationError("--host, --port", f"{host}:{port}", allowed) from None
            stack.pop_all()
            return datagrams, streams


class CheckedEndpoints:
    """A balancer over the endpoints of a zone, and the check from the table ``[check]`` of the zone file.

    Raises
    ------
    ConfigurationError
        If the table has an unknown key or a value that is not allowed.
    """

    def __init__(self, read: ZoneFile) -> None:
        self.table = dict(read.check or {})
        tables.reject_unknown("check", [key for key in self.table if key not in CHECK_KEYS], CHECK_KEYS)
        self._kind = tables.choice("check.kind", self.table.get("kind", "http"), ("http", "tcp"))
        self._port = valid.integer("check.port", self.table.get("port", 80), minimum=1, maximum=MAX_PORT)
        paths = {key: self.table[key] for key in ("path",) if key in self.table}
        self.check = TcpCheck() if self._kind == "tcp" else tables.call("check", HttpCheck, paths, ("path",))
        interval = valid.number("check.interval", self.table.get("interval", 5.0), above=0.0, unit="seconds")
        timeout = valid.number(
            "check.timeout",
            self.table.get("timeout", min(2.0, interval)),
            above=0.0,
            maximum=interval,
            unit="seconds",
        )
        self.schedule = Schedule(interval, timeout=timeout)
        self.balancer: LoadBalancer[str] = LoadBalancer(self._endpoints(read), health=CHECKS_DECIDE)

    def update(self, read: ZoneFile, switch: Callable[[], object]) -> None:
        """Use the endpoints of a new version of the zone. Endpoints that stay keep their health.

        ``switch`` replaces the zone; endpoints of both are there while it does, since one that is not there is down.
        """
        new = self._endpoints(read)
        ids = {each.id for each in new}
        self.balancer.update([*new, *[each for each in self.balancer.endpoints if each.id not in ids]])
        switch()
        self.balancer.update(new)

    def _endpoints(self, read: ZoneFile) -> list[Endpoint[str]]:
        found = []
        for id in sorted(read.zone.members()):
            address = read.addresses.get(id, (id,))[0]
            where = f"[{address}]:{self._port}" if ":" in address else f"{address}:{self._port}"
            found.append(Endpoint(id, where if self._kind == "tcp" else f"http://{where}"))
        return found


def reload(path: Path, resolver: Any, checked: CheckedEndpoints | None) -> None:
    """Read the zone file again, and use its zone and its endpoints. The check is not changed.

    If the file cannot be read, or has a check with which it could not be served, nothing changes, and a line on standard
    error states the reason.
    """
    from balancekit.adapters.dnslib import GslbResolver  # noqa: PLC0415 - an extra

    def switch() -> None:
        resolver.zone = read.zone

    try:
        read = read_zone(path, read_document(path))
        GslbResolver(read.zone, fixed_standings({}))  # raises if a record fits into no answer
        if read.check is not None:
            CheckedEndpoints(read)  # raises now, and not at the next start
        if checked is None:
            switch()
        else:
            checked.update(read, switch)
    except ConfigurationError as error:
        remark(f"balancekit gslb serve: kept the zone, the file cannot be read: {error}")
        return
    if (read.check or {}) != ({} if checked is None else checked.table):
        remark("balancekit gslb serve: the changed [check] table takes effect at the next start")
