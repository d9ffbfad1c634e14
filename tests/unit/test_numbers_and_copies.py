"""Numbers of other libraries, values in error texts, and records that cross a process boundary."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import balancekit.health as health_package
import balancekit.loads as loads_package
from balancekit import ConfigurationError, Endpoint, LoadBalancer, Outcome
from balancekit._support import validation as valid
from balancekit._support.record import Record, field
from balancekit.adapters import HttpTarget
from balancekit.checks import Schedule
from balancekit.discovery import Refresh
from balancekit.errors import brief
from balancekit.health import Lifecycle
from balancekit.inference import PrefixAffinity
from balancekit.outcome import CheckResult
from balancekit.reported import LoadMeter, Prequal, ReportedRoundRobin
from balancekit.retry import RetryBudget
from balancekit.routing import RateLimit
from balancekit.testing import ManualClock
from balancekit.waiting import ClientThrottle

OTHER_NUMBERS = [Decimal(2), Fraction(2), np.float32(2), np.float64(2), np.int64(2)]
HALVES = [Decimal("0.5"), Fraction(1, 2), np.float32(0.5)]


class Facts(Record):
    """Fields of each kind."""

    ratio: float = field(kw_only=False)
    count: int = 1
    limit: float | None = None
    size: int | None = None
    target: object = None


@pytest.mark.parametrize("number", OTHER_NUMBERS, ids=repr)
def test_a_number_is_stored_as_the_type_of_its_field(number: Any) -> None:
    """A number of another library becomes a float, or an int if it is a whole number's; other fields keep what they get."""
    facts = Facts(number, limit=number, target=number)
    assert (type(facts.ratio), facts.ratio, type(facts.limit)) == (float, 2.0, float)
    assert facts.target is number
    assert type(facts.replace(ratio=number).ratio) is float
    if hasattr(number, "__index__"):
        assert type(Facts(1.0, count=number, size=number).size) is int


