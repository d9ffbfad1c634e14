"""Options of ``balancekit simulate`` for the configuration of a proxy."""

from __future__ import annotations

import argparse

__all__ = ["add_proxy"]


def add_proxy(parser: argparse.ArgumentParser) -> None:
    """Add ``--proxy`` and ``--pool``."""
    parser.add_argument(
        "--proxy",
        metavar="FILE",
        help="a configuration of nginx, HAProxy or Envoy: its pool, method, weights, health and retries come first",
    )
    parser.add_argument("--pool", metavar="NAME", help="the pool of that file, if it has several")
