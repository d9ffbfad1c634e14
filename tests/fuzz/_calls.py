"""Calls of the whole public API with values that no caller should pass, made from signatures."""

from __future__ import annotations

import enum
import importlib
import inspect
import itertools
import math
import numbers
import random
import signal
import sys
import time
import warnings
from array import array
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, get_origin

import numpy as np

import balancekit
from balancekit import BalancekitError, Endpoint, LoadBalancer
from balancekit._support.arguments import fits
from balancekit.errors import brief_error
from balancekit.events import Event

from ._subjects import GOOD, subjects

PACKAGES = (
    "balancekit", "balancekit.endpoint", "balancekit.hashing", "balancekit.selectors", "balancekit.loads", "balancekit.health",
    "balancekit.routing", "balancekit.exhaustion", "balancekit.retry", "balancekit.checks", "balancekit.discovery",
    "balancekit.adapters", "balancekit.stats", "balancekit.scheduling", "balancekit.reported", "balancekit.l4",
    "balancekit.l4.client_hello", "balancekit.l4.proxy_protocol", "balancekit.l7", "balancekit.gslb", "balancekit.ha",
    "balancekit.capacity", "balancekit.sim", "balancekit.config", "balancekit.planning", "balancekit.compat.ketama",
    "balancekit.compat.nginx", "balancekit.compat.haproxy", "balancekit.compat.envoy", "balancekit.compat.grpc",
    "balancekit.compat.gateway", "balancekit.compat.linux", "balancekit.compat.katran", "balancekit.compat.ipvs",
    "balancekit.compat.gdnsd", "balancekit.compat.powerdns", "balancekit.compat.knot", "balancekit.compat.route53",
    "balancekit.compat.keepalived", "balancekit.compat.rotation", "balancekit.compat.unbound", "balancekit.inference", "balancekit.waiting",
    "balancekit.adapters.dnslib", "balancekit.adapters.dnspython", "balancekit.adapters.httpx", "balancekit.adapters.httpx2",
    "balancekit.observability", "balancekit.proxyconfig", "balancekit.sharing", "balancekit.testing",
)  # fmt: skip
"""Packages whose constructors and functions take values of users: each value may be anything."""
OF_THE_LIBRARY = frozenset({
    "Node", "PickContext", "Snapshot", "Members", "Lease", "Completion", "AccruedFailuresMachine", "LifecycleMachine", "ThresholdMachine",
    "MaxFailsMachine", "WarmUpMachine", "OutlierSweep", "Damper", "FailureRun", "EndpointReport", "after", "following", "load_bound",
    "ExpectedDelayLoad", "FailureAwareLoad", "LatencyLoad", "InFlightLoad", "InFlightCostLoad", "CheckTimer", "Reconciler",
    "SharedDependencies", "HashFunction", "compat.nginx.Request", "compat.haproxy.Request", "l7.RoutePlan", "gslb.ChangePlan",
    "sim.RecordedLease", "l7.Match", "SharedLoad", "OpenTotal", "check_health", "GslbHandler", "GslbUdpServer", "GslbTcpServer",
})  # fmt: skip
"""Called by the library, or a server, with objects of its own, never with values of users; by name, or by package and name."""
OF_USERS = ("LoadBalancer", "HashRing", "MaglevTable", "RendezvousHash", "AnchorHash", "JumpHash", "MultiProbeHash", "StickyValues",
            "Ketama", "BoundedPlacement", "Match")  # fmt: skip
"""Classes whose methods take values of users too."""
PURE = tuple(
    f"balancekit.{name}."
    for name in ("stats", "scheduling", "reported", "l4", "l7", "gslb", "ha", "capacity", "compat")
)
"""Packages whose methods all take values of users, and never wait."""
SLOW_S = 1.0
LONG = "x" * 10_000_000


class Hung(BaseException):
    """Ends a call that takes too long, so that the others can go on."""


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


def nothing(*_: Any, **__: Any) -> None:
    """Take anything and return nothing."""


FUNCTIONS = (nothing, time.monotonic, print, object, Endpoint)
"""Given where functions are wanted: what they do not take, and what comes of their result, is their owner's fault."""

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
    lambda _: nothing,
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
PREPARED_SHARE = 0.5
"""Of the calls of methods, those of well-made objects."""
VALUES = PLAIN + MADE
BYTE_BY_BYTE = frozenset(["avalanche", "crc32c", "djb2", "lookup2", "murmur64", "sdbm", "siphash13", "wt6"])
"""Hashes in Python, 0.2 us a byte: 10 MB take over a second by their nature."""

SIMULATIONS = frozenset(["balancekit.sim.simulate_models"])
"""Called with its defaults it simulates 15 minutes, which takes over a second by its nature."""


