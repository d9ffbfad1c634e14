"""The cost of matching a route, in empty calls, for 10 to 10,000 routes.

    uv run python -m benchmarks.routes              print a table
    uv run python -m benchmarks.routes --check      fail if a figure is over its bound

The tables contain exact paths, prefixes, templates, expressions and text prefixes, exact and wildcard hosts, methods and headers.
The last route matches every request. Fifty requests that match other routes are measured alternately with empty calls, in CPU
time of this thread. Figures are minima of many rounds. Bounds: a match among 10,000 routes costs at most 60 empty calls, and at
most 1.5 times a match among 100.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks._harness import add_save, machine, save

from balancekit.l7 import Request, Route, RouteTable, exact, header, prefix, regex, template, text_prefix

SIZES = (10, 100, 1_000, 10_000)
REQUESTS = 50
MAX_CALLS = 60.0
MAX_GROWTH = 1.5
MAX_SPREAD = 2.0
"""The check is skipped if the least cost of an empty call differs by more than this factor between two halves of the rounds."""

KINDS = (
    (lambda base: exact(f"{base}/status"), "/status"),
    (exact, ""),
    (lambda base: prefix(f"{base}/v1"), "/v1/a/b"),
    (prefix, "/x"),
    (lambda base: prefix(f"{base}/v2/users"), "/v2/users/7"),
    (lambda base: template(f"{base}/users/{{id}}"), "/users/12"),
    (lambda base: regex(f"^{base}/items/[0-9]+$"), "/items/42"),
    (prefix, "/deep/er/path"),
    (prefix, ""),
    (lambda base: text_prefix(f"{base}-x"), "-xyz"),
)
"""The patterns of a service, and the text after its base path in a request that matches."""


def table(size: int) -> RouteTable[str]:
    """Return a table of ``size`` routes, and a last one for all other requests."""
    routes = []
    for number in range(size):
        kind = number % len(KINDS)
        host = f"h{number % 50}.shop.test" if kind < 6 else "*.shop.test" if kind < 8 else None
        routes.append(
            Route(
                f"r{number}",
                f"p{number}",
                host=host,
                path=KINDS[kind][0](f"/svc{number}"),
                method=("GET", "HEAD") if number % 3 == 0 else None,
                headers=[header("x-v").is_("1")] if number % 11 == 0 else (),
            )
        )
    return RouteTable([*routes, Route("rest", "web")])


def requests(size: int) -> list[Request]:
    """Return requests that match routes drawn at random."""
    rng = random.Random(2)
    found = []
    for number in (rng.randrange(size) for _ in range(REQUESTS)):
        path = f"/svc{number}{KINDS[number % len(KINDS)][1]}"
        found.append(
            Request(path, host=f"h{number % 50}.shop.test", headers=[("X-V", "1"), ("Accept", "*/*")])
        )
    return found


class Empty:
    """An object with a method that does nothing."""

    def call(self, request: Request) -> None:
        """Do nothing."""


def cost(function: Callable[[Request], Any], sample: Sequence[Request], turns: int) -> float:
    """Return the seconds of CPU time of one call."""
    started = time.thread_time()
    for _ in range(turns):
        for request in sample:
            function(request)
    return (time.thread_time() - started) / turns / len(sample)


def measure(rounds: int) -> tuple[dict[int, float], float]:
    """Return the cost at each size in empty calls, and the factor by which the empty call differs between halves of the rounds."""
    empty = Empty().call
    subjects = {size: (table(size).match, requests(size)) for size in SIZES}
    for size, (match, sample) in subjects.items():
        found = [match(request) for request in sample]
        assert all(each is not None and each.route.name != "rest" for each in found), size
    least = dict.fromkeys(SIZES, float("inf"))
    halves = [float("inf"), float("inf")]
    for turn in range(rounds):
        for size, (match, sample) in subjects.items():
            least[size] = min(least[size], cost(match, sample, 4))
        halves[turn % 2] = min(halves[turn % 2], cost(empty, subjects[SIZES[0]][1], 8))
    return {size: seconds / min(halves) for size, seconds in least.items()}, max(halves) / min(halves)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routes", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its bound")
    add_save(parser)
    options = parser.parse_args()
    figures, spread = measure(options.rounds)
    print(machine())
    for size, calls in figures.items():
        print(f"{size:6} routes: {calls:5.1f} empty calls a match")
    growth = figures[SIZES[-1]] / figures[100]
    print(f"{SIZES[-1]} routes cost {growth:.2f} times what 100 cost")
    save(
        "routes",
        {f"match, n={size}": calls for size, calls in figures.items()} | {"growth": growth},
        options.save,
    )
    if spread > MAX_SPREAD:
        print("machine busy: not judged")
        return 0
    over = figures[SIZES[-1]] > MAX_CALLS or growth > MAX_GROWTH
    if over:
        print(f"over its bound: at most {MAX_CALLS:g} empty calls, and {MAX_GROWTH:g} times")
    return 1 if over and options.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
