"""Runner of a source in one daemon thread.

There is no thread before :meth:`ThreadDiscovery.start` and none after :meth:`ThreadDiscovery.stop`, unless a resolver is
running. A running resolver cannot be interrupted: ``stop`` waits up to half a second for it and ignores its answer. A
started runner is restarted in a forked child, because servers that preload their application fork workers that need it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast, final

from balancekit._support.calls import checked_call
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.fork import call_in_child, call_last_in_child, new_condition
from balancekit._support.functions import is_coroutine_function
from balancekit._support.runner import ThreadRunner, join_all
from balancekit._support.validation import MAX_WAIT_S
from balancekit.discovery._refresh import Refresh
from balancekit.discovery._resolution import Resolution, Resolver
from balancekit.discovery._source import Source
from balancekit.discovery._source import source as source_of
from balancekit.discovery._subscription import DiscoveryStats, Listener, Subscription, Watch, check, claim
from balancekit.errors import ConfigurationError
from balancekit.protocols import UpdatableBalancer

__all__ = ["ThreadDiscovery"]

MAX_RESOLVER_WAIT_S: Final = 0.5
"""The longest time in seconds that ``stop`` waits for a running resolver."""


@final
class ThreadDiscovery(ThreadRunner):
    """Keep the endpoints of a balancer in step with a source, in a thread.

    From its start, this runner owns the balancer's list, and no other runner can start; combine two sources in one
    function. Construct the balancer with ``allow_empty=True``, or with a list to use until the source has answered.

    Parameters
    ----------
    balancer
        The balancer of the endpoints.
    source
        A resolver, a function, or a string (see :func:`source`).
    name
        The name in logs and metrics; the scheme or the resolver's class if left out.
    refresh
        The intervals, and the rules for accepting answers.
    listeners
        Called with each :class:`SourceChanged`. Their exceptions are logged.

    Raises
    ------
    ConfigurationError
        If ``balancer`` cannot be updated, ``source`` is no source, ``name`` is no string, ``refresh`` is no ``Refresh``, or a
        listener is no plain callable. From ``start``, if another runner owns the endpoints of the balancer.

    Notes
    -----
    *When not to use it:* in a program that runs on asyncio; use :class:`AsyncDiscovery`.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.discovery import ThreadDiscovery
    >>> lb = LoadBalancer([], allow_empty=True)
    >>> with ThreadDiscovery(lb, "static:10.0.0.1:80,10.0.0.2:80") as discovery:
    ...     discovery.wait_ready(timeout=5.0)
    True
    >>> len(lb.endpoints)
    2
    """

    if not TYPE_CHECKING:  # type checkers know that it is synchronous
        __aenter__ = Elsewhere("write `with ThreadDiscovery(...)`, or use AsyncDiscovery")

    @checked_call
    def __init__(
        self,
        balancer: UpdatableBalancer[Any],
        source: str | Source | Resolver | Callable[[], Any],
        /,
        *,
        name: str | None = None,
        refresh: Refresh | None = None,
        listeners: Iterable[Listener] = (),
    ) -> None:
        self._listeners = check(balancer, listeners)
        self._balancer = balancer
        self._source = _sync(source, name, refresh)
        self._stats = Subscription(balancer, self._source, (), now=0.0).stats
        self._rest()
        call_in_child(self)

    def _rest(self) -> None:
        """Reset to the state before the first start."""
        self._wakeup = new_condition()
        self._thread: threading.Thread | None = None
        self._ending: list[threading.Thread] = []
        self._resolving: set[threading.Thread] = set()
        self._subscription: Subscription | None = None

    def __repr__(self) -> str:
        # Not the source itself: a URL may contain a password.
        return f"<ThreadDiscovery of {self._source.name!r}, {'running' if self.running else 'stopped'}>"

    @property
    def running(self) -> bool:
        """Whether it is started."""
        return self._subscription is not None

    def stats(self) -> DiscoveryStats:
        """Return the statistics of the source; after the end, the last ones."""
        subscription = self._subscription
        return self._stats if subscription is None else subscription.stats

    def _start(self, *, delay: float = 0.0) -> None:
        with self._wakeup:
            if self._subscription is not None:
                return
            subscription = Subscription(
                self._balancer,
                self._source,
                self._listeners,
                now=time.monotonic(),
                before=self._stats,
            )
            subscription.postpone(delay)
            claim(self._balancer, self, lambda: setattr(self, "_subscription", subscription))
            self._thread = threading.Thread(
                target=self._run,
                args=(subscription,),
                name="balancekit-discovery",
                daemon=True,
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop following, and return when the thread has ended, or after half a second if a resolver is still running.

        Does nothing if it is stopped.
        """
        with self._wakeup:
            self._stats = self.stats()
            if self._thread is not None:
                self._ending.append(self._thread)
            self._subscription = self._thread = None
            self._wakeup.notify_all()
            resolves = not self._resolving.isdisjoint(self._ending)
        timeout = self._source.refresh.timeout
        join_all(self._ending, min(timeout, MAX_RESOLVER_WAIT_S) if resolves else timeout)

    def refresh(self) -> None:
        """Refresh now, regardless of the schedule. Returns at once; the resolver runs in the background."""
        with self._wakeup:
            if self._subscription is not None:
                self._subscription.hurry(now=time.monotonic())
                self._wakeup.notify_all()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until the source has returned an endpoint; ``False`` after the timeout or if the runner is stopped."""
        with self._wakeup:
            longest = None if timeout is None else min(timeout, MAX_WAIT_S)
            self._wakeup.wait_for(lambda: self._subscription is None or self._subscription.ready, longest)
            return self._subscription is not None and self._subscription.ready

    # ------------------------------------------------------------------ in the thread

    def _run(self, subscription: Subscription) -> None:
        resolver = cast("Resolver", self._source.resolver)

        def push(resolved: Resolution) -> None:
            subscription.push(resolved, now=time.monotonic())
            self._notify()

        watch = Watch(self._source, push)
        try:
            watch.begin()
            while self._wait(subscription):
                watch.begin()
                self._step(subscription, resolver)
                self._notify()
        finally:
            watch.end()
            with self._wakeup:
                if self._subscription is subscription:  # ended by an error; it can be started again
                    self._stats = subscription.stats
                    self._subscription = self._thread = None
                    self._wakeup.notify_all()

    def _step(self, subscription: Subscription, resolver: Resolver) -> None:
        subscription.settle(now=time.monotonic(), wall=time.time())
        if not subscription.due(now=time.monotonic()):
            return
        answer: object = None
        trouble: BaseException | None = None
        this = threading.current_thread()
        with self._wakeup:
            if self._subscription is not subscription:
                return
            self._resolving.add(this)
        requested_at = time.monotonic()
        try:
            answer = resolver.resolve()
        except BaseException as error:  # SystemExit of a resolver, for one, would end the thread
            trouble = error
        finally:
            self._resolving.discard(this)
        if self._subscription is not subscription:
            return  # stopped meanwhile
        if trouble is None:
            subscription.answered(answer, now=time.monotonic(), wall=time.time(), requested_at=requested_at)
        else:
            subscription.failed(trouble, now=time.monotonic())

    def _wait(self, subscription: Subscription) -> bool:
        """Wait until there is something to do; ``False`` once stopped."""
        with self._wakeup:
            while self._subscription is subscription:
                left = subscription.deadline - time.monotonic()
                if left <= 0.0:
                    return True
                self._wakeup.wait(min(left, MAX_WAIT_S))
        return False

    def _notify(self) -> None:
        with self._wakeup:
            self._wakeup.notify_all()

    # ------------------------------------------------------------------ forking

    def after_fork(self) -> None:
        """Start again in a forked child if it was started; the child does not have the thread."""
        was, stats = self._subscription, self.stats()
        self._rest()
        self._stats = stats
        if was is not None:
            # The child has the parent's list; if all workers refreshed at once, they would flood the source.
            share = random.Random().random() if was.ready else 0.0
            call_last_in_child(partial(self._start, delay=share * self._source.refresh.interval))


def _sync(
    source: str | Source | Resolver | Callable[[], Any], name: str | None, refresh: Refresh | None
) -> Source:
    found = source_of(source, name=name, refresh=refresh)
    if is_coroutine_function(found.resolver.resolve):
        raise ConfigurationError("source", source, "one that is no coroutine; AsyncDiscovery runs those")
    return found
