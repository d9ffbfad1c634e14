"""Exchange of counts, ejections and quotas between hosts: what to say and what to make of the answer, without I/O.

Once each period, a process reports what it has in flight, and reads the sums of all. The store runs one script for it, in
one round trip. It keeps a hash of sums and one of each process; a process that has not reported for ``ttl`` seconds
is taken out of the sums by whichever comes next. So the work of an exchange does not grow with the number of processes.
"""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Callable
from random import Random
from typing import Any, Final, NamedTuple, Protocol, TypeVar, final
from uuid import uuid4

from balancekit._support import validation as valid
from balancekit._support.fork import new_lock
from balancekit._support.log import log_change
from balancekit.errors import ConfigurationError
from balancekit.sharing._exchange import NO_PLACE, Counts, Place

__all__ = ["SCRIPT", "Hint", "Quota", "StoreCore", "StoreExchange", "require_store"]

MAX_AGE_PERIODS: Final = 3.0
"""Sums older than this many periods are dropped: two choices by old counts are worse than by own ones."""
JITTER: Final = 0.25
"""The share of a period by which a pause is shorter or longer. Processes whose exchanges kept their distance would always find
a quota as full as the one before them leaves it: of two that are busy, one got next to nothing for a minute."""
KEPT_S: Final = 86_400
"""How long the store keeps keys that no process touches."""

MAX_HINT_S: Final = 86_400.0
"""The longest time that a hint is in force; one without an end would be no number to the store."""
MAX_HINTS: Final = 10_000
"""Hints that wait for an exchange; the oldest are dropped."""
MAX_SHOWN: Final = 200
"""Characters of an answer in an error."""
SCRIPT: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local members, sums, hints, own = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local member, ttl, kept, prefix = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local ask = cjson.decode(ARGV[5])

local function add(id, by)
  if by ~= 0 and redis.call('HINCRBY', sums, id, by) == 0 then redis.call('HDEL', sums, id) end
end
local function each(key, visit)
  local row = redis.call('HGETALL', key)
  for i = 1, #row, 2 do visit(row[i], tonumber(row[i + 1])) end
end
local function withdraw(name)
  each(prefix .. name, function(id, count) add(id, -count) end)
  redis.call('DEL', prefix .. name)
  redis.call('ZREM', members, name)
end

if redis.call('ZSCORE', members, member) and redis.call('EXISTS', own) == 0 then
  redis.call('DEL', sums)  -- keys were evicted: add up again
  for _, name in ipairs(redis.call('ZRANGE', members, 0, -1)) do each(prefix .. name, add) end
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', members, '-inf', now)) do withdraw(name) end
if ask.leave then
  withdraw(member)
  return '{}'
end

local old = {}
each(own, function(id, count) old[id] = count end)
old[''] = nil
redis.call('HSET', own, '', 0)
for _, pair in ipairs(ask.counts) do
  local id, count = pair[1], pair[2]
  if count ~= old[id] then
    add(id, count - (old[id] or 0))
    redis.call('HSET', own, id, count)
  end
  old[id] = nil
end
for id, count in pairs(old) do
  add(id, -count)
  redis.call('HDEL', own, id)
end
redis.call('ZADD', members, now + ttl, member)

redis.call('ZREMRANGEBYSCORE', hints, '-inf', now)
for _, hint in ipairs(ask.hints) do
  redis.call('ZADD', hints, now + hint[2], cjson.encode({member, hint[1]}))
end
for i = 1, 4 do redis.call('EXPIRE', KEYS[i], kept) end

local answer = {sums = {}, hints = {}, granted = {}}
for i, pair in ipairs(ask.counts) do
  answer.sums[i] = tonumber(redis.call('HGET', sums, pair[1]) or 0)
