"""Simulation of language-model servers in virtual time: prefill, decode, prompt caches and conversations.

*Server.* A server computes prompts one after the other at a fixed rate of tokens per second. It skips the leading tokens
that its cache holds. It then generates the answers of all its requests at the same time. The more requests were open when
a request arrived, the slower its answer. The cache evicts the least recently used entry first, from its end: the last
tokens of a conversation are evicted first, and a system prompt is evicted after all its conversations, as in vLLM and
SGLang.

*Workload.* Conversations begin at random. Their system prompts are drawn by Zipf's law. Each turn sends the whole
conversation so far as its prompt. Prompts are bytes, four for each token.

*Measurement.* Turns are counted from a fifth of the duration until the last conversation has ended. While conversations
begin, the caches are full; after that, the load falls.

The balancer is a real one. It sees the requests that it sends, and no state of the servers.

*Limits.* Arrivals are random, the lengths of answers are invented, and a real engine computes prompts in batches. Trust the
ranking and large differences; ignore the third digit.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect
from collections import OrderedDict
from collections.abc import Callable
from itertools import accumulate, count
from random import Random
from typing import Any, Final, NamedTuple, final

import numpy as np

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.balancer import LoadBalancer
from balancekit.errors import ConfigurationError
from balancekit.lease import Lease
from balancekit.protocols import LoadPolicy, Selector
from balancekit.snapshot import Key

__all__ = ["MODEL_WORKLOADS", "ModelReport", "ModelServers", "ModelWorkload", "simulate_models"]

TOKEN_BYTES: Final = 4
HALF_PACE_REQUESTS: Final = 64
"""Number of open requests at which a server takes twice ``token_time`` for one token of an answer."""
WARM_UP_SHARE: Final = 0.2
"""The share of the duration, at the beginning, in which turns are not counted."""


class ModelServers(Record):
    """A pool of identical model servers.

    Parameters
    ----------
    count
        Number of servers, >= 1.
    prompt_rate
        Prompt tokens that one server computes per second, > 0.
    cache
        Capacity of the prompt cache of one server in tokens, >= 0.
    token_time
        Seconds for one token of an answer on an idle server, > 0.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.
    """

    count: int = 8
    prompt_rate: float = 16_000.0
    cache: int = 400_000
    token_time: float = 0.02

    def _check(self) -> None:
        valid.integer("count", self.count, minimum=1)
        valid.number("prompt_rate", self.prompt_rate, above=0.0)
        valid.integer("cache", self.cache, minimum=0)
        valid.number("token_time", self.token_time, above=0.0)


class ModelWorkload(Record):
    """Conversations that begin at random times, as a Poisson process.

    Parameters
    ----------
    rate
        Mean number of new conversations per second, > 0.
    system_prompts
        Number of different system prompts, >= 1. Each has 500 to 5,000 tokens.
    skew
        Exponent of Zipf's law by which the system prompt of a conversation is drawn, >= 0.
    turns
        Mean number of turns of a conversation, >= 1.
    hot
        The share of conversations that use the first system prompt instead of the drawn one, 0 to 1.
    duration
        Seconds in which conversations begin, > 0. The simulation goes on until the last one has ended.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.
    """

    rate: float = 5.0
    system_prompts: int = 24
    skew: float = 1.2
    turns: float = 7.5
    hot: float = 0.0
    duration: float = 900.0

    def _check(self) -> None:
        valid.number("rate", self.rate, above=0.0)
        valid.integer("system_prompts", self.system_prompts, minimum=1)
        valid.number("skew", self.skew, minimum=0.0)
        valid.number("turns", self.turns, minimum=1.0)
        valid.number("hot", self.hot, minimum=0.0, maximum=1.0)
        valid.number("duration", self.duration, above=0.0)


MODEL_WORKLOADS: Final = {
    "conversations": ModelWorkload(),
    "few hot prompts": ModelWorkload(rate=6.0, system_prompts=6, skew=1.6),
    "many cold prompts": ModelWorkload(rate=4.0, system_prompts=200, skew=0.6),
    "one hot prompt": ModelWorkload(rate=4.0, system_prompts=200, skew=0.6, hot=0.3),
}
"""Workloads by name. Each is below the capacity of eight default servers with their caches."""


class ModelReport(NamedTuple):
    """Result of one simulation of model servers. Times in seconds."""

    requests: int
    """Number of turns that were counted."""
    hit_rate: float
    """The share of prompt tokens that were in the cache of their server."""
    steady_hit_rate: float
    """The hit rate of the turns that arrived while new conversations still began."""
    ttft_mean: float
    """Mean time to the first token; NaN if no turn was counted."""
    ttft_p99: float
    """The 99th percentile of the time to the first token; NaN if no turn was counted."""
    busiest: float
    """Mean number of open requests of the busiest server while conversations began, divided by the mean of all servers."""


@final
class _Cache:
    """Prompt cache of one server: leading tokens of system prompts and of conversations."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: OrderedDict[object, int] = OrderedDict()
        self._tokens = 0

    def found(self, system: int, size: int, conversation: object, history: int) -> int:
        """Return the number of leading tokens of a prompt that are in the cache."""
        held = self._held.get(system, 0)
        return held if held < size else size + min(history, self._held.get(conversation, 0))

    def put(self, name: object, tokens: int) -> None:
        """Store an entry. If the capacity is exceeded, evict tokens from the ends of the least recently used entries."""
        held = self._held
        self._tokens += tokens - held.pop(name, 0)
        held[name] = tokens
        while self._tokens > self._capacity:
            oldest = next(iter(held))
            dropped = min(held[oldest], self._tokens - self._capacity)
            self._tokens -= dropped
            held[oldest] -= dropped
            if not held[oldest]:
                del held[oldest]


