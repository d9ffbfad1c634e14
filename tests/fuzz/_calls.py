"""Calls of the whole public API with values that nobody should pass, made from signatures."""

from __future__ import annotations

import enum
import importlib
import inspect
import itertools
import math
import random
import time
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

import balancekit
from balancekit import BalancekitError, Endpoint, LoadBalancer
from balancekit.events import Event

PACKAGES = (
    "balancekit", "balancekit.endpoint", "balancekit.hashing", "balancekit.selectors", "balancekit.loads", "balancekit.health",
    "balancekit.routing", "balancekit.exhaustion", "balancekit.retry", "balancekit.checks", "balancekit.discovery",
    "balancekit.adapters", "balancekit.compat.ketama",
)  # fmt: skip
"""Packages whose constructors and functions take values of users: each value may be anything."""
OF_THE_LIBRARY = frozenset({
    "Node", "PickContext", "Snapshot", "Members", "Lease", "Completion", "AccruedFailuresMachine", "LifecycleMachine", "ThresholdMachine",
    "MaxFailsMachine", "WarmUpMachine", "OutlierSweep", "Damper", "FailureRun", "EndpointReport", "after", "following", "load_bound",
    "tier_loads", "ExpectedDelayLoad", "FailureAwareLoad", "LatencyLoad", "InFlightLoad", "InFlightCostLoad", "CheckTimer", "Reconciler",
    "SharedDependencies", "HashFunction",
})  # fmt: skip
"""Called by the library with objects of its own, never with values of users."""
OF_USERS = ("LoadBalancer", "HashRing", "MaglevTable", "RendezvousHash", "AnchorHash", "JumpHash", "MultiProbeHash", "StickyValues",
            "Ketama", "BoundedPlacement")  # fmt: skip
"""Classes whose methods take values of users too."""
SLOW_S = 1.0
LONG = "x" * 10_000_000


class Odd:
    """A value whose methods raise what they like."""

    def __repr__(self) -> str:
        raise OSError("odd")

    def __float__(self) -> float:
        raise RuntimeError("odd")

    def __index__(self) -> int:
        raise KeyError("odd")

    def __bool__(self) -> bool:
        raise LookupError("odd")

    def __len__(self) -> int:
        raise MemoryError("odd")

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("odd")

    __hash__ = object.__hash__


PLAIN: tuple[Callable[[random.Random], Any], ...] = tuple(
    (lambda _, value=value: value)
    for value in (
        math.nan, math.inf, -math.inf, -1, 0, 1, 2, 3, 0.5, 1e308, 10**5000, -(10**400), True, False, None, "", "a", "10.0.0.1:80",
        "\udcff", "a\0b", "é", b"", b"x", b"\xff" * 40, Decimal("NaN"), Decimal("sNaN"), Decimal(2), Fraction(1, 3), np.float32(2),
        np.float64(math.nan), np.int64(3), np.array([1, 2]), np.bool_(True), 1j, (), [], {}, [1], ["a", "b"], {"a": 1}, {"a": "b"},
        {"a", "b"}, [None], [["a"]], range(3), object, print, ..., ("a", 1.0), bytearray(b"x"), frozenset({"a"}),
    )
)  # fmt: skip
MADE: tuple[Callable[[random.Random], Any], ...] = (
    lambda _: Odd(),
    lambda _: object(),
    lambda _: itertools.count(),
    lambda _: iter("abc"),
    lambda _: Endpoint("a"),
    lambda _: [Endpoint("a"), Endpoint("b", weight=2)],
    lambda _: LoadBalancer(["a", "b"]),
    lambda rng: rng.random(),
    lambda rng: rng.randrange(10),
    lambda rng: random.Random(rng.random()),
    lambda _: lambda *_, **__: None,
    lambda _: time.monotonic,
)
HEAVY: tuple[Callable[[random.Random], Any], ...] = (
    lambda _: LONG,
    lambda _: LONG.encode(),
    lambda _: (f"n{number}" for number in itertools.count()),
    lambda _: range(10**12),
)
"""Values that take time to refuse; one in 200."""
HEAVY_SHARE = 0.005
VALUES = PLAIN + MADE


