"""Cost of a pick and of a whole request, as ratios to the cost of an empty method call in the same run.

``pick`` is the selector's fast path alone. ``request`` is ``with lb.acquire(): pass``: pick, lease, accounting and release.
Absolute times are not reported, because they depend on the machine.

The bounds are 1.5 times those of ``benchmarks/micro``, because machines and interpreters differ. They are for CPython with
the interpreter lock, where the fast paths need no lock. If the machine is busy, values are measured but not judged.
"""

from __future__ import annotations

import gc
import math
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle
from typing import Any, Final

from balancekit.balancer import LoadBalancer
from balancekit.bench._claims import Claim, Column, Findings, Step, Table
from balancekit.bench._registry import SELECTORS, STRUCTURES, names
from balancekit.bench._timing import Timer, Timing, machine
from balancekit.endpoint import Endpoint
from balancekit.snapshot import Members, Node, Snapshot

__all__ = ["speed_steps"]

SIZES: Final = (10, 100, 1_000)
WARM_UP_REQUESTS: Final = 20
"""Requests per endpoint before the timing, so that each endpoint has a latency and sampling windows are filled."""
WARM_UP_REQUESTS_LINEAR: Final = 200
"""Requests in total before the timing, for a selector whose pick is proportional to the number of endpoints."""
BOUND_FACTOR: Final = 1.5
"""Factor on the bounds, because machines differ."""
MAX_CALLS: Final[Mapping[tuple[str, str], float]] = {
    ("RoundRobin", "pick"): 5.0,
    ("PowerOfChoices", "pick"): 12.0,
    ("PowerOfChoices", "request"): 30.0,
    ("ShortestExpectedDelay", "request"): 75.0,
    ("LeastRequest", "request"): 35.0,
    ("MaglevTable", "lookup"): 8.0,
    ("HashRing", "lookup"): 15.0,
}
"""Maximum cost in empty method calls, from the gates of ``benchmarks/micro`` and ``benchmarks/hashing``."""
FLAT: Final = ("RoundRobin", "UniformRandom", "PowerOfChoices", "LeastRequest", "SmoothWeightedRoundRobin")
"""Selectors whose pick costs the same for any number of endpoints."""
MAX_GROWTH: Final = 2.0
"""Maximum ratio of a pick's cost among 1 000 endpoints to that among 10. A cost proportional to their number would grow by
100."""


def speed_steps(*, seed: int, quick: bool) -> Iterator[Step]:
    """Yield the parts of the topic. Run them one after the other, with nothing else at the same time."""
    rounds, milliseconds = (3, 1.0) if quick else (9, 3.0)
    for size in SIZES[:2] if quick else SIZES:
        yield Step(
            label=f"picks and requests among {size:,} endpoints",
            run=partial(_selectors, size, seed, Timer(rounds=rounds, milliseconds=milliseconds)),
        )
    for size in SIZES[:2] if quick else SIZES:
        yield Step(
            label=f"look-ups among {size:,} nodes",
            run=partial(_structures, size, seed, Timer(rounds=rounds, milliseconds=milliseconds)),
        )
    if not quick:
        yield Step(
            label="picks among 10 and 1,000 endpoints",
            run=partial(_growth, seed, Timer(rounds=15, milliseconds=milliseconds)),
        )


def _selectors(size: int, seed: int, timer: Timer) -> Findings:
    pool = [Endpoint(id) for id in names(size, seed)]
    for name in SELECTORS:
        _add(timer, name, pool, seed)
    results = timer.run()
    rows, claims = [], []
    for name in SELECTORS:
        pick, request = results.get(f"{name}/pick"), results[f"{name}/request"]
        rows.append((name, size, None if pick is None else pick.ratio, request.ratio))
        claims += [
            *_within(name, "pick", size, pick, busy=timer.busy),
            *_within(name, "request", size, request, busy=timer.busy),
        ]
    table = Table(
        name="speed",
        title="Cost in empty method calls",
        columns=(
            Column(name="selector"),
            Column(name="endpoints", form=",d"),
            Column(name="pick", form=".1f"),
            Column(name="request", form=".1f"),
        ),
        rows=tuple(rows),
    )
    return Findings(claims=tuple(claims), tables=(table,))


