"""Figures at the ends of their types: refused at construction by name, or used in every request without an error."""

from __future__ import annotations

import importlib
import inspect
import logging
import random
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest

from balancekit import ConfigurationError, Endpoint, LoadBalancer, Outcome, PowerOfChoices, UnavailableError
from balancekit.health import (
    AccruedFailures,
    ConsecutiveFailures,
    Ejection,
    FlapDamping,
    Lifecycle,
    MaxFails,
    Probation,
    Thresholds,
    WarmUp,
)
from balancekit.outcome import LoadReport
from balancekit.reported import LatencyByLoad, Prequal, ProbePool, ReportedRoundRobin, ReportedWeights
from balancekit.routing import Aimd, Gradient, MaxInFlight
from balancekit.stats import RecentWindow
from balancekit.testing import ManualClock

FIGURES = (10**400, 2**63, 1.7e308, 5e-324)
REQUIRED: dict[str, dict[str, Any]] = {
    "Canary": {"labels": {"v": "1"}, "share": 0.5},
    "Locality": {"zone": "z"},
    "MaxInFlight": {"max_inflight": 3},
    "RateLimit": {"rate": 5.0},
    "Subset": {"keys": "v"},
    "LatencyLimit": {"limit": 0.1},
}
PARTS: dict[type[Any], str] = {
    ConsecutiveFailures: "failures",
    Ejection: "ejection",
    FlapDamping: "damping",
    Probation: "probation",
    WarmUp: "warm_up",
    Thresholds: "thresholds",
    AccruedFailures: "thresholds",
}
OUTCOMES = [
    Outcome.SUCCESS,
    Outcome.FAILURE,
    Outcome.OVERLOADED,
    Outcome.TIMEOUT,
    Outcome.CANCELLED,
    Outcome.IGNORED,
]


def options(made: Any) -> dict[str, Any] | None:
    """Return the options of a balancer that uses an object; ``None`` if none does."""
    if isinstance(made, Aimd | Gradient):
        return {"selector": MaxInFlight(made)}
    if isinstance(made, ProbePool):
        return {"selector": Prequal(made)}
    if isinstance(made, ReportedWeights):
        return {"selector": ReportedRoundRobin(made)}
    if hasattr(made, "select"):
        return {"selector": made}
    if type(made) in PARTS:
        return {"health": Lifecycle(**{PARTS[type(made)]: made})}
    if isinstance(made, Lifecycle | MaxFails):
        return {"health": made}
    if hasattr(made, "volume"):
        return {"health": Lifecycle(rules=(made,))}
    if type(made).__module__.startswith("balancekit.loads.") and callable(made):
        return {"load": made, "selector": PowerOfChoices()}
    return None


def kinds() -> Iterator[tuple[str, type[Any]]]:
    """Yield the public classes that decide."""
    for package in ("selectors", "routing", "loads", "health", "reported", "inference"):
        module = importlib.import_module(f"balancekit.{package}")
        for name in module.__all__:
            kind = getattr(module, name)
            if inspect.isclass(kind) and not issubclass(kind, Enum | BaseException):
                yield name, kind


def figures() -> Iterator[Any]:
    """Yield each parameter of each class that may be left out or is known to be required."""
    for name, kind in kinds():
        needed = REQUIRED.get(name, {})
        parameters = inspect.signature(kind).parameters
        required = {one.name for one in parameters.values() if one.default is one.empty}
        for parameter in parameters:
            keyword = parameters[parameter].kind is not inspect.Parameter.POSITIONAL_ONLY
            if keyword and required <= {*needed, parameter}:
                yield pytest.param(kind, needed, parameter, id=f"{name}.{parameter}")


def use(**chosen: Any) -> None:
    """Let requests of all kinds end in all ways, while endpoints come and go."""
    clock = ManualClock()
    endpoints = [Endpoint("a", weight=3, zone="z"), Endpoint("b", priority=1), Endpoint("c", weight=0.5)]
    lb = LoadBalancer(endpoints, clock=clock, rng=random.Random(1), **chosen)
    for number in range(40):
        try:
            lease = lb.acquire(f"k{number}" if number % 3 else None, cost=1.0 + number % 4)
        except UnavailableError:
            clock.advance(1.0)
            continue
        clock.advance(0.01 * (number % 5))
        lease.report_load(LoadReport(rps=10.0, cpu_utilization=0.5))
        lease.release(OUTCOMES[number % len(OUTCOMES)])
        if number == 20:
            lb.add(Endpoint("d"))
            lb.remove("a")
        if number % 10 == 0:
            clock.advance(10.0 ** (number // 10 - 1))
    assert str(lb.stats())
    assert str(lb.explain("k"))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("figure", FIGURES, ids=["1e400", "2**63", "1.7e308", "5e-324"])
@pytest.mark.parametrize(("kind", "needed", "parameter"), list(figures()))
def test_a_figure_is_refused_at_construction_or_works(
    kind: type[Any], needed: dict[str, Any], parameter: str, figure: float, caplog: pytest.LogCaptureFixture
) -> None:
    """A figure at the end of its type is refused by name when it is given, or no request fails or is logged because of it."""
    try:
        made = kind(**{**needed, parameter: figure})
    except ConfigurationError:
        return
    chosen = options(made)
    if chosen is None:  # a part of a machine, or a record of facts
        return
    assert repr(made)
    with caplog.at_level(logging.ERROR, "balancekit"):
        use(**chosen)
    assert caplog.records == []


@pytest.mark.parametrize("size", [0, 10**9, 2**63, 10**400], ids=["0", "1e9", "2**63", "1e400"])
def test_a_window_that_no_memory_holds_is_refused(size: int) -> None:
    """The number of values and samples that are kept has a bound, which the error names."""
    with pytest.raises(ConfigurationError, match=r"^size="):
        RecentWindow(size=size)
    with pytest.raises(ConfigurationError, match=r"^samples="):
        LatencyByLoad(samples=size)
