"""The league: a comparison of the default selector with the other selectors of the library in many situations.

A *cell* is a scenario, a number of balancers and a load. In each cell, the best other choice is found with some seeds. Then
it is compared with the default with other seeds, on equal arrivals and service times. A cell is *good* if

- the upper end of the 95 % confidence interval of the ratio of the 99th percentiles is at most 1.10, or 1.20 at 95 % load;
- the same holds for the ratio of the mean latencies;
- the default does not fail more requests.

The *central queue* is a lower bound of latency: all servers behind one queue.

The list of other choices does not change. It has the selectors that the library had when the default was chosen.

Cost: a run of 20,000 requests takes about half a second. A cell takes about a hundred runs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from random import Random
from typing import Any, Final

from balancekit import loads, selectors
from balancekit._support.record import Record
from balancekit.balancer import LoadBalancer
from balancekit.bench._claims import Claim, Column, Findings, Step, Table
from balancekit.endpoint import Endpoint
from balancekit.sim import (
    Add,
    Bursty,
    Exponential,
    FailFast,
    Flap,
    Lognormal,
    MakeBalancer,
    Poisson,
    Server,
    Slow,
    simulate,
    sweep,
)

__all__ = [
    "BALANCERS",
    "LOADS",
    "OTHERS",
    "SCENARIOS",
    "Cell",
    "Run",
    "Standing",
    "best_others",
    "league_step",
    "runs",
    "standing",
]

MEAN_S: Final = 0.05
"""Mean service time at speed 1."""
BALANCERS: Final = (1, 4, 30, 300)
LOADS: Final = (0.30, 0.70, 0.85, 0.95)
DEFAULT: Final = "the default"
CENTRAL: Final = "central queue"
MAX_RATIO: Final = 1.10
MAX_RATIO_HEAVY: Final = 1.20
"""Maximum ratio at 95 % load, where differences between seeds are largest."""


def _with(make: Callable[[], Any], load: Callable[[], Any] | None = None) -> MakeBalancer:
    def balancer(pool: list[Endpoint[str]], clock: Callable[[], float], rng: Random) -> LoadBalancer[str]:
        options: dict[str, Any] = {} if load is None else {"load": load()}
        return LoadBalancer(pool, selector=make(), clock=clock, rng=rng, **options)

    return balancer


OTHERS: Final[Mapping[str, MakeBalancer]] = {
    "round robin": _with(selectors.RoundRobin),
    "random": _with(selectors.UniformRandom),
    "two choices, in flight": _with(selectors.PowerOfChoices, loads.InFlight),
    "two choices, Peak EWMA": _with(selectors.PowerOfChoices, loads.PeakEwmaLatency),
    "two choices, EWMA": _with(selectors.PowerOfChoices, loads.EwmaLatency),
    "two choices, failure-aware": _with(selectors.PowerOfChoices),
    "ten choices, in flight": _with(lambda: selectors.PowerOfChoices(10), loads.InFlight),
    "ten choices, failure-aware": _with(lambda: selectors.PowerOfChoices(10)),
    "least request": _with(selectors.LeastRequest),
    "least response time": _with(selectors.LeastResponseTime),
    "least response time, EWMA": _with(selectors.LeastResponseTime, loads.EwmaLatency),
    "least response time, failure-aware": _with(selectors.LeastResponseTime, loads.FailureAware),
}


class Situation(Record):
    """A scenario: servers, a function that makes the faults for the length of a run, and whether arrivals are bursty."""

    servers: Mapping[str, Server]
    faults: Callable[[float], Sequence[Any]] | None = None
    bursty: bool = False


def _servers(speeds: Sequence[float], **options: Any) -> dict[str, Server]:
    service = options.pop("service", Exponential(mean=MEAN_S))
    return {f"s{k}": Server(service=service, speed=speed, **options) for k, speed in enumerate(speeds)}


SCENARIOS: Final[Mapping[str, Situation]] = {
    "equal": Situation(servers=_servers([1.0] * 10)),
    "two speeds": Situation(servers=_servers([1.5, 0.3] * 6)),
    "three speeds": Situation(servers=_servers([1.5, 1.0, 0.25] * 4)),
    "one slow": Situation(servers=_servers([1.0] * 9 + [1 / 3])),
    "slows down": Situation(
        servers=_servers([1.0] * 10),
        faults=lambda seconds: [Slow(endpoint="s3", at=0.4 * seconds, seconds=0.3 * seconds, factor=5.0)],
    ),
    "heavy tails": Situation(servers=_servers([1.0] * 10, service=Lognormal(mean=MEAN_S, sigma=2.0))),
    "bursts": Situation(servers=_servers([1.0] * 10), bursty=True),
    "sharing": Situation(servers=_servers([0.5, 1.0] * 5, discipline="sharing")),
    "workers": Situation(
        servers={
            f"s{k}": Server(service=Exponential(mean=MEAN_S), workers=8 if k % 2 else 2) for k in range(8)
        }
    ),
    "black hole": Situation(
        servers=_servers([1.0] * 10),
        faults=lambda seconds: [FailFast(endpoint="s0", at=0.4 * seconds, seconds=0.3 * seconds)],
    ),
    "flapping": Situation(
        servers=_servers([1.0] * 10),
        faults=lambda seconds: [
            Flap(endpoint="s0", at=0.3 * seconds, seconds=0.4 * seconds, down=2.0, up=3.0)
        ],
    ),
    "scale-up": Situation(
        servers=_servers([1.0] * 12),
        faults=lambda seconds: [Add(endpoint="s10", at=0.4 * seconds), Add(endpoint="s11", at=0.4 * seconds)],
    ),
    "a pair": Situation(servers=_servers([1.0, 0.8])),
    "hundred": Situation(servers=_servers([1.2] * 80 + [0.3] * 20)),
}


class Cell(Record):
    """One cell of the league: a scenario, a number of balancers and a load."""

    scenario: str
    balancers: int
    load: float

    @property
    def max_ratio(self) -> float:
        """Maximum ratio of the default to the best other choice."""
        return MAX_RATIO_HEAVY if self.load >= LOADS[-1] else MAX_RATIO


class Run(Record):
    """Results of one choice in one cell with one seed. Times in seconds."""

    cell: Cell
    choice: str
    seed: int
    p99: float
    mean: float
    errors: float


class Standing(Record):
    """Comparison of the default with the best other choices in one cell."""

    cell: Cell
    best: str
    """The other choice with the lowest p99."""
    p99: float
    """Ratio of the default's p99 to that of ``best``."""
    p99_high: float
    """Upper end of the 95 % confidence interval of this ratio."""
    best_mean: str
    """The other choice with the lowest mean latency."""
    mean: float
    """Ratio of the default's mean latency to that of ``best_mean``."""
    mean_high: float
    """Upper end of the 95 % confidence interval of this ratio."""
    errors: float
    """Share of failed requests of the default, minus that of ``best``."""
    central: float
    """Ratio of the central queue's p99 to that of ``best``."""

    @property
    def good(self) -> bool:
        """Whether the cell is good, as the module defines it."""
        most = self.cell.max_ratio
        return self.p99_high <= most and self.mean_high <= most and self.errors <= 0.0

    @property
    def undecided(self) -> bool:
        """Whether both ratios are within the bound, but the end of an interval is not. More seeds would decide."""
        most = self.cell.max_ratio
        return max(self.p99, self.mean) <= most < max(self.p99_high, self.mean_high)


