"""Lookups by eight threads while nodes join and leave, with uhashring and with balancekit.

uv run --group bench python -m benchmarks.hashing.churn
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from balancekit.hashing import HashRing

NODES = [f"10.0.0.{number}:80" for number in range(50)]
READERS = 8
SECONDS = 3.0


def race(
    lookup: Callable[[str], str], add: Callable[[str], object], remove: Callable[[str], object]
) -> Counter[str]:
    """Return how many lookups returned a known node, returned another node or raised each error, and the changes."""
    counts: Counter[str] = Counter()
    until = time.monotonic() + SECONDS
    known = {*NODES, "new"}

    def read(number: int) -> None:
        own: Counter[str] = Counter()
        while time.monotonic() < until:
            for key in range(100):
                try:
                    own["right" if lookup(f"{number}:{key}") in known else "no such node"] += 1
                except Exception as error:
                    own[type(error).__name__] += 1
        counts.update(own)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            add("new")
            remove("new")
            counts["changes"] += 2
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    return counts


def main() -> int:
    """Run from the command line."""
    if importlib.util.find_spec("uhashring"):
        other: Any = importlib.import_module("uhashring").HashRing(NODES, vnodes=150)
        print("uhashring ", dict(race(other.get_node, other.add_node, other.remove_node)))
    else:
        print("uhashring is not installed: run with --group bench")
    ring = HashRing(NODES)
    found = race(ring.lookup, ring.add, ring.remove)
    print("balancekit", dict(found))
    return 0 if set(found) == {"right", "changes"} else 1


if __name__ == "__main__":
    raise SystemExit(main())
