"""Check of a health policy against the laws that a balancer relies on, in one call.

===  ===========================================================================
 1   reading its properties twice gives the same answers
 2   properties have the types of the protocol; ramp is within 0 and 1
 3   no call raises, and each returns a list of events of its own endpoint, at
     least one if ``eligible`` has changed
 4   a deadline of an endpoint that is out lies ahead when it is set, and is gone, or
     later, after ``advance``
 5   it does not eject while the pool says that it may not
 6   it comes back: with time, and checks that pass if it takes any, it is eligible
     again; an endpoint that is out gets no requests
 7   successes while ``watching`` is false change nothing: the balancer does not report
     them
 8   it depends on its arguments alone: not on a clock, not on module-level randomness
 9   what happens to another endpoint changes nothing
===  ===========================================================================
"""

from __future__ import annotations

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
from balancekit.testing._worlds import another_world

__all__ = ["check_health"]

ENDPOINT: Final = "a"
MAX_RETURN_STEPS: Final = 2_000
"""Steps of time within which an endpoint must be eligible again."""
RETURN_STEP_S: Final = 10.0
MAX_FAILURES: Final = 100
"""Failures at one moment, after which most policies have ejected an endpoint."""

MakeMachine = Callable[[str, Callable[[Ejection], bool], Random], HealthPolicy]


Seen: TypeAlias = list[tuple[str, tuple[object, ...]]]
"""What the machine received last, and its properties then."""


def check_health(make: MakeMachine, *, steps: int = 500, seed: int = 0) -> None:
    """Try a health policy on every law; raise at the first that it breaks.

    Parameters
    ----------
    make
        The policy: what a balancer takes as ``health=``.
    steps
        How many inputs it receives, >= 1.
    seed
        Of that history.

    Raises
    ------
    LawBroken
        Naming the law and what was seen.
    ConfigurationError
        If ``make`` is no policy.

    Example
    -------
    >>> from balancekit.health import Lifecycle
    >>> check_health(Lifecycle())
    """
    if not callable(make):
        raise ConfigurationError("make", make, "a health policy, such as Lifecycle()")
    LoadBalancer([ENDPOINT], health=make)  # refuses one that lacks a method
    count = valid.integer("steps", steps, minimum=1)
    for spare in (True, False):
        play = partial(_history, make, spare=spare, count=count, seed=seed)
        seen = play()
        _compare(
            "7, unwatched successes change nothing",
            seen,
            play(sparing=True),
            "without successes that it did not watch",
        )
        _compare("8, no clock and no module-level randomness", seen, play(world=2), "at another time")
        _compare("9, endpoints are apart", seen, play(neighbour=True), "beside another endpoint that failed")


def _compare(law: str, seen: Seen, other: Seen, how: str) -> None:
    for (what, one), (_, another) in zip(seen, other, strict=True):
        if one != another:
            raise LawBroken(law, f"after {what}: {one}, and {how} {another}")


def _history(
    make: MakeMachine,
    *,
    spare: bool,
    count: int,
    seed: int,
    world: int = 1,
    sparing: bool = False,
    neighbour: bool = False,
) -> Seen:
    """Drive a machine through a history; return its properties after each step.

    Parameters
    ----------
    spare
        The pool's answer to whether the endpoint may be ejected.
    world
        Which clock and module-level randomness there are.
    sparing
        Whether successes are left out while the machine does not watch them, as a balancer does.
    neighbour
        Whether a machine of another endpoint receives failures between any two steps.
    """
    with another_world(world):
        machine = make(ENDPOINT, partial(_spare, spare), Random(seed))
        other = make("another", partial(_spare, spare), Random(seed)) if neighbour else None
        rng, now, seen = Random(seed + 1), 100.0, []
        _look(machine)
        for _ in range(count):
            now += rng.expovariate(2.0)
            eligible = machine.eligible
            what, call = _something(rng, machine, now)
            if not (sparing and what == "observe(SUCCESS)" and not machine.watching):
                events = _events(what, call)
                _check_change(machine, what, events, eligible=eligible, spare=spare, now=now)
            if other is not None:
                failed = Completion(Outcome.FAILURE, started_at=now - 0.1, ended_at=now)
                _answer("observe(FAILURE)", partial(other.observe, failed, now=now))
            seen.append((what, _look(machine)))
            _pass_time(machine, now)
        _check_return(machine, now)
    return seen


