"""Options of ``balancekit check``. They are not in the module of the command, so ``--help`` imports little."""

from __future__ import annotations

import argparse

__all__ = ["add_check"]


def add_check(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``balancekit check``."""
    parser.add_argument(
        "what",
        nargs="+",
        metavar="WHAT",
        help="addresses (host:port), a source (dns:orders:8080), or a configuration file",
    )
    parser.add_argument("--path", help="the path of an HTTP check (default: that of the file, or /)")
    parser.add_argument("--tcp", action="store_true", help="check by a TCP connection only")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="the time limit of a check (default 2)"
    )
    parser.add_argument("--json", action="store_true", help="print data")
