"""Exchange of counts, ejections and quotas between hosts: requests and answers, without I/O.

Once per period, a process reports its requests in flight and reads the sums of all. The store runs one script for this, in
one round trip. It keeps one hash of sums and one hash per process. The next exchange subtracts a process that has not
reported for ``ttl`` seconds. So the work of an exchange does not grow with the number of processes.
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
    "Question",
    "Quota",
    "StoreCore",
    "StoreExchange",
    "require_store",
]

MAX_AGE_PERIODS: Final = 3.0
"""Periods after which sums are dropped, because two choices with old counts are worse than with own counts."""
JITTER: Final = 0.25
"""The share of a period by which a pause is shorter or longer at random.

With constant pauses, processes would always exchange in the same order, and the first would take the quota: one of two busy
processes got almost nothing for a minute."""
KEPT_S: Final = 86_400
"""Seconds for which the store keeps keys that no process uses."""

MAX_HINT_S: Final = 86_400.0
"""The longest time in seconds that a hint is in force; the store cannot represent infinity."""
MAX_HINTS: Final = 10_000
"""The most hints that wait for an exchange; the oldest are dropped."""
MAX_COUNT: Final = 2**53
"""The largest exact sum; the store counts in floating-point numbers."""
MAX_SHOWN: Final = 200
"""The most characters of an answer shown in an error."""


class Hint(NamedTuple):
    """A hint that one process has ejected an endpoint."""

    member: str
    """The process."""
    endpoint: str
    """The id."""
    seconds: float
    """The remaining seconds."""


class Quota(Protocol):
    """The interface of a process's tokens of a quota, for :class:`StoreCore`."""

    def question(self) -> list[Any]:
        """Return key, rate, burst and the number of wanted tokens."""
        ...

    def grant(self, tokens: float | None, /) -> None:
        """Take tokens; ``None`` if the store did not answer."""
        ...

    def forfeit(self) -> None:
        """Drop all tokens; called in a forked child, because the parent has them."""
        ...


class Question(NamedTuple):
    """One request of a process to the store; created by :meth:`StoreCore.ask`."""

    arguments: list[Any]
    """The arguments of the script: the number of keys, the keys and the other arguments."""
    posted: dict[StoreExchange, dict[str, int]]
    """The counts of the present endpoints of each pool."""
    hints: dict[str, tuple[float]]
    """The duration of each hint in seconds, by endpoint."""
    quotas: list[Quota]


