"""Laws that every selector keeps, each with a number to cite.

==  ===============================  ====================================================================
1   :func:`picks_candidates`         a pick is one of the snapshot's candidates, or ``None``
2   :func:`honours_exclusion`        never an excluded endpoint
3   :func:`none_iff_nobody`          ``None`` if and only if there is no candidate
4   :func:`uses_only_its_generator`  module-level randomness and clocks change nothing
5   :func:`same_seed_same_picks`     two alike selectors with alike generators pick alike
6   :func:`writes_nothing`           snapshot and nodes look the same after a pick
7   :func:`survives_changes`         right after any change of membership or health, law 1 holds
8   :func:`fast_path_agrees`         the picker picks eligible endpoints, keyed ones what ``select`` does
9   :func:`in_proportion`            survivors' shares are in proportion to their weights, whichever are
                                     down, removed or excluded; weight zero is never picked beside others
10  :func:`evenly`                   survivors' shares are equal, whichever are down, removed or excluded
11  :func:`independent_of_order`     (keyed) the owner of a key does not depend on the order of endpoints
12  :func:`disrupts_little`          (keyed) only keys of a changed endpoint change their owner
==  ===============================  ====================================================================

``ALL`` are the laws every weighted selector keeps: 1 to 9. An algorithm that ignores weights is checked with
``ALL - {WEIGHTED}``, one that should treat all alike with ``ALL - {WEIGHTED} | {EVEN}``, a consistent hash
with ``ALL - {WEIGHTED} | HASHED``. Laws 9 and 10 are statistical, with a fixed seed and a gate of 4.5
standard deviations: a right selector fails them never again once it has passed.

In-flight counts (never negative, their sum the open leases) are the balancer's to keep: see
``balancekit.testing.check_balancer``.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any, Final, TypeAlias
from unittest import mock

from balancekit._support.extras import extra

with extra("testing"):
    from hypothesis import Phase, given, settings
    from hypothesis import strategies as st

from balancekit.protocols import LoadPolicy, Selector, SupportsPicker, SupportsPrepare
from balancekit.snapshot import Key, Members, Node, PickContext, Snapshot
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context, make_nodes, make_snapshot
from balancekit.testing._statistics import Z, chi_square_z
from balancekit.testing.strategies import SUPPRESSED_CHECKS, keys, snapshots, weights

__all__ = [
    "ALL",
    "EVEN",
    "HASHED",
    "WEIGHTED",
    "Law",
    "LawBroken",
    "Subject",
    "disrupts_little",
    "evenly",
    "fast_path_agrees",
    "honours_exclusion",
    "in_proportion",
    "independent_of_order",
    "none_iff_nobody",
    "picks_candidates",
    "same_seed_same_picks",
    "survives_changes",
    "uses_only_its_generator",
    "writes_nothing",
]

PICKS: Final = 6_000
"""Per situation of a statistical law: enough to see a share of 1/13 that is off by a fifth."""


MAX_OTHERWISE_MISSING: Final = 2
"""Up to this many endpoints are also removed and excluded: those differ from *down* by code, not by arithmetic."""


class Subject:
    """A selector on trial.

    Parameters
    ----------
    make
        Makes a fresh one.
    load
        The loads of the nodes it sees; ``None`` for its own default.
    held
        Requests kept in flight per unit of weight during statistical laws. Selectors that look for the
        least loaded are in proportion only under load.
    examples
        How many cases each searching law tries.
    """

    def __init__(
        self,
        make: Callable[[], Selector],
        *,
        load: LoadPolicy | None = None,
        held: int = 0,
        examples: int = 50,
    ) -> None:
        self.make = make
        self.load = load
        self.held = held
        self.examples = examples

    def search(self, **strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
        """Decorate a law's body: run it on examples, always the same ones, and shrink what fails."""

        def run(body: Callable[..., None]) -> None:
            steady = settings(
                max_examples=self.examples,
                derandomize=True,
                database=None,
                deadline=None,
                print_blob=False,
                phases=(Phase.explicit, Phase.generate, Phase.shrink),
                suppress_health_check=SUPPRESSED_CHECKS,
            )
            steady(given(**strategies)(body))()

        return run

    def nodes(self, shares: Mapping[str, float]) -> tuple[Node, ...]:
        """Make nodes with the subject's loads."""
        return make_nodes(shares, load=self.load or getattr(self.make(), "default_load", None))


Law: TypeAlias = Callable[[Subject], None]
"""A law raises :class:`LawBroken` if the subject does not keep it."""


# ---------------------------------------------------------------------- what a pick may be


