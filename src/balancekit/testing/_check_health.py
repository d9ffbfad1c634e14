"""Check of a health policy against the laws that a balancer relies on, in one call.

===  ===========================================================================
 1   reading its properties twice gives the same answers
 2   properties have the types of the protocol; ramp is within 0 and 1
 3   nothing that it is told raises, and it answers with events of its endpoint
 4   a deadline that has passed is gone, or later, after ``advance``
 5   it does not eject while the pool says that it may not
 6   it comes back: with successes and time it is eligible again
===  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Final

from balancekit._support import validation as valid
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

__all__ = ["check_health"]

ENDPOINT: Final = "a"
MAX_RETURN_STEPS: Final = 2_000
"""Steps of time and success within which an endpoint must be eligible again."""

MakeMachine = Callable[[str, Callable[[Ejection], bool], Random], HealthPolicy]


def check_health(make: MakeMachine, *, steps: int = 500, seed: int = 0) -> None:
    """Try a health policy on every law; raise at the first that it breaks.

    Parameters
    ----------
    make
        The policy: what a balancer takes as ``health=``.
    steps
        How many things it is told, >= 1.
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
    count = valid.integer("steps", steps, minimum=1)
    for spare in (True, False):
        machine = make(ENDPOINT, partial(_spare, spare), Random(seed))
        rng, now = Random(seed + 1), 100.0
        _look(machine)
        for _ in range(count):
            now += rng.expovariate(2.0)
            eligible = machine.eligible
            what, told = _something(rng, machine, now)
            _tell(what, told)
            _look(machine)
            if eligible and not machine.eligible and not spare:
                raise LawBroken(
                    "5, ejects only if it may", f"not eligible after {what}, though the pool said no"
                )
            _pass_time(machine, now)
        _check_return(machine, now)


def _spare(answer: bool, _ejection: Ejection) -> bool:  # noqa: FBT001 - bound by partial
    return answer


def _something(rng: Random, machine: HealthPolicy, now: float) -> tuple[str, Callable[[], Iterable[Event]]]:
    """Return one thing to tell, of those that the machine takes."""
    outcome = rng.choice([Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE, *Outcome])
    done = Completion(outcome, started_at=now - 0.1, ended_at=now)
    told: list[tuple[str, Callable[[], Iterable[Event]]]] = [
        (f"observe({outcome.name})", lambda: machine.observe(done, now=now))
    ] * 4
    one: object = machine
    if isinstance(one, SupportsCheckResults):
        result = CheckResult(passed=rng.random() < 0.7, holds_for=5.0)
        told.append((f"checked({result.passed})", lambda: one.checked(result, now=now)))
    if isinstance(one, SupportsOutlierEjection):
        told.append(("on_outlier", lambda: one.on_outlier("slow", now=now)))
    if isinstance(one, SupportsUneject):
        told.append(("uneject", lambda: one.uneject(now=now)))
    return rng.choice(told)


def _tell(what: str, call: Callable[[], Iterable[Event]]) -> None:
    try:
        events = list(call())
    except Exception as error:
        raise LawBroken(f"3, {what} raises nothing", f"{type(error).__name__}: {error}") from error
    for event in events:
        if not isinstance(event, Event) or event.endpoint != ENDPOINT:
            raise LawBroken("3, answers with events", f"{what} answered {event!r}")


def _look(machine: HealthPolicy) -> None:
    first, second = _reading(machine), _reading(machine)
    if first != second:
        raise LawBroken("1, reading changes nothing", f"{first} and then {second}")
    eligible, state, watching, deadline, ramp, trial = first
    typed = isinstance(eligible, bool) and isinstance(state, str) and isinstance(watching, bool)
    if not typed or not isinstance(deadline, float | int | None):
        raise LawBroken("2, properties have their types", f"{first}")
    if not isinstance(ramp, float | int) or not 0.0 <= ramp <= 1.0 or not isinstance(trial, int) or trial < 0:
        raise LawBroken("2, properties have their types", f"ramp {ramp!r}, trial {trial!r}")


def _reading(machine: HealthPolicy) -> tuple[object, object, object, object, object, object]:
    one: object = machine
    ramp, trial = (one.ramp, one.trial) if isinstance(one, SupportsRamp) else (1.0, 0)
    return machine.eligible, machine.state, machine.watching, machine.deadline, ramp, trial


def _pass_time(machine: HealthPolicy, now: float) -> None:
    before = machine.deadline
    if before is None or before > now:
        return
    _tell("advance", lambda: machine.advance(now=now))
    _look(machine)
    after = machine.deadline
    if after is not None and after <= now and after <= before:
        raise LawBroken(
            "4, a deadline that has passed is gone", f"still {after!r} after advance(now={now!r})"
        )


def _check_return(machine: HealthPolicy, now: float) -> None:
    one: object = machine
    for _ in range(MAX_RETURN_STEPS):
        if machine.eligible:
            return
        now += 10.0
        _pass_time(machine, now)
        if isinstance(one, SupportsCheckResults):
            result = CheckResult(passed=True)
            _tell("checked", partial(one.checked, result, now=now))
        done = Completion(Outcome.SUCCESS, started_at=now - 0.1, ended_at=now)
        _tell("observe", partial(machine.observe, done, now=now))
    raise LawBroken(
        "6, it comes back", f"{machine.state!r} after {MAX_RETURN_STEPS} successes and checks that passed"
    )