def callables() -> list[tuple[str, Any]]:
    """Return the public classes and functions that take values of users, each once."""
    found: dict[int, tuple[str, Any]] = {}
    for module in map(importlib.import_module, PACKAGES):
        for name in getattr(module, "__all__", ()):
            one = getattr(module, name)
            if name in OF_THE_LIBRARY or not callable(one) or _is_protocol(one):
                continue
            if not (
                inspect.isclass(one)
                and issubclass(one, BaseException | enum.Enum | Event | balancekit.Outcome)
            ):
                found.setdefault(id(one), (f"{module.__name__}.{name}", one))
    return sorted(found.values(), key=lambda pair: pair[0])


def _is_protocol(one: Any) -> bool:
    return (
        bool(getattr(one, "_is_protocol", False))
        or not hasattr(one, "__module__")
        or "typing" in type(one).__module__
    )


def arguments(one: Any, rng: random.Random, valid: float) -> tuple[list[Any], dict[str, Any]]:
    """Draw arguments for a signature; some that may be left out are."""
    positional, named = [], {}
    for parameter in inspect.signature(one).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        optional = parameter.default is not parameter.empty
        if optional and rng.random() < valid:
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                break
            continue
        value = rng.choice(HEAVY if rng.random() < HEAVY_SHARE else VALUES)(rng)
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        else:
            positional.append(value)
    return positional, named


def _is_its_own_truth(name: str, error: Exception) -> bool:
    """Return whether a value refused to be true or false: requests ask that of ``exclude``, and cannot ask less."""
    return name.startswith("balancekit.LoadBalancer.") and (
        "truth value" in str(error) or error.args == ("odd",)
    )


def run(calls: int, seed: int) -> tuple[int, dict[str, int], dict[str, float]]:  # noqa: PLR0915 - one loop
    """Make so many calls; return how many there were, the foreign exceptions, and the calls that took long."""
    rng = random.Random(seed)
    targets = callables()
    importlib.import_module("dns.resolver")  # half a second, which is no call's
    foreign: dict[str, int] = {}
    slow: dict[str, float] = {}
    made = 0
    instances: list[tuple[str, Any]] = []

    def attempt(name: str, function: Any, valid: float) -> Any:
        nonlocal made
        try:
            positional, named = arguments(function, rng, valid)
        except (TypeError, ValueError):  # no signature
            return None
        made += 1
        began = time.thread_time()
        result = None
        try:
            result = function(*positional, **named)
            if inspect.isgenerator(result) or isinstance(result, itertools.chain):
                list(itertools.islice(result, 5))
        except BalancekitError as error:
            str(error), repr(error.args[1:0])
        except (LookupError, ValueError) as error:
            if not _is_its_own_truth(name, error):
                raise_key(name, error)
        except Exception as error:
            raise_key(name, error)
        took = time.thread_time() - began
        if took > SLOW_S:
            slow[name] = max(slow.get(name, 0.0), took)
        return result

    def raise_key(name: str, error: Exception) -> None:
        key = f"{name}: {type(error).__name__}: {str(error)[:90]}"
        foreign[key] = foreign.get(key, 0) + 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while made < calls:
            name, one = rng.choice(targets)
            result = attempt(name, one, rng.choice((0.0, 0.5, 0.9)))
            if type(result).__name__ in OF_USERS and ".selectors." not in type(result).__module__:
                instances.append((name, result))
                if len(instances) > 200:
                    instances.pop(rng.randrange(100))
            for _ in range(3):
                if instances:
                    name, instance = rng.choice(instances)
                    methods = [m for m in dir(type(instance)) if not m.startswith("_")]
                    if methods:
                        method = rng.choice(methods)
                        if not callable(getattr(type(instance), method)):
                            continue  # a property
                        bound = getattr(instance, method)
                        if not inspect.iscoroutinefunction(bound):
                            attempt(f"{name}.{method}", bound, rng.choice((0.0, 0.5, 0.9)))
    return made, foreign, slow
