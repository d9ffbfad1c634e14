"""What may a balancer be told when it is made? The keyword arguments, for type checkers.

They are written once here because the constructor has a signature for each way of naming endpoints.
What they mean is in :class:`~balancekit.balancer.LoadBalancer`.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import TypedDict

from balancekit._runtime import HealthMaker
from balancekit.events import EventSink
from balancekit.exhaustion import ExhaustionPolicy
from balancekit.protocols import Clock, LoadPolicy, Selector

__all__ = ["Options"]


class Options(TypedDict, total=False):
    """The keyword arguments of ``LoadBalancer``."""

    selector: Selector | None
    load: LoadPolicy | None
    health: HealthMaker | None
    exhaustion: ExhaustionPolicy
    clock: Clock
    rng: Random | None
    timed: bool | None
    listeners: Iterable[EventSink]
    allow_empty: bool
    debug: bool
