"""Hooks run under no engine lock, may use the balancer, and may raise: no answer is lost and nothing stops."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from random import Random

import pytest

from balancekit import LoadBalancer, Outcome, PowerOfChoices, UnavailableError
from balancekit.errors import Reason
from balancekit.exhaustion import Choice
from balancekit.health import CheckResult, Lifecycle
from balancekit.testing import ManualClock

PATIENCE_S = 20.0
MAX_ACTS = 25
"""A hook acts so often at most: some are called hundreds of times in the story."""


class BrokenError(Exception):
    """What a hook raises when it is told to."""


class Hooks:
    """What every hook calls: notes the locks that are held, then does what is wanted of this one.

    Modes: ``look`` (nothing else), ``use`` (the balancer, in this thread), ``thread`` (the balancer, in another thread
    that the hook waits for), ``raise``.
    """

    def __init__(self, acting, mode, allowed=()):
        self.acting, self.mode, self.allowed = acting, mode, allowed
        self.lb = None
        self.calls, self.held = Counter(), set()
        self.hung, self.acts = [], 0
        self.local = threading.local()

    def __call__(self, name):
        """Stand in a hook of that name."""
        self.calls[name] += 1
        if self.lb is None:
            return
        self.held |= {(name, lock) for lock in self.lb._runtime.locks.held() if lock not in self.allowed}
        if name != self.acting or getattr(self.local, "inside", False):
            return
        self.acts += 1
        if self.acts > MAX_ACTS and self.mode != "raise":
            return
        if self.mode == "raise":
            raise BrokenError(name)
        if self.mode == "use":
            self.local.inside = True
            try:
                self.use()
            finally:
                self.local.inside = False
        if self.mode == "thread":
            thread = threading.Thread(target=self.from_elsewhere, daemon=True)
            thread.start()
            thread.join(PATIENCE_S)
            if thread.is_alive():
                self.hung.append(name)
                self.mode = "look"

    def use(self):
        """Read, request and change."""
        self.lb.stats()
        with contextlib.suppress(UnavailableError):
            self.lb.acquire().release()
        self.lb.update([*self.lb.endpoints, *({"guest"} - {endpoint.id for endpoint in self.lb.endpoints})])
        self.lb.update([endpoint for endpoint in self.lb.endpoints if endpoint.id != "guest"])

    def from_elsewhere(self):
        """Use the balancer in a thread whose own hooks do nothing."""
        self.local.inside = True
        self.use()


def make_selector(at, *, shared):
    """Return a selector of the user with every hook."""

    class Mine:
        thread_safe = shared
        keyed = False

        def select(self, snapshot, ctx):
            at("select")
            if ctx.attributes.get("none"):
                return None
            return min(snapshot.candidates(ctx), key=lambda node: node.inflight, default=None)

        def prepare(self, snapshot):
            at("prepare")

        def picker(self, snapshot, *, rng=None):
            at("picker")

            def pick(now=0.0):
                at("pick")
                return min(snapshot.eligible, key=lambda node: node.inflight)

            return pick

        def learn(self, node, completion):
            at("learn")

        def refusals(self, snapshot, ctx):
            at("refusals")
            return {node.id: Reason.SATURATED for node in snapshot.eligible}

        def retry_at(self, snapshot, ctx):
            at("retry_at")

    return Mine()


def make_load(at):
    """Return a load policy of the user with every hook."""

    class Load:
        def __init__(self, pool, node):
            self.pool, self.node = pool, node

        def started(self, *, now, cost):
            at("started")

        def finished(self, completion):
            at("finished")

        def succeeded(self, latency, now):
            at("succeeded")

        def value(self, *, now):
            at("value")
            return self.node.inflight

        def reset(self):
            at("reset")

    class Pool:
        def __init__(self):
            self.deadline = 0.0

        def __call__(self, node):
            at("make load")
            return Load(self, node)

        def advance(self, *, now):
            self.deadline = now + 1.0
            at("load advance")

        def forget(self, node):
            at("forget")

    class Policy:
        timed = True

        def for_pool(self):
            return Pool()

        def __call__(self, node):
            raise AssertionError("for_pool() is asked first")

    return Policy()


def make_health(at):
    """Return a health policy of the user with every hook, around the shipped one."""
    inner = Lifecycle()

    class Machine:
        def __init__(self, machine):
            self.machine = machine

        eligible = property(lambda self: at("eligible") or self.machine.eligible)
        state = property(lambda self: at("state") or self.machine.state)
        watching = property(lambda self: at("watching") or self.machine.watching)
        deadline = property(lambda self: at("deadline") or self.machine.deadline)
        ramp = property(lambda self: at("ramp") or self.machine.ramp)
        trial = property(lambda self: at("trial") or self.machine.trial)
        changing = property(lambda self: at("changing") or self.machine.changing)

        def observe(self, completion, *, now):
            at("observe")
            return self.machine.observe(completion, now=now)

        def advance(self, *, now):
            at("advance")
            return self.machine.advance(now=now)

        def checked(self, result, *, now):
            at("checked")
            return self.machine.checked(result, now=now)

        def on_outlier(self, cause, *, now):
            at("on_outlier")
            return self.machine.on_outlier(cause, now=now)

        def uneject(self, *, now):
            at("uneject")
            return self.machine.uneject(now=now)

    class Sweep:
        deadline = 0.0

        def advance(self, nodes, *, now):
            self.deadline = now + 1.0
            at("rule")
            return {node.id: "told to" for node in list(nodes)[:1]} if now > 30.0 else {}

    class Policy:
        def __call__(self, endpoint, may_eject, rng):
            at("make health")
            return Machine(inner(endpoint, may_eject, rng))

        def outlier_sweep(self, rng):
            return Sweep()

    return Policy()


class Target:
    """A target that compares with a hook."""

    def __init__(self, at, name):
        self.at, self.name = at, name

    def __eq__(self, other):
        self.at("target ==")
        return isinstance(other, Target) and other.name == self.name

    def __hash__(self):
        return hash(self.name)


HOOKS = [
    "listener",
    "observer",
    "exhaustion",
    "rule",
    "select",
    "prepare",
    "picker",
    "pick",
    "learn",
    "refusals",
    "retry_at",
    "make load",
    "started",
    "finished",
    "value",
    "load advance",
    "reset",
    "forget",
    "make health",
    "observe",
    "advance",
    "checked",
    "changing",
    "on_outlier",
    "uneject",
    "eligible",
    "state",
    "watching",
    "deadline",
    "ramp",
    "trial",
    "target ==",
]
REACH_THE_CALLER = {"select", "prepare", "picker", "make load", "make health"}
"""What these raise is raised by the request or the change that called them, which then has not happened."""


def story(hooks, *, shared=True):  # noqa: PLR0915 - one long life
    """Live through everything that calls a hook; return the balancer and the number of leases that ended."""
    clock = ManualClock()
    at = hooks

    def exhaustion(members, healthy):
        at("exhaustion")
        return Choice(healthy)

    lb = LoadBalancer(
        {id: Target(at, id) for id in "abc"},
        selector=make_selector(at, shared=shared),
        load=make_load(at),
        health=make_health(at),
        exhaustion=exhaustion,
        clock=clock,
        rng=Random(1),
        listeners=[lambda event: at("listener")],
    )
    hooks.lb = lb
    ended = 0

    raised = set()

    def carefully(call, *arguments):
        try:
            return call(*arguments)
        except BrokenError as error:
            raised.add(str(error))
        except UnavailableError:
            pass
        return None

    def request(outcome=Outcome.SUCCESS, **options):
        nonlocal ended
        lease = carefully(lambda: lb.acquire(**options))
        if lease is not None:
            assert lease.release(outcome)
            ended += 1

    for number in range(6):
        request()
        request(Outcome.FAILURE, exclude={"b"})
        request(cost=2.0 + number)
    stop = lb.on_completion(lambda endpoint, completion: at("observer"))
    for _ in range(12):
        request(Outcome.FAILURE, exclude={"b", "c"})
    request(attributes={"none": True})
    for _ in range(4):
        carefully(lambda: lb.report_check("b", CheckResult(passed=False, holds_for=5.0)))
    for _ in range(60):
        clock.advance(1.0)
        request()
        request(exclude={"b", "c"})
    carefully(lambda: lb.update({"a": Target(at, "a"), "b": Target(at, "moved"), "d": Target(at, "d")}))
    for id in ("d", "a"):
        if id in {endpoint.id for endpoint in lb.endpoints}:
            carefully(lb.drain, id)
    for _ in range(12):
        request(Outcome.FAILURE)
    carefully(lb.explain)
    ids = [endpoint.id for endpoint in lb.endpoints]
    for id in ids:
        carefully(lb.undrain, id)
    for _ in range(4):
        carefully(lambda: lb.report_check(ids[0], CheckResult(passed=False, holds_for=5.0)))
    for id in ids[1:]:
        carefully(lb.drain, id)
    request()
    for id in ids[1:]:
        carefully(lb.undrain, id)
    if "a" in ids:
        carefully(lb.remove, "a")
    lb.stats()
    assert raised <= REACH_THE_CALLER
    stop()
    hooks.mode, hooks.acting = "look", None
    for _ in range(3):
        clock.advance(10.0)
        with lb.acquire():
            pass
        ended += 1
    return lb, ended


def run(acting, mode, **options):
    """Tell the story with one hook acting; nothing hangs, no lock is held, the books balance."""
    hooks = Hooks(acting, mode, allowed=("serial",) if not options.get("shared", True) else ())
    done = []

    def tell():
        try:
            done.append(story(hooks, **options))
        except BaseException as error:
            done.append(error)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    thread.join(6 * PATIENCE_S)
    assert not thread.is_alive(), "the balancer hangs"
    if isinstance(done[0], BaseException):
        raise done[0]
    assert hooks.hung == []
    assert hooks.held == set()
    lb, ended = done[0]
    assert lb.stats().inflight == 0
    if mode in {"look", "raise"}:
        assert lb.stats().completed == ended
    return hooks


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Log nothing of what hooks raise: there is much of it."""
    caplog.set_level(logging.CRITICAL + 1, logger="balancekit")