@final
class _Server:
    def __init__(self, cache: int) -> None:
        self.cache = _Cache(cache)
        self.free_at = 0.0
        self.open = 0
        self.since = 0.0
        self.open_seconds = 0.0

    def change(self, by: int, now: float, begin: float, end: float) -> None:
        """Add ``by`` to the number of open requests, and integrate that number over time between ``begin`` and ``end``."""
        self.open_seconds += self.open * max(0.0, min(now, end) - max(self.since, begin))
        self.since = now
        self.open += by


@final
class _Conversation:
    __slots__ = ("history", "name", "system", "transcript", "turns")

    def __init__(self, name: str, system: int, turns: int) -> None:
        self.name = name
        self.system = system
        self.turns = turns
        self.transcript = b""
        self.history = 0


@checked_arguments
def simulate_models(
    selector: Callable[[], Selector],
    workload: ModelWorkload | None = None,
    servers: ModelServers | None = None,
    *,
    seed: int = 1,
    load: LoadPolicy | None = None,
    by_conversation: bool = False,
) -> ModelReport:
    """Send conversations to model servers through a balancer, in virtual time.

    Parameters
    ----------
    selector
        Function that makes the selector.
    workload, servers
        The workload and the servers; the defaults of their classes if left out.
    seed
        Seed of all randomness, >= 0.
    load
        Load of the balancer; the default load of the selector if left out. The cost of a request is the number of its
        prompt tokens.
    by_conversation
        Whether the key of a request is the name of its conversation. Otherwise it is the prompt.

    Raises
    ------
    ConfigurationError
        If ``selector`` is not callable, or ``seed`` is not a whole number >= 0.

    Cost: about 0.2 ms per request.

    Example
    -------
    >>> from balancekit.inference import PrefixAffinity
    >>> from balancekit.sim import ModelWorkload, simulate_models
    >>> report = simulate_models(PrefixAffinity, ModelWorkload(duration=20.0))
    >>> report.hit_rate > 0.5
    True
    """
    if not callable(selector):
        raise ConfigurationError("selector", selector, "a function that makes a selector")
    seed = valid.integer("seed", seed, minimum=0)
    return _Simulation(workload or ModelWorkload(), servers or ModelServers(), selector(), load, seed).run(
        by_conversation=by_conversation
    )


