"""Latency by algorithm: simulations compared with queueing theory.

The model has ten servers, Poisson arrivals and exponential service times of mean 1. Times are in mean service times. Theory
gives the mean and the 99th percentile for random selection (M/M/1), round robin (GI/M/1) and the central queue (M/M/10).
For two choices and the shortest queue, the expected means are those of independent simulations.

*The slow server.* One of ten servers takes three times as long. It can serve a share of ``(1/3) / (load * 28/3)`` of all
requests. A policy that compares loads gives it no more than that. A policy that ignores loads gives it a tenth and
overloads it.

Source: Erlang (1917); Mitzenmacher (1996); papers named in ``_theory``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from balancekit import selectors
from balancekit._support.record import Record
from balancekit.bench import _theory as theory
from balancekit.bench._claims import Claim, Column, Findings, Step, Table, Z, batch_error, deviation
from balancekit.bench._league import league_step
from balancekit.bench._registry import SELECTORS, SelectorCase
from balancekit.loads import InFlight
from balancekit.sim import Exponential, Poisson, Server, simulate, sweep

__all__ = ["latency_steps"]

SERVERS: Final = 10
LOADS: Final = (0.5, 0.7, 0.8, 0.9, 0.95)
STEADY: Final = 0.8
"""The highest load at which batches of a few thousand requests are nearly independent."""
SLOW: Final = 3.0
RANDOM, ROUND_ROBIN, CENTRAL = "random", "round robin", "central queue"
TWO, THREE, SHORTEST, DEFAULT = "two choices", "three choices", "least request", "the default"
POLICIES: Final = {
    RANDOM: SELECTORS["UniformRandom"],
    ROUND_ROBIN: SELECTORS["RoundRobin"],
    TWO: SELECTORS["PowerOfChoices"],
    THREE: SelectorCase(make=lambda: selectors.PowerOfChoices(3), load=InFlight),
    SHORTEST: SELECTORS["LeastRequest"],
    DEFAULT: SELECTORS["ShortestExpectedDelay"],
    CENTRAL: SELECTORS["First"],
}
ORDER: Final = (CENTRAL, SHORTEST, THREE, TWO, RANDOM)
"""Policies from the best to the worst. The order is the same at each load."""


class Run(Record):
    """Results of one simulation. ``mean_error`` and ``p99_error`` are standard errors by :func:`batch_error`."""

    policy: str
    load: float
    mean: float
    mean_error: float
    p50: float
    p99: float
    p99_error: float
    slow_share: float


def simulated(policy: str, load: float, requests: int, seed: int, *, slow: bool = False) -> Run:
    """Simulate one policy at one load. It is a function at module level, so other processes can run it."""
    service = Exponential(mean=1.0)
    servers = {
        f"s{number}": Server(service=service, speed=1.0 / SLOW if slow and not number else 1.0)
        for number in range(SERVERS)
    }
    if policy == CENTRAL:
        speed = sum(server.speed for server in servers.values()) / SERVERS
        servers = {"all": Server(service=service, workers=SERVERS, speed=speed)}
    report = simulate(
        servers,
        Poisson(rate=load * capacity(slow=slow)),
        balancer=POLICIES[policy].balancer(),
        seed=seed,
        requests=requests,
        warm_up=requests // 5,
    )
    times = report.latency
    return Run(
        policy=policy,
        load=load,
        mean=report.mean,
        mean_error=batch_error(times),
        p50=report.quantile(0.5),
        p99=report.quantile(0.99),
        p99_error=batch_error(times, figure=_high),
        slow_share=report.shares["s0"] if slow and policy != CENTRAL else math.nan,
    )


def capacity(*, slow: bool) -> float:
    """Return the number of requests that all servers together can serve in a mean service time."""
    return SERVERS - 1.0 + 1.0 / SLOW if slow else float(SERVERS)


def slow_serves() -> float:
    """Return the share of the requests that the slow server can serve at 80 % load."""
    return 1.0 / SLOW / (STEADY * capacity(slow=True))


def _high(times: NDArray[np.float64]) -> float:
    return float(np.quantile(times, 0.99))


def latency_steps(*, seed: int, quick: bool, executor: Executor) -> Iterator[Step]:
    """Yield the parts of the topic. Each runs its simulations on the executor."""
    for load in LOADS:
        requests = 8_000 if quick else 60_000 if load <= STEADY else 120_000
        yield Step(
            label=f"{len(POLICIES)} policies at {load:.0%} load",
            run=partial(_at_load, load, requests, seed, executor),
        )
    yield Step(
        label="one of ten servers is slow",
        run=partial(_slow_server, 8_000 if quick else 40_000, seed, executor),
    )
    yield from league_step(seed=seed, quick=quick, executor=executor)


def _at_load(load: float, requests: int, seed: int, executor: Executor) -> Findings:
    cases = [
        {"policy": policy, "load": load, "requests": requests, "seed": seed} for policy in reversed(POLICIES)
    ]
    runs = {run.policy: run for run in sweep(simulated, cases, executor=executor)}
    rows, claims = [], []
    for policy in POLICIES:
        run, right = runs[policy], right_mean(policy, load)
        high = right_p99(policy, load)
        rows.append((policy, load, run.mean, None if right is None else right[0], run.p99, high))
        if right is not None:
            claims.append(_mean_claim(run, right, requests))
        if high is not None and load <= STEADY:
            claims.append(
                Claim.near(
                    f"{policy} at {load:g}, p99",
                    f"99th percentile by {policy} at {load:.0%} load, in mean service times",
                    run.p99,
                    high,
                    run.p99_error,
                    source="the tail of the model; 20 batch means and Student's t",
                )
            )
    claims += [_better(runs[one], runs[other], load) for one, other in itertools.pairwise(ORDER)]
    number = Column(name="mean", form=".3f")
    table = Table(
        name="latency",
        title="Time in the system, in mean service times: ten servers, Poisson arrivals, exponential service",
        columns=(
            Column(name="policy"),
            Column(name="load", form=".0%"),
            *tuple([number.replace(name=name) for name in ("mean", "right mean", "p99", "right p99")]),
        ),
        rows=tuple(rows),
    )
    return Findings(claims=tuple(claims), tables=(table,))


def right_mean(policy: str, load: float) -> tuple[float, float] | None:
    """Return the expected mean, from theory or an independent program, and its standard error; ``None`` if unknown."""
    match policy:
        case "random":
            return 1.0 / (1.0 - load), 0.0
        case "round robin":
            return theory.round_robin_mean(SERVERS, load), 0.0
        case "central queue":
            return theory.many_servers_mean(SERVERS, load), 0.0
        case "two choices":
            return theory.TWO_CHOICES_TEN[load]
        case "least request":
            return theory.JSQ_TEN[load]
        case _:
            return None


def right_p99(policy: str, load: float) -> float | None:
    """Return the expected 99th percentile from theory; ``None`` if unknown."""
    match policy:
        case "random":
            return math.log(100.0) / (1.0 - load)
        case "round robin":
            return math.log(100.0) * theory.round_robin_mean(SERVERS, load)
        case "central queue":
            return theory.quantile(lambda time: theory.many_servers_tail(SERVERS, load, time), 0.99)
        case _:
            return None


def _mean_claim(run: Run, right: tuple[float, float], requests: int) -> Claim:
    exact, source_error = right
    error, why = run.mean_error, "20 batch means and Student's t"
    if run.policy in {RANDOM, ROUND_ROBIN}:
        # The queues are rarely all empty, so batches depend on each other, and batch means give too small an error.
        formula = theory.single_server_error(run.load, requests) * exact * (1.0 - run.load)
        error, why = max(error, formula), "Daley's standard error of M/M/1, relative to the mean"
    sources = {
        RANDOM: "M/M/1",
        ROUND_ROBIN: "GI/M/1 with Erlang(10) arrivals",
        CENTRAL: "M/M/10",
        TWO: "independent simulation, two distinct choices of ten",
        SHORTEST: "independent simulation, the shortest of ten queues",
    }
    return Claim.near(
        f"{run.policy} at {run.load:g}, mean",
        f"Mean time by {run.policy} at {run.load:.0%} load, in mean service times",
        run.mean,
        exact,
        math.hypot(error, source_error),
        source=f"{sources[run.policy]}; {why}",
    )


def _better(one: Run, other: Run, load: float) -> Claim:
    margin = Z * math.hypot(one.mean_error, other.mean_error)
    return Claim(
        name=f"{one.policy} before {other.policy} at {load:g}",
        text=f"At {load:.0%} load {one.policy} is no slower than {other.policy} (mean over mean)",
        measured=one.mean / other.mean,
        right=None,
        low=-math.inf,
        high=1.0 + margin / other.mean,
        source="stochastic ordering of the policies; batch means of both",
    )


def _slow_server(requests: int, seed: int, executor: Executor) -> Findings:
    cases = [
        {"policy": policy, "load": STEADY, "requests": requests, "seed": seed, "slow": True}
        for policy in POLICIES
    ]
    runs = sweep(simulated, cases, executor=executor)
    serves = slow_serves()
    # Five standard errors of the number of requests that the slow server serves, and its queue at the end of the run.
    chance = Z * math.sqrt(serves / requests) + SERVERS / requests
    rows = [
        (run.policy, None if math.isnan(run.slow_share) else run.slow_share, run.p50, run.mean, run.p99)
        for run in runs
    ]
    claims = [_slow_claim(run, requests, serves, chance) for run in runs if run.policy != CENTRAL]
    table = Table(
        name="slow server",
        title="One of ten servers takes three times as long, 80 % load; the run goes on for "
        f"{requests:,} requests (times in mean service times)",
        columns=(
            Column(name="policy"),
            Column(name="its share", form=".2%"),
            *tuple([Column(name=name, form=".2f") for name in ("p50", "mean", "p99")]),
        ),
        rows=tuple(rows),
    )
    return Findings(claims=tuple(claims), tables=(table,))


def _slow_claim(run: Run, requests: int, serves: float, chance: float) -> Claim:
    """Return the claim about a policy with one slow server: an equal share, or no more than the server can serve."""
    if run.policy in {RANDOM, ROUND_ROBIN}:
        return Claim.near(
            f"slow server, {run.policy}",
            f"{run.policy.capitalize()} gives a server that is three times slower as much as any other",
            run.slow_share,
            1.0 / SERVERS,
            deviation(0.1) / math.sqrt(requests) if run.policy == RANDOM else 1.0 / requests / Z,
            form=".2%",
            source="a tenth; it can serve " + format(serves, ".2%"),
        )
    return Claim(
        name=f"slow server, {run.policy}",
        text=f"{run.policy.capitalize()} gives a slow server no more than it can serve",
        measured=run.slow_share,
        right=serves,
        low=0.0,
        high=serves + chance,
        form=".2%",
        source="its speed over all requests; five standard errors of what it serves in the run",
    )
