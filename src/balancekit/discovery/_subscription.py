"""The common part of both runners: change the balancer, keep statistics, notify listeners.

A :class:`Subscription` is used by one thread or task at a time. Only :meth:`Subscription.push` may be called, and ``stats``
read, from others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, final
from weakref import WeakKeyDictionary, ref

from balancekit._support import validation as valid
from balancekit._support.fork import new_lock
from balancekit._support.functions import plain_function, refuse_coroutine
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.log import contain_error, log_change, log_error
from balancekit._support.record import Record
from balancekit.discovery._reconciler import Endpoints, Reconciler, State
from balancekit.discovery._resolution import Resolution, SupportsWatch, resolution
from balancekit.discovery._source import Source
from balancekit.errors import ConfigurationError, brief_error
from balancekit.protocols import UpdatableBalancer, require_balancer

__all__ = ["DiscoveryStats", "Listener", "SourceChanged", "Subscription", "Watch", "check", "claim"]

RESULTS: Final = ("changed", "unchanged", "held", "failed")


class SourceChanged(Record):
    """A change of a source's state.

    Parameters
    ----------
    source
        The source's name.
    at
        The time of the change, in seconds of the system's monotonic clock.
    before, after
        The states.
    endpoints
        The number of endpoints in use.
    error
        The error in words; ``None`` if there was none.
    """

    source: str
    at: float
    before: State
    after: State
    endpoints: int
    error: str | None = None


Listener: TypeAlias = Callable[[SourceChanged], None]
"""Called with each change of state, in the runner's thread or task."""


class DiscoveryStats(Record):
    """The statistics of one source.

    Parameters
    ----------
    source
        The source's name.
    state
        The state of the source.
    refreshes
        The number of answers of each kind: ``"changed"``, ``"unchanged"``, ``"held"``, ``"failed"``.
    endpoints
        The number of endpoints in use.
    last_success_at
        The time of the last good answer, in seconds since 1970; 0 if there was none.
    error
        The last error in words; ``None`` if the last answer was good.
    """

    source: str
    state: State
    refreshes: Mapping[str, int]
    endpoints: int
    last_success_at: float
    error: str | None


@final
class Subscription:
    """The connection of one source to one balancer."""

    __slots__ = (
        "_balancer",
        "_counts",
        "_last_success_at",
        "_listeners",
        "_lock",
        "_reconciler",
        "ready",
        "source",
        "stats",
    )

    def __init__(
        self,
        balancer: UpdatableBalancer[Any],
        source: Source,
        listeners: tuple[Listener, ...],
        *,
        now: float,
        before: DiscoveryStats | None = None,
    ) -> None:
        self.source = source
        self._balancer = balancer
        self._listeners = listeners
        self._reconciler = Reconciler(source.refresh, Random(), current=balancer.endpoints, now=now)
        self._lock = new_lock()
        self._counts: dict[str, int] = dict.fromkeys(RESULTS, 0) if before is None else dict(before.refreshes)
        self._last_success_at = 0.0 if before is None else before.last_success_at
        self.ready: bool = False
        """Whether the source has returned an endpoint."""
        self.stats: DiscoveryStats = self._read_out(None)
        """The current statistics; replaced as a whole."""

    @property
    def deadline(self) -> float:
        """The time of the next action."""
        with self._lock:
            return self._reconciler.deadline

    def due(self, *, now: float) -> bool:
        """Whether the resolver is due."""
        with self._lock:
            return now >= self._reconciler.next_at

    def postpone(self, seconds: float) -> None:
        """Postpone the next resolution."""
        with self._lock:
            self._reconciler.next_at += seconds

    def hurry(self, *, now: float) -> None:
        """Make the next resolution due now."""
        with self._lock:
            self._reconciler.next_at = now

    def push(self, resolved: object, *, now: float) -> None:
        """Take a list pushed by a watch; may be called from any thread."""
        pushed = resolution(resolved)
        with self._lock:
            self._reconciler.push(pushed, now=now)

    def settle(self, *, now: float, wall: float) -> None:
        """Use the pushed list, if its time has come."""
        with self._lock:
            resolved = self._reconciler.settled(now=now)
        if resolved is not None:
            self.answered(resolved, now=now, wall=wall)

    def answered(self, answer: object, *, now: float, wall: float, requested_at: float | None = None) -> None:
        """Take the resolver's answer of any type; ``requested_at`` is the time of the call, if there was one."""
        before = self._reconciler.state
        try:
            resolved = resolution(answer)
            with self._lock:
                wanted = self._reconciler.answer(resolved, now=now, requested_at=requested_at)
            self._use(wanted)
        except Exception as error:
            self._reconciler.state = before
            self.failed(error, now=now)
            return
        self.ready = self.ready or bool(resolved.endpoints)
        self._last_success_at = wall
        held = self._reconciler.state is State.HOLDING
        self._done("held" if held else "unchanged" if wanted is None else "changed", before, None, now)

    def failed(self, error: BaseException, *, now: float) -> None:
        """Record a failure."""
        before = self._reconciler.state
        with self._lock:
            self._reconciler.failed(now=now)
        self._done("failed", before, brief_error(error).removesuffix(": "), now)

    def _use(self, wanted: Endpoints | None) -> None:
        if wanted is not None:
            self._balancer.update(wanted)
            self._reconciler.accept(wanted)

    def _done(self, result: str, before: State, error: str | None, now: float) -> None:
        self._counts[result] += 1
        self.stats = stats = self._read_out(error)
        if stats.state is before:
            return
        log_change(
            "endpoints of %s: %s, was %s; %d in use%s",
            self.source.name,
            stats.state.value,
            before.value,
            stats.endpoints,
            "" if error is None else f" ({error})",
            bad=stats.state is State.FAILED,
        )
        change = SourceChanged(
            source=self.source.name,
            at=now,
            before=before,
            after=stats.state,
            endpoints=stats.endpoints,
            error=error,
        )
        for listener in self._listeners:
            try:
                refuse_coroutine(listener(change))
            except Exception:
                log_error("listener %r failed on %r", listener, change)

    def _read_out(self, error: str | None) -> DiscoveryStats:
        return DiscoveryStats(
            source=self.source.name,
            state=self._reconciler.state,
            refreshes=MappingProxyType(dict(self._counts)),
            endpoints=len(self._reconciler.current),
            last_success_at=self._last_success_at,
            error=error,
        )


