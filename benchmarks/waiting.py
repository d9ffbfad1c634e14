"""Requests that wait for 40 slots, in virtual time: the effect of the order and the bound of the queue.

    uv run python -m benchmarks.waiting            the tables
    uv run python -m benchmarks.waiting --check    fail if a figure is not the expected one

Service times have an exponential distribution with a mean of 100 ms. Callers give up after a second, so later responses are
wasted. In rows with "no deadline", the queue does not know this. A figure is the share of requests that are answered in time, of
24,000 at load 2. The expected figures come from an independent model with the same arrivals and service times.
"""

from __future__ import annotations

import argparse
import heapq
import math
import statistics
from collections import Counter
from itertools import count
from random import Random
from typing import Any

from benchmarks._harness import add_save, save

from balancekit.waiting import WaitingQueue

SLOTS = 40
MEAN_S = 0.1
PATIENCE_S = 1.0
LOADS = (0.9, 1.0, 1.3, 2.0)
TOLERANCE = 0.02

QUEUES: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "reject at once": ({"max_waiting": 0}, (0.936, 0.887, 0.735, 0.488)),
    "FIFO, no bound, no deadline": ({"max_waiting": None, "order": "fifo"}, (1.0, 0.999, 0.113, 0.032)),
    "FIFO, 400, no deadline": ({"max_waiting": 400, "order": "fifo"}, (1.0, 0.999, 0.242, 0.100)),
    "FIFO, hopeless refused": (
        {"max_waiting": None, "order": "fifo", "min_time": MEAN_S},
        (1.0, 0.999, 0.565, 0.338),
    ),
    "FIFO, 40 waiting": ({"max_waiting": 40, "order": "fifo"}, (1.0, 0.982, 0.780, 0.502)),
    "LIFO, hopeless refused": (
        {"max_waiting": None, "order": "lifo", "min_time": MEAN_S},
        (0.999, 0.977, 0.783, 0.507),
    ),
    "controlled delay 5/100 ms": (
        {"max_waiting": None, "order": "fifo", "controlled_delay": (0.005, 0.1)},
        (0.979, 0.935, 0.770, 0.500),
    ),
}
CRITICAL = ({"max_waiting": 40, "order": "fifo"}, (1.0, 1.0, 1.0, 1.0))
DEFAULT: dict[str, Any] = {"max_waiting": 40}


def simulate(
    options: dict[str, Any],
    load: float,
    seed: int,
    *,
    seconds: float = 30.0,
    tenants: dict[str, float] | None = None,
    critical: float = 0.0,
    patience: float = PATIENCE_S,
) -> Counter[str]:
    """Return the numbers of requests and of responses in time, both also for critical requests, and of slots by tenant."""
    random, others, queue = Random(seed), Random(-seed), WaitingQueue[tuple[float, str, bool]](**options)
    events: list[tuple[float, int, tuple[float, str, bool], bool]] = []
    t, serial, found = 0.0, 0, Counter[str]()
    names, weights = list(tenants or {"": 1.0}), list((tenants or {"": 1.0}).values())
    while t < seconds:
        t += random.expovariate(load * SLOTS / MEAN_S)
        request = (t, others.choices(names, weights)[0], random.random() < critical)
        heapq.heappush(events, (t, serial, request, True))
        serial += 1
    free, serials = SLOTS, count(serial)
    while events:
        now, _, request, arrives = heapq.heappop(events)
        arrived, tenant, urgent = request
        starting: tuple[float, str, bool] | None = request
        if arrives:
            found["requests"] += 1
            found["critical requests"] += urgent
            if not free or queue:
                queue.offer(
                    request, now=now, deadline=arrived + patience, tenant=tenant, criticality=int(urgent)
                )
                continue
            queue.served(tenant)
        else:
            in_time = now - arrived <= PATIENCE_S
            found["in time"] += in_time
            found["critical in time"] += in_time and urgent
            free += 1
            waiter, _ = queue.next(now=now)
            starting = None if waiter is None else waiter.request
        if starting is not None:
            free -= 1
            found[f"slots of {starting[1]}"] += 1
            heapq.heappush(events, (now + random.expovariate(1 / MEAN_S), next(serials), starting, False))
    return found


def share(
    options: dict[str, Any], load: float, seeds: range, *, critical: float = 0.0, patience: float = PATIENCE_S
) -> float:
    """Return the share of requests answered in time. With ``critical`` > 0, only critical requests count."""
    word = "critical " if critical else ""
    runs = [simulate(options, load, seed, critical=critical, patience=patience) for seed in seeds]
    return statistics.mean(one[f"{word}in time"] / one[f"{word}requests"] for one in runs)


def fairness(seed: int = 1) -> float:
    """Return the slots of a tenant with ten times the load of another, relative to half of the slots.

    Both tenants need more than half of the slots.
    """
    found = simulate({"max_waiting": 40}, 11 * 0.6, seed, tenants={"small": 1.0, "large": 10.0}, seconds=20.0)
    return found["slots of large"] * 2 / (found["slots of large"] + found["slots of small"])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    add_save(parser)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    wrong: list[str] = []
    print(f"{'':28}" + "".join(f"{load:>16}" for load in LOADS))
    rows = [(name, queue, expected, 0.0) for name, (queue, expected) in QUEUES.items()]
    rows.append(("40 waiting, the critical 30 %", *CRITICAL, 0.3))
    for name, queue, expected, critical in rows:
        cells = []
        for load, wanted in zip(LOADS, expected, strict=True):
            patience = math.inf if "no deadline" in name else PATIENCE_S
            measured = share(queue, load, range(1, 3), critical=critical, patience=patience)
            figures[f"{name}, load {load}"] = measured
            cells.append(f"{measured:.3f} ({wanted:.3f})")
            if abs(measured - wanted) > TOLERANCE:
                wrong.append(f"{name}, load {load}: {measured:.3f}, expected {wanted:.3f}")
        print(f"{name:28}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
    print(
        f"{'adaptive, 40 waiting':28}"
        + "".join(f"{share(DEFAULT, load, range(1, 3)):>16.3f}" for load in LOADS)
    )
    figures["ten times the load, its part"] = fairness()
    print(f"a tenant with ten times the load gets {figures['ten times the load, its part']:.3f} of its share")
    save("waiting", figures, options.save)
    if options.check:
        assert not wrong, "\n".join(wrong)
        assert figures["ten times the load, its part"] <= 1.1


if __name__ == "__main__":
    main()