def _add(timer: Timer, name: str, pool: list[Endpoint[str]], seed: int) -> None:
    """Add the pick and the request of one selector to a timer."""
    case = SELECTORS[name]
    call, keys = ("k()", {"k": _keys()}) if case.keyed else ("", {})
    pick = _picker(name, pool, seed)
    if pick is not None:
        timer.add(f"{name}/pick", f"p({call or '1.0'})", p=pick, **keys)
    balancer = LoadBalancer(pool, selector=case.make(), rng=random.Random(seed), **case.options())
    for _ in range(WARM_UP_REQUESTS_LINEAR if case.linear else WARM_UP_REQUESTS * len(pool)):
        balancer.acquire().release()
    timer.add(f"{name}/request", f"with a({call}): pass", a=balancer.acquire, **keys)


def _picker(name: str, pool: list[Endpoint[str]], seed: int) -> Callable[..., Node] | None:
    """Return the fast path of a selector; ``None`` if it has none."""
    selector: Any = SELECTORS[name].make()
    if not hasattr(selector, "picker"):
        return None
    own = SELECTORS[name].load
    load: Any = selector.default_load if own is None else own()
    policy = load.for_pool() if hasattr(load, "for_pool") else load
    nodes = tuple([Node(endpoint, policy) for endpoint in pool])
    found: Callable[..., Node] = selector.picker(Snapshot(Members(nodes), nodes), rng=random.Random(seed))
    return found


def _keys() -> Callable[[], str]:
    return cycle([f"user:{number}" for number in range(1_024)]).__next__


def _structures(size: int, seed: int, timer: Timer) -> Findings:
    ids = names(size, seed)
    timer.add("key", "k()", k=_keys())
    for name, case in STRUCTURES.items():
        timer.add(name, "p(k())", p=case.make(ids).lookup, k=_keys())
    results = timer.run()
    supply = results["key"].ratio
    rows, claims = [], []
    for name in STRUCTURES:
        cost = results[name].replace(ratio=results[name].ratio - supply)
        rows.append((name, size, cost.ratio))
        claims += _within(name, "lookup", size, cost, busy=timer.busy)
    table = Table(
        name="look-ups",
        title="Cost of a look-up by a str key, in empty method calls",
        columns=(
            Column(name="structure"),
            Column(name="nodes", form=",d"),
            Column(name="lookup", form=".1f"),
        ),
        rows=tuple(rows),
    )
    return Findings(claims=tuple(claims), tables=(table,))


def _within(name: str, what: str, size: int, timing: Timing | None, *, busy: bool) -> list[Claim]:
    if (name, what) not in MAX_CALLS or timing is None or not machine()["interpreter lock"]:
        return []
    bound = BOUND_FACTOR * MAX_CALLS[name, what]
    article = {"pick": "A pick by", "request": "A whole request by", "lookup": "A look-up in"}[what]
    return [
        Claim(
            name=f"{name} {what}, {size}",
            text=f"{article} {name} among {size:,} costs at most {bound:g} empty method calls",
            measured=timing.ratio,
            right=None,
            low=-math.inf,
            high=bound,
            form=".1f",
            source="one and a half times the gates of benchmarks/micro and benchmarks/hashing",
            judged=not busy,
        )
    ]


def _growth(seed: int, timer: Timer) -> Findings:
    few, many = ([Endpoint(id) for id in names(size, seed)] for size in (SIZES[0], SIZES[-1]))
    for name in FLAT:
        timer.add(f"{name}/few", "p(1.0)", p=_picker(name, few, seed))
        timer.add(f"{name}/many", "p(1.0)", p=_picker(name, many, seed))
    gc.collect()
    results = timer.run()
    claims = []
    for name in FLAT if machine()["interpreter lock"] else ():
        growth = results[f"{name}/many"].ratio / results[f"{name}/few"].ratio
        claims.append(
            Claim(
                name=f"{name} growth",
                text=f"A pick by {name} costs the same among 1,000 endpoints as among 10",
                measured=growth,
                right=1.0,
                low=-math.inf,
                high=MAX_GROWTH,
                form=".2f",
                source="O(1); endpoints that do not fit into the nearest cache may cost up to twice as much",
                judged=not timer.busy,
            )
        )
    return Findings(claims=tuple(claims))
