"""The command ``balancekit``. Needs the extra ``cli``."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TextIO

import balancekit
from balancekit._support.extras import missing_text
from balancekit._support.output import discard
from balancekit._support.parser import Parser
from balancekit.cli._bench_options import add_bench
from balancekit.cli._capacity import add_capacity, run_capacity
from balancekit.cli._check_options import add_check
from balancekit.cli._export_command import add_export, run_export
from balancekit.cli._file_kinds import add_explain, run_explain
from balancekit.cli._gslb_command import add_gslb, run_gslb
from balancekit.cli._lint_command import add_lint, run_lint
from balancekit.cli._plan import add_plan, run_plan
from balancekit.cli._proxy_options import add_proxy
from balancekit.cli._signals import ended_by_signals
from balancekit.cli._status import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    STATUSES,
    SourceUnavailableError,
    complain,
    warning_lines,
)
from balancekit.cli._vrrp import add_vrrp, run_vrrp
from balancekit.errors import BalancekitError, ConfigurationError

__all__ = ["main"]

EXAMPLES: Final = """\
examples:
  balancekit demo                                  four real servers, killed and drained
  balancekit check 10.0.0.1:8080 --path /healthz   one health check
  balancekit explain orders.toml --key user-17     which endpoint, and why
  balancekit explain nginx.conf --request "GET /x" where a proxy sends a request
  balancekit lint haproxy.cfg                      lines with an unexpected effect
  balancekit plan old.toml new.toml                what a change moves
  balancekit simulate failover --out report        compare algorithms in virtual time
  balancekit top http://127.0.0.1:8000/metrics     watch a running process

completion: eval "$(register-python-argcomplete balancekit)"