def picks_candidates(subject: Subject) -> None:
    """Law 1. A pick is one of ``snapshot.candidates(ctx)``, the very node, or ``None``."""

    @subject.search(snapshot=snapshots(), key=st.none() | keys(), seed=st.integers(0, 99))
    def law(snapshot: Snapshot, key: Key | None, seed: int) -> None:
        selector, ctx = subject.make(), make_context(seed, key=key)
        for _ in range(4):
            node = selector.select(snapshot, ctx)
            if node is not None and not any(node is one for one in snapshot.candidates(ctx)):
                raise LawBroken("1, picks_candidates", f"{node!r} from {snapshot!r}")


def honours_exclusion(subject: Subject) -> None:
    """Law 2. An excluded endpoint is not picked, not the first time and not the tenth."""

    @subject.search(
        snapshot=snapshots(min_size=1),
        exclude=st.sets(st.sampled_from([f"e{k}" for k in range(6)])),
        key=st.none() | keys(),
        seed=st.integers(0, 99),
    )
    def law(snapshot: Snapshot, exclude: set[str], key: Key | None, seed: int) -> None:
        selector, ctx = subject.make(), make_context(seed, key=key, exclude=exclude)
        for _ in range(10):
            node = selector.select(snapshot, ctx)
            if node is not None and node.id in exclude:
                raise LawBroken("2, honours_exclusion", f"{node.id!r} of excluded {sorted(exclude)}")


def none_iff_nobody(subject: Subject) -> None:
    """Law 3. ``None`` means that there is no candidate, and no candidate gives ``None``."""

    @subject.search(
        snapshot=snapshots(),
        exclude=st.sets(st.sampled_from([f"e{k}" for k in range(6)])),
        key=st.none() | keys(),
    )
    def law(snapshot: Snapshot, exclude: set[str], key: Key | None) -> None:
        selector, ctx = subject.make(), make_context(key=key, exclude=exclude)
        for _ in range(3):
            node = selector.select(snapshot, ctx)
            if (node is None) != (not snapshot.candidates(ctx)):
                found = [one.id for one in snapshot.candidates(ctx)]
                raise LawBroken("3, none_iff_nobody", f"picked {node!r} when the candidates were {found}")


# ---------------------------------------------------------------------- what a pick may depend on


def uses_only_its_generator(subject: Subject) -> None:
    """Law 4. Picks depend on ``ctx.rng`` alone: not on module-level randomness, not on a clock."""

    @subject.search(snapshot=snapshots(min_size=2), key=st.none() | keys())
    def law(snapshot: Snapshot, key: Key | None) -> None:
        seen = []
        for world in (1, 2):
            with _another_world(world):
                before = random.getstate()
                seen.append(_sequence(subject.make(), snapshot, make_context(5, key=key), 12))
                if random.getstate() != before:
                    raise LawBroken("4, uses_only_its_generator", "the module-level generator was used")
        if seen[0] != seen[1]:
            raise LawBroken("4, uses_only_its_generator", f"{seen[0]} became {seen[1]} at another time")


def same_seed_same_picks(subject: Subject) -> None:
    """Law 5. Two alike selectors with alike generators pick alike, over changing snapshots too."""

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
            nodes = subject.nodes(dict(zip("abcd", shares, strict=True)))
            run = []
            for version, down in enumerate(changes):
                run += _sequence(selector, make_snapshot(nodes, down=down, version=version), ctx, 6)
            runs.append(run)
        if runs[0] != runs[1]:
            raise LawBroken("5, same_seed_same_picks", f"{runs[0]} and {runs[1]} with seed {seed}")


def writes_nothing(subject: Subject) -> None:
    """Law 6. After a pick, snapshot and nodes look as they did before."""

    @subject.search(snapshot=snapshots(), key=st.none() | keys(), exclude=st.sets(st.just("e0")))
    def law(snapshot: Snapshot, key: Key | None, exclude: set[str]) -> None:
        selector, ctx = subject.make(), make_context(key=key, exclude=exclude)
        before = _looks(snapshot), (ctx.now, ctx.key, ctx.cost, set(ctx.exclude))
        for _ in range(4):
            selector.select(snapshot, ctx)
        if before != (_looks(snapshot), (ctx.now, ctx.key, ctx.cost, set(ctx.exclude))):
            raise LawBroken("6, writes_nothing", f"{snapshot!r} or its context looks different after picks")


def survives_changes(subject: Subject) -> None:
    """Law 7. Right after any change of membership or health, a pick is a candidate of the new snapshot."""

    @subject.search(changes=st.lists(snapshots(), min_size=2, max_size=6), key=st.none() | keys())
    def law(changes: list[Snapshot], key: Key | None) -> None:
        selector, ctx = subject.make(), make_context(3, key=key)
        for snapshot in changes:
            if isinstance(selector, SupportsPrepare):
                selector.prepare(snapshot)
            for _ in range(3):
                node = selector.select(snapshot, ctx)
                candidates = snapshot.candidates(ctx)
                if (node is None and candidates) or (node and not any(node is one for one in candidates)):
                    raise LawBroken("7, survives_changes", f"{node!r} after a change to {snapshot!r}")


