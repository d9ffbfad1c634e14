"""Hedged requests: if an answer is slow, send a second attempt elsewhere and use the first answer.

A hedge starts after the time in which nearly all requests are answered, so it costs a few per cent more requests and
cuts off the tail. Hedge idempotent requests only. The loser is cancelled and waited for, and its lease ends as cancelled.
A hedge takes one from the same budget as retries. A first attempt that *fails* is not hedged: use retries for that.

Asynchronous only: a blocking call cannot be cancelled. On asyncio and trio; needs ``anyio``, which httpx brings.

Source: Dean and Barroso, The Tail at Scale (2013): hedged requests at the 95th percentile.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar, cast
from weakref import WeakKeyDictionary

from balancekit._support import validation as valid
from balancekit._support.functions import plain_function
from balancekit._support.log import log_error
from balancekit.adapters._released import ReleasedOnError
from balancekit.errors import ConfigurationError, UnavailableError
from balancekit.events import Hedged
from balancekit.lease import Lease
from balancekit.outcome import Outcome
from balancekit.protocols import Clock, ObservableBalancer, require_balancer
from balancekit.retry import RetryBudget
from balancekit.snapshot import Key

__all__ = ["hedge"]

T = TypeVar("T")
R = TypeVar("R")

QUANTILES: Final = ("p50", "p95", "p99")
ASYNCHRONOUS: Final = "an asynchronous function of a lease"
DELAY_CACHE_S: Final = 1.0
"""Seconds for which a quantile is used before it is read again: reading one looks at every endpoint."""
LONG_DELAY_S: Final = 120.0
"""A longer delay was meant in milliseconds: callers have given up by then."""
MIN_SAMPLES: Final = 20
"""Latencies that must be known before a quantile of them means anything."""

_read: WeakKeyDictionary[ObservableBalancer[Any], tuple[float, float, str]] = WeakKeyDictionary()


async def hedge(
    balancer: ObservableBalancer[T],
    attempt: Callable[[Lease[T]], Awaitable[R]],
    *,
    delay: float | str = "p95",
    key: Key | None = None,
    extra: int = 1,
    budget: RetryBudget | None = None,
    clock: Clock = time.monotonic,
) -> R:
    """Return the result of the first attempt that succeeds; start another one elsewhere if that takes long.

    Parameters
    ----------
    balancer
        The balancer whose endpoints get the attempts.
    attempt
        One attempt on the endpoint of a lease; must be idempotent. Its exceptions end its lease as usual. A result that is
        not returned is closed, if it has ``aclose`` or ``close``: a second one, or one that came before the call was cancelled.
    delay
        Seconds after which another attempt is started, > 0; or ``"p50"``, ``"p95"``, ``"p99"`` of the balancer's recent
        latencies, and no hedge until 20 of them are known.
    key
        What keyed selectors hash.
    extra
        How many attempts besides the first, >= 1, each ``delay`` after the one before.
    budget
        What the first attempt pays into and each of the others takes one from; without one there is no limit.
    clock
        That of the budget.

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer, ``attempt`` is no asynchronous callable, ``delay`` is neither seconds > 0 nor one of
        the three names, ``extra`` is no integer >= 1, ``budget`` is no ``RetryBudget``, or ``clock`` is no callable.
    UnavailableError
        If no endpoint is eligible.
    Exception
        What failed first, if no attempt succeeded; that something an attempt waits for is cancelled is a failure too. At
        once, what prevents a further attempt: an error of a selector or a clock.
    BaseException
        At once, what ends an attempt and is neither an ``Exception`` nor a cancellation, such as ``SystemExit``.

    *When not to use it:* against slowness by overload, which further attempts increase: set a ``budget``. For attempts with side
    effects.

    Cost: a task per attempt, and up to ``extra`` more requests per call.

    Example
    -------
    >>> import asyncio
    >>> from balancekit import LoadBalancer
    >>> from balancekit.adapters import hedge
    >>> async def attempt(lease):
    ...     await asyncio.sleep(1.0 if lease.target == "slow" else 0.0)
    ...     return lease.target
    >>> lb = LoadBalancer(["slow", "fast"])
    >>> asyncio.run(hedge(lb, attempt, delay=0.01))
    'fast'
    """
    import anyio.lowlevel  # noqa: PLC0415 - a reader of this module need not have it

    require_balancer(balancer)
    _check(attempt, budget, clock)
    wait = _delay(balancer, delay, clock)
    limit = valid.integer("extra", extra, minimum=1) + 1
    first = balancer.acquire(key)
    race: _Race[R] = _Race(first.endpoint.id)
    with ReleasedOnError(first):
        if budget is not None:
            budget.deposit(now=clock())

    tried, cancelling = race.tried, _cancelling()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(race.run, attempt, first)
            for _ in range(limit):
                with anyio.move_on_after(wait if len(tried) < limit else math.inf):
                    await race.done.wait()
                    break
                try:
                    lease = _another(balancer, key, tried, budget, clock)
                except BaseException as error:
                    race.decisive = error
                    break
                if lease is None:
                    await race.done.wait()
                    break
                tried.append(lease.endpoint.id)
                group.start_soon(race.run, attempt, lease)
            group.cancel_scope.cancel()
    except BaseException:
        await race.close()
        raise
    finally:
        now = clock()
        for id in tried[1:]:
            balancer.emit(Hedged(endpoint=id, at=now, won=race.winner == id))
    if race.decisive is not None:
        await race.close()
        raise race.decisive
    for result in race.won:
        return result
    await anyio.lowlevel.checkpoint_if_cancelled()
    if not race.errors or _cancelled_natively(cancelling):
        raise race.cancelled  # the call was cancelled, in a moment in which the scopes took it for their own
    raise race.errors[0]


class _Race(Generic[R]):
    """What has come of the attempts of one call."""

    def __init__(self, first: str) -> None:
        import anyio  # noqa: PLC0415 - as above

        self.tried = [first]
        self.done = anyio.Event()
        """Set when there is a result, or none can come."""
        self.won: list[R] = []
        """The result, if there is one."""
        self.winner: str | None = None
        self.errors: list[BaseException] = []
        self.decisive: BaseException | None = None
        """An error that is raised whatever else comes of the attempts; not in the group, which would wrap it."""
        self.cancelled = anyio.get_cancelled_exc_class()

    async def run(self, attempt: Callable[[Lease[T]], Awaitable[R]], lease: Lease[T]) -> None:
        """Carry out one attempt."""
        import anyio  # noqa: PLC0415 - as above

        try:
            with lease:
                try:
                    result = await _begun(attempt, lease)
                except Exception:
                    if anyio.current_effective_deadline() == -math.inf:
                        lease.release(Outcome.CANCELLED)  # the attempt was cancelled, and raises this instead
                    raise
        except BaseException as error:
            if isinstance(error, self.cancelled) and anyio.current_effective_deadline() == -math.inf:
                raise  # the call is being cancelled, not only what the attempt waits for
            self.errors.append(error)
            if not isinstance(error, (Exception, self.cancelled)):
                self.decisive = error
            if self.decisive is not None or len(self.errors) == len(self.tried):
                self.done.set()
            return
        if self.won:
            await _close(result)
            return
        self.won, self.winner = [result], lease.endpoint.id
        self.done.set()

    async def close(self) -> None:
        """Close the result, which is not returned."""
        for result in self.won:
            await _close(result)


def _check(attempt: object, budget: object, clock: object) -> None:
    if not callable(attempt):
        raise ConfigurationError("attempt", attempt, ASYNCHRONOUS)
    if budget is not None and not isinstance(budget, RetryBudget):
        raise ConfigurationError("budget", budget, "a RetryBudget, or None")
    plain_function("clock", clock, "a function that returns seconds")


def _begun(attempt: Callable[[Lease[T]], Awaitable[R]], lease: Lease[T]) -> Awaitable[R]:
    """Begin an attempt; a function that is not asynchronous is the caller's mistake, and no endpoint's."""
    pending: object = attempt(lease)
    if isinstance(pending, Awaitable):
        return cast("Awaitable[R]", pending)
    lease.release(Outcome.IGNORED)
    raise ConfigurationError("attempt", attempt, ASYNCHRONOUS)


async def _close(result: object) -> None:
    """Close a result that is not returned: a streaming response would keep its connection."""
    import anyio  # noqa: PLC0415 - as above

    close = getattr(result, "aclose", None) or getattr(result, "close", None)
    if callable(close):
        try:
            with anyio.CancelScope(shield=True):
                closing = close()
                if isinstance(closing, Awaitable):
                    await closing
        except Exception:
            log_error("a second result of a hedged request could not be closed")


def _cancelled_natively(before: int) -> bool:
    """Return whether ``Task.cancel`` was called on this task more often than before; False on trio, which has none."""
    return _cancelling() > before


def _cancelling() -> int:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no asyncio loop: trio
        return 0
    return 0 if task is None else task.cancelling()


def _another(
    balancer: ObservableBalancer[T],
    key: Key | None,
    tried: list[str],
    budget: RetryBudget | None,
    clock: Clock,
) -> Lease[T] | None:
    """Take a lease on an endpoint that has not been tried, if there is one and the budget allows it."""
    if budget is not None and budget.balance(now=clock()) < 1.0:
        return None
    try:
        lease = balancer.acquire(key, exclude=frozenset(tried))
    except UnavailableError:
        return None
    with ReleasedOnError(lease):
        allowed = budget is None or budget.withdraw(now=clock())
    if allowed:
        return lease
    lease.release(Outcome.IGNORED)
    return None


def _delay(balancer: ObservableBalancer[T], delay: float | str, clock: Clock) -> float:
    if not isinstance(delay, str):
        return valid.seconds("delay", delay, above=0.0, long=LONG_DELAY_S)
    if delay not in QUANTILES:
        raise ConfigurationError("delay", delay, f"seconds > 0, or one of {', '.join(QUANTILES)}")
    now = clock()
    try:
        known = _read.get(balancer)
    except TypeError:  # a wrapper that has no hash, or no weak references
        return _quantile(balancer, delay)
    if known is None or known[2] != delay or not 0.0 <= now - known[0] < DELAY_CACHE_S:
        _read[balancer] = known = (now, _quantile(balancer, delay), delay)
    return known[1]


def _quantile(balancer: ObservableBalancer[T], name: str) -> float:
    latency = balancer.stats().latency
    return math.inf if latency is None or latency.count < MIN_SAMPLES else float(getattr(latency, name))
