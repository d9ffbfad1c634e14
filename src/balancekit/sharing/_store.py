"""Exchange of counts, ejections and quotas between hosts: the requests and answers, without I/O.

Once per period, a process reports its requests in flight and reads the sums of all processes. The store runs one script
for this, in one round trip. The store has one hash of sums and one hash per process. If a process has not reported for
``ttl`` seconds, the next exchange subtracts its counts. So the cost of an exchange does not grow with the number of
processes.
"""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, NamedTuple, Protocol, TypeVar, final
from uuid import uuid4

from balancekit._support import validation as valid
from balancekit._support.fork import new_lock
from balancekit._support.log import contain_error, log_change
from balancekit.errors import brief_error
from balancekit.sharing._exchange import NO_PLACE, Counts, Place

__all__ = [
    "MAX_AGE_PERIODS",
    "Hint",
    "Quota",
    "StoreCore",
    "StoreExchange",
    "StoreRequest",
    "require_store",
]

MAX_AGE_PERIODS: Final = 3.0
"""Periods after which sums are dropped. Two choices with old counts balance worse than with the counts of one process."""
JITTER: Final = 0.25
"""The largest random change of a pause, as a share of a period.

With constant pauses, processes would always exchange in the same order, and the first would take the quota. In a
measurement, one of two busy processes got almost no tokens for a minute."""
KEPT_S: Final = 86_400
"""Seconds after which the store deletes keys that no process uses."""

MAX_HINT_S: Final = 86_400.0
"""The longest duration of a hint in seconds. The store cannot represent infinity."""
MAX_HINTS: Final = 10_000
"""Hints that may wait for an exchange. If there are more, the oldest are dropped."""
MAX_COUNT: Final = 2**53
"""The largest exact sum, because the store counts in floating-point numbers."""
MAX_SHOWN: Final = 200
"""Characters of an answer that an error shows."""


class Hint(NamedTuple):
    """A hint that one process has ejected an endpoint."""

    member: str
    """The identity of the process."""
    endpoint: str
    """The id of the endpoint."""
    seconds: float
    """The remaining time of the ejection in seconds."""


class Quota(Protocol):
    """The tokens that a process has of one quota, as :class:`StoreCore` uses them."""

    def request(self) -> list[Any]:
        """Return key, rate, burst and the number of wanted tokens."""
        ...

    def grant(self, tokens: float | None, /) -> None:
        """Add granted tokens; ``None`` means that the store did not answer."""
        ...

    def forfeit(self) -> None:
        """Drop all tokens. Called in a forked child, because the parent keeps them."""
        ...


class StoreRequest(NamedTuple):
    """One request of a process to the store. Created by :meth:`StoreCore.request`."""

    arguments: list[Any]
    """The arguments of the script: the number of keys, the keys and the other arguments."""
    posted: dict[StoreExchange, dict[str, int]]
    """The counts of the present endpoints of each pool."""
    hints: dict[str, tuple[float]]
    """The duration of each hint in seconds, by endpoint."""
    quotas: list[Quota]