def fast_path_agrees(subject: Subject) -> None:
    """Law 8. A picker picks eligible endpoints; a keyed one picks what ``select`` picks for the key."""
    if not isinstance(subject.make(), SupportsPicker):
        return

    @subject.search(snapshot=snapshots(min_size=1), key=keys(), seed=st.integers(0, 99))
    def law(snapshot: Snapshot, key: Key, seed: int) -> None:
        selector = subject.make()
        if not isinstance(selector, SupportsPicker) or not snapshot.eligible:
            return
        pick = selector.picker(snapshot, rng=Random(seed))
        for _ in range(4):
            node = pick(key, 0.0) if selector.keyed else pick(0.0)
            if not any(node is one for one in snapshot.eligible):
                raise LawBroken("8, fast_path_agrees", f"the picker answered {node!r} for {snapshot!r}")
            if selector.keyed and node is not subject.make().select(snapshot, make_context(seed, key=key)):
                raise LawBroken("8, fast_path_agrees", f"picker and select differ for key {key!r}")


# ---------------------------------------------------------------------- shares


def in_proportion(subject: Subject) -> None:
    """Law 9. Survivors' shares are in proportion to their weights, whichever endpoints are missing and however.

    For every set of missing endpoints (of five, of weights 5, 3, 2, 2, 1), missing because they are down,
    because they were removed, or because the request excludes them. And: an endpoint of weight zero is
    never picked while another may be.
    """
    shares = {"a": 5.0, "b": 3.0, "c": 2.0, "d": 2.0, "e": 1.0}
    _check_shares(subject, shares, shares, "9, in_proportion")
    nodes = subject.nodes({"a": 2.0, "zero": 0.0, "b": 1.0})
    counts = _counts(subject, subject.make(), make_snapshot(nodes), make_context(11), 2_000)
    if counts.get("zero"):
        raise LawBroken("9, in_proportion", f"weight zero was picked: {counts}")


def evenly(subject: Subject) -> None:
    """Law 10. Survivors' shares are equal, whichever endpoints are missing and however, whatever the weights."""
    even = dict.fromkeys("abcde", 1.0)
    _check_shares(subject, {"a": 5.0, "b": 3.0, "c": 2.0, "d": 2.0, "e": 1.0}, even, "10, evenly")


def _check_shares(
    subject: Subject,
    given_weights: Mapping[str, float],
    expected: Mapping[str, float],
    law: str,
) -> None:
    for count in range(len(expected) - 1):
        for missing in itertools.combinations(expected, count):
            wanted = {id: weight for id, weight in expected.items() if id not in missing}
            for how, lane, counts in _situations(subject, given_weights, set(missing)):
                z = chi_square_z(counts, wanted)
                if z > Z or set(counts) - set(wanted):
                    raise LawBroken(
                        law,
                        f"with {missing or 'none'} {how}, {lane} gave {dict(sorted(counts.items()))} for "
                        f"weights {wanted}: {z:.1f} standard deviations off (at most {Z})",
                    )


def _situations(
    subject: Subject,
    shares: Mapping[str, float],
    missing: set[str],
) -> Iterator[tuple[str, str, dict[str, int]]]:
    whole = make_snapshot(subject.nodes(shares))
    nodes = whole.members.nodes
    seed = hash_free_seed(missing)

    selector, ctx = subject.make(), make_context(seed)
    _counts(subject, selector, whole, ctx, 7)  # it has seen better days
    yield "down", "select", _counts(subject, selector, make_snapshot(nodes, down=missing), ctx, PICKS)

    if len(missing) <= MAX_OTHERWISE_MISSING:
        left = tuple([node for node in nodes if node.id not in missing])
        selector = subject.make()
        _counts(subject, selector, whole, ctx, 7)
        yield "removed", "select", _counts(subject, selector, make_snapshot(left, version=2), ctx, PICKS)

        excluding = make_context(seed, exclude=missing)
        yield "excluded", "select", _counts(subject, subject.make(), whole, excluding, PICKS)

    selector = subject.make()
    if isinstance(selector, SupportsPicker) and not selector.keyed and not subject.held:
        pick = selector.picker(make_snapshot(nodes, down=missing), rng=Random(seed))
        picked = [pick(0.0).id for _ in range(PICKS)]
        yield "down", "the picker", {id: picked.count(id) for id in set(picked)}


def hash_free_seed(ids: set[str]) -> int:
    """Return a seed that is the same in every process."""
    return sum(ord(id) << position for position, id in enumerate(sorted(ids))) + 17