@pytest.mark.parametrize(
    "given",
    [True, "2", b"2", None, 1j, object(), [1], np.array([1, 2])],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_number_is_kept_for_the_check(given: Any) -> None:
    """A record leaves values that are no numbers to the check of its class, which names the parameter."""
    assert Facts(given).ratio is given
    assert Facts(1.0, count=given).count is given
    with pytest.raises(ConfigurationError, match="threshold"):
        health_package.ConsecutiveFailures(threshold=given)
    with pytest.raises(ConfigurationError, match="decay"):
        loads_package.EwmaLatency(decay=given)


class Odd:
    """A number by its methods, which raise what they like."""

    def __float__(self) -> float:
        raise RuntimeError("odd")

    def __index__(self) -> int:
        raise KeyError("odd")

    def __repr__(self) -> str:
        raise OSError("odd")


def test_an_object_whose_methods_raise_is_refused_by_name() -> None:
    """Whatever a value raises when it is asked for its number or its repr, the error names the parameter."""
    for check in (lambda: valid.number("x", Odd()), lambda: valid.integer("x", Odd(), minimum=0)):
        with pytest.raises(ConfigurationError, match=r"x=<Odd> is not allowed"):
            check()
    with pytest.raises(ConfigurationError, match=r"weight=<Odd>"):
        Endpoint("a", weight=Odd())


@pytest.mark.parametrize(
    "value", ["x" * 10**6, b"x" * 10**6, list(range(10**6)), {"a": "x" * 10**5}, 10**5000], ids=type
)
def test_an_error_shows_at_most_200_characters_of_a_value(value: Any) -> None:
    """The text of an error has at most 200 characters of a value, whatever it is."""
    assert len(brief(value)) <= 200
    assert len(str(ConfigurationError("x", value, "less"))) <= 250


def drive(**options: Any) -> None:
    """Let requests fail and recover, so that every number of a policy is used."""
    clock = ManualClock()
    lb = LoadBalancer(["a", "b", "c"], clock=clock, **options)
    for turn in range(60):
        failing = turn % 2 and turn < 40
        lease = lb.acquire()
        clock.advance(0.05)
        lease.release(Outcome.FAILURE if failing else Outcome.SUCCESS)
        if not turn % 9:
            lb.report_check("b", CheckResult(passed=False, detail="x"))
    clock.advance(30.0)
    lb.acquire().release()


def records(package: Any) -> list[type[Record]]:
    """Return the record classes of a package."""
    found = [getattr(package, name) for name in package.__all__]
    return [one for one in found if inspect.isclass(one) and issubclass(one, Record) and one._fields]


def test_other_numbers_work_in_every_load_and_policy() -> None:
    """Each number of each shipped load and health policy may be a Decimal, a Fraction or one of numpy."""
    tried = 0
    for number in (*OTHER_NUMBERS, *HALVES):
        for kind in (*records(loads_package), *records(health_package)):
            for name in kind._fields:
                try:
                    made = kind(**{name: number})
                except (ConfigurationError, TypeError):
                    continue
                if kind.__module__.startswith("balancekit.loads"):
                    options = [{"load": made}]
                elif kind is Lifecycle:
                    options = [{"health": made}]
                else:
                    options = [{"health": lifecycle} for lifecycle in lifecycles(made)]
                for chosen in options:
                    drive(**chosen)
                    tried += 1
    assert tried > 100


def lifecycles(part: Record) -> list[Lifecycle]:
    """Return the lifecycles of which a policy may be a part."""
    found = []
    for name in Lifecycle._fields:
        for value in (part, [part]):
            try:
                found.append(Lifecycle(**{name: value}))
                break
            except ConfigurationError:
                continue
    return found


@pytest.mark.parametrize("number", OTHER_NUMBERS, ids=repr)
def test_other_numbers_work_at_run_time(number: Any) -> None:
    """Costs, weights, waits and deadlines may be numbers of other libraries too."""
    clock = ManualClock()
    lb = LoadBalancer(["a", Endpoint("b", weight=number)], clock=clock)
    lb.set_weight("a", number)
    assert type(lb.endpoints[1].weight) is float
    lb.acquire(cost=number).release(Outcome.OVERLOADED, retry_after=number)
    lb.drain("b", deadline=number)
    clock.advance(30.0)
    lb.acquire().release()
    budget = RetryBudget(reserve=number, ttl=number)
    budget.deposit(now=0.0)
    assert budget.withdraw(now=0.0)
    assert type(Refresh(interval=number).interval) is float
    assert type(Schedule(interval=number, timeout=number).interval) is float


def recorded() -> dict[str, Any]:
    """Return a value of each kind that a process may hand to another."""
    events: list[Any] = []
    target = HttpTarget("https://h/v1", headers={"Authorization": "k"})
    lb: LoadBalancer[Any] = LoadBalancer(
        ["a", Endpoint("b", target, weight=2, zone="z", metadata={"x": "y"})], listeners=[events.append]
    )
    for _ in range(40):
        lb.acquire().release(Outcome.FAILURE)
    lb.set_weight("b", 3)
    plan = lb.plan(["a"])
    found = {"endpoint": lb.endpoints[1], "stats": lb.stats(), "explanation": lb.explain(), "plan": plan}
    return found | {type(event).__name__: event for event in events}


@pytest.mark.parametrize(
    "copied", [lambda value: pickle.loads(pickle.dumps(value)), copy.copy, copy.deepcopy]
)
def test_values_cross_a_process_boundary(copied: Any) -> None:
    """Endpoints, statistics, explanations, plans and events can be pickled and copied, and read the same afterwards."""
    for name, value in recorded().items():
        again = copied(value)
        assert (type(again), str(again)) == (type(value), str(value)), name
        if isinstance(value, Record):
            assert again == value, name


def test_a_copied_plan_is_for_reading() -> None:
    """A plan that was pickled or copied cannot be applied, and says so."""
    with pytest.raises(ConfigurationError, match="plan"):
        copy.copy(recorded()["plan"]).apply()


def test_statistics_become_json() -> None:
    """``to_dict`` holds everything that statistics say, in types that strict JSON has."""
    stats = recorded()["stats"]
    read = json.loads(json.dumps(stats.to_dict(), allow_nan=False))
    assert read["outcomes"]["failure"] == 40
    assert {one["id"]: one["weight"] for one in read["endpoints"]} == {"a": 1.0, "b": 3.0}
    assert set(read) == set(stats._fields)


LOCKED: dict[str, Callable[[], Any]] = {
    "RetryBudget": RetryBudget,
    "RateLimit": lambda: RateLimit(5.0),
    "LoadMeter": LoadMeter,
    "Prequal": Prequal,
    "ReportedRoundRobin": ReportedRoundRobin,
    "ClientThrottle": ClientThrottle,
    "PrefixAffinity": PrefixAffinity,
}


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("name", LOCKED)
def test_what_holds_a_lock_says_what_to_do_instead_of_a_copy(
    name: str, copied: Callable[[Any], object]
) -> None:
    """A copy for another process is refused, by an error that tells to construct another one there."""
    with pytest.raises(TypeError, match="cannot be copied or pickled: construct"):
        copied(LOCKED[name]())
