"""Check of a health policy against the laws that a balancer relies on, in one call.

===  =================================================================================
 1   reading the properties twice gives the same values
 2   properties have the types of the protocol, and ``ramp`` is from 0 to 1
 3   no call raises, also without times unless the policy is ``timed``; each returns events of its own endpoint, and at least one if
     ``eligible`` has changed
 4   when an endpoint is ejected, a deadline is in the future; when it has passed,
     ``advance`` removes it or sets a later one
 5   the policy does not eject while the pool does not allow it
 6   an ejected endpoint, which gets no requests, becomes eligible again with time and
     with passing checks, if the policy takes checks
 7   successes while ``watching`` is false change nothing, because the balancer does
     not report them
 8   the policy depends on its arguments only: not on a clock, not on module-level
     randomness
 9   requests to another endpoint change nothing
10   requests that succeed, or end ignored or cancelled, do not eject an endpoint and
     leave it its full share
11   an endpoint comes back after each of 40 ejections in a row, and gets its full share
     again with successes
12   the memory of a machine does not grow with the number of requests
===  =================================================================================

Laws 6 and 11 wait for more than two years of a clock that the check moves, so that a long pause breaks none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Final, TypeAlias

from balancekit._support import validation as valid
from balancekit.balancer import LoadBalancer
from balancekit.errors import ConfigurationError
from balancekit.events import Event
from balancekit.health import Ejection
from balancekit.outcome import CheckResult, Completion, Outcome
from balancekit.protocols import (
    HealthPolicy,
    SupportsCheckResults,
    SupportsOutlierEjection,
    SupportsRamp,
    SupportsUneject,
)
from balancekit.testing._broken import LawBroken
from balancekit.testing._check_health_histories import (
    check_good_requests,
    check_health_memory,
    check_way_back,
    steps_of_time,
)
from balancekit.testing._environments import module_of, patched_environment

__all__ = ["check_health"]

ENDPOINT: Final = "a"
MAX_FAILURES: Final = 100
"""Number of failures that are reported at one time to make the policy eject the endpoint."""

MakeMachine = Callable[[str, Callable[[Ejection], bool], Random], HealthPolicy]


Trace: TypeAlias = list[tuple[str, tuple[object, ...]]]
"""The inputs of a machine, each with the machine's properties after it."""


def check_health(make: MakeMachine, *, steps: int = 500, seed: int = 0) -> None:
    """Check a health policy against the laws of health policies. The first broken law raises.

    Parameters
    ----------
    make
        The policy, as for the parameter ``health`` of ``LoadBalancer``.
    steps
        Number of inputs that the policy receives, >= 1.
    seed
        Seed of these inputs.

    Raises
    ------
    LawBroken
        If a law is broken. The error names the law and the observation. Equal calls give equal results.
    ConfigurationError
        If ``make`` is no health policy, or ``steps`` is not a whole number >= 1.

    Example
    -------
    >>> from balancekit.health import Lifecycle
    >>> from balancekit.testing import check_health
    >>> check_health(Lifecycle())
    """
    if not callable(make):
        raise ConfigurationError("make", make, "a health policy, such as Lifecycle()")
    LoadBalancer([ENDPOINT], health=make)  # refuses one that lacks a method
    count = valid.integer("steps", steps, minimum=1)
    valid.integer("seed", seed, minimum=-(2**64))
    for may_eject in (True, False):
        play = partial(_history, make, may_eject=may_eject, count=count, seed=seed)
        seen = play()
        _compare(
            "7, unwatched successes change nothing",
            seen,
            play(skip_unwatched=True),
            "without the unwatched successes",
        )
        _compare("8, no clock and no module-level randomness", seen, play(environment=2), "at another time")
        _compare(
            "9, endpoints are independent", seen, play(neighbour=True), "beside another endpoint that failed"
        )
        if not getattr(make, "timed", False):
            play(untimed=True)
    check_good_requests(make)
    check_way_back(make)
    check_health_memory(make)


def _compare(law: str, seen: Trace, other: Trace, how: str) -> None:
    for (what, one), (_, another) in zip(seen, other, strict=True):
        if one != another:
            raise LawBroken(law, f"after {what}: {one}, and {how} {another}")


def _history(
    make: MakeMachine,
    *,
    may_eject: bool,
    count: int,
    seed: int,
    environment: int = 1,
    skip_unwatched: bool = False,
    neighbour: bool = False,
    untimed: bool = False,
) -> Trace:
    """Send random inputs to a machine; return its properties after each of them.

    Parameters
    ----------
    may_eject
        Whether the pool allows the endpoint to be ejected.
    environment
        Number of the environment, which determines clocks and module-level randomness.
    skip_unwatched
        Whether to leave out successes while ``watching`` is false, as a balancer does.
    neighbour
        Whether a machine of another endpoint receives a failure after each input.
    untimed
        Whether requests have no start and no latency, as in a balancer where nothing needs times.
    """
    with patched_environment(environment, module_of(make)):
        machine = make(ENDPOINT, partial(_may_eject, may_eject), Random(seed))
        other = make("another", partial(_may_eject, may_eject), Random(seed)) if neighbour else None
        rng, now, seen = Random(seed + 1), 100.0, []
        _check_properties(machine)
        for _ in range(count):
            now += rng.expovariate(2.0)
            eligible = machine.eligible
            what, call = _random_input(rng, machine, now, math.nan if untimed else now - 0.1)
            if not (skip_unwatched and what == "observe(SUCCESS)" and not machine.watching):
                events = _events(what, call, now)
                _check_change(machine, what, events, eligible=eligible, may_eject=may_eject, now=now)
            if other is not None:
                failed = Completion(Outcome.FAILURE, started_at=now - 0.1, ended_at=now)
                _events_of("observe(FAILURE)", partial(other.observe, failed, now=now))
            seen.append((what, _check_properties(machine)))
            _pass_time(machine, now)
        _check_return(machine, now, may_eject=may_eject)
    return seen


