"""A rate limit that many processes keep together, by leased blocks of tokens.

The store holds one bucket for each endpoint. With each exchange a process leases a block: as much as it has used of late,
and a little more. It spends its block without an exchange. So all processes together never use more than the quota, and a
pick never waits for the store. While the store does not answer, each process works by its own part of the rate; so it does
if an exchange takes longer than three periods, as with a client without a time-out.
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
"""Of a token: what additions of small parts may lose."""
HEADROOM: Final = 2.0
"""A block is so many times what was used since the last exchange."""


class _Said(NamedTuple):
    """What the store has said so far. Replaced as a whole, so a pick sees all of it or none."""

    granted: float
    """Tokens, in total."""
    answers: int
    down: bool
    """Whether it did not answer the last question."""


@final
class TokenBlock:
    """The tokens of one endpoint that this process holds.

    Picks, one at a time, write what they take; those that exchange write what they were granted. Neither writes what the
    other does, so no pick waits for a lock.

    Parameters
    ----------
    key
        Of the bucket in the store.
    rate, burst
        Of the quota, for all processes.
    share
        The part of both that this process takes while the store does not answer.
    patience
        Seconds without an answer from which it does so, too.
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
        # Of those that exchange, under the lock.
        self._lock = new_lock()
        self._said = _Said(0.0, 0, down=False)
        self._counted = -1.0  # of what was spent: the first question is for one request
        # Of picks.
        self._spent = 0.0
        self._seen = 0.0  # of the tokens that were granted
        self._drawn = 0.0  # on them, less what was taken while the store did not answer
        self._answers = 0
        self._answered_at = math.inf
        self._alone_since: float | None = None

    @property
    def tokens(self) -> float:
        """How many there are to spend; less than none if the last request cost more."""
        return self._seen + self._drawn

    def question(self) -> list[Any]:
        """Return key, rate, burst and how many tokens are wanted. Any thread may call."""
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
        """Give up all tokens, also those that were granted last."""
        held = min(0.0, self._seen + self._drawn)
        self._seen = self._said.granted
        self._drawn = held - self._seen

    def settle(self, now: float) -> None:
        """Let granted tokens count."""
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
        # Nothing is called from here on, so no interrupt comes in between.
        self._seen, self._drawn, self._answers = granted, drawn, answers
        self._alone_since, self._answered_at = since, answered_at

    def has(self, cost: float) -> bool:
        """Answer whether a request of this cost may be made."""
        return self._seen + self._drawn + ROUNDING >= min(cost, max(1.0, self._burst * self._share))

    def spend(self, cost: float) -> None:
        """Take the cost of a request out."""
        self._drawn -= cost
        self._spent += cost


@final
class SharedRateLimit(ConstructorRepr, makers=("child",)):
    """Pass over endpoints whose limit all processes together have used up.

    Parameters
    ----------
    store
        Where the quotas are.
    rate
        The limit of an endpoint per second over all processes, > 0: requests, or their cost.
    burst
        The limit at once after a rest, >= 1. One second's worth, and at least 1, if left out.
    by_cost
        Whether a request counts for its cost or for one.
    replicas
        How many processes there are, about: while the store does not answer, each takes ``rate / replicas``.
    child
        Makes the selector. ``ShortestExpectedDelay`` if left out.

    *Guarantee.* While the store answers, processes together are granted at most ``burst + rate * t`` in ``t`` seconds. A
    request may cost more than a process holds, if the block is as large as it gets; it then owes the rest.

    *When not to use it:* for one process: ``RateLimit``, which knows when there will be room. For a limit that must be
    used to the last token: a block that a process does not spend is not there for others until it has been spent.

    Cost: O(n) a pick. The first requests to an endpoint, before the first exchange, find no tokens.
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
        """Return what the child picks among those that have tokens, and spend them."""
        self._store.start()
        short = self._short(snapshot, ctx)
        node = self._children.of(WHOLE_POOL).select(snapshot, ctx.excluding(short) if short else ctx)
        if node is not None and ctx.trace is None:
            self._block(node.id).spend(self._cost(ctx))
        return node

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the child, and hold blocks for the members."""
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
        """Return when the next exchange will have brought tokens, at the soonest."""
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
        """Return the block of an endpoint: a new one, without tokens, if a change that would have made it was interrupted."""
        block = self._blocks.get(id)
        if block is None:
            patience = MAX_AGE_PERIODS * self._store.core.period
            made = TokenBlock(id, self._rate, self._burst, self._share, patience)
            self._store.core.add_quota(made)
            block = self._blocks.setdefault(id, made)
        return block

    def _cost(self, ctx: PickContext) -> float:
        return ctx.cost if self._by_cost else 1.0
