"""The command ``balancekit vrrp``: run a VRRP router, replay captured adverts, and simulate elections."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from balancekit._support import validation as valid
from balancekit.cli._ending import Ending
from balancekit.cli._text_file import read_text
from balancekit.cli._vrrp_checks import CHECK_TIMEOUT_S, CommandCheck, command_words, run_checks
from balancekit.errors import ConfigurationError

__all__ = ["add_vrrp", "run_vrrp"]

MAX_INTERVAL_S: Final = 86_400.0


def add_vrrp(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    commands = parser.add_subparsers(dest="vrrp", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="take part in an election (needs CAP_NET_RAW and CAP_NET_ADMIN)",
        description="Hold the addresses while active. Resign and end on SIGTERM, SIGINT and SIGHUP. Print a line of JSON for "
        "every change of role, and warnings on standard error.",
    )
    run.add_argument("--interface", required=True, help="the interface that adverts are sent on")
    run.add_argument(
        "--source",
        help="the router's own address (default: the first IPv4 address of the interface, for IPv6 "
        "its link-local address)",
    )
    run.add_argument("--advert-log", metavar="FILE", help="append every received packet to this file")
    run.add_argument("--no-addresses", action="store_true", help="do not add and remove the addresses")
    run.add_argument(
        "--check",
        action="append",
        default=[],
        metavar="COMMAND",
        help="run this command every --check-interval seconds; the router is faulty while it fails, or takes more than "
        f"{CHECK_TIMEOUT_S:g} s. May be repeated; they run beside each other",
    )
    run.add_argument(
        "--check-interval",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="seconds between checks (default 1)",
    )
    run.add_argument(
        "--rise",
        type=int,
        default=2,
        metavar="CHECKS",
        help="results in a row until a check counts as passing (default 2)",
    )
    run.add_argument(
        "--fall",
        type=int,
        default=2,
        metavar="CHECKS",
        help="results in a row until it counts as failing (default 2)",
    )
    _add_router(run)
    replaying = commands.add_parser(
        "replay",
        help="replay the packets of an advert log under another configuration",
        description="Print every change of role that a router would have made. Exit status 1 if it had become active.",
    )
    replaying.add_argument("log", help="a file that --advert-log wrote")
    replaying.add_argument("--source", required=True, help="the router's own address")
    _add_router(replaying)
    simulating = commands.add_parser(
        "simulate",
        help="simulate an election in virtual time: a death, a split network, a frozen process, lost adverts",
        description="Run a scenario; without a name, list the scenarios. Exit status 1 if a claim of one does not hold.",
    )
    simulating.add_argument("scenario", nargs="?", help="the name of a scenario")


def _add_router(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vrid", type=int, required=True, help="the virtual router id, 1 to 255")
    parser.add_argument(
        "--address",
        action="append",
        required=True,
        metavar="ADDRESS/LENGTH",
        help="a protected address. May be repeated",
    )
    parser.add_argument("--priority", type=int, default=100, help="the priority, 1 to 255 (default 100)")
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="seconds between adverts (default 1)"
    )
    parser.add_argument(
        "--vrrp-version", type=int, default=3, choices=(2, 3), help="the VRRP version (default 3)"
    )
    parser.add_argument(
        "--missed", type=int, default=3, metavar="ADVERTS", help="missed adverts until takeover (default 3)"
    )
    parser.add_argument(
        "--no-preempt", action="store_true", help="do not take over from an active router of lower priority"
    )
    parser.add_argument(
        "--preempt-delay",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="seconds to wait before preempting (default 0)",
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a unicast peer, instead of multicast; may be repeated",
    )


def run_vrrp(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    command: Callable[[argparse.Namespace], int] = {"run": _run, "replay": _replay, "simulate": _simulate}[
        options.vrrp
    ]
    return command(options)


def _router(options: argparse.Namespace, source: str) -> Any:
    from balancekit.ha import VirtualRouter  # noqa: PLC0415 - only needed by this command

    return VirtualRouter(
        vrid=options.vrid,
        addresses=tuple([address.partition("/")[0] for address in options.address]),
        source=source,
        priority=options.priority,
        interval=options.interval,
        version=options.vrrp_version,
        preempt=not options.no_preempt,
        preempt_delay=options.preempt_delay,
        missed=options.missed,
        peers=tuple(options.peer),
    )


def _run(options: argparse.Namespace) -> int:
    from balancekit.adapters._vrrp_sockets import interface_address  # noqa: PLC0415 - Linux only
    from balancekit.adapters.vrrp import RoleChange, VrrpThread, ip_address_hook  # noqa: PLC0415 - only needed by this command
    from balancekit.cli._log_lines import log_lines  # noqa: PLC0415 - imports logging
    from balancekit.ha import TrackedCheck, Tracking  # noqa: PLC0415 - only needed by this command

    words = {command: command_words(command) for command in options.check}
    if options.advert_log is not None:
        _require_writable(options.advert_log)
    every = valid.number(
        "--check-interval", options.check_interval, above=0.0, maximum=MAX_INTERVAL_S, unit="seconds"
    )
    checks = {command: CommandCheck(each, every) for command, each in words.items()}
    version = 6 if ":" in options.address[0] else 4
    router = _router(options, options.source or interface_address(options.interface, version))
    hook = None if options.no_addresses else ip_address_hook(options.interface, *options.address)

    def report(change: RoleChange) -> None:
        _report_change(role=change.role.value, was=change.was.value, why=change.why)

    tracking = Tracking(
        checks={command: TrackedCheck(rise=options.rise, fall=options.fall) for command in checks}
    )
    ended = Ending()
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
    ):  # by default the last ends it with its address
        signal.signal(number, lambda *_: ended.set())
    driver = VrrpThread(
        router,
        interface=options.interface,
        on_active=None if hook is None else hook.add,
        on_backup=None if hook is None else hook.remove,
        on_change=report,
        tracking=tracking if checks else None,
        watch_addresses=hook is not None,
        advert_log=options.advert_log,
    )
    with log_lines("balancekit vrrp run"), driver:
        run_checks(checks, lambda command, passed: driver.report(command, passed=passed), ended)
    return 0


def _require_writable(path: str) -> None:
    try:
        with Path(path).open("ab"):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError("--advert-log", path, f"a file that can be written ({why})") from None


def _replay(options: argparse.Namespace) -> int:
    from balancekit.ha import read_advert_log, replay_adverts  # noqa: PLC0415 - only needed by this command

    text = read_text(options.log, parameter="log")
    found = replay_adverts(read_advert_log(text.splitlines()), _router(options, options.source))
    for t, change in found.changes:
        _write(t=round(t, 3), role=change.role.value, was=change.was.value, why=change.why)
    for reason, count in sorted(found.rejected.items()):
        _write(rejected=reason, count=count)
    return int(found.takeovers > 0)


def _simulate(options: argparse.Namespace) -> int:
    from balancekit.sim import vrrp_scenarios  # noqa: PLC0415 - only needed by this command

    scenarios = vrrp_scenarios()
    if options.scenario is None:
        for name, scenario in scenarios.items():
            sys.stdout.write(f"{name:16} {scenario.title}\n")
        return 0
    if options.scenario not in scenarios:
        raise ConfigurationError("scenario", options.scenario, f"one of {', '.join(scenarios)}")
    scenario = scenarios[options.scenario]
    report = scenario.run()
    sys.stdout.write(f"{scenario.title}\n\n{scenario.why}\n\n")
    for change in report.changes:
        role = "killed" if change.role is None else change.role.value
        sys.stdout.write(f"{change.t:8.3f} s  {change.node:4} {role:10} {change.why}\n")
    sys.stdout.write("\n")
    broken = 0
    for text, holds, found in scenario.check(report):
        broken += not holds
        sys.stdout.write(f"{'holds ' if holds else 'BROKEN'} {text}: {found}\n")
    return int(broken > 0)


def _report_change(**facts: object) -> None:
    """Print a change of role. If the output is closed, do nothing: the router must go on."""
    with suppress(OSError):
        _write(**facts)


def _write(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