def _counts(
    subject: Subject,
    selector: Selector,
    snapshot: Snapshot,
    ctx: PickContext,
    picks: int,
) -> dict[str, int]:
    """Pick, hold what is to be held, release at random; count the picks."""
    counts: dict[str, int] = {}
    held: list[Node] = []
    keyed = getattr(selector, "keyed", False)
    level = int(subject.held * sum(node.weight for node in snapshot.candidates(ctx)))
    chance = Random(23)
    for number in range(picks + level):
        if len(held) >= max(1, level):
            place = chance.randrange(len(held))
            held[place], held[-1] = held[-1], held[place]
            held.pop().inflight -= 1
        asked = make_context(ctx.rng, key=f"key:{number}", exclude=ctx.exclude) if keyed else ctx
        node = selector.select(snapshot, asked)
        if node is None:
            continue
        node.inflight += 1
        held.append(node)
        if number >= level:
            counts[node.id] = counts.get(node.id, 0) + 1
    for node in held:
        node.inflight -= 1
    return counts


# ---------------------------------------------------------------------- keys


def independent_of_order(subject: Subject) -> None:
    """Law 11. The owner of a key is the same whatever the order of the endpoints."""
    wanted = [f"key:{number}" for number in range(300)]
    nodes = subject.nodes({"a": 1.0, "b": 2.0, "c": 1.0, "d": 3.0})
    owners = _owners(subject, nodes, wanted)
    for order in itertools.permutations(nodes):
        moved = {key for key, owner in _owners(subject, order, wanted).items() if owner != owners[key]}
        if moved:
            key = min(moved)
            raise LawBroken("11, independent_of_order", f"{key!r} has another owner in another order")


def disrupts_little(subject: Subject) -> None:
    """Law 12. When an endpoint leaves, only its keys move; when one joins, keys move only to it."""
    wanted = [f"key:{number}" for number in range(2_000)]
    shares = {f"e{number}": 1.0 for number in range(10)}
    nodes = subject.nodes(shares)
    whole = _owners(subject, nodes, wanted)
    for gone in shares:
        left = _owners(subject, tuple([node for node in nodes if node.id != gone]), wanted)
        stray = [key for key in wanted if whole[key] != gone and left[key] != whole[key]]
        if stray:
            raise LawBroken("12, disrupts_little", f"{len(stray)} keys moved that {gone!r} did not own")


def _owners(subject: Subject, nodes: tuple[Node, ...], wanted: list[str]) -> dict[str, str | None]:
    selector = subject.make()
    snapshot = Snapshot(Members(nodes), nodes)
    owners: dict[str, str | None] = {}
    for key in wanted:
        node = selector.select(snapshot, make_context(key=key))
        owners[key] = None if node is None else node.id
    return owners


# ---------------------------------------------------------------------- helpers


def _sequence(selector: Selector, snapshot: Snapshot, ctx: PickContext, count: int) -> list[str | None]:
    picked = [selector.select(snapshot, ctx) for _ in range(count)]
    return [None if node is None else node.id for node in picked]


def _looks(snapshot: Snapshot) -> tuple[object, ...]:
    return (
        snapshot.version,
        snapshot.panic,
        tuple([id(node) for node in snapshot.eligible]),
        tuple([_node_looks(node) for node in snapshot.members.nodes]),
    )


def _node_looks(node: Node) -> tuple[object, ...]:
    facts = (node.id, node.weight, node.priority, node.zone, dict(node.metadata), node.ramp)
    return (*facts, node.inflight, node.successes, id(node.load), node.load.value(now=0.0))


@contextmanager
def _another_world(number: int) -> Iterator[None]:
    """Let module-level randomness and every clock differ."""
    state = random.getstate()
    random.seed(number)
    clocks = ("time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "perf_counter_ns")
    patches = [mock.patch.object(time, name, return_value=number * 1_000) for name in clocks]
    try:
        for patch in patches:
            patch.start()
        yield
    finally:
        for patch in patches:
            patch.stop()
        random.setstate(state)


WEIGHTED: Final[Law] = in_proportion
"""Law 9, which an algorithm that ignores weights does not keep: ``ALL - {WEIGHTED}``."""
EVEN: Final[Law] = evenly
"""Law 10, for algorithms that treat all endpoints alike."""
HASHED: Final[frozenset[Law]] = frozenset({independent_of_order, disrupts_little})
"""Laws 11 and 12, for consistent hashing."""
ALL: Final[frozenset[Law]] = frozenset(
    {
        picks_candidates,
        honours_exclusion,
        none_iff_nobody,
        uses_only_its_generator,
        same_seed_same_picks,
        writes_nothing,
        survives_changes,
        fast_path_agrees,
        in_proportion,
    },
)
"""Laws 1 to 9."""
