"""A rate limit over many processes, by leased blocks of tokens.

The store holds one bucket per endpoint. With each exchange a process leases a block: its recent use and a little more. It
spends the block without an exchange. So all processes together never use more than the quota, and a pick never waits for
the store. While the store does not answer, each process uses its own share of the rate. The same holds if an exchange takes
longer than three periods, as with a client without a time-out.
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
"""The share of a token that rounding of small additions may lose."""
HEADROOM: Final = 2.0
"""The size of a block, as a multiple of the tokens used since the last exchange."""


class _Said(NamedTuple):
    """The answers of the store so far; replaced as a whole, so a pick never reads half of an update."""

    granted: float
    """Tokens, in total."""
    answers: int
    down: bool
    """Whether the store did not answer the last request."""


@final
class TokenBlock:
    """The tokens that this process holds for one endpoint.

    Picks, one at a time, write the tokens they spend; exchanges write the tokens that were granted. Neither writes the
    fields of the other, so no pick waits for a lock.

    Parameters
    ----------
    key
        The key of the bucket in the store.
    rate, burst
        The quota of all processes.
    share
        The share of both that this process uses while the store does not answer.
    patience
        Seconds without an answer after which it uses that share.
    """

    __slots__ = (
        "__weakref__",
        "_alone_since",
        "_answered_at",
        "_answers",
        "_burst",
        "_counted",
        "_drawn",
        "_key",
        "_lock",
        "_patience",
        "_rate",
        "_said",
        "_seen",
        "_share",
        "_spent",
    )

    def __init__(self, key: str, rate: float, burst: float, share: float, patience: float = math.inf) -> None:
        self._key = key
        self._rate = rate
        self._burst = burst
        self._share = share
        self._patience = patience
        # Written by exchanges, under the lock.
        self._lock = new_lock()
        self._said = _Said(0.0, 0, down=False)
        self._counted = -1.0  # of the spent tokens; the first exchange wants tokens for one request
        # Written by picks.
        self._spent = 0.0
        self._seen = 0.0  # of the granted tokens
        self._drawn = 0.0  # from the granted tokens, without those spent while the store did not answer
        self._answers = 0
        self._answered_at = math.inf
        self._alone_since: float | None = None

    @property
    def tokens(self) -> float:
        """The number of tokens left; negative if the last request cost more."""
        return self._seen + self._drawn

    def question(self) -> list[Any]:
        """Return key, rate, burst and the number of wanted tokens. Any thread may call."""
        with self._lock:
            spent = self._spent
            used, self._counted = spent - self._counted, spent
            held = self._said.granted + self._drawn
        wanted = math.ceil(min(self._burst, max(1.0, HEADROOM * used) - held))
        return [self._key, self._rate, self._burst, max(0, wanted)]

    def grant(self, tokens: float | None) -> None:
        """Take tokens; ``None`` if the store did not answer. Any thread may call."""
        with self._lock:
            granted, answers, _ = self._said
            if tokens is None:
                self._said = _Said(granted, answers, down=True)
            else:
                self._said = _Said(granted + tokens, answers + 1, down=False)

    def forfeit(self) -> None:
        """Drop all tokens, including those granted last."""
        held = min(0.0, self._seen + self._drawn)
        self._seen = self._said.granted
        self._drawn = held - self._seen

    def settle(self, now: float) -> None:
        """Add granted tokens."""
        granted, answers, down = self._said
        drawn, since, answered_at = self._drawn, self._alone_since, self._answered_at
        if answers != self._answers or answered_at == math.inf:
            since, answered_at = None, now
        if since is None and (down or now - answered_at > self._patience):
            since = now
        if since is not None:
            held = granted + drawn
            most = max(1.0, self._burst * self._share)
            drawn += max(0.0, min(most - held, (now - since) * self._rate * self._share))
            since = now
        # No call from here on, so no interrupt comes in between.
        self._seen, self._drawn, self._answers = granted, drawn, answers
        self._alone_since, self._answered_at = since, answered_at

    def has(self, cost: float) -> bool:
        """Return whether a request of this cost is allowed."""
        return self._seen + self._drawn + ROUNDING >= min(cost, max(1.0, self._burst * self._share))

    def spend(self, cost: float) -> None:
        """Spend the cost of a request."""
        self._drawn -= cost
        self._spent += cost


@final
class SharedRateLimit(ConstructorRepr, makers=("child",)):
    """Skip endpoints whose rate limit over all processes is used up.

    Parameters
    ----------
    store
        The store of the quotas.
    rate
        The limit per endpoint and second over all processes, > 0, in requests or their cost.
    burst
        The limit at once after an idle time, >= 1. If left out, the limit of one second, and at least 1.
    by_cost
        Whether a request counts by its cost or as one.
    replicas
        The approximate number of processes. While the store does not answer, each process uses ``rate / replicas``.
    child
        The factory of the inner selector; ``ShortestExpectedDelay`` if left out.

    Raises
    ------
    ConfigurationError
        If ``store`` is no store, a number is outside its bounds, ``by_cost`` is no bool, or ``child`` makes
        no selector.

    *Guarantee.* While the store answers, processes together are granted at most ``burst + rate * t`` in ``t`` seconds. A
    request may cost more than a process holds if the block has its largest size; the process then owes the rest.

    *When not to use it:* for one process, where ``RateLimit`` also gives the time of the next token; or for a limit that must
    be used to the last token, because an unspent block of one process is not available to others.

    Cost: O(n) per pick. The first requests to an endpoint, before the first exchange, find no tokens.
    Source: blocks as in Doorman (Google) and Stripe's and Envoy's quota services.

    Example
    -------
    >>> from balancekit import LoadBalancer, SaturatedError
    >>> from redis import Redis
    >>> from balancekit.sharing import RedisStore
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
        """Return the endpoints without tokens, and the child's reasons for the others."""
        short = self._short(snapshot, ctx)
        found = dict.fromkeys(short, Reason.SATURATED)
        return {**self._children.refusals(WHOLE_POOL, snapshot, ctx.excluding(short)), **found}

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return the earliest time at which the next exchange can bring tokens."""
        own = ctx.now + self._store.core.period if self._short(snapshot, ctx) else None
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
            patience = MAX_AGE_PERIODS * self._store.core.period
            made = TokenBlock(id, self._rate, self._burst, self._share, patience)
            self._store.core.add_quota(made)
            block = self._blocks.setdefault(id, made)
        return block

    def _cost(self, ctx: PickContext) -> float:
        return ctx.cost if self._by_cost else 1.0
