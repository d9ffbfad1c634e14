"""Vocabulary of a configuration: the class of each kind, and the parameters of it that a file may set.

Parameters are read from the signatures, so a file and a program use the same names.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from balancekit import exhaustion, loads, routing, selectors
from balancekit._support.tables import Kinds, Words, words
from balancekit.checks import DeepCheck, HttpCheck, Schedule, TcpCheck
from balancekit.discovery import Refresh
from balancekit.health import (
    ConsecutiveFailures,
    Ejection,
    FlapDamping,
    Probation,
    SuccessRate,
    Thresholds,
    WarmUp,
)
from balancekit.retry import RetryBudget

__all__ = [
    "CHECKS",
    "EXHAUSTION",
    "HEALTH",
    "LOADS",
    "REFRESH",
    "RETRY_BUDGET",
    "ROUTERS",
    "SCHEDULE",
    "SELECTORS",
]


def _named(module: Any, *names: str) -> Kinds:
    return {name: words(getattr(module, name)) for name in names}


SELECTORS: Final[Kinds] = _named(
    selectors,
    *[
        name
        for name in selectors.__all__
        if inspect.isclass(getattr(selectors, name))
        and hasattr(getattr(selectors, name), "select")
        and name != "BoundedLoad"
    ],
)
ROUTERS: Final[Kinds] = {
    **_named(routing, "Canary", "Locality", "MaxInFlight", "Priority", "RateLimit", "Subset"),
    "BoundedLoad": words(selectors.BoundedLoad),
    "Sticky": (routing.Sticky, ("pool", "secrets", "bound")),
}
LOADS: Final[Kinds] = {
    name: words(getattr(loads, name))
    for name in loads.__all__
    if inspect.isclass(getattr(loads, name)) and not name.endswith("Load") and callable(getattr(loads, name))
}
EXHAUSTION: Final[Kinds] = _named(exhaustion, "FailClosed", "FailOpen", "LeastBad")
HEALTH: Final[Kinds] = {
    "failures": words(ConsecutiveFailures),
    "thresholds": words(Thresholds),
    "ejection": words(Ejection),
    "damping": words(FlapDamping),
    "probation": words(Probation),
    "warm_up": words(WarmUp),
    "success_rate": words(SuccessRate),
}
"""Tables inside the table of health, by the parameter of ``Lifecycle`` that they describe."""
CHECKS: Final[Kinds] = {"http": words(HttpCheck), "tcp": words(TcpCheck), "deep": words(DeepCheck)}
SCHEDULE: Final[Words] = words(Schedule)
REFRESH: Final[Words] = words(Refresh)
RETRY_BUDGET: Final[Words] = words(RetryBudget)