def test_the_story_calls_every_hook_and_no_engine_lock_is_held():
    """Each hook there is runs at least once, none under a lock of the engine."""
    hooks = run(None, "look")
    assert [name for name in HOOKS if not hooks.calls[name]] == []


def test_only_the_serial_lock_is_held_for_a_selector_that_is_not_thread_safe():
    """Hooks of other objects run under none; this selector's own run under its lock alone."""
    hooks = Hooks(None, "look")
    story(hooks, shared=False)
    assert {lock for _, lock in hooks.held} == {"serial"}
    assert {name for name, _ in hooks.held} <= {"select", "prepare", "picker", "learn"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["use", "thread"])
@pytest.mark.parametrize("acting", HOOKS)
def test_a_hook_may_use_the_balancer(acting, mode):
    """A hook may read statistics, acquire and update, in its own thread and in another one that it waits for."""
    run(acting, mode)


@pytest.mark.parametrize("acting", ["select", "prepare", "picker", "learn"])
def test_a_serial_hook_may_use_the_balancer(acting):
    """A hook of a selector that is not thread-safe may use the balancer, as its lock is re-entrant."""
    run(acting, "use", shared=False)


@pytest.mark.parametrize("acting", HOOKS)
def test_a_hook_may_raise(acting):
    """If a hook raises, no answer is lost and every lease is counted.

    When it has stopped raising, all is as it should be.
    """
    run(acting, "raise")


def test_a_load_that_raises_does_not_stop_a_shipped_selector(caplog):
    """Power of two choices over loads whose value raises still picks."""
    hooks = Hooks("value", "raise")
    lb = LoadBalancer(["a", "b", "c"], selector=PowerOfChoices(), load=make_load(hooks))
    hooks.lb = lb
    for number in range(30):
        with lb.acquire(exclude={"a"} if number % 2 else ()):
            pass
    assert lb.stats().completed == 30


def test_a_debugging_balancer_checks_that_no_lock_is_held():
    """With ``debug=True`` a hook that would run under a lock of the engine is a mistake of the library, and raises."""
    lb = LoadBalancer(["a", "b"], debug=True, listeners=[lambda event: None])
    lb.add("c")
    with lb._runtime.locks.writer, pytest.raises(AssertionError, match="writer"):
        lb._runtime.guard.check()