def runs(cell: Cell, choice: str, seed: int, requests: int) -> Run:
    """Simulate one choice. It is a function at module level, so other processes can run it."""
    situation = SCENARIOS[cell.scenario]
    servers = situation.servers
    capacity = sum(server.speed * server.workers for server in servers.values()) / MEAN_S
    rate = cell.load * capacity
    seconds = 1.2 * requests / rate
    faults = () if situation.faults is None else situation.faults(seconds)
    options: dict[str, Any] = {"balancers": cell.balancers, "faults": faults}
    if choice == CENTRAL:
        workers = sum(server.workers for server in servers.values())
        service = next(iter(servers.values())).service
        servers = {"all": Server(service=service, workers=workers, speed=capacity * MEAN_S / workers)}
        options = {"balancer": _with(selectors.First)}
    elif choice != DEFAULT:
        options["balancer"] = OTHERS[choice]
    spell = 40.0 * MEAN_S
    arrivals = (
        Bursty(quiet=0.5 * rate, busy=1.5 * rate, quiet_length=spell, busy_length=spell)
        if situation.bursty
        else Poisson(rate=rate)
    )
    report = simulate(servers, arrivals, seed=seed, requests=requests, warm_up=requests // 5, **options)
    return Run(
        cell=cell,
        choice=choice,
        seed=seed,
        p99=report.quantile(0.99),
        mean=report.mean,
        errors=report.errors,
    )


def best_others(found: Sequence[Run]) -> tuple[str, str]:
    """Return the other choice with the lowest p99, and the one with the lowest mean, in the runs of one cell.

    Each of :data:`OTHERS` must have a run.
    """
    by: dict[str, list[Run]] = {}
    for run in found:
        by.setdefault(run.choice, []).append(run)

    def best(name: str) -> str:
        return min(
            OTHERS, key=lambda other: (statistics.fmean(getattr(run, name) for run in by[other]), other)
        )

    return best("p99"), best("mean")


def standing(cell: Cell, found: Sequence[Run]) -> Standing:
    """Compare the default with the best other choices in the runs of one cell.

    The comparison uses the seeds of the default's runs. The best other choices and the central queue need runs with these
    seeds too. The best other choices are found by the runs with other seeds.
    """
    by: dict[str, dict[int, Run]] = {}
    for run in found:
        by.setdefault(run.choice, {})[run.seed] = run
    measured = sorted(by[DEFAULT])
    best, best_mean = best_others([run for run in found if run.seed not in by[DEFAULT]])

    def figure(choice: str, name: str) -> float:
        return statistics.fmean(getattr(by[choice][seed], name) for seed in measured)

    def ratio(best: str, name: str) -> tuple[float, float]:
        logs = [math.log(getattr(by[DEFAULT][s], name) / getattr(by[best][s], name)) for s in measured]
        middle = statistics.fmean(logs)
        error = statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else math.inf
        return math.exp(middle), math.exp(middle + _t95(len(logs)) * error)

    p99, mean = ratio(best, "p99"), ratio(best_mean, "mean")
    return Standing(
        cell=cell,
        best=best,
        p99=p99[0],
        p99_high=p99[1],
        best_mean=best_mean,
        mean=mean[0],
        mean_high=mean[1],
        errors=figure(DEFAULT, "errors") - figure(best, "errors"),
        central=figure(CENTRAL, "p99") / figure(best, "p99"),
    )


def _t95(count: int) -> float:
    """Return the two-sided 95 % point of Student's t for ``count`` values, approximately."""
    known = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36}
    return known.get(count, 1.96 + 2.9 / max(1, count - 1))