@final
class _Simulation:
    def __init__(
        self,
        workload: ModelWorkload,
        pool: ModelServers,
        selector: Selector,
        load: LoadPolicy | None,
        seed: int,
    ) -> None:
        self.workload, self.pool = workload, pool
        self.arrivals, self.lengths = Random(seed), Random(seed + 1_000_003)
        self.now = 0.0
        self.by_conversation = False
        self.servers = {f"m{number}": _Server(pool.cache) for number in range(pool.count)}
        options: dict[str, Any] = {} if load is None else {"load": load}
        self.balancer = LoadBalancer(
            list(self.servers),
            selector=selector,
            clock=lambda: self.now,
            rng=Random(seed),
            health=None,
            **options,
        )
        self.begin, self.end = WARM_UP_SHARE * workload.duration, workload.duration
        weights = [(rank + 1) ** -workload.skew for rank in range(workload.system_prompts)]
        self.cumulative = list(accumulate(weights))
        self.sizes = [self.arrivals.randint(500, 5_000) for _ in weights]
        self.texts = [self.arrivals.randbytes(size * TOKEN_BYTES) for size in self.sizes]
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.serial = count()
        self.ttft: list[float] = []
        self.tokens = self.hits = self.steady_tokens = self.steady_hits = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, next(self.serial), what))

    def run(self, *, by_conversation: bool) -> ModelReport:
        self.by_conversation = by_conversation
        t, random = 0.0, self.arrivals
        # The integer part of an exponential variable with this rate has the mean 1 / (exp(rate) - 1).
        rate = math.log1p(1.0 / (self.workload.turns - 1.0)) if self.workload.turns > 1.0 else math.inf
        for number in count():
            t += random.expovariate(self.workload.rate)
            if t >= self.end:
                break
            system = min(bisect(self.cumulative, random.random() * self.cumulative[-1]), len(self.sizes) - 1)
            if random.random() < self.workload.hot:
                system = 0
            more = int(random.expovariate(rate)) if rate < math.inf else 0
            conversation = _Conversation(f"c{number}", system, 1 + more)
            self.at(t, lambda one=conversation: self.turn(one))  # type: ignore[misc]  # a default of a lambda
        while self.events:
            self.now, _, what = heapq.heappop(self.events)
            what()
        loads = [server.open_seconds for server in self.servers.values()]
        counted = len(self.ttft)
        return ModelReport(
            counted,
            self.hits / max(1, self.tokens),
            self.steady_hits / max(1, self.steady_tokens),
            math.fsum(self.ttft) / counted if counted else math.nan,
            float(np.quantile(self.ttft, 0.99)) if counted else math.nan,
            max(loads) * len(loads) / (sum(loads) or 1.0),
        )

    def turn(self, conversation: _Conversation) -> None:
        """Send one turn of a conversation."""
        random, now = self.lengths, self.now
        sent, answered = 30 + int(random.expovariate(1 / 250)), 20 + int(random.expovariate(1 / 300))
        system, size = conversation.system, self.sizes[conversation.system]
        text = random.randbytes(sent * TOKEN_BYTES)
        prompt = size + conversation.history + sent
        key: Key = (
            conversation.name if self.by_conversation else self.texts[system] + conversation.transcript + text
        )
        lease = self.balancer.acquire(key, cost=float(prompt))
        server = self.servers[lease.node.id]
        cached = server.cache.found(system, size, conversation.name, conversation.history)
        begin = max(now, server.free_at)
        first = server.free_at = begin + (prompt - cached) / self.pool.prompt_rate
        server.change(1, now, self.begin, self.end)
        if now > self.begin:
            self.ttft.append(first - now)
            self.tokens += prompt
            self.hits += cached
            if now < self.end:
                self.steady_tokens += prompt
                self.steady_hits += cached
        conversation.history += sent + answered
        conversation.transcript += text + random.randbytes(answered * TOKEN_BYTES)
        conversation.turns -= 1
        server.cache.put(conversation.name, conversation.history)
        server.cache.put(system, size)
        pace = self.pool.token_time * (1.0 + server.open / HALF_PACE_REQUESTS)
        self.at(first, lease.first_byte)
        self.at(first + answered * pace, lambda: self.ended(lease, server, conversation))

    def ended(self, lease: Lease[Any], server: _Server, conversation: _Conversation) -> None:
        """End an answer. The next turn follows after an exponential pause of 8 s on average."""
        lease.release()
        server.change(-1, self.now, self.begin, self.end)
        if conversation.turns:
            after = self.lengths.expovariate(1 / 8)
            self.at(self.now + after, lambda: self.turn(conversation))
