"""Prefix affinity: a prompt goes to the endpoint that has cached its prefix, unless that endpoint is too busy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import ClassVar, Final, final

import numpy as np

from balancekit._selection.pickers import NO_PICKERS, Pickers
from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit.errors import ConfigurationError
from balancekit.hashing import hash32
from balancekit.inference._blocks import Blocks, number_blocks
from balancekit.inference._candidates import (
    Candidates,
    cached_by,
    contenders_of,
    idlest,
    least_loaded,
    mean_of,
)
from balancekit.inference._prefix_table import PrefixTable
from balancekit.inference._scorers import NodeScorer
from balancekit.inference._scoring import PrefixRule, Product, PromptView
from balancekit.loads import CountedLoad, InFlight
from balancekit.outcome import Completion, Outcome
from balancekit.snapshot import Key, Node, PickContext, Snapshot, Trace

__all__ = ["PrefixAffinity"]

NO_RUNS: Final[list[tuple[int, int]]] = []
MIN_MARGIN: Final = 4.0
"""The open leases above the mean that are always tolerated, as in smg."""
NAMES: Final = ("model", "adapter")
"""The request attributes that separate the caches of prompts."""


@final
class PrefixAffinity(ConstructorRepr):
    """Selection of the endpoint with the least work: the uncached part of the prompt, times the load.

    The key of a request is its whole prompt: text, bytes, or token ids by :func:`~balancekit.inference.token_key`. It is cut
    into blocks, and the selector records the blocks sent to each endpoint; servers are not queried. Prompts for different
    models or adapters share nothing. Name the model and adapter in the key (:func:`~balancekit.inference.prompt_key`) or in
    the request attributes ``model`` and ``adapter``.

    Parameters
    ----------
    rule
        The rule that weighs cached blocks against load; :class:`~balancekit.inference.Product` if left out.
    block
        Bytes of a block, a multiple of 8. 256 characters are about 64 tokens; 64 token ids are 256 bytes.
    capacity
        The blocks recorded per endpoint, 1 to 2**40. Set it to at least twice the endpoint's cache in tokens / 64, because dropping a
        block too early costs more than keeping it too long. The default is enough for caches of up to a million tokens.
    spill
        An endpoint is too busy if it has more open leases than ``spill`` x the mean, and more than the mean and two standard
        deviations (2 sqrt(mean), at least 4); >= 1. It then gets a prompt only if no other may take it. ``None`` turns this off.
    scorers
        Further penalties of endpoints: :class:`~balancekit.inference.CacheUtilization`,
        :class:`~balancekit.inference.LoadedAdapters`. They are added to the loads. With scorers there is no fast path.

    *Guarantee.* Ties go to the less loaded endpoint, then at random. A request never goes to an endpoint if another candidate
    has more cached and less load. The blocks of an endpoint are dropped when it is removed, replaced or unejected, and when it
    refuses a connection, because its engine has then restarted.

    *When to use it:* with model servers that have a prefix cache, for one or many balancers. It also suits conversations, with
    the session's id as the key: a session stays until its endpoint is eight times as busy as the others. *When not:* if prompts
    have no common prefixes, since hashing them then costs time for nothing; if the servers share their caches.

    Cost, relative to chained MurmurHash3 of a prompt of 100 blocks: 1.3 to 1.4 times for a new prompt, 1.4 times for a known
    prefix, two fifths for a further attempt; a twelfth more with 64 endpoints than with 8. O(blocks + endpoints). Memory: 11
    bytes per block and endpoint, a third of a megabyte per endpoint of 31,250 blocks, at most 34 MB.

    Source: SGLang ``lmetric``, smg (the spill), llm-d (31,250 blocks of 64 tokens).

    Raises
    ------
    ConfigurationError
        If ``rule`` is no ``PrefixRule``, a scorer is no ``NodeScorer``, or a number is outside its bounds.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.inference import PrefixAffinity
    >>> lb = LoadBalancer(["a", "b", "c", "d"], selector=PrefixAffinity())
    >>> system = "You are a helpful assistant. " * 50
    >>> with lb.acquire(system + "What is a ring?") as lease:
    ...     first = lease.target
    >>> with lb.acquire(system + "And what is a table?") as lease:
    ...     lease.target == first
    True
    """

    keyed: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True
    learns_from_successes: ClassVar[bool] = False
    default_load: ClassVar[InFlight] = InFlight()

    @checked_arguments
    def __init__(
        self,
        rule: PrefixRule | None = None,
        *,
        block: int = 256,
        capacity: int = 31_250,
        spill: float | None = 1.25,
        scorers: Sequence[NodeScorer] = (),
    ) -> None:
        rules = "Product(), RelativeLoad(), StickyMatch() or another PrefixRule"
        self._rule: PrefixRule = (
            Product() if rule is None else valid.instance("rule", rule, "scores", allowed=rules)
        )
        self._block: int = valid.integer("block", block, minimum=8)
        if block % 8:
            raise ConfigurationError("block", block, "a multiple of 8")
        self._spill: float | None = None if spill is None else valid.number("spill", spill, minimum=1.0)
        allowed = "CacheUtilization(...), LoadedAdapters(...) or another NodeScorer"
        self._scorers = tuple(
            [valid.instance("scorers", scorer, "busier", allowed=allowed) for scorer in scorers]
        )
        self._lock = new_lock()  # before the table, because its error explains why there is no copy
        self._table = PrefixTable(capacity)
        self._members: dict[str, tuple[Node, int]] = {}
        self._last: tuple[Key | None, int, tuple[Blocks, float]] = (None, 0, (np.empty(0, np.uint64), 0.0))

    # ------------------------------------------------------------------ endpoints

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Drop the blocks of endpoints that were removed, replaced or unejected."""
        with self._lock:
            self._follow(snapshot, leave=True)
        snapshot.derive(self._eligible)

    def _follow(self, snapshot: Snapshot, *, leave: bool) -> None:
        """Set the nodes to those of a snapshot; called with the lock held."""
        table, known = self._table, self._members
        found = {node.id: (node, node.restorations) for node in snapshot.members.nodes}
        if found == known:
            return
        names = dict.fromkeys(found) if leave else dict.fromkeys((*known, *found))
        if names.keys() != known.keys():
            table.resize(names)
        for id, facts in found.items():
            if known.get(id, facts) != facts:
                table.forget(id)
        self._members = found if leave else known | found

    def learn(self, node: Node, completion: Completion, /) -> None:
        """Drop the blocks of an endpoint that refuses connections."""
        if completion.outcome is Outcome.CONNECT_FAILED:
            with self._lock:
                if node.id in self._table.bits:
                    self._table.forget(node.id)

    # ------------------------------------------------------------------ picks

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the candidate with the least score."""
        if any(node.id not in self._table.bits for node in snapshot.members.nodes):
            with self._lock:
                self._follow(snapshot, leave=False)
        candidates = (
            self._candidates(snapshot.candidates(ctx)) if ctx.exclude else snapshot.derive(self._eligible)
        )
        if not candidates.nodes:
            return None
        key, busier = ctx.key, None
        if self._scorers:
            busier = self._busier(candidates.nodes, str(ctx.attributes.get("adapter", "")), ctx.now)
        if key is None:
            return self._choose(candidates, None, 1.0, ctx.rng, ctx.now, ctx.cost, ctx.trace, busier)
        seed = 0
        if ctx.attributes and any(name in ctx.attributes for name in NAMES):
            seed = hash32("\0".join([str(ctx.attributes.get(name, "")) for name in NAMES]))
        blocks, length = self._numbered(key, seed)
        return self._choose(candidates, blocks, length, ctx.rng, ctx.now, ctx.cost, ctx.trace, busier)

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path by key, for a snapshot with eligible nodes."""
        return self._picks(snapshot, Random() if rng is None else rng)[1]

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast paths for a snapshot with eligible nodes; without a key, the least loaded is picked."""
        if self._scorers:  # they need the request's adapter and the time
            return NO_PICKERS
        return self._picks(snapshot, rng)

    def _picks(self, snapshot: Snapshot, rng: Random) -> tuple[Callable[..., Node], Callable[..., Node]]:
        self.prepare(snapshot)
        candidates, numbered, choose = snapshot.derive(self._eligible), self._numbered, self._choose

        def pick(now: float = 0.0, /) -> Node:
            busier = self._busier(candidates.nodes, "", now) if self._scorers else None
            return choose(candidates, None, 1.0, rng, now, 1.0, None, busier)

        def pick_by_key(key: Key, now: float = 0.0, /) -> Node:
            blocks, length = numbered(key, 0)
            busier = self._busier(candidates.nodes, "", now) if self._scorers else None
            return choose(candidates, blocks, length, rng, now, 1.0, None, busier)

        return pick, pick_by_key

    def _numbered(self, key: Key, seed: int) -> tuple[Blocks, float]:
        """Return the numbers of a prompt's blocks, and its length; cached for attempts after the first."""
        last, last_seed, found = self._last
        if last is not key or last_seed != seed:
            found = number_blocks(key, self._block, seed)
            self._last = key, seed, found
        return found

    def _eligible(self, snapshot: Snapshot) -> Candidates:
        return self._candidates(snapshot.eligible)

    def _candidates(self, nodes: Sequence[Node]) -> Candidates:
        weighted = [node for node in nodes if node.weight] or nodes
        bits = [self._table.bits.get(node.id, 0) for node in weighted]
        positions = {bit: at for at, bit in enumerate(bits)}
        added = [1.0 / node.capacity for node in weighted]
        counted = all(type(node.load) is CountedLoad for node in weighted)
        even = counted and all(node.capacity == 1.0 for node in weighted)
        return Candidates(weighted, bits, positions, sum(positions), added, counted, even)

    def _busier(self, nodes: Sequence[Node], adapter: str, now: float) -> list[float]:
        """Return the sum of the scorers' penalties for each candidate."""
        return [sum([scorer.busier(node, adapter, now=now) for scorer in self._scorers]) for node in nodes]

    def _choose(
        self,
        candidates: Candidates,
        blocks: Blocks | None,
        length: float,
        rng: Random,
        now: float,
        cost: float,
        trace: Trace | None,
        busier: Sequence[float] | None = None,
    ) -> Node:
        """Pick among at least one candidate, and record the blocks for its endpoint."""
        nodes = candidates.nodes
        # Before taking the lock, because a load may be user code.
        values = (
            None if candidates.even or candidates.counted else [node.load.value(now=now) for node in nodes]
        )
        with self._lock:
            match = None if blocks is None else self._table.find(blocks)
            runs = NO_RUNS if match is None else match.runs
            if candidates.even:
                loads: list[float] = [node.inflight for node in nodes]
            elif values is None:
                loads = [node.inflight / node.capacity for node in nodes]
            else:
                loads = values
            if busier is not None:
                loads = [load + more for load, more in zip(loads, busier, strict=True)]
            added = candidates.added if candidates.counted else [cost / node.capacity for node in nodes]
            if runs:
                at = candidates.positions.get(runs[-1][0] & candidates.all, -1)  # if only one has the most
                if at < 0 or not candidates.even or loads[at] > min(loads):
                    contenders = contenders_of(candidates, runs, loads, added, rng)
                    at = self._best(contenders, length, loads, added, rng)
            else:
                at = idlest(candidates, loads, added, rng)
            if nodes[at].inflight > MIN_MARGIN and self._spill is not None and len(nodes) > 1:
                at = self._spilt(candidates, runs, length, loads, added, rng, at)
            chosen = nodes[at]
            if trace is not None:
                self._note(
                    trace,
                    candidates,
                    at,
                    PromptView(length, cached_by(candidates, runs), loads, added, mean_of(loads)),
                )
            elif (
                match is not None and chosen.id in self._table.bits
            ):  # it may have been removed since the snapshot
                self._table.record(chosen.id, match)
        return chosen

    def _best(
        self,
        contenders: Sequence[tuple[float, int]],
        length: float,
        loads: Sequence[float],
        added: Sequence[float],
        rng: Random,
    ) -> int:
        """Return the contender with the least score; break ties by load, then at random."""
        if len(contenders) == 1:
            return contenders[0][1]
        ats = [at for _, at in contenders]
        prompt = PromptView(
            length,
            [cached for cached, _ in contenders],
            [loads[at] for at in ats],
            [added[at] for at in ats],
            mean_of(loads),
        )
        scores = self._rule.scores(prompt)
        best = min(scores)
        if scores.count(best) > 1:
            ties = [at for at, score in zip(ats, scores, strict=True) if score == best]
            return least_loaded(ties, loads, rng)
        return ats[scores.index(best)]

    def _spilt(
        self,
        candidates: Candidates,
        runs: Sequence[tuple[int, int]],
        length: float,
        loads: Sequence[float],
        added: Sequence[float],
        rng: Random,
        at: int,
    ) -> int:
        """Return the rule's position, or the best one that is not too busy if the rule's endpoint is too busy."""
        nodes, limit = candidates.nodes, self._limit(candidates.nodes)
        if nodes[at].inflight <= limit * nodes[at].capacity:
            return at
        cached = cached_by(candidates, runs)
        fitting = [
            (cached[at], at) for at, node in enumerate(nodes) if node.inflight <= limit * node.capacity
        ]
        return self._best(fitting, length, loads, added, rng) if fitting else at

    def _limit(self, nodes: Sequence[Node]) -> float:
        """Return the open leases above which an endpoint of capacity 1 is too busy."""
        if self._spill is None:
            return math.inf
        mean = sum([node.inflight for node in nodes]) / sum([node.capacity for node in nodes])
        return max(self._spill * mean, mean + max(MIN_MARGIN, 2.0 * math.sqrt(mean)))

    def _note(self, trace: Trace, candidates: Candidates, at: int, prompt: PromptView) -> None:
        """Add each candidate's cached part of the prompt, load and score to the trace; the chosen one first."""
        limit = self._limit(candidates.nodes)
        lines: list[str] = []
        for node, cached, load, score in zip(
            candidates.nodes, prompt.cached, prompt.loads, self._rule.scores(prompt), strict=True
        ):
            most = limit * node.capacity
            passed = f", passed over: above {most:.3g} open" if node.inflight > most else ""
            lines.append(
                f"{node.id!r}: matched {min(cached, prompt.length):.4g} of {prompt.length:.4g} blocks, load {load:.4g}, score {score:.4g}{passed}"
            )
        for line in (lines[at], *lines[:at], *lines[at + 1 :]):
            trace.note(line)
