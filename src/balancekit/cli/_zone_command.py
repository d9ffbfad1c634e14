"""Zone files on the command line: ``gslb serve``, and what ``explain`` and ``plan`` do with them."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from balancekit._support import validation as valid
from balancekit.balancer import LoadBalancer
from balancekit.checks import HttpCheck, Schedule, TcpCheck, ThreadChecks
from balancekit.cli._file_kinds import read_document
from balancekit.cli._status import EXIT_REFUSED, remark
from balancekit.cli._text_file import read_text, readable
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.gslb import (
    ChangePlan,
    Client,
    Locations,
    Query,
    Reply,
    StaticRecords,
    ZoneFile,
    fixed_standings,
    read_csv,
    read_mmdb,
    zone_file,
)
from balancekit.health import AccruedFailures

__all__ = ["add_gslb", "explain", "plan", "run_gslb"]

Document = Mapping[str, Any]
SIGNAL_POLL_S: Final = 0.25
"""Handlers run in the main thread, which a signal does not wake if another thread receives it."""
MAX_PORT: Final = 65_535
MAX_STEPS: Final = 1_000
"""Lines of a simulation."""
CHECK_KEYS: Final = {"kind", "path", "port", "interval", "timeout"}


def add_gslb(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``balancekit gslb``."""
    commands = parser.add_subparsers(dest="gslb", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="answer DNS queries from a zone file, over UDP and TCP",
        description="Answers until SIGTERM or SIGINT; reads the file again on SIGHUP. Needs balancekit[dnslib].",
    )
    serve.add_argument("file", metavar="FILE", help="a zone file (TOML or JSON)")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, default=5353, help="the port (default 5353)")
    serve.add_argument("--seconds", type=float, help="end after so many seconds")
    simulating = commands.add_parser(
        "simulate",
        help="play a death and a return in virtual time, with caching resolvers",
        description="Where requests go and how many fail, in steps of time; and when the last one fails. Endpoints are "
        "monitored by --fall, --rise and --interval; each resolver has a cache and sends a client subnet in 10.0.0.0/8.",
    )
    simulating.add_argument("file", metavar="FILE", help="a zone file (TOML or JSON)")
    simulating.add_argument("name", metavar="NAME", help="a name in it that has a policy, as it stands there")
    for word, what in (("down", "die"), ("up", "return")):
        simulating.add_argument(
            f"--{word}",
            action="append",
            default=[],
            metavar="ID,ID@SECONDS",
            help=f"endpoints that {what}, and when",
        )
    simulating.add_argument("--seconds", type=float, default=300.0, help="(default 300)")
    simulating.add_argument("--step", type=float, default=15.0, help="seconds a line (default 15)")
    simulating.add_argument("--resolvers", type=int, default=200, help="(default 200)")
    simulating.add_argument(
        "--clients", metavar="FILE", help="client subnets, one a line; a resolver for each instead"
    )
    simulating.add_argument(
        "--fall", type=int, default=3, help="failed checks until an endpoint is down (default 3)"
    )
    simulating.add_argument("--rise", type=int, default=2, help="passed checks until it is up (default 2)")
    simulating.add_argument("--interval", type=float, default=5.0, help="seconds between checks (default 5)")
    simulating.add_argument("--seed", type=int, default=1, help="of everything that is random")
    simulating.add_argument("--json", action="store_true", help="print data")


def run_gslb(options: argparse.Namespace) -> int:
    """Serve a zone; return the exit status."""
    path = Path(options.file)
    read = _read(path, read_document(path))
    return _simulate(read, options) if options.gslb == "simulate" else _serve(path, read, options)


