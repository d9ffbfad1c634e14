"""The command ``balancekit``. Needs the extra ``cli``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import balancekit
from balancekit.cli._bench_options import add_bench
from balancekit.cli._capacity import add_capacity, run_capacity
from balancekit.cli._check_options import add_check
from balancekit.cli._export_command import add_export, run_export
from balancekit.cli._file_kinds import add_explain, run_explain
from balancekit.cli._lint_command import add_lint, run_lint
from balancekit.cli._plan import add_plan, run_plan
from balancekit.cli._proxy_options import add_proxy
from balancekit.cli._vrrp import add_vrrp, run_vrrp
from balancekit.cli._zone_command import add_gslb, run_gslb

__all__ = ["main"]

EXAMPLES: Final = """\
examples:
  balancekit demo                                  four real servers, killed and drained
  balancekit check 10.0.0.1:8080 --path /healthz   one health check
  balancekit explain orders.toml --key user-17     which endpoint, and why
  balancekit explain nginx.conf --request "GET /x" where a proxy sends a request
  balancekit lint haproxy.cfg                      lines that do not do what they say
  balancekit plan old.toml new.toml                what a change moves
  balancekit simulate failover --out report        compare algorithms in virtual time
  balancekit top http://127.0.0.1:8000/metrics     watch a running process