@final
class Watch:
    """The watch of one source. If it cannot be started, each resolution tries again; the failure is logged once."""

    __slots__ = ("_end", "_is_down", "_push", "_source")

    def __init__(self, source: Source, push: Callable[[Resolution], None]) -> None:
        self._source = source
        self._push = push
        self._end: Callable[[], None] | None = None
        self._is_down = False

    def begin(self) -> None:
        """Start the watch, if the resolver has one and it is not started."""
        resolver: object = self._source.resolver
        if self._end is not None or not isinstance(resolver, SupportsWatch):
            return
        try:
            self._end = resolver.watch(self._push)
        except Exception as error:
            raise_interrupt()
            if not self._is_down:
                log_change(
                    "watch of %s: %s; it is resolved on schedule",
                    self._source.name,
                    brief_error(error),
                    bad=True,
                )
            self._is_down = True
        else:
            if self._is_down:
                log_change("watch of %s: begun", self._source.name, bad=False)
            self._is_down = False

    def end(self) -> None:
        """End the watch, if it is started."""
        if self._end is not None:
            try:
                self._end()
            except Exception:
                contain_error("the watch of %s could not be ended", self._source.name)
            self._end = None


def check(balancer: object, listeners: Iterable[Listener]) -> tuple[Listener, ...]:
    """Refuse arguments that no runner accepts."""
    require_balancer(balancer, UpdatableBalancer)
    if not isinstance(listeners, Iterable):
        raise ConfigurationError("listeners", listeners, "an iterable of listeners")
    chosen = tuple(valid.items("listeners", listeners))
    for listener in chosen:
        plain_function("listeners", listener, "a callable of an event", takes=1)
    return chosen


class Runs(Protocol):
    """The public state of a runner."""

    @property
    def running(self) -> bool:
        """Whether it is started."""
        ...


_CLAIMS: Final[WeakKeyDictionary[Any, ref[Any]]] = WeakKeyDictionary()
"""The runner that was started last, by balancer."""
_CLAIMING: Final = new_lock()
MAX_WRAPPERS: Final = 8
"""The most nested wrappers that are unwrapped."""


def claim(balancer: object, runner: Runs, begin: Callable[[], object]) -> None:
    """Call ``begin`` and make a runner the owner of a balancer's endpoints, unless another runner owns them.

    Raises
    ------
    ConfigurationError
        If another runner owns them; each would undo the changes of the other.
    """
    balancer = _innermost(balancer)
    try:
        hash(ref(balancer))
    except TypeError:  # a wrapper without weak references
        begin()
        return
    with _CLAIMING:
        known = _CLAIMS.get(balancer)
        other: Runs | None = None if known is None else known()
        if other is not None and other is not runner and other.running:
            allowed = f"one whose endpoints no other runner keeps; stop {other!r} first, or join the sources in one function"
            raise ConfigurationError("balancer", balancer, allowed)
        _CLAIMS[balancer] = ref(runner)
        begin()


def _innermost(balancer: object) -> object:
    """Return the balancer inside wrappers such as ``Recorder``; an update of the wrapper is an update of the balancer."""
    for _ in range(MAX_WRAPPERS):
        inner: object = getattr(balancer, "balancer", None)
        if isinstance(balancer, type) or not isinstance(inner, UpdatableBalancer):
            break
        balancer = inner
    return balancer
