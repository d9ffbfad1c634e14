"""Interrupts at the end of a request: none is swallowed by the finalizer of a lease that has ended."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest

from balancekit import LoadBalancer, Outcome, RoundRobin
from balancekit.lease import FREE_THREADED, Lease

INTERRUPTS = 100

pytestmark = [
    pytest.mark.filterwarnings("ignore:a lease of endpoint:ResourceWarning"),
    pytest.mark.skipif(FREE_THREADED, reason="there an ended lease keeps its finalizer"),
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here"),
]


def test_only_an_open_lease_has_a_finalizer() -> None:
    """However a lease ends, nothing of Python's runs when it is freed afterwards."""
    lb = LoadBalancer(["a"])
    with lb.acquire() as left:
        assert hasattr(left, "__del__")
    released = lb.acquire()
    released.release(Outcome.FAILURE)
    with pytest.raises(LookupError), lb.acquire() as failed:
        raise LookupError
    for lease in (left, released, failed):
        assert type(lease) is Lease
        assert not hasattr(lease, "__del__")
        assert not lease.release()


def test_no_interrupt_is_swallowed_in_a_loop_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 100 signals that fall anywhere into a loop of requests arrives as KeyboardInterrupt in the loop."""
    swallowed: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", swallowed.append)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    lb = LoadBalancer(["a", "b"], selector=RoundRobin())
    before = signal.signal(signal.SIGALRM, interrupt)
    arrived = 0
    try:
        for _ in range(INTERRUPTS):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001)
                while True:
                    with lb.acquire():
                        pass
            except KeyboardInterrupt:
                arrived += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert (arrived, swallowed) == (INTERRUPTS, [])