def _may_eject(answer: bool, _ejection: Ejection) -> bool:  # noqa: FBT001 - bound by partial
    return answer


def _random_input(
    rng: Random, machine: HealthPolicy, now: float, started_at: float
) -> tuple[str, Callable[[], Iterable[Event]]]:
    """Return a random input among those that the machine supports: its name, and a function that sends it."""
    outcome = rng.choice([Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE, *Outcome])
    done = Completion(outcome, started_at=started_at, ended_at=now)
    calls: list[tuple[str, Callable[[], Iterable[Event]]]] = [
        (f"observe({outcome.name})", lambda: machine.observe(done, now=now))
    ] * 4
    one: object = machine
    if isinstance(one, SupportsCheckResults):
        result = CheckResult(passed=rng.random() < 0.7, holds_for=5.0)
        calls.append((f"checked({result.passed})", lambda: one.checked(result, now=now)))
    if isinstance(one, SupportsOutlierEjection):
        calls.append(("on_outlier", lambda: one.on_outlier("slow", now=now)))
    if isinstance(one, SupportsUneject):
        calls.append(("uneject", lambda: one.uneject(now=now)))
    return rng.choice(calls)


def _events_of(what: str, call: Callable[[], Iterable[Event]]) -> list[Event]:
    try:
        return list(call())
    except Exception as error:
        raise LawBroken(f"3, {what} raises nothing", f"{type(error).__name__}: {error}") from error


def _events(what: str, call: Callable[[], Iterable[Event]], now: float) -> list[Event]:
    events = _events_of(what, call)
    for event in events:
        if not isinstance(event, Event) or event.endpoint != ENDPOINT:
            raise LawBroken("3, returns events", f"{what} returned {event!r}")
        if event.at != now:
            raise LawBroken("3, returns events", f"{what} returned {event!r} at {now!r}")
    return events


def _check_change(
    machine: HealthPolicy, what: str, events: list[Event], *, eligible: bool, may_eject: bool, now: float
) -> None:
    if machine.eligible is eligible:
        return
    if eligible and not may_eject:
        raise LawBroken(
            "5, ejects only if allowed", f"not eligible after {what}, although the pool did not allow it"
        )
    if not events:
        raise LawBroken("3, returns events", f"{what} returned none, and eligible was {eligible} before")
    deadline = machine.deadline
    if eligible and deadline is not None and deadline <= now:
        raise LawBroken(
            "4, a deadline is in the future", f"ejected until {deadline!r} after {what} at {now!r}"
        )


def _check_properties(machine: HealthPolicy) -> tuple[object, ...]:
    first, second = _properties(machine), _properties(machine)
    if first != second:
        raise LawBroken("1, reading changes nothing", f"{first} and then {second}")
    eligible, state, watching, deadline, ramp, trial = first
    typed = isinstance(eligible, bool) and isinstance(state, str) and isinstance(watching, bool)
    if not typed or not isinstance(deadline, float | int | None):
        raise LawBroken("2, properties have their types", f"{first}")
    if not isinstance(ramp, float | int) or not 0.0 <= ramp <= 1.0 or not isinstance(trial, int) or trial < 0:
        raise LawBroken("2, properties have their types", f"ramp {ramp!r}, trial {trial!r}")
    return first


def _properties(machine: HealthPolicy) -> tuple[object, object, object, object, object, object]:
    one: object = machine
    if isinstance(one, SupportsCheckResults) and not isinstance(one.changing, bool):
        raise LawBroken("2, properties have their types", f"changing {one.changing!r}")
    ramp, trial = (one.ramp, one.trial) if isinstance(one, SupportsRamp) else (1.0, 0)
    return machine.eligible, machine.state, machine.watching, machine.deadline, ramp, trial


def _pass_time(machine: HealthPolicy, now: float) -> None:
    before, eligible = machine.deadline, machine.eligible
    if before is None or before > now:
        return
    events = _events("advance", lambda: machine.advance(now=now), now)
    _check_properties(machine)
    after = machine.deadline
    if after is not None and after <= now and after <= before:
        raise LawBroken(
            "4, advance removes a deadline that has passed", f"still {after!r} after advance(now={now!r})"
        )
    if machine.eligible is not eligible and not events:
        raise LawBroken("3, returns events", f"advance returned none, and eligible was {eligible} before")


def _check_return(machine: HealthPolicy, now: float, *, may_eject: bool) -> None:
    """Check law 6: fail requests until the endpoint is ejected, then let time pass without requests."""
    one: object = machine
    for _ in range(MAX_FAILURES):
        if not machine.eligible:
            break
        done = Completion(Outcome.FAILURE, started_at=now - 0.1, ended_at=now)
        events = _events("observe(FAILURE)", partial(machine.observe, done, now=now), now)
        _check_change(machine, "observe(FAILURE)", events, eligible=True, may_eject=may_eject, now=now)
    began = now
    for step in steps_of_time():
        if machine.eligible:
            return
        now += step
        _pass_time(machine, now)
        if isinstance(one, SupportsCheckResults):
            result = CheckResult(passed=True)
            _events("checked", partial(one.checked, result, now=now), now)
    raise LawBroken(
        "6, becomes eligible again",
        f"{machine.state!r} after {now - began:,.0f} s without requests, deadline {machine.deadline!r}",
    )
