"""Exceptions that signal handlers raise: they reach the program, and none passes for the error of a callback."""

from __future__ import annotations

import functools
import logging
import signal
import sys
from random import Random

import pytest
from tests.concurrency.test_hooks import HOOKS, Hooks, story

from balancekit import LeastRequest, LoadBalancer, Outcome, PowerOfChoices, SmoothWeightedRoundRobin
from balancekit._support.interrupts import raised_by_signal
from balancekit.errors import ConfigurationError

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="there are no timers here")


class Alarm(Exception):  # noqa: N818 - no error, as KeyboardInterrupt is none
    """What the handler raises: an ordinary exception, as of Celery's soft time limit."""


class Interrupting(Hooks):
    """Raises a signal in the n-th call of one hook."""

    def __init__(self, acting, number):
        super().__init__(None, "look")
        self.interrupted, self.number = acting, number

    def __call__(self, name):
        """Stand in a hook of that name."""
        super().__call__(name)
        if self.lb is not None and name == self.interrupted:
            self.acts += 1
            if self.acts == self.number:
                signal.raise_signal(signal.SIGALRM)


fired = []


def alarm(*_):
    """Count the alarm, and raise."""
    fired.append(None)
    raise Alarm


@pytest.fixture
def handler():
    """Install a handler of SIGALRM that raises, and take it back afterwards."""
    before = signal.signal(signal.SIGALRM, alarm)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("hook", HOOKS)
def test_an_exception_of_a_signal_handler_inside_a_hook_reaches_the_caller(hook, number, caplog):
    """Whichever hook a signal interrupts, its exception leaves the call of the balancer, which goes on to serve."""
    caplog.set_level(logging.CRITICAL + 1, logger="balancekit")
    hooks = Interrupting(hook, number)
    try:
        story(hooks)
    except Alarm:
        arrived = True
    else:
        arrived = False
    assert arrived == (hooks.acts >= number)
    assert hooks.acts or number > 1
    lb, hooks.interrupted = hooks.lb, None
    lb.update(["x", "y"])
    for _ in range(4):
        with lb.acquire() as lease:
            assert lease.target in {"x", "y"}
    assert [(endpoint.id, endpoint.inflight) for endpoint in lb.stats().endpoints] == [("x", 0), ("y", 0)]


def request_until(lb, alarms):
    """Make requests until so many alarms have come; a function, for some jumps of a loop in a ``try`` block are not guarded by it."""
    number = 0
    while len(fired) < alarms:
        number += 1
        lb.update(["a", "b", "c"] if number & 1 else ["b", "d"])
        with lb.acquire():
            pass
        lb.acquire(exclude={"b"}).release(Outcome.SUCCESS if number % 3 else Outcome.FAILURE)


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize("selector", [PowerOfChoices, LeastRequest, SmoothWeightedRoundRobin])
def test_an_alarm_anywhere_in_a_loop_of_requests_reaches_the_loop(selector, monkeypatch):
    """Each of 60 alarms, at random moments of requests that fail, succeed and change the members, arrives."""
    swallowed = []
    monkeypatch.setattr(sys, "unraisablehook", swallowed.append)
    fired.clear()
    random, arrived = Random(7), 0
    for alarms in range(1, 61):
        lb = LoadBalancer(["a", "b"], selector=selector())
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-4, 3e-3))
            request_until(lb, alarms)
        except Alarm:
            arrived += 1
    # Callbacks of weak references and finalizers cannot raise: the interpreter hands those to sys.unraisablehook.
    assert arrived + len(swallowed) == 60


def error_of(function, *arguments):
    """Return the exception that a function raises."""
    try:
        function(*arguments)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def named(signum, frame):
    """Raise, as handlers of two arguments do."""
    raise Alarm


class Handler:
    """Handlers of other forms."""

    def method(self, signum, frame):
        raise Alarm

    def __call__(self, *, kind=None, **_):
        raise Alarm


def nested(signum, frame):
    """Raise from a function that the handler calls."""
    return named(signum, None)


def more(extra, signum, frame):
    """Raise, given more than the interpreter gives."""
    raise Alarm


@pytest.mark.parametrize(
    "function",
    [named, alarm, Handler().method, nested, functools.partial(more, "extra"), lambda signum, frame: 1 / 0],
    ids=["function", "any arguments", "method", "calls another", "partial", "lambda"],
)
def test_handlers_of_every_form_are_told_apart(function):
    """Each handler that the interpreter calls with a number and a frame is recognised."""
    before = signal.signal(signal.SIGALRM, function)
    try:
        assert raised_by_signal(error_of(signal.raise_signal, signal.SIGALRM))
    finally:
        signal.signal(signal.SIGALRM, before)


def looks(frame):
    """Raise with a frame as the only argument."""
    raise ValueError(frame)


def looks_behind(number, frame):
    """Raise with a frame as the second argument."""
    raise ValueError(number, frame)


def test_errors_of_other_callbacks_are_theirs():
    """An exception of a callback that is no signal handler is not taken for a handler's.

    A frame as an argument makes no handler.
    """
    here = sys._getframe()
    assert not raised_by_signal(ValueError())
    assert not raised_by_signal(error_of(int, "x"))
    assert not raised_by_signal(error_of(lambda: looks(sys._getframe())))
    assert not raised_by_signal(error_of(lambda: looks_behind(14, here)))
    assert not raised_by_signal(error_of(lambda: looks_behind("14", sys._getframe())))
    assert not raised_by_signal(error_of(LoadBalancer, 5))
    assert isinstance(error_of(LoadBalancer, 5), ConfigurationError)
