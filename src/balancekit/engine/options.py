"""The keyword arguments of a balancer: their types and their validation.

The types are in one place because the constructor has several overloads. :class:`~balancekit.balancer.LoadBalancer`
documents the arguments.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from random import Random
from typing import Final, Literal, TypedDict
from weakref import WeakValueDictionary

from balancekit._support import validation as valid
from balancekit._support.functions import plain_function
from balancekit._support.record import Record
from balancekit.engine.hooks import HealthMaker
from balancekit.errors import ConfigurationError
from balancekit.events import EventSink
from balancekit.exhaustion import ExhaustionPolicy
from balancekit.protocols import Clock, LoadPolicy, Selector

__all__ = ["Options", "check_listeners", "check_on_missing_key", "check_options", "warn_if_shared"]

_OWNERS: Final[WeakValueDictionary[int, object]] = WeakValueDictionary()
"""The owner of each selector, by the ``id()`` of the selector. An owner keeps its selector alive, so the id stays valid."""


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
    on_missing_key: Literal["pick", "refuse"]
    allow_empty: bool
    debug: bool


def check_options(
    policy: object,
    load: object,
    health: object,
    exhaustion: object,
    clock: object,
    rng: object,
    listeners: Iterable[object],
) -> None:
    """Validate the options of a balancer.

    Raises
    ------
    ConfigurationError
        If ``load``, ``exhaustion``, ``health`` or a listener is no plain callable, or one of the first three is a class in
        place of an instance; if ``clock`` returns no finite number; if ``rng`` is no ``random.Random``. The error names
        the first such option.
    """
    given: dict[str, object] = {"load": load, "health": health, "exhaustion": exhaustion}
    for name, kind in given.items():
        if isinstance(kind, type) and issubclass(kind, Record):
            raise ConfigurationError(name, kind, f"an instance: {kind.__name__}()")
    called: list[tuple[str, object, str]] = [
        ("load", policy, "a load policy such as InFlight(), or a function that makes the load of a node"),
        ("exhaustion", exhaustion, "an exhaustion policy such as FailOpen(), or a function"),
    ]
    for name, value, wanted in called:
        plain_function(name, value, wanted)
    for listener in listeners:
        plain_function("listeners", listener, "a callable of an event", takes=1)
    valid.clock("clock", clock)
    if health is not None:
        plain_function("health", health, "a health policy such as Lifecycle(), or None")
    if rng is not None and not isinstance(rng, Random):
        raise ConfigurationError("rng", rng, "a random.Random, or None")


def check_listeners(listeners: Iterable[EventSink]) -> tuple[EventSink, ...]:
    """Return the listeners of a balancer as a tuple.

    Raises
    ------
    ConfigurationError
        If ``listeners`` is no iterable, for example a single function.
    """
    if not isinstance(listeners, Iterable):
        raise ConfigurationError("listeners", listeners, "an iterable of callables: [listener]")
    return tuple(valid.items("listeners", listeners))


def check_on_missing_key(value: object) -> bool:
    """Return whether requests without a key are refused.

    Raises
    ------
    ConfigurationError
        If ``on_missing_key`` is neither ``"pick"`` nor ``"refuse"``.
    """
    if value not in ("pick", "refuse"):
        raise ConfigurationError("on_missing_key", value, "'pick' or 'refuse'")
    return value == "refuse"


def warn_if_shared(selector: Selector, owner: object) -> None:
    """Warn if a live balancer already uses the selector. Both would change the same state of the selector."""
    if _OWNERS.setdefault(id(selector), owner) is not owner:
        name = type(selector).__name__
        text = f"selector={name} belongs to another LoadBalancer already; its state is shared: create one {name}() for each"
        warnings.warn(text, UserWarning, stacklevel=3)
