"""The duration of picks while another thread changes the pool, compared with that beside an empty loop.

    uv run python -m benchmarks.changes                 the table
    uv run python -m benchmarks.changes --check         fail if a figure is over its bound

Four threads acquire and release. A fifth thread changes the pool. For comparison, it then runs an empty Python loop for the
same time. Both run alternately in one process, with ``sys.setswitchinterval(0.0005)``. There are two pools. One is a ring of
1,500 endpoints with 1,000 virtual nodes each, to which three endpoints are added. The other has 20,000 endpoints, and an
update of the whole list changes the weight of one. Bounds: the 99.99th percentile of a pick is at most 1.5 times that of the
comparison, the longest pick at most 2 times, and the throughput at least 0.8 times.
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
"""If the 99.99th percentile of the comparison differs between rounds by more than this factor, the check is skipped."""


class Picks(NamedTuple):
    """The picks of the four threads, and the seconds that they took together."""

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
    """Run requests in four threads while this thread runs ``work``."""
    working, ready = threading.Event(), threading.Barrier(REQUESTERS + 1)
    working.set()
    durations = [array("q") for _ in range(REQUESTERS)]

    def request(own: array[int], number: int) -> None:
        record, clock, key, acquire, going = (
            own.append,
            time.perf_counter_ns,
            f"user:{number}",
            lb.acquire,
            working,
        )
        ready.wait()
        while going.is_set():
            began = clock()
            lease = acquire(key)
            record(clock() - began)
            lease.release()

    threads = [threading.Thread(target=request, args=(own, number)) for number, own in enumerate(durations)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    working.clear()
    for thread in threads:
        thread.join()
    return Picks([np.frombuffer(own, dtype=np.int64) for own in durations], seconds)


def loop_for(seconds: float) -> Callable[[], None]:
    """Return a function that runs an empty loop for some seconds."""

    def loop() -> None:
        end, clock = time.perf_counter() + seconds, time.perf_counter
        while clock() < end:
            for _ in range(1000):
                pass

    return loop


def ring(load: InFlight | InFlightCost) -> tuple[LoadBalancer[str], Callable[[int], None]]:
    """Return a balancer with a large ring, and a function that changes the ring."""
    lb = LoadBalancer([f"e{k}" for k in range(1500)], selector=RingHash(vnodes=1000), load=load, health=None)

    def change(number: int) -> None:
        for k in range(3):
            lb.add(f"x{number}-{k}")

    return lb, change


def many(load: InFlight | InFlightCost) -> tuple[LoadBalancer[str], Callable[[int], None]]:
    """Return a balancer with a large pool, and a function that changes the pool."""
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
    """Return the ratios of one case, and the factor by which the comparison differs between rounds."""
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