completion: eval "$(register-python-argcomplete balancekit)"
"""

INTERRUPTED: Final = 130
"""The status of a command that was stopped from the keyboard, as shells have it."""
EXIT_FAILED: Final = 1
"""The status of a command that could not do or print what it was asked for."""
EXIT_BROKEN_PIPE: Final = 141
"""The status of a command whose reader went away (``| head``), as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status.

    Parameters
    ----------
    arguments
        The words after ``balancekit``; those of the process if left out.
    """
    parser = argparse.ArgumentParser(
        prog="balancekit",
        description="Load-balancing decisions for Python programs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {balancekit.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="balance over real servers while they are killed, added and drained",
        description="Four real HTTP servers on loopback, a real client, and one fault after the other.",
        epilog="example: balancekit demo --tiers --seconds 30     as root, an address moves by VRRP",
    )
    demo.add_argument(
        "--seconds", type=_seconds, help="how long callers keep coming (default 18, with --tiers 30)"
    )
    demo.add_argument(
        "--tiers",
        action="store_true",
        help="DNS, two sites, L4 proxies, L7 edges and servers; one of each dies, then a site (Linux)",
    )
    demo.add_argument("--json", action="store_true", help="print data when done, nothing before")
    plan = commands.add_parser(
        "plan",
        help="say what a change of endpoints would move",
        description="The exact part of all keys that a change of endpoints moves, and shares before and after.",
    )
    add_plan(plan)
    simulating = commands.add_parser(
        "simulate",
        help="compare balancers in virtual time",
        description="Run a scenario with every balancer it names; without one, list those that are shipped.",
    )
    simulating.add_argument("scenario", nargs="?", help="a TOML file, or the name of a shipped scenario")
    simulating.add_argument("--out", metavar="DIR", help="write pictures, data and a page to look at there")
    simulating.add_argument("--json", action="store_true", help="print data")
    simulating.add_argument("--seed", type=int, help="in place of the scenario's own")
    benching = commands.add_parser(
        "bench",
        help="measure what is claimed of the algorithms, beside what is right",
        description="Figures beside the right ones, with verdicts: distribution, disruption, speed, latency, or "
        "all four. Exit status 1 if a claim does not hold. `cards` draws a picture of every algorithm.",
    )
    add_bench(benching)
    electing = commands.add_parser(
        "vrrp",
        help="hold an address together with other machines",
        description="VRRP: take part in an election, replay captured adverts, simulate what can go wrong.",
    )
    add_vrrp(electing)
    if sys.stdout is None:  # closed: "balancekit ... >&-"
        return _failed("balancekit", "standard output is closed")
    explaining = commands.add_parser(
        "explain",
        help="take one decision from a file, with its reasons",
        description="What a zone file answers to one query, or where a proxy sends one request, and why.",
        epilog="example: balancekit explain nginx.conf --request 'GET /api/x' --host shop --client 203.0.113.7",
    )
    add_explain(explaining)
    _add_proxy_commands(commands, simulating)
    naming = commands.add_parser(
        "gslb",
        help="answer DNS queries from a zone file",
        description="Global server load balancing: one name, many sites.",
    )
    add_gslb(naming)
    sizing = commands.add_parser(
        "capacity",
        help="say how many nodes of each tier a demand needs",
        description="Nodes of L4, L7 and backends in each site, what forces each number, and what is left after losses.",
    )
    add_capacity(sizing)
    checking = commands.add_parser(
        "check",
        help="check endpoints once",
        description="One health check of every endpoint. Exit status 1 if one fails.",
    )
    add_check(checking)
    watching = commands.add_parser(
        "top",
        help="watch the endpoints of a running process",
        description="A live table of endpoints, read from the Prometheus metrics of a process.",
    )
    watching.add_argument("url", metavar="URL", help="its metrics, as http://127.0.0.1:8000/metrics")
    watching.add_argument(
        "--interval", type=float, default=1.0, help="seconds between two readings (default 1)"
    )
    watching.add_argument("--count", type=int, default=0, help="end after so many (default: on Ctrl-C)")
    watching.add_argument("--json", action="store_true", help="print one line of data an interval")
    with contextlib.suppress(ModuleNotFoundError):  # the extra cli brings it
        import argcomplete  # noqa: PLC0415 - only a shell that completes needs it

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        status = _run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:  # a full disk, for one
        _discard_output()
        return _failed(f"balancekit {options.command}", f"{error}")
    except KeyboardInterrupt:
        sys.stderr.write(f"balancekit {options.command}: interrupted\n")
        return INTERRUPTED
    return status


def _add_proxy_commands(commands: Any, simulating: argparse.ArgumentParser) -> None:
    add_proxy(simulating)
    add_export(commands)
    add_lint(commands)


def _run(options: argparse.Namespace) -> int:
    try:
        return _command(options)
    except ModuleNotFoundError as missing:
        extra = "plots" if missing.name == "matplotlib" else "cli"
        named = "pip install" in missing.msg  # by the package that needs it
        why = f": {missing}" if named else f" needs {missing.name}: pip install 'balancekit[{extra}]'"
        sys.stderr.write(f"balancekit {options.command}{why}\n")
        return 2


def _command(options: argparse.Namespace) -> int:
    if options.command == "plan":
        return run_plan(options)
    if options.command == "capacity":
        return run_capacity(options)
    if options.command == "vrrp":
        return run_vrrp(options)
    if options.command == "explain":
        return run_explain(options)
    if options.command == "export":
        return run_export(options)
    if options.command == "lint":
        return run_lint(options)
    if options.command == "gslb":
        return run_gslb(options)
    if options.command == "simulate":
        from balancekit.cli._simulate import run_simulate  # noqa: PLC0415 - needs what an extra brings

        return run_simulate(options)
    if options.command == "check":
        from balancekit.cli._check_command import run_check  # noqa: PLC0415 - the same

        return run_check(options)
    if options.command == "top":
        from balancekit.cli._top_command import run_top  # noqa: PLC0415 - the same

        return run_top(options)
    if options.command == "bench":
        from balancekit.cli._bench import run_bench  # noqa: PLC0415 - the same

        return run_bench(options)
    if options.tiers:
        from balancekit.cli._tiers_demo import run_tiers_demo  # noqa: PLC0415 - the same

        return run_tiers_demo(seconds=options.seconds, as_json=options.json)
    from balancekit.cli._demo import run_demo  # noqa: PLC0415 - the same

    return run_demo(seconds=options.seconds or 18.0, as_json=options.json)


def _failed(command: str, why: str) -> int:
    """Print why a command failed, if standard error can be written; return the exit status."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{command}: {why}\n")
    return EXIT_FAILED


def _discard_output() -> None:
    """Lead the rest of standard output nowhere; the interpreter would complain of it at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 2.0 <= value <= 3600.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 2 to 3600")
    return value