def callables() -> list[tuple[str, Any]]:
    """Return the public classes and functions that take values of users, each once; abstract classes make no objects."""
    found: dict[int, tuple[str, Any]] = {}
    for module in map(importlib.import_module, PACKAGES):
        for name in getattr(module, "__all__", ()):
            one = getattr(module, name)
            if (
                {name, f"{module.__name__.removeprefix('balancekit.')}.{name}"} & OF_THE_LIBRARY
                or not callable(one)
                or get_origin(one) is not None
                or _is_protocol(one)
                or inspect.isabstract(one)
            ):
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


def arguments(
    one: Any, rng: random.Random, valid: float, good: float = 0.0
) -> tuple[list[Any], dict[str, Any]]:
    """Draw arguments for a signature; some that may be left out are, and a share of those known by name are good."""
    positional, named, left_out = [], {}, False
    for parameter in inspect.signature(one).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        optional = parameter.default is not parameter.empty
        if optional and rng.random() < valid:
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                left_out = True
            continue
        if left_out and parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        heavy = rng.random() < HEAVY_SHARE and getattr(one, "__name__", "") not in BYTE_BY_BYTE
        if parameter.name in GOOD and rng.random() < good:
            value = GOOD[parameter.name]
        else:
            value = rng.choice(HEAVY if heavy else VALUES)(rng)
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        else:
            positional.append(value)
    return positional, named


HOOKS = frozenset(
    [
        "prepare",
        "select",
        "picker",
        "structure",
        "learn",
        "forget",
        "explain",
        "take",
        "charge",
        "started",
        "search",
        "loads",
    ]
)
"""Methods of selectors and tiers that the library calls with objects of its own."""


def _takes_values(kind: type, method: str) -> bool:
    """Return whether a method is public, the library's own and called with values of users."""
    found = next((base.__dict__[method] for base in kind.__mro__ if method in base.__dict__), None)
    function = getattr(found, "__func__", found)
    module = getattr(function, "__module__", None) or ""
    return (
        not method.startswith("_")
        and method not in HOOKS
        and module.startswith("balancekit.")
        and inspect.isfunction(function)
    )


CACHES = frozenset({"_fields", "_cookies", "_parameters", "_shares"})
"""Attributes that hold what was computed from others, and may be filled by a call that is refused."""
MAX_VALUES = 2_000
"""Of one object's state; what is larger is compared in part."""


def _slots(kind: type) -> set[str]:
    """Return the names of the slots of a class and its bases."""
    found: set[str] = set()
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        found.update([slots] if isinstance(slots, str) else slots)
    return found - {"__dict__", "__weakref__"}


def _kept(value: Any) -> list[Any]:
    """Return what an object of the library keeps in its slots, and what functions there are closed over."""
    found = [getattr(value, name, None) for name in _slots(type(value))]
    found += getattr(value, "__dict__", {}).values()
    cells = [cell for one in found for cell in getattr(one, "__closure__", None) or ()]
    return found + [cell.cell_contents for cell in cells]


def state_of(instance: Any) -> list[Any]:
    """Return what an object holds, as a list that can be compared: its attributes and theirs, values last."""
    found: list[Any] = []
    seen: set[int] = set()
    if isinstance(instance, LoadBalancer):
        stats = instance.stats().to_dict()
        stats.pop("refused")  # counts refused calls
        return [repr(instance), instance.endpoints, repr(stats)]
    pending: list[Any] = [instance]
    while pending and len(found) < MAX_VALUES:
        value = pending.pop()
        kind = type(value)
        if isinstance(value, float | itertools.count):
            found.append(repr(value))
        elif isinstance(value, str | bytes | int | bool | None):
            found.append((kind, value))
        elif id(value) in seen:
            continue
        elif isinstance(value, dict):
            seen.add(id(value))
            found.append((kind, len(value)))
            pending += [*itertools.islice(value.values(), MAX_VALUES), *itertools.islice(value, MAX_VALUES)]
        elif isinstance(value, list | tuple | deque):
            seen.add(id(value))
            found.append((kind, len(value)))
            pending += itertools.islice(value, MAX_VALUES)
        elif isinstance(value, array | set | frozenset):
            found.append(len(value) if isinstance(value, set | frozenset) else value.tobytes())
        elif kind.__module__.startswith("balancekit."):
            seen.add(id(value))
            names = _slots(kind) | getattr(value, "__dict__", {}).keys()
            pending += [getattr(value, name, None) for name in sorted(names - CACHES)]
        else:
            found.append(id(value))
    return found


