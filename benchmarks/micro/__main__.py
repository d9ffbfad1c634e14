"""The cost of a pick and of a whole request with every selector, at 10 to 10,000 endpoints.

    uv run python -m benchmarks.micro                 the tables
    uv run python -m benchmarks.micro --check         fail if a figure is over its bound
    uv run python -m benchmarks.micro --cold          with the data of other cases in the processor's caches
    uv run python -m benchmarks.micro --json FILE     write the figures as JSON too
    uv run python -m benchmarks.micro --save          store the ratios in benchmarks/results
    uv run --group bench python -m benchmarks.micro   compare with other packages

``pick`` is only the fast path of a selector. ``select`` is its slow path, ``select(snapshot, ctx)``. ``request`` is
``with lb.acquire(): pass``. Separate tables show requests with exclusions, costs and keys, in ``attempts``, and through
routers. All figures are ratios to an empty bound-method call of the same run. Requests are also given as ratios to
``with lock: pass``. ``growth`` is the cost at 10,000 endpoints over that at 10.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._harness import Group, Result, add_save, machine, save
from benchmarks.micro import _paths as paths
from benchmarks.micro import _peers as peers

from balancekit import (
    Endpoint,
    First,
    LeastRequest,
    LeastResponseTime,
    LoadBalancer,
    Outcome,
    PowerOfChoices,
    RoundRobin,
    ShortestExpectedDelay,
    SmoothWeightedRoundRobin,
    SourceHash,
    StrideScheduling,
    UniformRandom,
    WeightedRandom,
)
from balancekit.loads import InFlight
from balancekit.outcome import Completion
from balancekit.snapshot import Members, Node, PickContext, Snapshot

SIZES = (10, 100, 1_000, 10_000)
SLICE_MS = 40.0
"""The length of each run in milliseconds: long enough to pick nearly all of 10,000 endpoints."""
WARM = 70
"""Requests per endpoint before the measurement, so each has answered, and time windows are sampled."""


class Subject(NamedTuple):
    """A selector with the options and bounds of its measurement."""

    name: str
    selector: Callable[[], Any]
    weighted: bool = False
    load: Callable[[], Any] | None = None
    keyed: bool = False
    pick_bound: float | None = None
    pick_from: int = 0
    request_bound: float | None = None
    request_bounds: Mapping[int, float] | None = None
    """Bounds of a request by the number of endpoints."""


SUBJECTS = (
    Subject("RoundRobin", RoundRobin, pick_bound=5.0),
    Subject(
        "SmoothWeightedRoundRobin", SmoothWeightedRoundRobin, weighted=True, pick_bound=8.0, pick_from=64
    ),
    Subject("StrideScheduling", StrideScheduling, weighted=True),
    Subject("UniformRandom", UniformRandom),
    Subject("WeightedRandom", WeightedRandom, weighted=True),
    Subject("First", First),
    Subject("SourceHash", SourceHash, keyed=True),
    Subject("PowerOfChoices, in-flight", PowerOfChoices, load=InFlight, pick_bound=12.0, request_bound=30.0),
    Subject("PowerOfChoices, in-flight, weighted", PowerOfChoices, weighted=True, load=InFlight),
    Subject("PowerOfChoices, failure-aware", PowerOfChoices, request_bound=60.0),
    Subject(
        "ShortestExpectedDelay, the default",
        ShortestExpectedDelay,
        request_bounds={10: 60.0, 1_000: 75.0, 10_000: 100.0},
    ),
    Subject("LeastRequest", LeastRequest, request_bound=35.0),
    Subject("LeastRequest, weighted", LeastRequest, weighted=True, request_bound=90.0),
    Subject("LeastResponseTime", LeastResponseTime, request_bound=90.0),
)


def endpoints(size: int, *, weighted: bool) -> list[Endpoint[str]]:
    """Return endpoints whose ids are addresses. If ``weighted``, their weights are 1, 2 or 4."""
    rng = random.Random(5)
    weights = [rng.choice((1, 2, 4)) if weighted else 1 for _ in range(size)]
    return [Endpoint(f"10.0.{k >> 8}.{k & 255}:8080", weight=w) for k, w in enumerate(weights)]


def measure(size: int, subjects: tuple[Subject, ...], group: Group) -> dict[str, Result]:
    """Measure all selectors at one size, in one group."""
    group.add("with lock: pass", "with lock: pass", lock=threading.Lock())
    keys = _cycle([f"user:{k}" for k in range(4096)])
    for subject in subjects:
        pool = endpoints(size, weighted=subject.weighted)
        nodes = answered(pool, subject.selector().default_load if subject.load is None else subject.load())
        snapshot = Snapshot(Members(nodes), nodes)
        if hasattr(subject.selector(), "picker"):
            pick = subject.selector().picker(snapshot, rng=random.Random(1))
            if subject.keyed:
                group.add(f"{subject.name}/pick", "p(k())", p=pick, k=keys)
            else:
                group.add(f"{subject.name}/pick", "p(1.0)", p=pick)
        ctx = PickContext(rng=random.Random(1), key="user:1", now=1.0)
        group.add(f"{subject.name}/select", "s(n, c)", s=subject.selector().select, n=snapshot, c=ctx)
        options = {} if subject.load is None else {"load": subject.load()}
        balancer = LoadBalancer(pool, selector=subject.selector(), rng=random.Random(1), **options)
        for _ in range(WARM * size):
            balancer.acquire().release()
        if subject.keyed:
            group.add(f"{subject.name}/request", "with a(k()): pass", a=balancer.acquire, k=keys)
        else:
            group.add(f"{subject.name}/request", "with a(): pass", a=balancer.acquire)
    for name, (statement, names) in peers.installed(
        endpoints(size, weighted=False),
        endpoints(size, weighted=True),
    ).items():
        group.add(f"peer/{name}", statement, **names)
    return group.run()


def answered(pool: list[Endpoint[str]], load: Any) -> tuple[Node, ...]:
    """Return nodes that have each served one request."""
    policy = load.for_pool() if hasattr(load, "for_pool") else load
    nodes = tuple([Node(endpoint, policy) for endpoint in pool])
    for node in nodes:
        node.load.finished(Completion(Outcome.SUCCESS, started_at=0.0, ended_at=0.01))
    return nodes


def _cycle(items: list[str]) -> Callable[[], str]:
    def forever() -> Iterator[str]:
        while True:
            yield from items

    return forever().__next__


def table(results: dict[int, dict[str, Result]], subjects: tuple[Subject, ...], what: str) -> None:
    """Print one table with the ratios by size, and the growth."""
    sizes = sorted(results)
    print(f"\n{what}, in empty method calls")
    print(f"{'':38}" + "".join(f"{'n=' + str(size):>12}" for size in sizes) + f"{'growth':>9}")
    for subject in subjects:
        row = [results[size].get(f"{subject.name}/{what}") for size in sizes]
        found = [result.ratio for result in row if result is not None]
        if not found:
            continue
        cells = "".join(f"{'-' if result is None else format(result.ratio, '.1f'):>12}" for result in row)
        growth = f"{found[-1] / found[0]:.2f}" if len(found) == len(sizes) > 1 else "-"
        print(f"{subject.name:38}{cells}{growth:>9}")


def locks(results: dict[int, dict[str, Result]], subjects: tuple[Subject, ...]) -> None:
    """Print the cost of requests as multiples of an uncontended lock."""
    sizes = sorted(results)
    print("\nrequest, in uncontended `with lock: pass`")
    for subject in subjects:
        row = [
            results[size][f"{subject.name}/request"].nanoseconds
            / results[size]["with lock: pass"].nanoseconds
            for size in sizes
            if f"{subject.name}/request" in results[size]
        ]
        print(f"{subject.name:38}" + "".join(f"{value:12.1f}" for value in row))


def compare_peers(results: dict[int, dict[str, Result]]) -> list[str]:
    """Print each peer and the selector with the same decision. Return a line for each case in which the peer is faster."""
    sizes = sorted(results)
    rows = [peer for peer in peers.PEERS if f"peer/{peer.name}" in results[sizes[0]]]
    behind = []
    if rows:
        print("\npeers, in empty method calls: peer, balancekit's pick / whole request")
    for peer in rows:
        cells = []
        for size in sizes:
            cost = results[size][f"peer/{peer.name}"].ratio
            pick = results[size].get(f"{peer.selector}/pick")
            request = results[size].get(f"{peer.selector}/request")
            if pick is None or request is None:
                continue
            cells.append(f"{cost:10.1f}, {pick.ratio:.1f} / {request.ratio:.1f}")
            if cost < (pick if peer.statement in peers.PICKS else request).ratio:
                behind.append(f"slower than {peer.name} at {size}")
        print(f"{peer.name:28}" + "".join(f"{cell:>28}" for cell in cells))
    return behind


def failures(results: dict[int, dict[str, Result]], subjects: tuple[Subject, ...]) -> list[str]:
    """Return a line for each figure that is over its bound."""
    found = []
    for size, rows in results.items():
        for subject in subjects:
            pick, request = rows.get(f"{subject.name}/pick"), rows.get(f"{subject.name}/request")
            if subject.pick_bound and pick and size >= subject.pick_from and pick.ratio > subject.pick_bound:
                found.append(f"{subject.name} pick at {size}: {pick.ratio:.1f} > {subject.pick_bound:g}")
            bound = (subject.request_bounds or {}).get(size, subject.request_bound)
            if bound and request and request.ratio > bound:
                found.append(f"{subject.name} request at {size}: {request.ratio:.1f} > {bound:g}")
    return found


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--only", default="", help="a part of the names of the selectors to measure")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--cold", action="store_true", help="measure with the data of other cases in the processor's caches"
    )
    parser.add_argument("--paths", action="store_true", help="measure only paths and routers")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its bound")
    parser.add_argument("--json", metavar="FILE")
    add_save(parser)
    options = parser.parse_args()
    subjects = tuple([s for s in SUBJECTS if options.only.lower() in s.name.lower() and not options.paths])
    timer = partial(Group, rounds=options.rounds, milliseconds=SLICE_MS, cold=options.cold)
    results, by_path = {}, {}
    for size in map(int, options.sizes.split(",")):
        results[size] = measure(size, subjects, timer())
        if not options.only:
            by_path[size] = paths.measure(size, timer=timer)
        print(f"measured n={size}", file=sys.stderr)
    print(machine())
    if by_path:
        paths.table(by_path)
    for what in ("pick", "select", "request"):
        table(results, subjects, what)
    locks(results, subjects)
    if options.json:
        rows = {
            size: {k: [r.nanoseconds, r.ratio] for k, r in found.items()} for size, found in results.items()
        }
        report = json.dumps({"machine": machine(), "results": rows}, indent=1)
        Path(options.json).write_text(report, encoding="utf-8")
    save(
        "micro",
        {
            f"{k}, n={size}": r.ratio
            for found_by_size in (results, by_path)
            for size, found in found_by_size.items()
            for k, r in found.items()
        },
        options.save,
    )
    over = failures(results, subjects) + paths.failures(by_path)
    if not options.paths:
        over += compare_peers(results)
    for line in over:
        print("over its bound:", line)
    return 1 if over and options.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
