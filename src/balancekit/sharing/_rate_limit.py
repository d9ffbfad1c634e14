"""A rate limit over many processes, by blocks of tokens.

The store has one token bucket per endpoint. With each exchange, a process takes a block of tokens: twice the number
that it has used since the last exchange. It spends the block without further exchanges. So all processes together never
use more than the quota, and a pick never waits for the store. While the store does not answer, each process uses its
own share of the rate. It does the same if an exchange takes longer than three periods, as may happen with a client
without a timeout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, final

from balancekit._selection.grouping import WHOLE_POOL, ChildSelectors, Learn, MakeSelector
from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit.errors import Reason
from balancekit.protocols import LoadPolicy
from balancekit.selectors import ShortestExpectedDelay
from balancekit.sharing._redis import AsyncRedisStore, RedisStore
from balancekit.sharing._store import MAX_AGE_PERIODS, require_store
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["SharedRateLimit"]

ROUNDING: Final = 1e-9
"""The part of a token that rounding errors of small additions may lose."""
HEADROOM: Final = 2.0
"""The size of a block, as a multiple of the tokens used since the last exchange."""


class _Grants(NamedTuple):
    """The answers of the store so far. It is replaced as a whole, so a pick never reads an incomplete update."""

    granted: float
    """The sum of all granted tokens."""
    answers: int
    """The number of answers."""
    down: bool
    """Whether the store did not answer the last request."""


@final
class TokenBlock:
    """The tokens that this process holds for one endpoint.

    Picks write the spent tokens, one pick at a time. Exchanges write the granted tokens. Picks and exchanges write
    different fields, so no pick waits for a lock.

    Parameters
    ----------
    key
        The key of the bucket in the store.
    rate, burst
        The quota of all processes.
    share
        The share of the quota that this process uses while the store does not answer.
    max_silence
        Seconds without an answer after which the process uses that share.
    """

    __slots__ = (
        "__weakref__",
        "_answered_at",
        "_answers",
        "_burst",
        "_counted",
        "_drawn",
        "_grants",
        "_key",
        "_lock",
        "_max_silence",
        "_offline_since",
        "_rate",
        "_seen",
        "_share",
        "_spent",
    )

    def __init__(
        self, key: str, rate: float, burst: float, share: float, max_silence: float = math.inf
    ) -> None:
        self._key = key
        self._rate = rate
        self._burst = burst
        self._share = share
        self._max_silence = max_silence
        # Written by exchanges, under the lock.
        self._lock = new_lock()
        self._grants = _Grants(0.0, 0, down=False)
        self._counted = -1.0  # spent tokens at the last exchange; -1, so that the first one requests some
        # Written by picks.
        self._spent = 0.0
        self._seen = 0.0  # the granted tokens, as of the last pick
        self._drawn = 0.0  # minus the tokens taken from the granted ones
        self._answers = 0
        self._answered_at = math.inf
        self._offline_since: float | None = None

    @property
    def tokens(self) -> float:
        """The number of tokens left; negative if the last request cost more."""
        return self._seen + self._drawn

    def request(self) -> list[Any]:
        """Return key, rate, burst and the number of wanted tokens. Any thread may call this."""
        with self._lock:
            spent = self._spent
            used, self._counted = spent - self._counted, spent
            held = self._grants.granted + self._drawn
        wanted = math.ceil(min(self._burst, max(1.0, HEADROOM * used) - held))
        return [self._key, self._rate, self._burst, max(0, wanted)]

    def grant(self, tokens: float | None) -> None:
        """Add granted tokens; ``None`` means that the store did not answer. Any thread may call this."""
        with self._lock:
            granted, answers, _ = self._grants
            if tokens is None:
                self._grants = _Grants(granted, answers, down=True)
            else:
                self._grants = _Grants(granted + tokens, answers + 1, down=False)

    def forfeit(self) -> None:
        """Drop all tokens, including those granted last."""
        held = min(0.0, self._seen + self._drawn)
        self._seen = self._grants.granted
        self._drawn = held - self._seen

    def settle(self, now: float) -> None:
        """Take over the tokens granted since the last pick, and add own tokens while the store does not answer."""
        granted, answers, down = self._grants
        drawn, since, answered_at = self._drawn, self._offline_since, self._answered_at
        if answers != self._answers or answered_at == math.inf:
            since, answered_at = None, now
        if since is None and (down or now - answered_at > self._max_silence):
            since = now
        if since is not None:
            held = granted + drawn
            most = max(1.0, self._burst * self._share)
            drawn += max(0.0, min(most - held, (now - since) * self._rate * self._share))
            since = now
        # No call from here on, so that no interrupt occurs between these assignments.
        self._seen, self._drawn, self._answers = granted, drawn, answers
        self._offline_since, self._answered_at = since, answered_at

    def has(self, cost: float) -> bool:
        """Return whether a request of this cost is allowed."""
        return self._seen + self._drawn + ROUNDING >= min(cost, max(1.0, self._burst * self._share))

    def spend(self, cost: float) -> None:
        """Spend the cost of a request."""
        self._drawn -= cost
        self._spent += cost


@final
class SharedRateLimit(ConstructorRepr, makers=("child",)):
    """Selector that skips endpoints whose rate limit over all processes is used up.

    Parameters
    ----------
    store
        The store of the quotas.
    rate
        The limit per endpoint over all processes, > 0, in requests (or cost) per second.
    burst
        The number of requests (or the cost), >= 1, that are allowed at once after an idle time. The default is the
        limit of one second, and at least 1.
    by_cost
        Whether a request uses as many tokens as its cost, or one.
    replicas
        The approximate number of processes, >= 1. While the store does not answer, each process uses ``rate / replicas``.
    child
        A function that creates the inner selector.

    Raises
    ------
    ConfigurationError
        If ``store`` is no store, a number is outside its bounds, ``by_cost`` is no bool, or ``child`` makes
        no selector.

    *Guarantee.* While the store answers, it grants all processes together at most ``burst + rate * t`` tokens in ``t``
    seconds. A request that costs more than the largest block is allowed if the process has a full block; the number of
    tokens then becomes negative.

    *When not to use it:* for one process; ``RateLimit`` also gives the time of the next token. Also not for a limit
    that must be used completely, because other processes cannot use the unspent tokens of a block.

    Cost: O(n) per pick. Requests to an endpoint before the first exchange are refused, because the process has no tokens.

    Source: blocks as in Google's Doorman and in the rate limit services of Stripe and Envoy.

    Example
    -------
    >>> from balancekit import LoadBalancer, SaturatedError
    >>> from balancekit.sharing import RedisStore, SharedRateLimit
    >>> from redis import Redis
    >>> store = RedisStore(Redis(port=1, socket_timeout=0.5, retry=None), name="keys")
    >>> limit = SharedRateLimit(store, 500 / 60, replicas=8)
    >>> lb = LoadBalancer(["key-a", "key-b"], selector=limit)
    >>> try:
    ...     lb.acquire()
    ... except SaturatedError:
    ...     print("no block yet")
    no block yet
    >>> store.close()
    """

    def __init__(
        self,
        store: RedisStore | AsyncRedisStore,
        rate: float,
        *,
        burst: float | None = None,
        by_cost: bool = False,
        replicas: int = 1,
        child: MakeSelector = ShortestExpectedDelay,
    ) -> None:
        self._store = require_store(store)
        self._rate = valid.number("rate", rate, above=0.0)
        self._burst = max(1.0, self._rate) if burst is None else valid.number("burst", burst, minimum=1.0)
        self._by_cost = valid.flag("by_cost", by_cost)
        self._share = 1.0 / valid.integer("replicas", replicas, minimum=1)
        self._blocks: dict[str, TokenBlock] = {}
        self._children = ChildSelectors(child)
        self.default_load: LoadPolicy = self._children.default_load
        if self._children.learns:
            self.learn: Learn = self._children.learn

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the child's pick among the endpoints with tokens, and spend its tokens."""
        self._store.start()
        short = self._short(snapshot, ctx)
        node = self._children.of(WHOLE_POOL).select(snapshot, ctx.excluding(short) if short else ctx)
        if node is not None and ctx.trace is None:
            self._block(node.id).spend(self._cost(ctx))
        return node

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the child, and create blocks for new members."""
        there = {node.id for node in snapshot.members.nodes}
        for id in there:
            self._block(id)
        self._children.prepare({WHOLE_POOL: snapshot})
        for id in [id for id in list(self._blocks) if id not in there]:  # a pick may add one meanwhile
            self._blocks.pop(id, None)

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return the endpoints without tokens, and the child's reasons."""
        return self._children.refusals_at_limit(snapshot, ctx, self._short(snapshot, ctx))

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return the time at which the next exchange may grant tokens, or the child's time if that is later."""
        short = self._short(snapshot, ctx)
        waits = any(node.id in short for node in self._children.matching(snapshot, ctx))
        own = ctx.now + self._store.core.period if waits else None
        childs = self._children.retry_at(WHOLE_POOL, snapshot, ctx)
        return max([at for at in (own, childs) if at is not None], default=None)

    def _short(self, snapshot: Snapshot, ctx: PickContext) -> set[str]:
        cost, short = self._cost(ctx), set()
        for node in snapshot.candidates(ctx):
            block = self._block(node.id)
            block.settle(ctx.now)
            if not block.has(cost):
                short.add(node.id)
        return short

    def _block(self, id: str) -> TokenBlock:
        """Return the block of an endpoint; a new, empty one if the change that creates it was interrupted."""
        block = self._blocks.get(id)
        if block is None:
            max_silence = MAX_AGE_PERIODS * self._store.core.period
            made = TokenBlock(id, self._rate, self._burst, self._share, max_silence)
            self._store.core.add_quota(made)
            block = self._blocks.setdefault(id, made)
        return block

    def _cost(self, ctx: PickContext) -> float:
        return ctx.cost if self._by_cost else 1.0