def _as_annotated(function: Any, positional: list[Any], named: dict[str, Any]) -> bool:
    """Return whether all arguments are as annotated: methods of what was made of anything else are not called.

    A time may be any real number, which is converted before the call.
    """
    signature, names = inspect.signature(function), vars(sys.modules[function.__module__])
    given = signature.bind(*positional, **named).arguments if positional or named else {}
    return all(
        fits(value, signature.parameters[name].annotation, names)
        or (name == "now" and isinstance(value, numbers.Real))
        for name, value in given.items()
    )


def _documented(error: Exception, function: Any) -> bool:
    """Return whether the docstring names the kind of an error, or a base of it."""
    raises = (inspect.getdoc(function) or "").partition("Raises\n------")[2].partition("-------")[0]
    return any(kind.__name__ in raises for kind in type(error).__mro__[:-3])


def run(calls: int, seed: int) -> tuple[int, dict[str, int], dict[str, float], dict[str, int]]:  # noqa: PLR0915 - one loop
    """Make so many calls; return how many, the foreign exceptions, the calls that took long, and refused ones that changed state."""
    rng = random.Random(seed)
    targets = callables()
    importlib.import_module("dns.resolver")  # half a second, which is no call's
    foreign: dict[str, int] = {}
    slow: dict[str, float] = {}
    changed: dict[str, int] = {}
    made, fitting = 0, False
    instances: list[tuple[str, Any]] = []
    prepared = subjects()
    classes = {
        one
        for name, one in targets
        if inspect.isclass(one) and name.startswith(PURE) and not issubclass(one, tuple)
    }

    inside = False

    def interrupt(*_: object) -> None:
        if inside:
            raise Hung

    signal.signal(signal.SIGVTALRM, interrupt)

    def attempt(name: str, function: Any, valid: float, instance: Any = None) -> Any:
        nonlocal made, fitting, inside
        try:
            positional, named = arguments(function, rng, valid, 0.0 if instance is None else 0.6)
        except (TypeError, ValueError):  # no signature
            return None
        made += 1
        fitting = _as_annotated(function, positional, named)
        kept = instance if any(instance is one for _, one in prepared) else None
        before = None if kept is None else state_of(kept)
        began = time.thread_time()
        result, owner = None, getattr(function, "__self__", None)
        signal.setitimer(signal.ITIMER_VIRTUAL, 2 * SLOW_S)
        inside = True
        try:
            result = function(*positional, **named)
            if inspect.iscoroutine(result):
                result.close()
            if inspect.isgenerator(result) or isinstance(result, itertools.chain):
                list(itertools.islice(result, 5))
        except BalancekitError as error:
            inside = False
            if kept is not None and state_of(kept) != before:
                changed[name] = changed.get(name, 0) + 1
            try:
                str(error), repr(error.args[1:0])
            except Exception as second:
                raise_key(f"{name}, the text of its error", second)
        except (OSError, ValueError) as error:
            inside = False
            if not _documented(error, function) and not _of_a_function(positional, named, owner):
                raise_key(name, error)
        except Hung:
            result = None
        except Exception as error:
            inside = False
            if not _of_a_function(positional, named, owner):
                raise_key(name, error)
        finally:
            inside = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        took = time.thread_time() - began
        if took > SLOW_S and name not in SIMULATIONS:
            slow[name] = max(slow.get(name, 0.0), took)
        return result

    def _of_a_function(positional: list[Any], named: dict[str, Any], owner: Any) -> bool:
        """Return whether a function of the caller may have raised."""
        given = (*positional, *named.values(), *_kept(owner))
        return fitting and any(one is value for one in FUNCTIONS for value in given)

    def raise_key(name: str, error: Exception) -> None:
        key = f"{name}: {brief_error(error)[:120]}"
        foreign[key] = foreign.get(key, 0) + 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while made < calls:
            name, one = rng.choice(targets)
            result = attempt(name, one, rng.choice((0.0, 0.5, 0.9)))
            if (type(result) in classes and fitting) or (
                type(result).__name__ in OF_USERS and ".selectors." not in type(result).__module__
            ):
                instances.append((name, result))
                if len(instances) > 200:
                    instances.pop(rng.randrange(100))
            for _ in range(3):
                chosen = prepared if not instances or rng.random() < PREPARED_SHARE else instances
                if chosen:
                    name, instance = rng.choice(chosen)
                    if type(instance).__name__ not in OF_USERS:
                        name = f"{type(instance).__module__}.{type(instance).__name__}"
                    methods = [m for m in dir(type(instance)) if _takes_values(type(instance), m)]
                    if methods:
                        method = rng.choice(methods)
                        bound = getattr(instance, method)
                        if not inspect.iscoroutinefunction(bound):
                            attempt(f"{name}.{method}", bound, rng.choice((0.0, 0.5, 0.9)), instance)
    return made, foreign, slow, changed
