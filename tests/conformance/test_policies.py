"""Shipped loads and health policies keep the laws; wrong ones are found out."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from typing import ClassVar

import pytest

from balancekit import ConfigurationError, LoadBalancer, Outcome
from balancekit.events import Ejected, Restored
from balancekit.health import (
    AccruedFailures,
    Ejection,
    FlapDamping,
    Health,
    Lifecycle,
    MaxFails,
    Probation,
    WarmUp,
)
from balancekit.loads import (
    EwmaLatency,
    ExpectedDelay,
    FailureAware,
    InFlight,
    InFlightCost,
    PeakEwmaLatency,
    WaitingCost,
)
from balancekit.outcome import FAILURES
from balancekit.protocols import Load
from balancekit.testing import LawBroken, check_health, check_load


@pytest.mark.parametrize(
    "make", [ExpectedDelay, FailureAware, InFlight, InFlightCost, EwmaLatency, PeakEwmaLatency, WaitingCost]
)
def test_a_shipped_load_keeps_the_laws(make):
    """Every load policy of ``balancekit.loads`` keeps the laws; those that count failures keep law 8 too."""
    check_load(make, counts_failures=make in (ExpectedDelay, FailureAware))


@pytest.mark.parametrize(
    "policy",
    [
        Lifecycle(),
        Lifecycle(damping=FlapDamping(), warm_up=WarmUp(window=10.0)),
        Lifecycle(thresholds=AccruedFailures()),
        Lifecycle(start=Health.UNKNOWN),
        Lifecycle(start=Health.UNKNOWN, warm_up=WarmUp()),
        Lifecycle(start=Health.PROBING, warm_up=WarmUp()),
        Lifecycle(start=Health.WARMING, warm_up=WarmUp()),
        MaxFails(),
        MaxFails(max_fails=3, fail_timeout=2.0),
    ],
)
def test_a_shipped_health_policy_keeps_the_laws(policy):
    """Every health policy of ``balancekit.health`` keeps the laws, with and without its options."""
    check_health(policy)


LONG_S = [600.0, 1e6]
"""Memories of ten minutes and of eleven days, in seconds."""


@pytest.mark.parametrize("memory", LONG_S)
@pytest.mark.parametrize(
    ("make", "counts_failures"),
    [
        (lambda memory: EwmaLatency(decay=memory), False),
        (lambda memory: PeakEwmaLatency(decay=memory), False),
        (lambda memory: FailureAware(decay=memory), True),
        (lambda memory: FailureAware(success_decay=memory, healing=5.0 * memory), True),
        (lambda memory: ExpectedDelay(memory=memory), True),
        (lambda memory: ExpectedDelay(success_decay=memory, healing=8.0 * memory), True),
    ],
    ids=["ewma", "peak ewma", "failure aware", "its success rate", "expected delay", "its successes"],
)
def test_a_load_with_a_long_memory_keeps_the_laws(make, counts_failures, memory):
    """A load may remember for longer than a check lasts: laws 8 and 17 wait until it has settled."""
    check_load(lambda: make(memory), counts_failures=counts_failures)


@pytest.mark.parametrize("memory", [0.01, 0.1])
@pytest.mark.parametrize("kind", [FailureAware, ExpectedDelay], ids=["failure aware", "expected delay"])
def test_a_load_with_a_short_memory_keeps_the_laws(kind, memory):
    """A load may forget failures within milliseconds: law 8 sends requests in quick succession."""
    check_load(lambda: kind(success_decay=memory, healing=8.0 * memory), counts_failures=True)


@pytest.mark.parametrize("seconds", LONG_S)
@pytest.mark.parametrize(
    "policy",
    [
        lambda seconds: Lifecycle(ejection=Ejection(base=seconds, max_duration=2.0 * seconds)),
        lambda seconds: Lifecycle(warm_up=WarmUp(window=seconds)),
        lambda seconds: Lifecycle(start=Health.WARMING, warm_up=WarmUp(window=seconds)),
        lambda seconds: Lifecycle(damping=FlapDamping(half_life=seconds, max_suppress=5.0 * seconds)),
        lambda seconds: Lifecycle(probation=Probation(patience=seconds)),
        lambda seconds: MaxFails(fail_timeout=seconds),
    ],
    ids=["ejection", "warm-up", "warm-up at first", "damping", "probation", "fail_timeout"],
)
@pytest.mark.filterwarnings("ignore:fail_timeout")
def test_a_health_policy_with_long_pauses_keeps_the_laws(policy, seconds):
    """An ejection or a ramp may last for days: laws 6, 10 and 11 wait until it has ended."""
    check_health(policy(seconds))


class Fine:
    """A load that keeps the laws."""

    def __init__(self, node):
        self.node = node

    def started(self, *, now, cost):
        """Count nothing."""

    def finished(self, completion):
        """Count nothing."""

    def value(self, *, now):
        """Answer open leases."""
        return float(self.node.inflight)


class Impure(Fine):
    """A load that counts how often it is asked."""

    asked = 0

    def value(self, *, now):
        """Answer that."""
        self.asked += 1
        return self.asked


class NotANumber(Fine):
    """A load that cannot be compared."""

    def value(self, *, now):
        """Answer NaN."""
        return math.nan


class Raises(Fine):
    """A load that does not know every outcome."""

    def finished(self, completion):
        """Raise."""
        raise KeyError(completion.outcome)


class Unlike(Fine):
    """A load whose short way weighs differently."""

    total = 0.0

    def finished(self, completion):
        """Add the latency."""
        self.total += completion.latency

    def succeeded(self, latency, now):
        """Add twice as much."""
        self.total += 2 * latency

    def value(self, *, now):
        """Answer the sum."""
        return self.total


class LastLatency(Fine):
    """A load that takes any end for an answer."""

    latency = 1.0

    def finished(self, completion):
        """Keep the duration."""
        self.latency = completion.latency

    def value(self, *, now):
        """Answer the duration of the last request."""
        return self.latency


class LooksUntried(Fine):
    """A load that takes an endpoint without a success for a free one."""

    answered = False

    def finished(self, completion):
        """Note a success."""
        self.answered = self.answered or completion.outcome is Outcome.SUCCESS

    def value(self, *, now):
        """Answer nothing until there is a success."""
        return 1.0 + self.node.inflight if self.answered else 0.0


class Open(Fine):
    """A load that counts for itself, and keeps when requests started: nothing wrong here."""

    def __init__(self, node):
        self.since = deque()

    def started(self, *, now, cost):
        """Keep the time."""
        self.since.append(now)

    def finished(self, completion):
        """Forget the oldest."""
        self.since.popleft()

    def succeeded(self, latency, now):
        """Forget the oldest."""
        self.since.popleft()

    def value(self, *, now):
        """Answer the count."""
        return len(self.since)


class ForgetsTimeouts(Open):
    """A load that does not count a request out if it timed out."""

    def finished(self, completion):
        """Forget the oldest, if an answer came."""
        if completion.outcome is not Outcome.TIMEOUT:
            self.since.popleft()


class ForgetsCosts(Fine):
    """A load that adds costs and takes off ones."""

    cost = 0.0

    def started(self, *, now, cost):
        """Add the cost."""
        self.cost += cost

    def finished(self, completion):
        """Take one off."""
        self.cost -= 1.0

    def value(self, *, now):
        """Answer the sum."""
        return self.cost


class Overflows(Fine):
    """A load whose decay cannot be computed after an hour without a request."""

    last = 100.0

    def finished(self, completion):
        """Note the time."""
        self.last = completion.ended_at

    def value(self, *, now):
        """Answer a count that decays."""
        return self.node.inflight + 1.0 / math.exp(now - self.last)


class RateOfStarts(Fine):
    """A load that divides by the time between two requests."""

    last = rate = 0.0

    def started(self, *, now, cost):
        """Measure the rate."""
        self.last, self.rate = now, 1.0 / (now - self.last)


class ReadsTheClock(Fine):
    """A load that takes the time from elsewhere."""

    failed = -math.inf

    def finished(self, completion):
        """Note the time of a failure."""
        if completion.outcome is Outcome.FAILURE:
            self.failed = time.monotonic()

    def value(self, *, now):
        """Answer more for five seconds."""
        return self.node.inflight + 5.0 * (time.monotonic() - self.failed < 5.0)


class Draws(Fine):
    """A load that draws its bias where no seed is known."""

    def __init__(self, node):
        self.node, self.bias = node, random.random()

    def value(self, *, now):
        """Answer open leases and the bias."""
        return self.node.inflight + self.bias


class AnswersRaise(Fine):
    """A load that raises when an answer begins."""

    def answering(self, *, now, cost):
        """Raise."""
        raise KeyError(cost)


class BrokenPool:
    """A policy whose loads share what cannot be swept once there are nodes."""

    deadline = 0.0

    def __init__(self):
        self.nodes = []

    def for_pool(self):
        """Return another."""
        return type(self)()

    def __call__(self, node):
        """Make a load."""
        self.nodes.append(node)
        return Fine(node)

    def advance(self, *, now):
        """Look for what nodes do not have."""
        self.deadline = now + sum(node.seconds for node in self.nodes) + 1.0


WRONG_LOADS = [
    (ForgetsTimeouts, "9"),
    (ForgetsCosts, "9"),
    (Overflows, "2"),
    (RateOfStarts, "3"),
    (ReadsTheClock, "1"),
    (Draws, "10"),
    (AnswersRaise, "3"),
    (Impure, "1"),
    (NotANumber, "2"),
    (Raises, "3"),
    (Unlike, "4"),
    (LastLatency, "7"),
    (LooksUntried, "7"),
]


def test_a_load_that_is_to_count_failures_and_does_not_is_found_out():
    """Law 8 finds that in-flight counts alone do not steer away from an endpoint that fails."""
    check_load(InFlight)
    with pytest.raises(LawBroken, match="law 8"):
        check_load(InFlight, counts_failures=True)


@pytest.mark.parametrize(("load", "law"), WRONG_LOADS)
def test_a_wrong_load_is_found_out(load, law):
    """Each broken law is named by its number."""
    check_load(lambda: Fine)
    check_load(lambda: Open)
    with pytest.raises(LawBroken, match=f"law {law}"):
        check_load(lambda: load)


def test_the_pool_that_is_swept_is_the_one_of_the_loads():
    """Law 6 calls ``advance`` on what was made for the nodes of its pool."""
    with pytest.raises(LawBroken, match="law 6, advance raises nothing"):
        check_load(BrokenPool)


def machine(**changes):
    """Return a policy whose machines differ from the shipped ones."""

    def make(endpoint, may_eject, rng):
        made = Lifecycle()(endpoint, may_eject, rng)
        members = {
            name: property(lambda self, name=name: getattr(made, name))
            for name in ("eligible", "state", "watching", "deadline")
        }
        members |= {
            name: (lambda self, *a, name=name, **k: getattr(made, name)(*a, **k))
            for name in ("observe", "advance")
        }
        return type("Machine", (), members | changes)()

    return make


class Sometimes:
    """A property that changes when it is read."""

    def __init__(self):
        self.read = 0

    def __get__(self, one, kind):
        self.read += 1
        return bool(self.read % 2)


WRONG = {
    "1": {"eligible": Sometimes()},
    "2": {"watching": 7},
    "3": {"observe": lambda self, completion, now: ["ejected"]},
    "4": {"deadline": 0.0, "advance": lambda self, now: []},
    "6": {"eligible": False},
}


@pytest.mark.parametrize("law", WRONG)
def test_a_wrong_health_policy_is_found_out(law):
    """Each broken law is named by its number."""
    check_health(machine())
    with pytest.raises(LawBroken, match=f"law {law}"):
        check_health(machine(**WRONG[law]))


class Pause:
    """A policy that keeps an endpoint out for five seconds after three failures in a row: nothing wrong here."""

    def __init__(self, endpoint, may_eject, rng):
        self.endpoint, self.may_eject, self.deadline, self.failures = endpoint, may_eject, None, 0

    @property
    def eligible(self):
        """Answer whether it is not paused."""
        return self.deadline is None

    @property
    def state(self):
        """Answer that in a word."""
        return "healthy" if self.eligible else "paused"

    @property
    def watching(self):
        """Answer whether a success would end a run of failures."""
        return self.failures > 0

    def observe(self, completion, *, now):
        """Count failures in a row."""
        self.failures = self.failures + 1 if completion.outcome in FAILURES else 0
        if self.failures < 3 or not self.eligible or not self.may_eject(Ejection()):
            return []
        return self.eject(now)

    def eject(self, now):
        """Begin the pause."""
        self.deadline, self.failures = now + 5.0, 0
        return [Ejected(endpoint=self.endpoint, at=now, until=now + 5.0, streak=1, cause="failures")]

    def advance(self, *, now):
        """End the pause."""
        self.deadline = None
        return [Restored(endpoint=self.endpoint, at=now)]


class Silent(Pause):
    """Tells none that it has ejected."""

    def eject(self, now):
        """Begin the pause."""
        super().eject(now)
        return []


class SilentReturn(Pause):
    """Tells none that it is back."""

    def advance(self, *, now):
        """End the pause."""
        self.deadline = None
        return []


class RelativeDeadline(Pause):
    """Takes a duration for a time."""

    def eject(self, now):
        """Begin a pause that is over."""
        events = super().eject(now)
        self.deadline = 5.0
        return events


class WaitsForSuccess(Pause):
    """Wants a request to succeed while none is sent."""

    paused, deadline = False, property(lambda self: None, lambda self, value: None)

    @property
    def eligible(self):
        """Answer whether it is not paused."""
        return not self.paused

    def observe(self, completion, *, now):
        """End the pause with a success."""
        if self.paused and completion.outcome is Outcome.SUCCESS:
            self.paused = False
            return [Restored(endpoint=self.endpoint, at=now)]
        return super().observe(completion, now=now)

    def eject(self, now):
        """Begin the pause."""
        self.paused = True
        return super().eject(now)


class Unwatched(Pause):
    """Counts failures in a row, and lets none tell it of the successes between them."""

    watching = False


class ReadsAClock(Pause):
    """Takes the time from elsewhere."""

    def eject(self, now):
        """Begin a pause of another clock."""
        events = super().eject(now)
        self.deadline = now + 5.0 + time.monotonic() % 7.0
        return events


class Together(Pause):
    """Counts the failures of all endpoints in one list."""

    all_failures: ClassVar[list[None]] = []

    def __init__(self, endpoint, may_eject, rng):
        super().__init__(endpoint, may_eject, rng)
        if endpoint == "a":
            self.all_failures.clear()

    @property
    def failures(self):
        """Answer how many there were in a row."""
        return len(self.all_failures)

    @failures.setter
    def failures(self, count):
        self.all_failures[:] = [None] * count


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (Silent, "3"),
        (SilentReturn, "3"),
        (RelativeDeadline, "4"),
        (WaitsForSuccess, "6"),
        (Unwatched, "7"),
        (ReadsAClock, "8"),
        (Together, "9"),
    ],
)
def test_a_policy_that_would_fail_in_a_balancer_only_is_found_out(wrong, law):
    """A policy that would misbehave only with traffic is found by the law that it breaks."""
    check_health(Pause)
    with pytest.raises(LawBroken, match=f"law {law}"):
        check_health(wrong)


def test_a_policy_that_lacks_a_method_is_refused_as_a_balancer_refuses_it():
    """A machine without ``advance`` and a load without ``finished`` break no law: they are none."""
    methods = {name: member for name, member in vars(Pause).items() if name not in {"advance", "__dict__"}}
    with pytest.raises(ConfigurationError, match="advance"):
        check_health(type("Machine", (), methods))
    methods = {name: member for name, member in vars(Fine).items() if name not in {"finished", "__dict__"}}
    with pytest.raises(ConfigurationError, match="finished"):
        check_load(lambda: type("Load", (), methods))


def test_a_policy_that_ejects_against_the_pool_is_found_out():
    """Law 5 finds a policy that ejects without asking ``may_eject``."""
    with pytest.raises(LawBroken, match="law 5"):
        check_health(lambda endpoint, may_eject, rng: Lifecycle()(endpoint, lambda ejection: True, rng))


def test_a_misspelt_hook_of_a_load_is_refused():
    """A class derived from a load's protocol with a name that is nearly ``succeeded`` is refused."""

    class Misspelt(Load):
        def __init__(self, node):
            self.node = node

        def started(self, *, now, cost):
            """Count nothing."""

        def finished(self, completion):
            """Count nothing."""

        def value(self, *, now):
            """Answer open leases."""
            return 0.0

        def suceeded(self, latency, now):
            """Never be called."""

    with pytest.raises(ConfigurationError, match="did you mean 'succeeded'"):
        LoadBalancer(["a"], load=Misspelt)


