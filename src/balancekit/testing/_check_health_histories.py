"""Laws 10 to 12 of health policies: good requests, the way back, and memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import Final, TypeAlias

from balancekit.health import Ejection
from balancekit.outcome import CheckResult, Completion, Outcome
from balancekit.protocols import HealthPolicy, SupportsCheckResults, SupportsRamp
from balancekit.testing._broken import LawBroken
from balancekit.testing._memory import MIN_BYTES, held_bytes

__all__ = ["check_good_requests", "check_health_memory", "check_way_back", "steps_of_time"]

MakeMachine: TypeAlias = Callable[[str, Callable[[Ejection], bool], Random], HealthPolicy]

GOOD: Final = (Outcome.SUCCESS, Outcome.IGNORED, Outcome.CANCELLED)
"""Outcomes for which an endpoint is not to blame."""
REQUESTS: Final = 300
EJECTIONS: Final = 40
"""Number of ejections one after the other. A pause that doubles each time is then longer than all steps together."""
FAILURES: Final = 100
"""Number of failures that are reported at one time to make the policy eject the endpoint."""
STEPS: Final = 2_000
"""Number of equal steps of time, five and a half hours together. The steps after them double."""
STEP_S: Final = 10.0
DOUBLINGS: Final = 22
"""Number of steps that double. All steps together take more than two years: a policy with a long memory settles in them."""
LONG: Final = 3_000
"""Number of requests in half of a history in which memory may grow."""
START_S: Final = 100.0


def steps_of_time() -> Iterator[float]:
    """Iterate over steps of time in seconds, in which a policy must settle: many equal ones, then some that double."""
    return itertools.chain(
        itertools.repeat(STEP_S, STEPS), (STEP_S * 2.0**number for number in range(DOUBLINGS))
    )


def _always(_ejection: Ejection) -> bool:
    return True


def _observe(machine: HealthPolicy, outcome: Outcome, now: float) -> None:
    if outcome is not Outcome.SUCCESS or machine.watching:
        machine.observe(Completion(outcome, started_at=now - 0.1, ended_at=now), now=now)


def _pass_time(machine: HealthPolicy, now: float) -> None:
    deadline = machine.deadline
    if deadline is not None and deadline <= now:
        machine.advance(now=now)


def check_good_requests(make: MakeMachine) -> None:
    """Check law 10: no endpoint is ejected for requests that succeed, or end ignored or cancelled.

    Raises
    ------
    LawBroken
        Naming the number of requests and their last outcome.
    """
    machine, rng = make("a", _always, Random(61)), Random(62)
    now = _with_full_share(machine, START_S)
    for outcomes in (GOOD[:1], GOOD, GOOD[1:]):
        for number in range(REQUESTS):
            now += rng.expovariate(10.0)
            outcome = rng.choice(outcomes)
            _observe(machine, outcome, now)
            _pass_time(machine, now)
            if not machine.eligible or _ramp(machine) < 1.0:
                names = ", ".join(one.name for one in outcomes)
                raise LawBroken(
                    "10, good requests do not eject",
                    f"{machine.state!r}, ramp {_ramp(machine)!r} after {number + 1} requests that ended {names}",
                )


def check_way_back(make: MakeMachine) -> None:
    """Check law 11: after each of many ejections the endpoint comes back, and in the end it has its full share.

    Raises
    ------
    LawBroken
        Naming the number of the ejection, or the ramp that stays.
    """
    machine, now = make("a", _always, Random(63)), START_S
    for ejection in range(1, EJECTIONS + 1):
        for _ in range(FAILURES):
            if not machine.eligible:
                break
            _observe(machine, Outcome.FAILURE, now)
        began = now
        for step in steps_of_time():
            if machine.eligible:
                break
            now += step
            _pass_time(machine, now)
            _check_passed(machine, now)
        if not machine.eligible:
            raise LawBroken(
                "11, it comes back each time",
                f"{machine.state!r} after {now - began:,.0f} s without requests after ejection "
                f"{ejection}, deadline {machine.deadline!r}",
            )
    for number, step in enumerate(steps_of_time()):
        if number >= STEPS and machine.eligible and _ramp(machine) == 1.0:
            break
        now = _succeed(machine, now + step)
    else:
        raise LawBroken(
            "11, it gets its full share again",
            f"{machine.state!r}, ramp {_ramp(machine)!r} after {sum(steps_of_time()):,.0f} s of successes",
        )


def check_health_memory(make: MakeMachine) -> None:
    """Check law 12: the memory of a machine does not grow with the number of requests.

    Raises
    ------
    LawBroken
        Naming the bytes that the machine holds.
    """
    machine, now = make("a", _always, Random(64)), START_S
    sizes: list[int] = []
    for _ in range(2):
        for number in range(LONG):
            now += 0.1
            _observe(machine, Outcome.CANCELLED if number % 50 else Outcome.FAILURE, now)
            _observe(machine, Outcome.SUCCESS, now)
            _pass_time(machine, now)
        sizes.append(held_bytes([machine]))
    if sizes[1] - sizes[0] >= MIN_BYTES * LONG:
        raise LawBroken(
            "12, memory does not grow with requests",
            f"the machine held {sizes[0]:,} bytes, and {sizes[1]:,} after another {2 * LONG:,} requests",
        )


def _with_full_share(machine: HealthPolicy, now: float) -> float:
    """Return the time when a new endpoint has its full share: it may have to pass checks first, or to warm up."""
    for step in steps_of_time():
        now = _succeed(machine, now + step)
        if machine.eligible and _ramp(machine) == 1.0:
            break
    return now


def _succeed(machine: HealthPolicy, now: float) -> float:
    """Advance a machine to a time, and let a check and a request succeed then. Return the time."""
    _pass_time(machine, now)
    _check_passed(machine, now)
    _observe(machine, Outcome.SUCCESS, now)
    return now


def _check_passed(machine: HealthPolicy, now: float) -> None:
    one: object = machine
    if isinstance(one, SupportsCheckResults):
        one.checked(CheckResult(passed=True), now=now)


def _ramp(machine: HealthPolicy) -> float:
    one: object = machine
    return one.ramp if isinstance(one, SupportsRamp) else 1.0
