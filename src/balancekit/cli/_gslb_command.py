"""Arguments of the command ``balancekit gslb``."""

from __future__ import annotations

import argparse
from pathlib import Path

from balancekit.cli._file_kinds import read_document

__all__ = ["add_gslb", "run_gslb"]


def add_gslb(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``balancekit gslb``."""
    commands = parser.add_subparsers(dest="gslb", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="answer DNS queries from a zone file, over UDP and TCP",
        description="Answer until SIGTERM or SIGINT; read the file again on SIGHUP. Needs balancekit[dnslib].",
    )
    serve.add_argument("file", metavar="FILE", help="a zone file (TOML or JSON)")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, default=5353, help="the port (default 5353)")
    serve.add_argument("--seconds", type=float, metavar="SECONDS", help="end after this time")
    simulating = commands.add_parser(
        "simulate",
        help="simulate losses and returns in virtual time, with caching resolvers",
        description="Print where requests go and how many fail, in steps of time, and when the last one fails. Endpoints are "
        "monitored by --fall, --rise and --interval; each resolver has a cache and sends a client subnet in 10.0.0.0/8.",
    )
    simulating.add_argument("file", metavar="FILE", help="a zone file (TOML or JSON)")
    simulating.add_argument(
        "name", metavar="NAME", help="a name of the zone that has a policy, spelt as in the file"
    )
    for word, what in (("down", "die"), ("up", "return")):
        simulating.add_argument(
            f"--{word}",
            action="append",
            default=[],
            metavar="ID,ID@SECONDS",
            help=f"endpoints that {what}, and when",
        )
    simulating.add_argument(
        "--seconds", type=float, default=300.0, metavar="SECONDS", help="the simulated time (default 300)"
    )
    simulating.add_argument(
        "--step", type=float, default=15.0, metavar="SECONDS", help="the time per line of output (default 15)"
    )
    simulating.add_argument(
        "--resolvers",
        type=int,
        default=200,
        metavar="RESOLVERS",
        help="the number of resolvers (default 200)",
    )
    simulating.add_argument(
        "--clients",
        metavar="FILE",
        help="a file of client subnets, one a line; each gets a resolver, instead of --resolvers",
    )
    simulating.add_argument(
        "--fall",
        type=int,
        default=3,
        metavar="CHECKS",
        help="failed checks until an endpoint is down (default 3)",
    )
    simulating.add_argument(
        "--rise", type=int, default=2, metavar="CHECKS", help="passed checks until it is up (default 2)"
    )
    simulating.add_argument(
        "--interval", type=float, default=5.0, metavar="SECONDS", help="seconds between checks (default 5)"
    )
    simulating.add_argument("--seed", type=int, default=1, help="the random seed (default 1)")
    simulating.add_argument("--json", action="store_true", help="print data")


def run_gslb(options: argparse.Namespace) -> int:
    """Run ``gslb serve`` or ``gslb simulate``; return the exit status."""
    path = Path(options.file)
    if options.gslb == "simulate":
        from balancekit.cli._gslb_simulate import simulate  # noqa: PLC0415 - no other command needs it
        from balancekit.cli._zone_file import read_zone  # noqa: PLC0415 - the same

        return simulate(read_zone(path, read_document(path)), options)
    from balancekit.cli._gslb_serve import serve  # noqa: PLC0415 - the same

    return serve(path, options)
