"""Picks while the pool changes: how much longer they take than beside any other busy thread.

    uv run python -m benchmarks.changes                 the table
    uv run python -m benchmarks.changes --check         fail if a figure is over its bound

Four threads acquire and release; a fifth changes the pool, or, for comparison, runs an empty Python loop for the same
time. Both in one process, in turns, with ``sys.setswitchinterval(0.0005)``. Two pools: a ring of 1,500 endpoints with
1,000 virtual nodes each, to which three endpoints are added; and 20,000 endpoints, of which one changes its weight by
an update of the whole list. Bounds: the 99.99th percentile of a pick at most 1.5 times, the longest at most 2 times,
throughput at least 0.8 of the comparison.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from array import array
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from balancekit import Endpoint, LoadBalancer, PowerOfChoices, RingHash
from balancekit.loads import InFlight, InFlightCost

REQUESTERS = 4
SWITCH_INTERVAL_S = 0.0005
MAX_P9999, MAX_LONGEST, MIN_THROUGHPUT = 1.5, 2.0, 0.8
MAX_BUSY = 2.0
"""If the comparison itself differs from round to round by more than this factor, nothing is judged."""


class Picks(NamedTuple):
    """What four threads saw."""

    nanoseconds: list[np.ndarray]
    seconds: float

    @property
    def all(self) -> np.ndarray:
        """Every pick."""
        return np.concatenate(self.nanoseconds)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return sum(map(len, self.nanoseconds)) / self.seconds


def beside(lb: LoadBalancer[str], work: Callable[[], None]) -> Picks:
    """Run requests in four threads for as long as a fifth works."""
    working, ready = threading.Event(), threading.Barrier(REQUESTERS + 1)
    working.set()
    seen = [array("q") for _ in range(REQUESTERS)]

    def request(mine: array[int], number: int) -> None:
        note, clock, key, acquire, going = (
            mine.append,
            time.perf_counter_ns,
            f"user:{number}",
            lb.acquire,
            working,
        )
        ready.wait()
        while going.is_set():
            began = clock()
            lease = acquire(key)
            note(clock() - began)
            lease.release()

    threads = [threading.Thread(target=request, args=(mine, number)) for number, mine in enumerate(seen)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    working.clear()
    for thread in threads:
        thread.join()
    return Picks([np.frombuffer(mine, dtype=np.int64) for mine in seen], seconds)


def loop_for(seconds: float) -> Callable[[], None]:
    """Return an empty loop that ends after some time."""

    def loop() -> None:
        end, clock = time.perf_counter() + seconds, time.perf_counter
        while clock() < end:
            for _ in range(1000):
                pass

    return loop


def ring(load: InFlight | InFlightCost) -> tuple[LoadBalancer[str], Callable[[int], None]]:
    """Return a large ring, and a change of it."""
    lb = LoadBalancer([f"e{k}" for k in range(1500)], selector=RingHash(vnodes=1000), load=load, health=None)

    def change(number: int) -> None:
        for k in range(3):
            lb.add(f"x{number}-{k}")

    return lb, change


def many(load: InFlight | InFlightCost) -> tuple[LoadBalancer[str], Callable[[int], None]]:
    """Return a large pool, and a change of it."""
    endpoints = [Endpoint(f"10.{k >> 8}.{k & 255}:80") for k in range(20_000)]
    lb = LoadBalancer(endpoints, selector=PowerOfChoices(), load=load)

    def change(number: int) -> None:
        for k in range(3):
            lb.update([*endpoints[:-1], endpoints[-1].replace(weight=2.0 + number + k / 4)])

    return lb, change


CASES = {
    "ring of 1,500 x 1,000, InFlight": lambda: ring(InFlight()),
    "ring of 1,500 x 1,000, InFlightCost": lambda: ring(InFlightCost()),
    "20,000 endpoints, InFlight": lambda: many(InFlight()),
    "20,000 endpoints, InFlightCost": lambda: many(InFlightCost()),
}


def measure(name: str, rounds: int) -> tuple[dict[str, float], float]:
    """Return the ratios of one case, and by what factor the comparison differs from itself."""
    lb, change = CASES[name]()
    quiet: list[Picks] = []
    busy: list[Picks] = []
    for number in range(rounds):
        busy.append(beside(lb, partial(change, number)))
        quiet.append(beside(lb, loop_for(busy[-1].seconds)))
    changed, alone = (np.concatenate([picks.all for picks in some]) for some in (busy, quiet))
    tails = [float(np.quantile(picks.all, 0.9999)) for picks in quiet]
    figures = {
        "p99.99": float(np.quantile(changed, 0.9999) / np.quantile(alone, 0.9999)),
        "longest": float(changed.max() / alone.max()),
        "throughput": sum(p.rate for p in busy) / sum(p.rate for p in quiet),
        "p99.99 alone, ms": float(np.quantile(alone, 0.9999)) / 1e6,
        "longest alone, ms": float(alone.max()) / 1e6,
        "change, s": sum(p.seconds for p in busy) / rounds,
    }
    return figures, max(tails) / min(tails)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.changes", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", default="", help="a part of the names of the cases to measure")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its bound")
    options = parser.parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    failed = False
    for name in CASES:
        if options.only not in name:
            continue
        found, spread = measure(name, options.rounds)
        good = (
            found["p99.99"] <= MAX_P9999
            and found["longest"] <= MAX_LONGEST
            and found["throughput"] >= MIN_THROUGHPUT
        )
        verdict = "within bounds" if good else "over its bound"
        if not good and spread > MAX_BUSY:
            verdict = f"machine busy ({spread:.1f}): not judged"
        failed = failed or verdict == "over its bound"
        print(
            f"{name}: " + ", ".join(f"{what} {value:.2f}" for what, value in found.items()) + f": {verdict}"
        )
    return 1 if failed and options.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