@final
class StoreCore:
    """One member of a store: a process. Sans-IO. Each request is a value of its own, so several may be in flight.

    Parameters
    ----------
    name
        The name of the group; processes with the same name share.
    period
        The mean of the seconds between two exchanges.
    ttl
        Seconds without an exchange after which a process stops counting.
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
        """Become a new member without posted data; called in a forked child."""
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
            if len(self._hints) > MAX_HINTS:  # as long as the store is not started
                del self._hints[next(iter(self._hints))]

    def add_quota(self, quota: Quota) -> None:
        """Lease tokens for a quota with each exchange from now on, for as long as the quota object exists."""
        self._quotas.add(quota)

    def ask(self) -> Question:
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
            "quotas": [quota.question() for quota in quotas],
        }
        return Question(self._arguments(request), posted, hints, quotas)

    def leaving(self) -> list[Any]:
        """Return the arguments of the script that withdraw the counts of this process."""
        return self._arguments({"leave": True})

    def _arguments(self, request: dict[str, Any]) -> list[Any]:
        prefix = f"balancekit:{{{self.name}}}:"
        keys = [prefix + "members", prefix + "sums", prefix + "hints", prefix + self.member]
        return [len(keys), *keys, self.member, self.ttl, KEPT_S, prefix, json.dumps(request)]

    def answered(self, question: Question, answer: str | bytes) -> None:
        """Record an answer.

        Raises
        ------
        Exception
            If the answer does not come from the script. Nothing has changed; call :meth:`failed` with the exception.
        """
        sums, hints, granted = _read(json.loads(answer))
        with self._lock:
            self._hints = _without(self._hints, question.hints)
        ids = dict.fromkeys(id for counts in question.posted.values() for id in counts)
        of = dict(zip(ids, sums, strict=False))
        for exchange, counts in question.posted.items():
            exchange.take({id: of.get(id, 0) - count for id, count in counts.items()})
        for quota, tokens in zip(question.quotas, granted, strict=False):
            quota.grant(tokens)
        self.answers = True
        if self._down:
            self._down = False
            log_change("store of shared loads %r: answers again", self.name, bad=False)
        others = [hint for hint in hints if hint.member != self.member]
        for listener in self.listeners:
            _notify(listener, others)

    def failed(self, error: BaseException, question: Question | None = None) -> None:
        """Record that the store did not answer, and use own data. Hints in force are sent with the next exchange."""
        if question is not None:
            with self._lock:
                self._hints = _later(self._hints, question.hints, self.period)
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
    """The exchange of one pool with a store; created by :class:`StoreCore`."""

    __slots__ = ("__weakref__", "_core", "_fresh", "_pool", "_seen_at", "on_refresh")

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._pool: Callable[[], Counts | None] = _no_pool
        self._fresh = False
        self._seen_at = -math.inf
        self.on_refresh: Callable[[], None] | None = None
        """The callback of picks, once a period; it starts the runner if it is not running."""

    @property
    def full(self) -> bool:
        """False: a store has room for every endpoint."""
        return False

    def join(self, id: str) -> Place:
        """Return the unused location; the runner reads the counts from the nodes."""
        return NO_PLACE

    def log_notes(self) -> None:
        """Do nothing."""

    def leave(self, id: str, place: Place) -> None:
        """Do nothing."""

    def after_fork(self) -> None:
        """Do nothing; the store resets itself."""

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
        """Return own open leases of endpoints that have left."""
        pool = self._pool()
        return {} if pool is None else pool.leaving()

    def counts(self) -> dict[str, int]:
        """Return own open leases of present endpoints."""
        pool = self._pool()
        return {} if pool is None else {id: load.node.inflight for id, load in list(pool.loads.items())}

    def take(self, others: dict[str, int]) -> None:
        """Take the requests in flight of other processes."""
        self._fresh = bool(others)
        self._write(others)

    def _write(self, others: dict[str, int]) -> None:
        pool = self._pool()
        for id, load in () if pool is None else list(pool.loads.items()):
            load.node.latency_estimate = max(0, others.get(id, 0))


S = TypeVar("S")


def require_store(store: S) -> S:
    """Return a store; refuse any other value, such as an address."""
    allowed = "a RedisStore(...) or an AsyncRedisStore(...)"
    return valid.instance("store", store, "exchange", allowed=allowed)


def _read(answer: dict[str, Any]) -> tuple[list[int], list[Hint], list[float]]:
    """Return sums, hints and granted tokens of an answer; raise if it is invalid, before any part takes effect."""
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
    """Notify a listener of hints. An exception of a balancer is not a failure of the store."""
    try:
        listener(hints)
    except Exception:
        contain_error("hints of ejections: %r failed", listener)


def _without(hints: dict[str, tuple[float]], taken: dict[str, tuple[float]]) -> dict[str, tuple[float]]:
    """Return hints without those that the store has taken; newer ones stay."""
    return {endpoint: hint for endpoint, hint in hints.items() if taken.get(endpoint) is not hint}


def _later(
    hints: dict[str, tuple[float]], sent: dict[str, tuple[float]], seconds: float
) -> dict[str, tuple[float]]:
    """Return hints as they are some seconds later; those that are newer as they are."""
    aged = {endpoint: (left - seconds,) for endpoint, (left,) in sent.items() if left > seconds}
    kept = _without(hints, sent)
    return {endpoint: hint for endpoint, hint in aged.items() if endpoint in hints} | kept