def explain(path: Path, document: Document, words: Sequence[str]) -> int:
    """Print the answer to one query, and how it came about."""
    parser = argparse.ArgumentParser(
        prog=f"balancekit explain {path}", description="Answer one query, with reasons."
    )
    parser.add_argument("name", metavar="NAME", help="the name asked for, with or without the zone's")
    parser.add_argument("--kind", default="A", help="the record type (default A)")
    parser.add_argument("--subnet", help="the client subnet in the query")
    parser.add_argument("--resolver", default="192.0.2.53", help="the address that the query comes from")
    parser.add_argument(
        "--down", default="", metavar="ID,ID", help="endpoints that are down; all others are up"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random choices")
    parser.add_argument("--json", action="store_true", help="print data")
    asked = parser.parse_args(words)
    zone = _read(path, document).zone
    down = [id for id in asked.down.split(",") if id]
    unknown = [id for id in down if id not in zone.members()]
    if unknown:
        raise ConfigurationError(
            "--down", unknown[0], f"endpoints of the zone: {', '.join(sorted(zone.members()))}"
        )
    name = asked.name.rstrip(".")
    if name != zone.origin and not name.endswith(f".{zone.origin}"):
        name = zone.origin if name == "@" else f"{name}.{zone.origin}"
    client = Client(address=asked.resolver, subnet=asked.subnet)
    query = Query(name=name, kind=asked.kind.upper(), client=client)
    standings = fixed_standings(dict.fromkeys(down, False))
    reply = zone.answer(query, standings, now=0.0, rng=Random(asked.seed), explain=True)
    sys.stdout.write(_json_of(reply) if asked.json else _text_of(query, reply))
    return 0


def plan(before: tuple[Path, Document], after: tuple[Path, Document], options: argparse.Namespace) -> int:
    """Print which clients get another first site, map by map, and which names change."""
    old, new = _read(*before), _read(*after)
    observed = {} if options.observed is None else _observed(options.observed)
    maps = {
        name: old.maps[name].change(new.maps[name], observed=observed)
        for name in old.maps
        if name in new.maps
    }
    names = _changed_names(old, new)
    if options.json:
        data = {"maps": {name: _plan_data(change) for name, change in maps.items()}, "names": names}
        sys.stdout.write(json.dumps(data, indent=1) + "\n")
        return 0
    lines = []
    for name, change in maps.items():
        lines.append(
            f"map {name}: {change.shares[4]:.4%} of IPv4 and {change.shares[6]:.4%} of IPv6 get another first site"
        )
        if change.observed_share is not None:
            lines.append(f"  {change.observed_share:.2%} of the observed queries")
        for (version, was, will), count in sorted(change.moves.items(), key=lambda move: -move[1]):
            lines.append(f"  IPv{version}  {was or 'no answer'} -> {will or 'no answer'}  {count} addresses")
    lines += [
        f"map {name}: only in {before[0] if name in old.maps else after[0]}"
        for name in {*old.maps} ^ {*new.maps}
    ]
    lines += [f"name {name}: {what}" for name, what in names.items()]
    sys.stdout.write("\n".join(lines or ["nothing changes"]) + "\n")
    return 0


def _read(path: Path, document: Document) -> ZoneFile:
    def database(name: str) -> Locations:
        file = path.parent / name
        with readable(file, parameter="database"):
            if file.suffix == ".csv":
                with file.open(encoding="utf-8-sig", newline="") as lines:
                    return read_csv(lines)
            return read_mmdb(file)

    return zone_file(document, read_database=database)


def _text_of(query: Query, reply: Reply) -> str:
    asked = query.client
    subnet = f", subnet {asked.subnet}" if asked.subnet is not None else ""
    lines = [f"{query.name} {query.kind} for {asked.address}{subnet}: {reply.rcode}"]
    if reply.answer is not None:
        lines += [f"  {step.policy}: {step.text}" for step in reply.answer.steps]
    lines += [
        f"  {record.name} {record.ttl} IN {record.kind} {record.data}"
        for record in (*reply.records, *reply.authority)
    ]
    if asked.subnet is not None:
        lines.append(f"  scope {reply.scope}")
    return "\n".join(lines) + "\n"


def _json_of(reply: Reply) -> str:
    answer = reply.answer
    data = {
        "rcode": reply.rcode,
        "records": [record._asdict() for record in reply.records],
        "authority": [record._asdict() for record in reply.authority],
        "scope": reply.scope,
        "chosen": [] if answer is None else list(answer.chosen),
        "exhausted": None if answer is None or answer.exhausted is None else answer.exhausted.value,
        "steps": [] if answer is None else [step._asdict() for step in answer.steps],
    }
    return json.dumps(data, indent=1) + "\n"


def _plan_data(change: ChangePlan) -> dict[str, Any]:
    return {
        "addresses": {f"IPv{version}": count for version, count in change.addresses.items()},
        "shares": {f"IPv{version}": share for version, share in change.shares.items()},
        "observed_share": change.observed_share,
        "moves": [
            {"version": version, "before": was, "after": will, "addresses": count}
            for (version, was, will), count in change.moves.items()
        ],
    }


def _changed_names(old: ZoneFile, new: ZoneFile) -> dict[str, str]:
    """Return in words what changes at each name: it comes, goes, or has other endpoints."""
    before, after = old.zone.names(), new.zone.names()
    found: dict[str, str] = {}
    for name in dict.fromkeys((*before, *after)):
        was, will = before.get(name), after.get(name)
        shown = name or "@"
        if was is None or will is None:
            found[shown] = "added" if was is None else "removed"
        elif isinstance(was, StaticRecords) or isinstance(will, StaticRecords):
            if was != will:
                found[shown] = "other records"
        else:
            gone, come = was.members() - will.members(), will.members() - was.members()
            parts = [f"{sign}{id}" for sign, ids in (("-", gone), ("+", come)) for id in sorted(ids)]
            if type(was) is not type(will):
                parts.insert(0, f"{type(was).__name__} -> {type(will).__name__}")
            if parts:
                found[shown] = ", ".join(parts)
    return found


def _observed(path: str, *, option: str = "--observed") -> dict[str, float]:
    """Return queries by client: lines of an address or subnet, a blank or comma, and a count (1 if left out)."""
    found: dict[str, float] = {}
    for line in read_text(path, parameter=option).splitlines():
        words = line.replace(",", " ").split()
        if words:
            try:
                found[words[0]] = found.get(words[0], 0.0) + (float(words[1]) if len(words) > 1 else 1.0)
            except ValueError:
                raise ConfigurationError(option, line, "an address or subnet, and a count") from None
    return found


def _simulate(read: ZoneFile, options: argparse.Namespace) -> int:
    from balancekit.sim import DnsSimulation, EndpointChange  # noqa: PLC0415 - no other command needs it

    policy = read.zone.policies.get(options.name)
    if policy is None:
        raise ConfigurationError(
            "NAME", options.name, f"a name with a policy: {', '.join(read.zone.policies)}"
        )
    changes = [EndpointChange(*_change("--down", text), False) for text in options.down]
    changes += [EndpointChange(*_change("--up", text), True) for text in options.up]
    ttl = read.zone.ttl(options.name)
    seconds = valid.number("--seconds", options.seconds, above=0.0)
    width = valid.number("--step", options.step, above=0.0, minimum=seconds / MAX_STEPS)
    report = DnsSimulation(
        policy,
        resolvers=options.resolvers,
        clients=None if options.clients is None else _clients(options.clients),
        ttl=ttl,
        detection=AccruedFailures(fall=options.fall, reset=options.rise, rise=options.rise),
        interval=options.interval,
        seed=options.seed,
    ).run(seconds, changes)
    steps: list[dict[str, Any]] = []
    start = 0.0
    while start < seconds:
        end = min(start + width, seconds)
        steps.append(
            {"from": start, "failed": report.failed_share(start, end), "shares": report.shares(start, end)}
        )
        start = end
    last = report.last_failure()
    longest = options.fall * options.interval + ttl.maximum
    if options.json:
        data = {"steps": steps, "last_failure": last, "detection_and_ttl": longest}
        sys.stdout.write(json.dumps(data, indent=1) + "\n")
        return 0
    for step in steps:
        shares = ", ".join(
            f"{id or 'no answer'} {share:.0%}" for id, share in sorted(step["shares"].items(), key=str)
        )
        sys.stdout.write(f"{step['from']:6.0f} s  failed {step['failed']:6.1%}  {shares}\n")
    told = "no request failed" if last is None else f"the last request failed at {last:.1f} s"
    sys.stdout.write(
        f"{told}; a death costs at most {longest:g} s (detection {longest - ttl.maximum:g}, TTL {ttl.maximum})\n"
    )
    return 0


def _clients(path: str) -> list[Client]:
    """Return a resolver for each subnet in a file, at an address of its own that no map names."""
    return [Client(address="192.0.2.53", subnet=subnet) for subnet in _observed(path, option="--clients")]


def _change(option: str, text: str) -> tuple[float, tuple[str, ...]]:
    """Return when, and the ids, of a word such as ``eu-1,eu-2@60``."""
    ids, _, at = text.rpartition("@")
    found = tuple(id for id in ids.split(",") if id)
    with suppress(ValueError):  # a ConfigurationError is one
        if found:
            return valid.number(option, float(at), minimum=0.0), found
    raise ConfigurationError(option, text, "ids, @ and seconds >= 0: eu-1,eu-2@60")


def _serve(path: Path, read: ZoneFile, options: argparse.Namespace) -> int:
    try:
        from dnslib.server import DNSLogger, DNSServer  # noqa: PLC0415 - what an extra brings

        from balancekit.adapters.dnslib import GslbResolver  # noqa: PLC0415 - the same
    except ModuleNotFoundError as missing:
        remark(f"balancekit gslb serve needs {missing.name}: pip install 'balancekit[dnslib]'")
        return EXIT_REFUSED
    valid.integer("--port", options.port, minimum=0, maximum=MAX_PORT)
    seconds = math.inf if options.seconds is None else valid.number("--seconds", options.seconds, above=0.0)
    ended = threading.Event()
    with ExitStack() as stack:
        resolver = GslbResolver(read.zone, _standings(read, stack))
        quiet = DNSLogger("-request,-reply,-truncated,-error", prefix=False)
        port = options.port
        for tcp in (False, True):
            try:
                server = DNSServer(resolver, address=options.host, port=port, tcp=tcp, logger=quiet)
            except OSError as error:
                why = f"{'TCP' if tcp else 'UDP'}: {error.strerror or error}"
                allowed = f"an address of this machine and a port that is free ({why})"
                raise ConfigurationError("--host, --port", f"{options.host}:{port}", allowed) from None
            port = server.server.server_address[1]  # of 0 the system makes one: the same for both
            stack.callback(server.server.server_close)
            server.start_thread()
            stack.callback(server.stop)
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: ended.set()))
        if hasattr(signal, "SIGHUP"):  # not on Windows
            previous = signal.signal(signal.SIGHUP, lambda *_: _reload(path, resolver))
            stack.callback(signal.signal, signal.SIGHUP, previous)
        sys.stdout.write(f"{read.zone.origin} on {options.host}:{port}, UDP and TCP\n")
        sys.stdout.flush()
        until = time.monotonic() + seconds
        while not ended.wait(min(SIGNAL_POLL_S, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                break
    return 0


def _standings(read: ZoneFile, stack: ExitStack) -> Any:
    """Return what tells which endpoints are up: a balancer that is checked, or nothing that is ever down."""
    if read.check is None:
        return fixed_standings({})
    unknown = [key for key in read.check if key not in CHECK_KEYS]
    if unknown:
        raise ConfigurationError("check", unknown[0], f"only {', '.join(sorted(CHECK_KEYS))}")
    port = read.check.get("port", 80)
    kind = read.check.get("kind", "http")
    if kind not in {"http", "tcp"}:
        raise ConfigurationError("check.kind", kind, "'http' or 'tcp'")
    check = TcpCheck() if kind == "tcp" else HttpCheck(read.check.get("path", "/"))
    endpoints = []
    for id in sorted(read.zone.members()):
        address = read.addresses.get(id, (id,))[0]
        host = f"[{address}]" if ":" in address else address
        endpoints.append(Endpoint(id, f"{host}:{port}" if kind == "tcp" else f"http://{host}:{port}"))
    balancer = LoadBalancer(endpoints)
    schedule = Schedule(float(read.check.get("interval", 5.0)), timeout=float(read.check.get("timeout", 2.0)))
    stack.enter_context(ThreadChecks(balancer, check, schedule=schedule))
    return balancer


def _reload(path: Path, resolver: Any) -> None:
    """Read the zone again; one that cannot be read changes nothing. Endpoints and checks stay as they are."""
    try:
        zone = _read(path, read_document(path)).zone
    except ConfigurationError as error:
        remark(f"balancekit gslb serve: kept the zone, the file cannot be read: {error}")
        return
    resolver.zone = zone
