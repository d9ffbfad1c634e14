"""Callbacks and attempts of a balancer, in short histories."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from random import Random
from typing import Any, Final

from balancekit.endpoint import Endpoint
from balancekit.events import Event, Restored
from balancekit.outcome import Outcome
from balancekit.protocols import ObservableBalancer, require_balancer
from balancekit.testing._clock import ManualClock
from balancekit.testing._requests import open_lease, request_key

__all__ = ["check_callbacks"]

MAX_WAIT_S: Final = 5.0
"""Seconds within which another thread must be able to use the balancer while a callback runs."""
IDS: Final = ("a", "b", "c")
CALLBACKS: Final = ("on_event", "on_start", "on_completion")


def check_callbacks(make: Callable[..., ObservableBalancer[str]]) -> None:
    """Check that callbacks are called once each, under no lock, and not after they are removed; and that attempts differ.

    Raises
    ------
    AssertionError
        Naming the callback and the number of its calls, or the attempts.
    """
    for name in CALLBACKS:
        _check_callback(_made(make), name)
    for limit, wanted in ((2, 2), (5, len(IDS))):
        _check_attempts(_made(make), limit, wanted)


def _made(make: Callable[..., ObservableBalancer[str]]) -> ObservableBalancer[str]:
    """Make a new balancer for each check, because a health policy may eject endpoints for the failures of another one."""
    balancer = make([Endpoint(id) for id in IDS], ManualClock(), Random(0))
    require_balancer(balancer)
    return balancer


def _check_callback(balancer: ObservableBalancer[str], name: str) -> None:
    event = Restored(endpoint="a", at=0.0)
    callback = _Callback(balancer, name, event)
    remove = getattr(balancer, name)(callback)
    for outcome in (Outcome.SUCCESS, Outcome.FAILURE):
        lease = open_lease(balancer)
        if name == "on_event":
            balancer.emit(event)
        lease.release(outcome)
        lease.release(outcome)
    callback.require(
        2, "two requests, each released twice" if name != "on_event" else "emit() was called twice"
    )
    if name == "on_completion":
        outcomes = [arguments[1].outcome for arguments in callback.calls]
        if outcomes != [Outcome.SUCCESS, Outcome.FAILURE]:
            raise AssertionError(
                f"a callback of on_completion received {outcomes} after a success and a failure"
            )
    remove()
    balancer.emit(event)
    open_lease(balancer).release()
    callback.require(2, "two calls before it was removed, and none after that")


class _Callback:
    """A callback that has another thread use the balancer."""

    def __init__(self, balancer: ObservableBalancer[str], name: str, event: Event) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._balancer = balancer
        self._name = name
        self._event = event
        self._waited = False

    def __call__(self, *arguments: Any) -> None:
        if isinstance(arguments[0], Event) and arguments[0] != self._event:
            return  # an event of the balancer itself
        self.calls.append(arguments)
        thread = threading.Thread(target=self._use, daemon=True)
        thread.start()
        thread.join(MAX_WAIT_S)
        self._waited = self._waited or thread.is_alive()

    def _use(self) -> None:
        self._balancer.stats()

    def require(self, count: int, why: str) -> None:
        """Raise unless there were so many calls, during which the balancer could be used."""
        if self._waited:
            raise AssertionError(
                f"while a callback of {self._name} ran, another thread waited for the balancer: call it under no lock"
            )
        if len(self.calls) != count:
            raise AssertionError(
                f"a callback of {self._name} was called {len(self.calls)} times instead of {count}: {why}"
            )


def _check_attempts(balancer: ObservableBalancer[str], limit: int, wanted: int) -> None:
    tried: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for lease in balancer.attempts(limit, request_key(balancer)):
            tried.append(lease.endpoint.id)
            lease.release(Outcome.CONNECT_FAILED)
    if len(tried) != len({*tried}) or len(tried) != wanted:
        raise AssertionError(
            f"attempts({limit}) tried {tried} of {list(IDS)}: expected {wanted} endpoints, each once"
        )
