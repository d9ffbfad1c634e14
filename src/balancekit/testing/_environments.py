"""Patched environments, to check that code does not depend on its environment.

An environment determines the clocks of ``time``, the module-level random generator, and hashes of text.
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

__all__ = ["patched_environment"]

CLOCKS: Final = ("time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "perf_counter_ns")
TICK_S: Final = 10
"""Seconds by which clocks advance between two readings in environment 2. In environment 1 they stand still."""


@contextmanager
def patched_environment(number: int, module: ModuleType | None = None) -> Iterator[None]:
    """Patch the clocks and the module-level random generator, by a number, as if the process were another one.

    If ``module`` is given, also patch the function ``hash`` of that module. Everything is restored at the end.
    """
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