@final
class StoreCore:
    """The exchange of one process with a store, without I/O.

    Several requests may be in flight, because each is a value of its own.

    Parameters
    ----------
    name
        The name of the group. Processes with the same name share their counts.
    period
        The mean time between two exchanges in seconds, > 0.
    ttl
        Seconds without an exchange after which a process is no longer counted, > ``period``. The default is ten periods.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty, or a number is outside its bounds.
    """

    __slots__ = (
        "_down",
        "_exchanges",
        "_hints",
        "_lock",
        "_quotas",
        "answers",
        "listeners",
        "member",
        "name",
        "period",
        "ttl",
    )

    def __init__(self, name: str, *, period: float, ttl: float | None) -> None:
        self.name: str = valid.text("name", name)
        self.period: float = valid.number("period", period, above=0.0)
        self.ttl: float = 10.0 * self.period if ttl is None else valid.number("ttl", ttl, above=self.period)
        self._lock = new_lock()
        self._exchanges: weakref.WeakSet[StoreExchange] = weakref.WeakSet()
        self._hints: dict[str, tuple[float]] = {}  # until the store has taken them
        self._quotas: weakref.WeakSet[Quota] = weakref.WeakSet()
        self._down = False
        self.answers: bool = False
        """Whether the store answered the last request."""
        self.listeners: tuple[Callable[[list[Hint]], None], ...] = ()
        """Called with the hints of other processes after each exchange."""
        self.member: str = uuid4().hex

    def pause(self, rng: Random) -> float:
        """Return the seconds until the next exchange; on average one period."""
        return self.period * rng.uniform(1.0 - JITTER, 1.0 + JITTER)

    def start_over(self) -> None:
        """Become a new member that has posted nothing. Called in a forked child."""
        self.member = uuid4().hex
        self._hints = {}
        self._down = self.answers = False
        for quota in list(self._quotas):
            quota.forfeit()

    def exchange(self) -> StoreExchange:
        """Return the exchange of one pool."""
        made = StoreExchange(self)
        self._exchanges.add(made)
        return made

    def hint(self, endpoint: str, seconds: float) -> None:
        """Share an ejection of this process, and its duration, with the next exchange."""
        with self._lock:
            self._hints[endpoint] = (min(seconds, MAX_HINT_S),)
            if len(self._hints) > MAX_HINTS:  # possible while the store is not started
                del self._hints[next(iter(self._hints))]

    def add_quota(self, quota: Quota) -> None:
        """Take tokens for a quota with each exchange from now on, as long as the quota object exists."""
        self._quotas.add(quota)

    def request(self) -> StoreRequest:
        """Return the request to send to the store now."""
        posted = {exchange: exchange.counts() for exchange in list(self._exchanges)}
        total: dict[str, int] = {}
        leaving = [exchange.leaving() for exchange in posted]
        for counts in (*posted.values(), *leaving):
            for id, count in counts.items():
                total[id] = total.get(id, 0) + count
        with self._lock:
            hints = self._hints.copy()
        quotas = list(self._quotas)
        request = {
            "counts": list(total.items()),
            "hints": [(endpoint, seconds) for endpoint, (seconds,) in hints.items()],
            "quotas": [quota.request() for quota in quotas],
        }
        return StoreRequest(self._arguments(request), posted, hints, quotas)

    def leaving(self) -> list[Any]:
        """Return the arguments of the script that withdraw the counts of this process."""
        return self._arguments({"leave": True})

    def _arguments(self, request: dict[str, Any]) -> list[Any]:
        prefix = f"balancekit:{{{self.name}}}:"
        keys = [prefix + "members", prefix + "sums", prefix + "hints", prefix + self.member]
        return [len(keys), *keys, self.member, self.ttl, KEPT_S, prefix, json.dumps(request)]

    def answered(self, request: StoreRequest, answer: str | bytes) -> None:
        """Record an answer.

        Raises
        ------
        Exception
            If the answer does not have the form of the script's answers. Then nothing has changed; call :meth:`failed`.
        """
        sums, hints, granted = _read(json.loads(answer))
        with self._lock:
            self._hints = _without(self._hints, request.hints)
        ids = dict.fromkeys(id for counts in request.posted.values() for id in counts)
        of = dict(zip(ids, sums, strict=False))
        for exchange, counts in request.posted.items():
            exchange.take({id: of.get(id, 0) - count for id, count in counts.items()})
        for quota, tokens in zip(request.quotas, granted, strict=False):
            quota.grant(tokens)
        self.answers = True
        if self._down:
            self._down = False
            log_change("store of shared loads %r: answers again", self.name, bad=False)
        others = [hint for hint in hints if hint.member != self.member]
        for listener in self.listeners:
            _notify(listener, others)

    def failed(self, error: BaseException, request: StoreRequest | None = None) -> None:
        """Record that the store did not answer. Hints that are in force are sent again with the next exchange."""
        if request is not None:
            with self._lock:
                self._hints = _later(self._hints, request.hints, self.period)
        for exchange in list(self._exchanges):
            exchange.take({})
        for quota in list(self._quotas):
            quota.grant(None)
        self.answers = False
        if not self._down:
            self._down = True
            why = brief_error(error)
            log_change("store of shared loads %r: %s; going on with own data", self.name, why, bad=True)