"""

RUNNERS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = MappingProxyType(
    {
        "plan": run_plan,
        "capacity": run_capacity,
        "vrrp": run_vrrp,
        "explain": run_explain,
        "export": run_export,
        "lint": run_lint,
        "gslb": run_gslb,
    }
)
"""Functions of the commands whose modules import little. Modules of other commands are imported when they run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status.

    Parameters
    ----------
    arguments
        The arguments after ``balancekit``; those of the process if left out.

    Raises
    ------
    SystemExit
        By argparse, after a help text, a version, or a wrong argument.
    """
    if sys.stdout is None:  # standard output is closed: "balancekit ... >&-"
        return complain("balancekit", "standard output is closed", EXIT_FAILED)
    parser = _parser()
    with contextlib.suppress(ModuleNotFoundError):  # it is in the extra cli
        import argcomplete  # noqa: PLC0415 - only needed when a shell completes

        argcomplete.autocomplete(parser)
    try:
        return _run(parser, arguments)
    except SystemExit as ended:  # after a help text or a version, which may not have been written
        ended.code = ended.code or _flushed(sys.stdout)
        raise
    except OSError as error:
        return _lost(sys.stdout, error)


def _run(parser: Parser, arguments: Sequence[str] | None) -> int:
    options = parser.parsed(arguments)
    if options.command is None:
        parser.print_help()
        return _flushed(sys.stdout)
    return _guarded(options, sys.stdout, sys.argv[1:] if arguments is None else arguments)


def _flushed(output: TextIO) -> int:
    """Flush the output of argparse; return the exit status."""
    try:
        output.flush()
    except OSError as error:
        return _lost(output, error)
    return 0


def _lost(output: TextIO, error: OSError) -> int:
    """Return the exit status for an output that could not be written. Print the reason, unless it is a broken pipe."""
    discard(output)
    if isinstance(error, BrokenPipeError):
        return EXIT_BROKEN_PIPE
    return complain("balancekit", error, EXIT_FAILED)


def _parser() -> Parser:
    """Return the parser of ``balancekit``, with the commands in the order of the help text."""
    parser = Parser(
        prog="balancekit",
        description="Load-balancing decisions for Python programs.",
        epilog=EXAMPLES + STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {balancekit.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_demo(commands)
    plan = commands.add_parser(
        "plan",
        help="compute what a change of endpoints would move",
        description="Print the exact share of all keys that a change of endpoints moves, and shares before and after.",
    )
    add_plan(plan)
    _add_simulate(commands)
    bench = commands.add_parser(
        "bench",
        help="measure the algorithms and compare them with theory",
        description="Print measured figures with the expected ones and verdicts: distribution, disruption, speed, latency, or "
        "all four. Exit status 1 if a claim does not hold. `cards` draws a picture of every algorithm.",
    )
    add_bench(bench)
    vrrp = commands.add_parser(
        "vrrp",
        help="share an address with other machines",
        description="VRRP: take part in an election, replay captured adverts, simulate failures.",
    )
    add_vrrp(vrrp)
    explain = commands.add_parser(
        "explain",
        help="explain one decision of a configuration",
        description="Print one decision with its reasons: the endpoint that a balancer picks, the route that a request takes, "
        "the answer of a zone to a query, or the server to which a proxy sends a request. Exit status 1 if there is none.",
        epilog="example: balancekit explain nginx.conf --request 'GET /api/x' --host shop --client 203.0.113.7",
        hint="; options of the decision come after FILE",
    )
    add_explain(explain)
    add_export(commands)
    add_lint(commands)
    gslb = commands.add_parser(
        "gslb",
        help="answer DNS queries from a zone file",
        description="Global server load balancing: one name, many sites.",
    )
    add_gslb(gslb)
    capacity = commands.add_parser(
        "capacity",
        help="compute how many nodes of each tier a demand needs",
        description="Print the nodes of L4, L7 and backends in each site, the limit behind each number, and the rest after losses.",
    )
    add_capacity(capacity)
    check = commands.add_parser(
        "check",
        help="check endpoints once",
        description="Run one health check of every endpoint. Exit status 1 if one fails.",
    )
    add_check(check)
    _add_top(commands)
    return parser


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="balance over real servers while they are killed, added and drained",
        description="Run four real HTTP servers on loopback and a real client, through a sequence of faults.",
        epilog="example: balancekit demo --tiers --seconds 30     as root, an address moves by VRRP",
    )
    demo.add_argument(
        "--seconds",
        type=_seconds,
        metavar="SECONDS",
        help="how long callers send requests (default 18, with --tiers 30)",
    )
    demo.add_argument(
        "--tiers",
        action="store_true",
        help="DNS, two sites, L4 proxies, L7 edges and servers; one of each dies, then a site (Linux)",
    )
    demo.add_argument("--json", action="store_true", help="print data at the end only")


def _add_simulate(commands: Any) -> None:
    simulate = commands.add_parser(
        "simulate",
        help="compare balancers in virtual time",
        description="Run a scenario with every balancer that it names; without a scenario, list the built-in ones.",
    )
    simulate.add_argument("scenario", nargs="?", help="a TOML file, or the name of a built-in scenario")
    simulate.add_argument(
        "--out", metavar="DIR", help="write pictures, data and an HTML report to this directory"
    )
    simulate.add_argument("--json", action="store_true", help="print data")
    simulate.add_argument("--seed", type=int, help="the random seed (default: the scenario's)")
    add_proxy(simulate)


def _add_top(commands: Any) -> None:
    top = commands.add_parser(
        "top",
        help="watch the endpoints of a running process",
        description="Show a live table of endpoints, read from the Prometheus metrics of a process.",
    )
    top.add_argument(
        "url", metavar="URL", help="the URL of its metrics, such as http://127.0.0.1:8000/metrics"
    )
    top.add_argument(
        "--interval",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="seconds between two readings (default 1)",
    )
    top.add_argument(
        "--count",
        type=int,
        default=0,
        metavar="READINGS",
        help="the number of readings (default: until Ctrl-C)",
    )
    top.add_argument("--json", action="store_true", help="print one line of data per interval")


def _guarded(options: argparse.Namespace, output: TextIO, words: Sequence[str]) -> int:
    """Run a command; return its exit status. If it fails, print the reason on one line."""
    name = " ".join(["balancekit", options.command, *_subcommand(options)])
    try:
        with warning_lines(name), ended_by_signals():
            status = _command(options)
        output.flush()
    except BrokenPipeError:
        discard(output)
        return EXIT_BROKEN_PIPE
    except SourceUnavailableError as error:
        return complain(name, error, EXIT_FAILED)
    except BalancekitError as error:
        return complain(name, _located(_by_option(error, options, words)), EXIT_REFUSED)
    except UnicodeEncodeError as error:
        discard(output)
        unknown = ascii(error.object[error.start])
        return complain(name, f"standard output in {error.encoding} has no {unknown}", EXIT_FAILED)
    except PermissionError as error:
        return complain(name, error, EXIT_REFUSED)
    except OSError as error:  # for example a full disk
        discard(output)
        return complain(name, error, EXIT_FAILED)
    except ModuleNotFoundError as missing:
        extra = "plots" if missing.name == "matplotlib" else "cli"
        named = "pip install" in missing.msg  # the message already names the extra
        return complain(name, missing.msg if named else missing_text(missing.name, extra), EXIT_REFUSED)
    except KeyboardInterrupt:
        discard(output)
        return complain(name, "interrupted", EXIT_INTERRUPTED)
    return status


def _by_option(error: BalancekitError, options: argparse.Namespace, words: Sequence[str]) -> BalancekitError:
    """Return an error with the option in place of the parameter that it sets, if the value was given by that option."""
    if not isinstance(error, ConfigurationError) or hasattr(error, "__notes__"):
        return error
    option = f"--{error.parameter.replace('_', '-')}"
    for word, after in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        text = value if equals else after
        read = getattr(options, error.parameter, text)  # options of a kind of files are read later
        if name == option and error.value in (text, read):
            return ConfigurationError(option, error.value, error.allowed)
    return error


def _located(error: BalancekitError) -> str:
    """Return the text of an error after its notes, which name the file and the variables with the mistake."""
    return ": ".join([*reversed(getattr(error, "__notes__", ())), str(error)])


def _subcommand(options: argparse.Namespace) -> list[str]:
    """Return the name of a subcommand, such as ``serve`` of ``gslb serve``."""
    return [word for word in (getattr(options, options.command, None),) if isinstance(word, str)]


def _command(options: argparse.Namespace) -> int:
    run = RUNNERS.get(options.command)
    if run is not None:
        return run(options)
    if options.command == "simulate":
        from balancekit.cli._simulate import run_simulate  # noqa: PLC0415 - needs a package of an extra

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


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 2.0 <= value <= 3600.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 2 to 3600")
    return value