class Negative(Fine):
    """A load below zero: the more free places, the less of it. Nothing wrong here."""

    def value(self, *, now):
        """Answer the places that are taken, less all."""
        return self.node.inflight - 100.0


class CountsDown(Fine):
    """A load that counts two ends for a start."""

    total = 0

    def started(self, *, now, cost):
        """Count one."""
        self.total += 1

    def finished(self, completion):
        """Count two."""
        self.total -= 2

    def value(self, *, now):
        """Answer what is left."""
        return self.total


class OfTheClass(Fine):
    """A load that counts in its class."""

    total = 0

    def started(self, *, now, cost):
        """Count one."""
        type(self).total += 1

    def finished(self, completion):
        """Count it off."""
        type(self).total -= 1

    def value(self, *, now):
        """Answer what all endpoints have."""
        return self.total


class AsynchronousEnd(Fine):
    """A load with a method that nothing awaits."""

    async def finished(self, completion):
        """Never awaited."""


def test_a_load_may_be_negative():
    """Loads are compared, so those below zero keep the laws as others do; one that falls with each request does not."""
    check_load(lambda: Negative)
    with pytest.raises(LawBroken, match="9, ended requests do not accumulate"):
        check_load(lambda: CountsDown)


def test_a_load_that_endpoints_share_is_found():
    """A load that two endpoints have in common, as one object or by its class, breaks law 11."""
    shared = Open(None)
    for make in (lambda: OfTheClass, lambda: lambda node: shared):
        with pytest.raises(LawBroken, match="11, loads are independent"):
            check_load(make)


