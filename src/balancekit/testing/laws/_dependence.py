"""Laws 4 to 6: the inputs on which a pick may depend and the state that it may change, by ``select`` and by a picker."""

from __future__ import annotations

import random
import sys
from typing import Any, Final

from balancekit._support.extras import extra

with extra("testing"):
    from hypothesis import strategies as st

from balancekit.protocols import Selector
from balancekit.snapshot import Key, Members, Node, PickContext, Snapshot
from balancekit.testing._broken import LawBroken
from balancekit.testing._environments import patched_environment
from balancekit.testing._factories import make_context
from balancekit.testing.laws._fast_picks import fast_picks
from balancekit.testing.laws._randomness import check_generators, check_set_order
from balancekit.testing.laws._subject import Subject
from balancekit.testing.strategies import keys, snapshots, weights

__all__ = ["same_seed_same_picks", "uses_only_its_generator", "writes_nothing"]

KEY: Final = "user:1"
"""Key of requests by keyed pickers, in examples without a key."""
TRIES: Final = 3
"""Number of repetitions before the selector is blamed: another thread may have used the module-level generator."""


def uses_only_its_generator(subject: Subject) -> None:
    """Law 4. Picks depend on no source of randomness other than ``ctx.rng``.

    They do not depend on module-level randomness, on a clock, on ``hash()`` of text, or on the order of a set, which differs
    between processes. They draw from no ``Random`` of the selector, unless the pick has seeded it: balancers whose selectors
    have the same seed send their requests to the same endpoints.
    """
    check_generators(subject, "4, uses_only_its_generator")

    @subject.search(snapshot=snapshots(min_size=2), key=st.none() | keys())
    def law(snapshot: Snapshot, key: Key | None) -> None:
        seen = []
        module = sys.modules.get(type(subject.make()).__module__)
        for environment in (1, 2):
            with patched_environment(environment, module):
                for _ in range(TRIES):
                    before = random.getstate()
                    picked = _sequence(subject.make(), snapshot, make_context(5, key=key), 12)
                    if random.getstate() == before:
                        break
                else:
                    raise LawBroken("4, uses_only_its_generator", "the module-level generator was used")
                seen.append(picked)
        if seen[0] != seen[1]:
            raise LawBroken(
                "4, uses_only_its_generator",
                f"{seen[0]} became {seen[1]} with other clocks, hashes or module-level randomness",
            )

    check_set_order(subject, "4, uses_only_its_generator")


def same_seed_same_picks(subject: Subject) -> None:
    """Law 5. Two equal selectors with equal generators make equal picks, also over changing snapshots."""

    @subject.search(
        changes=st.lists(st.sets(st.sampled_from("abcd")), min_size=1, max_size=4),
        shares=st.lists(weights(zero=False), min_size=4, max_size=4),
        key=st.none() | keys(),
        seed=st.integers(0, 99),
    )
    def law(changes: list[set[str]], shares: list[float], key: Key | None, seed: int) -> None:
        runs = []
        for _ in range(2):
            selector, ctx = subject.make(), make_context(seed, key=key)
            members = Members(subject.nodes(dict(zip("abcd", shares, strict=True))))
            run = []
            for version, down in enumerate(changes):
                up = tuple([node for node in members.nodes if node.id not in down])
                run += _sequence(selector, Snapshot(members, up, version=version), ctx, 6)
            runs.append(run)
        if runs[0] != runs[1]:
            raise LawBroken("5, same_seed_same_picks", f"{runs[0]} and {runs[1]} with seed {seed}")


def writes_nothing(subject: Subject) -> None:
    """Law 6. A pick does not change the snapshot, its nodes or the context."""

    @subject.search(snapshot=snapshots(), key=st.none() | keys(), exclude=st.sets(st.just("e0")))
    def law(snapshot: Snapshot, key: Key | None, exclude: set[str]) -> None:
        selector, ctx = subject.make(), make_context(key=key, exclude=exclude)
        before = _snapshot_state(snapshot), (ctx.now, ctx.key, ctx.cost, set(ctx.exclude))
        _sequence(selector, snapshot, ctx, 4)
        if before != (_snapshot_state(snapshot), (ctx.now, ctx.key, ctx.cost, set(ctx.exclude))):
            raise LawBroken("6, writes_nothing", f"picks changed {snapshot!r} or its context")


def _sequence(selector: Selector, snapshot: Snapshot, ctx: PickContext, count: int) -> list[object]:
    """Pick by ``select``, and then by the pickers if there are any. Return the ids."""
    picked: list[Any] = [selector.select(snapshot, ctx) for _ in range(count)]
    for fast in fast_picks(selector, snapshot, ctx.rng):
        pick = fast.bind(KEY if ctx.key is None else ctx.key)
        picked += [pick() for _ in range(count)]
    return [getattr(node, "id", node) for node in picked]


def _snapshot_state(snapshot: Snapshot) -> tuple[object, ...]:
    return (
        snapshot.version,
        snapshot.panic,
        tuple([id(node) for node in snapshot.eligible]),
        tuple([_node_state(node) for node in snapshot.members.nodes]),
    )


def _node_state(node: Node) -> tuple[object, ...]:
    facts = (node.id, node.weight, node.priority, node.zone, dict(node.metadata), node.ramp)
    return (*facts, node.inflight, node.successes, id(node.load), node.load.value(now=0.0))