end
local listed = redis.call('ZRANGE', hints, 0, -1, 'WITHSCORES')
for i = 1, #listed, 2 do
  local hint = cjson.decode(listed[i])
  answer.hints[#answer.hints + 1] = {hint[1], hint[2], tonumber(listed[i + 1]) - now}
end
for i, quota in ipairs(ask.quotas) do
  local key, rate, burst, want = prefix .. 'quota:' .. quota[1], quota[2], quota[3], quota[4]
  local row = redis.call('HMGET', key, 'tokens', 'at')
  local at = tonumber(row[2] or now)
  local tokens = math.min(burst, tonumber(row[1] or burst) + math.max(0, now - at) * rate)
  local granted = math.floor(math.min(want, tokens))
  redis.call('HSET', key, 'tokens', tokens - granted, 'at', string.format('%.6f', now))
  redis.call('EXPIRE', key, math.ceil(burst / rate) + 60)
  answer.granted[i] = granted
end
return cjson.encode(answer)
"""
"""Keys: members, sums, hints, own counts. Arguments: member, ttl, seconds to keep keys, prefix, what is asked for."""


class Hint(NamedTuple):
    """One process has ejected an endpoint."""

    member: str
    """The process."""
    endpoint: str
    """The id."""
    seconds: float
    """For how much longer."""


class Quota(Protocol):
    """What :class:`StoreCore` needs of the tokens that a process holds of a quota."""

    def question(self) -> list[Any]:
        """Return key, rate, burst and how many tokens are wanted."""
        ...

    def grant(self, tokens: float | None, /) -> None:
        """Take tokens; ``None`` if the store did not answer."""
        ...

    def forfeit(self) -> None:
        """Give up all tokens: in a forked child, for the parent has them."""
        ...


@final
class StoreCore:
    """One process, as the store sees it. Sans-IO; one caller of :meth:`ask` and :meth:`answered` at a time.

    Parameters
    ----------
    name
        Processes that share have the same.
    period
        Seconds between two exchanges, on average.
    ttl
        Seconds without one after which a process counts no longer.
    """

    __slots__ = (
        "_asked",
        "_asked_hints",
        "_down",
        "_exchanges",
        "_hints",
        "_lock",
        "_posted",
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
        self._posted: dict[StoreExchange, dict[str, int]] = {}
        self._hints: dict[str, float] = {}
        self._quotas: weakref.WeakSet[Quota] = weakref.WeakSet()
        self._asked: list[Quota] = []
        self._asked_hints: dict[str, float] = {}
        self._down = False
        self.answers: bool = False
        """Whether the store answered the last question."""
        self.listeners: tuple[Callable[[list[Hint]], None], ...] = ()
        """Called with the hints of other processes after each exchange."""
        self.member: str = uuid4().hex

    def pause(self, rng: Random) -> float:
        """Return the seconds from one exchange to the next: a period on average."""
        return self.period * rng.uniform(1.0 - JITTER, 1.0 + JITTER)

    def start_over(self) -> None:
        """Be another member, with nothing posted: in a forked child."""
        self.member = uuid4().hex
        self._posted = {}
        self._hints = {}
        self._asked_hints = {}
        self._down = self.answers = False
        for quota in list(self._quotas):
            quota.forfeit()

    def exchange(self) -> StoreExchange:
        """Return the exchange of one pool."""
        made = StoreExchange(self)
        self._exchanges.add(made)
        return made

    def hint(self, endpoint: str, seconds: float) -> None:
        """Tell the others, with the next exchange, that this process has ejected an endpoint for a while."""
        with self._lock:
            self._hints[endpoint] = min(seconds, MAX_HINT_S)
            if len(self._hints) > MAX_HINTS:  # as long as the store is not started
                del self._hints[next(iter(self._hints))]

    def add_quota(self, quota: Quota) -> None:
        """Lease tokens for a quota with each exchange from now on, for as long as it is there."""
        self._quotas.add(quota)

    def arguments(self, *, leave: bool = False) -> list[Any]:
        """Return what to call the script with: how many keys, keys and arguments."""
        prefix = f"balancekit:{{{self.name}}}:"
        keys = [prefix + "members", prefix + "sums", prefix + "hints", prefix + self.member]
        question = {"leave": True} if leave else self._question()
        return [len(keys), *keys, self.member, self.ttl, KEPT_S, prefix, json.dumps(question)]

    def _question(self) -> dict[str, Any]:
        self._posted = {exchange: exchange.counts() for exchange in list(self._exchanges)}
        total: dict[str, int] = {}
        for counts in self._posted.values():
            for id, count in counts.items():
                total[id] = total.get(id, 0) + count
        with self._lock:
            self._asked_hints = hints = self._hints
            self._hints = {}
        self._asked = list(self._quotas)
        return {
            "counts": list(total.items()),
            "hints": list(hints.items()),
            "quotas": [quota.question() for quota in self._asked],
        }

    def answered(self, answer: str | bytes) -> None:
        """Take note of the answer to the last question.

        Raises
        ------
        Exception
            If it is no answer of the script; nothing has changed. Call :meth:`failed` with it.
        """
        sums, hints, granted = _read(json.loads(answer))
        self._asked_hints = {}
        ids = dict.fromkeys(id for counts in self._posted.values() for id in counts)
        of = dict(zip(ids, sums, strict=False))
        for exchange, counts in self._posted.items():
            exchange.take({id: of.get(id, 0) - count for id, count in counts.items()})
        for quota, tokens in zip(self._asked, granted, strict=False):
            quota.grant(tokens)
        self.answers = True
        if self._down:
            self._down = False
            log_change("store of shared loads %r: answers again", self.name, bad=False)
        others = [hint for hint in hints if hint.member != self.member]
        for listener in self.listeners:
            listener(others)

    def failed(self, error: BaseException) -> None:
        """Go on with own data: the store did not answer. Hints are given with the next exchange, while they are in force."""
        kept, self._asked_hints = _still_in_force(self._asked_hints, self.period), {}
        with self._lock:
            self._hints = kept | self._hints
        for exchange in list(self._exchanges):
            exchange.take({})
        for quota in list(self._quotas):
            quota.grant(None)
        self.answers = False
        if not self._down:
            self._down = True
            log_change("store of shared loads %r: %s; going on with own data", self.name, error, bad=True)


@final
class StoreExchange:
    """The exchange of one pool with a store. Made by :class:`StoreCore`."""

    __slots__ = ("__weakref__", "_core", "_fresh", "_pool", "_seen_at", "on_refresh")

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._pool: Callable[[], Counts | None] = _no_pool
        self._fresh = False
        self._seen_at = -math.inf
        self.on_refresh: Callable[[], None] | None = None
        """Called by picks once a period: starts a runner that does not run."""

    def join(self, id: str) -> Place:
        """Return where to write a count: nowhere, the runner reads the node."""
        return NO_PLACE

    def log_notes(self) -> None:
        """Do nothing."""

    def leave(self, id: str, place: Place) -> None:
        """Do nothing."""

    def after_fork(self) -> None:
        """Do nothing: the store starts over by itself."""

    def refresh(self, pool: Counts, now: float) -> float:
        """Drop sums that have become old; return when to look again."""
        self._pool = weakref.ref(pool)
        if self.on_refresh is not None:
            self.on_refresh()
        if self._fresh:
            self._fresh, self._seen_at = False, now
        elif now - self._seen_at > MAX_AGE_PERIODS * self._core.period:
            self._write({})
        return now + self._core.period

    def counts(self) -> dict[str, int]:
        """Return own open leases."""
        pool = self._pool()
        return {} if pool is None else {id: load.node.inflight for id, load in list(pool.loads.items())}

    def take(self, others: dict[str, int]) -> None:
        """Take what others have in flight."""
        self._fresh = bool(others)
        self._write(others)

    def _write(self, others: dict[str, int]) -> None:
        pool = self._pool()
        for id, load in () if pool is None else list(pool.loads.items()):
            load.node.latency_estimate = max(0, others.get(id, 0))


S = TypeVar("S")


def require_store(store: S) -> S:
    """Return a store; refuse what is none, such as an address."""
    if isinstance(store, type) or not callable(getattr(store, "exchange", None)):
        raise ConfigurationError("store", store, "a RedisStore(...) or an AsyncRedisStore(...)")
    return store


def _read(answer: dict[str, Any]) -> tuple[list[int], list[Hint], list[float]]:
    """Return sums, hints and granted tokens of an answer; raise if it is none, before any of it counts."""
    sums, granted = answer["sums"], answer["granted"]
    if not all(isinstance(count, int) for count in sums):
        raise ValueError(f"sums that are no counts: {str(sums)[:MAX_SHOWN]}")
    if not all(isinstance(tokens, int | float) and 0.0 <= tokens < math.inf for tokens in granted):
        raise ValueError(f"granted tokens that are no numbers: {str(granted)[:MAX_SHOWN]}")
    hints = [Hint(*hint) for hint in answer["hints"]]
    if not all(_is_hint(hint) for hint in hints):
        raise ValueError(f"hints that are none: {str(answer['hints'])[:MAX_SHOWN]}")
    return list(sums), hints, list(granted)


def _is_hint(hint: Hint) -> bool:
    member, endpoint, seconds = hint
    return isinstance(member, str) and isinstance(endpoint, str) and isinstance(seconds, int | float)


def _no_pool() -> None:
    return None


def _still_in_force(hints: dict[str, float], seconds: float) -> dict[str, float]:
    """Return hints as they are some seconds later."""
    return {endpoint: left - seconds for endpoint, left in hints.items() if left > seconds}