def _spare(answer: bool, _ejection: Ejection) -> bool:  # noqa: FBT001 - bound by partial
    return answer


def _something(rng: Random, machine: HealthPolicy, now: float) -> tuple[str, Callable[[], Iterable[Event]]]:
    """Return one input, of those that the machine takes."""
    outcome = rng.choice([Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE, *Outcome])
    done = Completion(outcome, started_at=now - 0.1, ended_at=now)
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


def _answer(what: str, call: Callable[[], Iterable[Event]]) -> list[Event]:
    try:
        return list(call())
    except Exception as error:
        raise LawBroken(f"3, {what} raises nothing", f"{type(error).__name__}: {error}") from error


def _events(what: str, call: Callable[[], Iterable[Event]]) -> list[Event]:
    events = _answer(what, call)
    for event in events:
        if not isinstance(event, Event) or event.endpoint != ENDPOINT:
            raise LawBroken("3, answers with events", f"{what} answered {event!r}")
    return events


def _check_change(
    machine: HealthPolicy, what: str, events: list[Event], *, eligible: bool, spare: bool, now: float
) -> None:
    if machine.eligible is eligible:
        return
    if eligible and not spare:
        raise LawBroken("5, ejects only if it may", f"not eligible after {what}, though the pool said no")
    if not events:
        raise LawBroken("3, answers with events", f"{what} answered none, and eligible was {eligible} before")
    deadline = machine.deadline
    if eligible and deadline is not None and deadline <= now:
        raise LawBroken("4, a deadline lies ahead", f"out until {deadline!r} after {what} at {now!r}")


def _look(machine: HealthPolicy) -> tuple[object, ...]:
    first, second = _reading(machine), _reading(machine)
    if first != second:
        raise LawBroken("1, reading changes nothing", f"{first} and then {second}")
    eligible, state, watching, deadline, ramp, trial = first
    typed = isinstance(eligible, bool) and isinstance(state, str) and isinstance(watching, bool)
    if not typed or not isinstance(deadline, float | int | None):
        raise LawBroken("2, properties have their types", f"{first}")
    if not isinstance(ramp, float | int) or not 0.0 <= ramp <= 1.0 or not isinstance(trial, int) or trial < 0:
        raise LawBroken("2, properties have their types", f"ramp {ramp!r}, trial {trial!r}")
    return first


def _reading(machine: HealthPolicy) -> tuple[object, object, object, object, object, object]:
    one: object = machine
    ramp, trial = (one.ramp, one.trial) if isinstance(one, SupportsRamp) else (1.0, 0)
    return machine.eligible, machine.state, machine.watching, machine.deadline, ramp, trial


def _pass_time(machine: HealthPolicy, now: float) -> None:
    before, eligible = machine.deadline, machine.eligible
    if before is None or before > now:
        return
    events = _events("advance", lambda: machine.advance(now=now))
    _look(machine)
    after = machine.deadline
    if after is not None and after <= now and after <= before:
        raise LawBroken(
            "4, a deadline that has passed is gone", f"still {after!r} after advance(now={now!r})"
        )
    if machine.eligible is not eligible and not events:
        raise LawBroken(
            "3, answers with events", f"advance answered none, and eligible was {eligible} before"
        )


def _check_return(machine: HealthPolicy, now: float) -> None:
    """Have requests fail until the endpoint is out, if it ever is, and none come from then on."""
    one: object = machine
    for _ in range(MAX_FAILURES):
        if not machine.eligible:
            break
        done = Completion(Outcome.FAILURE, started_at=now - 0.1, ended_at=now)
        _events("observe(FAILURE)", partial(machine.observe, done, now=now))
    for _ in range(MAX_RETURN_STEPS):
        if machine.eligible:
            return
        now += RETURN_STEP_S
        _pass_time(machine, now)
        if isinstance(one, SupportsCheckResults):
            result = CheckResult(passed=True)
            _events("checked", partial(one.checked, result, now=now))
    raise LawBroken(
        "6, it comes back",
        f"{machine.state!r} after {MAX_RETURN_STEPS * RETURN_STEP_S:,.0f} s, deadline {machine.deadline!r}: "
        "an endpoint that is out gets no requests",
    )