@final
class StoreExchange:
    """The exchange of one pool with a store. Created by :class:`StoreCore`."""

    __slots__ = ("__weakref__", "_core", "_fresh", "_pool", "_seen_at", "on_refresh")

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._pool: Callable[[], Counts | None] = _no_pool
        self._fresh = False
        self._seen_at = -math.inf
        self.on_refresh: Callable[[], None] | None = None
        """Called by a pick once per period. It starts the thread of the store if it is not running."""

    @property
    def full(self) -> bool:
        """``False``, because a store has room for every endpoint."""
        return False

    def join(self, id: str) -> Place:
        """Return :data:`NO_PLACE`, because the store reads the counts from the nodes."""
        return NO_PLACE

    def log_notes(self) -> None:
        """Do nothing."""

    def leave(self, id: str, place: Place) -> None:
        """Do nothing."""

    def after_fork(self) -> None:
        """Do nothing, because the store resets itself."""

    def hold(self, pool: Counts, now: float) -> None:
        """Do nothing, because no other process has these locations."""

    def refresh(self, pool: Counts, now: float) -> float:
        """Drop sums that are too old; return the time of the next check."""
        self._pool = weakref.ref(pool)
        if self.on_refresh is not None:
            self.on_refresh()
        if self._fresh:
            self._fresh, self._seen_at = False, now
        elif now - self._seen_at > MAX_AGE_PERIODS * self._core.period:
            self._write({})
        return now + self._core.period

    def leaving(self) -> Mapping[str, int]:
        """Return the open leases of this process at endpoints that have left, by id."""
        pool = self._pool()
        return {} if pool is None else pool.leaving()

    def counts(self) -> dict[str, int]:
        """Return the open leases of this process at present endpoints, by id."""
        pool = self._pool()
        return {} if pool is None else {id: load.node.inflight for id, load in list(pool.loads.items())}

    def take(self, others: dict[str, int]) -> None:
        """Store the requests in flight of other processes."""
        self._fresh = bool(others)
        self._write(others)

    def _write(self, others: dict[str, int]) -> None:
        pool = self._pool()
        for id, load in () if pool is None else list(pool.loads.items()):
            load.node.latency_estimate = max(0, others.get(id, 0))


S = TypeVar("S")


def require_store(store: S) -> S:
    """Return a store. Raise ``ConfigurationError`` for any other value, such as an address."""
    allowed = "a RedisStore(...) or an AsyncRedisStore(...)"
    return valid.instance("store", store, "exchange", allowed=allowed)


def _read(answer: dict[str, Any]) -> tuple[list[int], list[Hint], list[float]]:
    """Return the sums, hints and granted tokens of an answer. Raise an exception if the answer is invalid."""
    sums, granted = answer["sums"], answer["granted"]
    if not all(isinstance(count, int) and abs(count) <= MAX_COUNT for count in sums):
        raise ValueError(f"sums that are not counts: {str(sums)[:MAX_SHOWN]}")
    if not all(isinstance(tokens, int | float) and 0.0 <= tokens < math.inf for tokens in granted):
        raise ValueError(f"granted tokens that are not numbers: {str(granted)[:MAX_SHOWN]}")
    hints = [Hint(*hint) for hint in answer["hints"]]
    if not all(_is_hint(hint) for hint in hints):
        raise ValueError(f"invalid hints: {str(answer['hints'])[:MAX_SHOWN]}")
    return list(sums), hints, list(granted)


def _is_hint(hint: Hint) -> bool:
    member, endpoint, seconds = hint
    return (
        isinstance(member, str)
        and isinstance(endpoint, str)
        and isinstance(seconds, int | float)
        and math.isfinite(seconds)
    )


def _no_pool() -> None:
    return None


def _notify(listener: Callable[[list[Hint]], None], hints: list[Hint]) -> None:
    """Call a listener with hints. Its exception is logged, because it is no failure of the store."""
    try:
        listener(hints)
    except Exception:
        contain_error("hints of ejections: %r failed", listener)


def _without(hints: dict[str, tuple[float]], taken: dict[str, tuple[float]]) -> dict[str, tuple[float]]:
    """Return the hints without those that the store has received. Newer hints for the same endpoints remain."""
    return {endpoint: hint for endpoint, hint in hints.items() if taken.get(endpoint) is not hint}


def _later(
    hints: dict[str, tuple[float]], sent: dict[str, tuple[float]], seconds: float
) -> dict[str, tuple[float]]:
    """Return the hints after a failed exchange. The remaining times of those that were sent are reduced by ``seconds``."""
    aged = {endpoint: (left - seconds,) for endpoint, (left,) in sent.items() if left > seconds}
    kept = _without(hints, sent)
    return {endpoint: hint for endpoint, hint in aged.items() if endpoint in hints} | kept
