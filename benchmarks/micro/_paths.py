"""The cost of whole requests on every path: with an exclusion, a cost, ``attempts`` or a key, and through every router.

Bounds are of the difference from a plain request of the same balancer. For a router, they are of the difference from its child
without the router. Differences are in empty method calls of the same run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

from benchmarks._harness import Group, Result

from balancekit import (
    Endpoint,
    LeastRequest,
    LeastResponseTime,
    LoadBalancer,
    MaglevHash,
    PowerOfChoices,
    RingHash,
    RoundRobin,
    ShortestExpectedDelay,
)
from balancekit.loads import InFlight
from balancekit.routing import (
    Canary,
    Locality,
    MaxInFlight,
    Priority,
    RateLimit,
    Sticky,
    StickyValues,
    Subset,
    Subsetting,
)
from balancekit.selectors import BoundedLoad

__all__ = ["failures", "measure", "table"]

MAX_OVER_PLAIN = 70.0
"""The largest accepted cost that an exclusion, a cost or ``attempts`` adds to a plain request."""
MAX_OVER_CHILD = 20.0
"""The largest accepted cost that a router adds to its child."""
MAX_OVER_KEYLESS = 20.0
"""The largest accepted cost that a key adds if it is not hashed."""
MAX_WARM = 100_000
"""The most requests before the measurement."""


class Path(NamedTuple):
    """A balancer with the options of its measurement."""

    name: str
    selector: Callable[[], Any]
    load: Callable[[], Any] | None = None
    keyed: bool = False
    router: bool = False


CHILD = "PowerOfChoices"
SELECTORS = (
    Path(CHILD, PowerOfChoices, InFlight),
    Path("ShortestExpectedDelay", ShortestExpectedDelay),
    Path("LeastRequest", LeastRequest),
    Path("LeastResponseTime", LeastResponseTime),
    Path("RoundRobin", RoundRobin),
    Path("RingHash", RingHash, keyed=True),
    Path("MaglevHash", MaglevHash, keyed=True),
    Path("BoundedLoad", BoundedLoad, keyed=True),
)
ROUTERS = tuple(
    [
        Path(name, selector, InFlight, router=True)
        for name, selector in (
            ("Priority", lambda: Priority(PowerOfChoices)),
            ("Locality", lambda: Locality("a", child=PowerOfChoices)),
            ("Canary", lambda: Canary({"track": "canary"}, share=0.1, child=PowerOfChoices)),
            ("Subset", lambda: Subset(["track"], child=PowerOfChoices)),
            ("Subsetting", lambda: Subsetting(lambda ids: ids[::2], child=PowerOfChoices)),
            ("Sticky", lambda: Sticky(StickyValues("pool", [b"sixteen secrets!"]), child=PowerOfChoices)),
            ("MaxInFlight", lambda: MaxInFlight(1_000, child=PowerOfChoices)),
            ("RateLimit", lambda: RateLimit(1e9, child=PowerOfChoices)),
        )
    ]
)
STATEMENTS = {
    "plain": "with a({0}): pass",
    "exclusion": "with a({1}exclude=e): pass",
    "cost": "with a({1}cost=2.0): pass",
    "attempts": "for lease in t(2, {0}):\n  with lease: break",
    "key": "with a(k()): pass",
}
ADDED = ("exclusion", "cost", "attempts")


def measure(size: int, *, timer: Callable[[], Group]) -> dict[str, Result]:
    """Measure all paths at one size. Each balancer has a group, and all routers and their child have one."""
    found: dict[str, Result] = {}
    for path in SELECTORS:
        found |= _group([path], tuple(STATEMENTS), size, timer())
    found |= _group([SELECTORS[0]._replace(name="child"), *ROUTERS], ("plain",), size, timer())
    return found


def _group(paths: Sequence[Path], kinds: Sequence[str], size: int, group: Group) -> dict[str, Result]:
    keys = cycle([f"user:{number}" for number in range(4096)]).__next__
    pool = [
        Endpoint(
            f"10.0.{number >> 8}.{number & 255}:8080",
            zone="a" if number % 2 else "b",
            priority=number % 2,
            metadata={"track": "canary" if number % 10 == 0 else "stable"},
        )
        for number in range(size)
    ]
    exclude = {pool[3].id}
    for path in paths:
        options = {} if path.load is None else {"load": path.load()}
        balancer = LoadBalancer(pool, selector=path.selector(), rng=random.Random(1), **options)
        for _ in range(min(MAX_WARM, 70 * size)):
            balancer.acquire(keys() if path.keyed else None).release()
        for kind in kinds:
            statement = STATEMENTS[kind].format(*(("k()", "k(), ") if path.keyed else ("", "")))
            names = {"a": balancer.acquire, "t": balancer.attempts, "e": exclude, "k": keys}
            group.add(f"{path.name}/{kind}", statement, **names)
    return group.run()


def table(results: Mapping[int, Mapping[str, Result]]) -> None:
    """Print the cost that each path adds, by size."""
    sizes = sorted(results)
    print("\nrequest: plain, and what each path adds, in empty method calls")
    print(f"{'':24}{'':12}" + "".join(f"{'n=' + str(size):>10}" for size in sizes))
    for path in SELECTORS:
        for kind in STATEMENTS:
            cells = [results[size][f"{path.name}/{kind}"].ratio for size in sizes]
            if kind != "plain":
                cells = [
                    cell - results[size][f"{path.name}/plain"].ratio
                    for size, cell in zip(sizes, cells, strict=True)
                ]
            sign = "" if kind == "plain" else "+"
            print(f"{path.name:24}{kind:12}" + "".join(f"{cell:{sign}10.1f}" for cell in cells))
    print("\nplain request through a router over its child, in empty method calls")
    for path in ROUTERS:
        cells = [
            results[size][f"{path.name}/plain"].ratio - results[size]["child/plain"].ratio for size in sizes
        ]
        print(f"{path.name:36}" + "".join(f"{cell:+10.1f}" for cell in cells))


def failures(results: Mapping[int, Mapping[str, Result]]) -> list[str]:
    """Return a line for each difference that is over its bound."""
    found = []
    for size, rows in results.items():
        for path in SELECTORS:
            plain = rows[f"{path.name}/plain"].ratio
            for kind in (*ADDED, "key"):
                added, bound = rows[f"{path.name}/{kind}"].ratio - plain, MAX_OVER_PLAIN
                if kind == "key":
                    bound = MAX_OVER_KEYLESS
                if added > bound:
                    found.append(f"{path.name} with {kind} at {size}: +{added:.1f} > +{bound:g}")
        child = rows["child/plain"].ratio
        for path in ROUTERS:
            added = rows[f"{path.name}/plain"].ratio - child
            if added > MAX_OVER_CHILD:
                found.append(f"{path.name} over its child at {size}: +{added:.1f} > +{MAX_OVER_CHILD:g}")
    return found