def test_a_method_that_nothing_awaits_is_refused():
    """A coroutine function among the methods of a load or of a health policy is named, not called."""
    with pytest.raises(ConfigurationError, match=r"'AsynchronousEnd.finished' .* since nothing awaits it"):
        check_load(lambda: AsynchronousEnd)

    class Asynchronous(WaitsForSuccess):
        async def observe(self, completion, *, now):
            return []

    with pytest.raises(ConfigurationError, match=r"'Asynchronous.observe' .* since nothing awaits it"):
        LoadBalancer(["a"], health=Asynchronous)


@pytest.mark.parametrize("make", [InFlight(), Open, lambda node: Open, 3])
def test_what_makes_no_load_policy_is_refused(make):
    """A policy in place of what makes it, the class of a load, a function with a parameter, and what cannot be called."""
    with pytest.raises(ConfigurationError, match="a function without parameters that makes a load policy"):
        check_load(make)


@pytest.mark.parametrize("check", [check_load, check_health])
@pytest.mark.parametrize("seed", [None, "x", [], 0.5])
def test_a_seed_is_a_whole_number(check, seed):
    """Another seed is refused by name."""
    with pytest.raises(ConfigurationError, match="seed="):
        check(InFlight if check is check_load else Lifecycle(), seed=seed)
