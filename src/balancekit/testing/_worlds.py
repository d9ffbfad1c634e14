"""Other worlds for code that must not depend on them.

Clocks, module-level randomness and hashes of text that differ.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from types import ModuleType
from typing import Final
from unittest import mock

__all__ = ["another_world"]

CLOCKS: Final = ("time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "perf_counter_ns")
TICK_S: Final = 10
"""By which clocks of all worlds but the first go on between two readings."""


@contextmanager
def another_world(number: int, module: ModuleType | None = None) -> Iterator[None]:
    """Let module-level randomness, every clock, and what a module calls ``hash()`` of text be those of another process."""
    readings = count(number * 1_000, TICK_S * (number - 1))

    def reading() -> int:
        return next(readings)

    def salted(value: object, /) -> int:
        return hash((number, value)) if isinstance(value, str | bytes | tuple) else hash(value)

    state = random.getstate()
    random.seed(number)
    try:
        with ExitStack() as patches:
            for name in CLOCKS:
                patches.enter_context(mock.patch.object(time, name, reading))
            if module is not None:
                patches.enter_context(mock.patch.dict(vars(module), {"hash": salted}))
            yield
    finally:
        random.setstate(state)
