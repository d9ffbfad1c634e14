"""Patched environments, to check that code does not depend on its environment.

An environment determines the clocks of ``time`` and ``datetime``, the module-level random generator, and hashes of text.
"""

from __future__ import annotations

import datetime as dt
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from types import ModuleType
from typing import Final, Self
from unittest import mock

__all__ = ["module_of", "patched_environment"]

CLOCKS: Final = ("time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "perf_counter_ns")
USUAL: Final = dt.datetime
DAY_S: Final = 90_061
"""Seconds by which a date moves for a second of the clock: a day, an hour, a minute and a second, so that each part does."""
TICK_S: Final = 10
"""Seconds by which clocks advance between two readings in environment 2. In environment 1 they stand still."""


def module_of(made: object) -> ModuleType | None:
    """Return the module of a class or a function, or that of the class of any other object."""
    return sys.modules.get(getattr(made, "__module__", type(made).__module__))


class _Kind(type):
    """The class of a class of dates. An instance of the usual class is one of its instances, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, USUAL)


def _dates(reading: Callable[[], float]) -> type[dt.datetime]:
    """Return a class of dates whose clock is a function."""

    class Dates(dt.datetime, metaclass=_Kind):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Self:
            return cls.fromtimestamp(DAY_S * reading(), tz)

        @classmethod
        def utcnow(cls) -> Self:
            return cls.now(dt.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Self:
            return cls.now()

    return Dates


@contextmanager
def patched_environment(number: int, module: ModuleType | None = None) -> Iterator[None]:
    """Patch the clocks and the module-level random generator, by a number, as if the process were another one.

    If ``module`` is given, also patch the function ``hash`` of that module, and the clocks that it imported by name.
    Everything is restored at the end.
    """
    readings = count(number * 1_000, TICK_S * (number - 1))

    def reading() -> int:
        return next(readings)

    def salted(value: object, /) -> int:
        return hash((number, value)) if isinstance(value, str | bytes | tuple) else hash(value)

    state = random.getstate()
    random.seed(number)
    clocks = {id(getattr(time, name)): reading for name in CLOCKS}
    replaced: dict[str, object] = {"hash": salted}
    for name, value in () if module is None else tuple(vars(module).items()):
        if id(value) in clocks:
            replaced[name] = reading
        elif value is dt.datetime:
            replaced[name] = _dates(reading)
    try:
        with ExitStack() as patches:
            for name in CLOCKS:
                patches.enter_context(mock.patch.object(time, name, reading))
            patches.enter_context(mock.patch.object(dt, "datetime", _dates(reading)))
            if module is not None:
                patches.enter_context(mock.patch.dict(vars(module), replaced))
            yield
    finally:
        random.setstate(state)