def league_step(*, seed: int, quick: bool, executor: Executor) -> Iterator[Step]:
    """Yield the part of the topic ``latency`` that measures a few cells of the league."""
    cells = [Cell(scenario=name, balancers=4, load=0.85) for name in ("equal", "two speeds", "heavy tails")]
    label = "the default beside every other choice, three cells of the league"
    yield Step(label=label, run=partial(_few, cells[: 1 if quick else 3], seed, executor))


def _few(cells: Sequence[Cell], seed: int, executor: Executor) -> Findings:
    choices = (DEFAULT, *OTHERS, CENTRAL)
    cases = [
        {"cell": cell, "choice": choice, "seed": 10 * seed + number, "requests": 6_000}
        for cell in cells
        for choice in choices
        for number in range(4)
        if choice != DEFAULT or number > 1
    ]
    found = sweep(runs, cases, executor=executor)
    standings = [standing(cell, [run for run in found if run.cell == cell]) for cell in cells]
    claims = [
        Claim(
            name=f"league, {one.cell.scenario}",
            text=f"The default's p99 over that of {one.best}: {one.cell.scenario}, four balancers, 85 % load",
            measured=one.p99,
            right=None,
            low=0.0,
            high=1.5,
            source="`python -m benchmarks.league` gates every cell at 1.1, with intervals",
        )
        for one in standings
    ]
    ratio = Column(name="p99", form=".2f")
    table = Table(
        name="league",
        title="The default over the best other choice: 99th percentile and mean; the central queue is the bound",
        columns=(
            Column(name="scenario"),
            Column(name="best other"),
            ratio,
            ratio.replace(name="mean"),
            ratio.replace(name="central"),
        ),
        rows=tuple((one.cell.scenario, one.best, one.p99, one.mean, one.central) for one in standings),
    )
    return Findings(claims=tuple(claims), tables=(table,))
