"""Laws 1 to 3, 7 and 8: validity of picks, also after a change and on the fast path."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from random import Random
from typing import Final

from balancekit._support.extras import extra

with extra("testing"):
    from hypothesis import strategies as st

from balancekit.errors import brief
from balancekit.protocols import SupportsPrepare
from balancekit.snapshot import Key, Members, Node, PickContext, Snapshot, Trace
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context
from balancekit.testing.laws._endless import check_end
from balancekit.testing.laws._fast_picks import fast_picks
from balancekit.testing.laws._sizes import check_last_of_many, check_sizes
from balancekit.testing.laws._subject import Subject
from balancekit.testing.strategies import keys, snapshots

__all__ = [
    "fast_path_agrees",
    "honours_exclusion",
    "none_iff_no_candidate",
    "picks_candidates",
    "survives_changes",
]

TIMES_S: Final = (0.0, 1.5, 86_399.0, 1e9)
"""Times of picks, in seconds of any clock."""
COSTS: Final = (1.0, 0.5, 40.0)
SHORT_LIVED: Final = 60
"""Number of snapshots that are dropped at once, so that later ones have the same place in memory."""


def picks_candidates(subject: Subject) -> None:
    """Law 1. A pick ends, and is one of the objects in ``snapshot.candidates(ctx)``, or ``None``."""
    check_end(subject, "1, picks_candidates")

    @subject.search(
        snapshot=snapshots(),
        key=st.none() | keys(),
        seed=st.integers(0, 99),
    )
    def law(snapshot: Snapshot, key: Key | None, seed: int) -> None:
        selector, rng = subject.make(), Random(seed)
        for now, traced in itertools.product(TIMES_S, (False, True)):
            ctx = make_context(rng, key=key, now=now)
            ctx.trace = Trace() if traced else None
            node = selector.select(snapshot, ctx)
            if node is not None and not any(node is one for one in snapshot.candidates(ctx)):
                raise LawBroken("1, picks_candidates", f"select() returned {_wrong(node, snapshot, ctx)}")

    check_sizes(subject, "1, picks_candidates")


def honours_exclusion(subject: Subject) -> None:
    """Law 2. An excluded endpoint is never picked, in ten picks with the same context."""

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
                raise LawBroken(
                    "2, honours_exclusion", f"picked {node.id!r} although {sorted(exclude)} were excluded"
                )


def none_iff_no_candidate(subject: Subject) -> None:
    """Law 3. A pick is ``None`` if and only if there is no candidate, whatever the cost and the time of the request.

    This holds in a panic, too, when all endpoints are eligible because too many are down.
    """

    @subject.search(
        snapshot=snapshots(),
        exclude=st.sets(st.sampled_from([f"e{k}" for k in range(6)])),
        key=st.none() | keys(),
    )
    def law(snapshot: Snapshot, exclude: set[str], key: Key | None) -> None:
        members = snapshot.members
        panic = Snapshot(members, members.nodes, version=snapshot.version + 1, panic=True)
        for published in (snapshot, panic):
            selector, rng = subject.make(), Random(0)
            for now, cost in itertools.product(TIMES_S, COSTS):
                ctx = make_context(rng, key=key, exclude=exclude, cost=cost, now=now)
                node, found = selector.select(published, ctx), [one.id for one in published.candidates(ctx)]
                if (node is None) == bool(found):
                    raise LawBroken(
                        "3, none_iff_no_candidate",
                        f"picked {node!r} when the candidates were {found}, cost {cost:g} at {now:g} s from {published!r}",
                    )

    check_last_of_many(subject, "3, none_iff_no_candidate")


def survives_changes(subject: Subject) -> None:
    """Law 7. After any change of membership or health, a pick from a snapshot is a candidate of that snapshot.

    This holds for the new snapshot and for the one before: while a new snapshot is prepared, and shortly after that,
    requests still pick from the previous one.
    """
    _check_short_lived(subject)

    @subject.search(changes=st.lists(snapshots(), min_size=2, max_size=6), key=st.none() | keys())
    def law(changes: list[Snapshot], key: Key | None) -> None:
        selector, ctx = subject.make(), make_context(3, key=key)
        select_from = selector.select
        earlier: list[tuple[Snapshot, Callable[[], Node | None]]] = []
        for snapshot in _versions(changes):
            if isinstance(selector, SupportsPrepare):
                selector.prepare(snapshot)
            select = partial(select_from, snapshot, ctx)
            for _ in range(3):
                _pick_after(snapshot, snapshot, select, ctx)
            for origin, pick in earlier:
                _pick_after(snapshot, origin, pick, ctx)
            earlier = [(snapshot, select)]
            for fast in fast_picks(selector, snapshot, Random(3)):
                if not fast.optional:  # first, because ``select`` may repair what the picker needs
                    earlier.insert(0, (snapshot, fast.bind("k")))


def _check_short_lived(subject: Subject) -> None:
    """Check picks from snapshots that are dropped after one pick: ``id`` of a later one may be the same."""
    members = Members(subject.nodes({"a": 1.0, "b": 1.0, "c": 1.0}), version=1)
    selector, ctx = subject.make(), make_context(4, key="user:1")
    for number in range(SHORT_LIVED):
        gone = members.nodes[number % 3]
        left = tuple([node for node in members.nodes if node is not gone])
        snapshot = Snapshot(members, left, version=number)
        if isinstance(selector, SupportsPrepare):
            selector.prepare(snapshot)
        _pick_after(snapshot, snapshot, partial(selector.select, snapshot, ctx), ctx)


def _wrong(given: object, snapshot: Snapshot, ctx: PickContext) -> str:
    """Return the difference between a pick and what is expected."""
    ids = [one.id for one in snapshot.candidates(ctx)]
    if given is not None and not isinstance(given, Node):
        what = f"{brief(given)} of type {type(given).__name__}"
        return f"{what} from {snapshot!r}: expected one of its nodes, or None"
    if given is not None and given.id in ids:
        return f"{given!r} from {snapshot!r}: expected the node object of the snapshot, not another one with its id"
    return f"{given!r} from {snapshot!r}, whose candidates were {ids}"


def _pick_after(
    change: Snapshot, origin: Snapshot, pick: Callable[[], Node | None], ctx: PickContext
) -> None:
    """Check a pick from the snapshot ``origin`` after a change to the snapshot ``change``."""
    try:
        node = pick()
    except Exception as error:
        raise LawBroken("7, survives_changes", f"{error!r} after a change to {change!r}") from error
    candidates = origin.candidates(ctx)
    if (node is None and candidates) or (node and not any(node is one for one in candidates)):
        raise LawBroken(
            "7, survives_changes", f"picked {_wrong(node, origin, ctx)}, after a change to {change!r}"
        )


def _versions(changes: Iterable[Snapshot]) -> Iterator[Snapshot]:
    """Yield snapshots with the version numbers of a pool. After each, one endpoint goes down, and comes back."""
    for number, change in enumerate(changes, 1):
        members = Members(change.members.nodes, version=number)
        for version, eligible in enumerate(
            (change.eligible, change.eligible[1:], change.eligible), 3 * number
        ):
            yield Snapshot(members, eligible, version=version)


def fast_path_agrees(subject: Subject) -> None:
    """Law 8. A picker picks eligible endpoints. A keyed picker picks the same endpoint as ``select`` for each key.

    A path of ``pickers()`` of a selector with a ``default_load`` may pick another one, because it compares loads, too.
    """

    @subject.search(snapshot=snapshots(min_size=1), key=keys(), seed=st.integers(0, 99))
    def law(snapshot: Snapshot, key: Key, seed: int) -> None:
        selector = subject.make()
        by_load = getattr(selector, "default_load", None) is not None
        for fast in fast_picks(selector, snapshot, Random(seed)):
            pick, other = fast.bind(key), subject.make()
            for _ in range(4):
                node = pick()
                if node is None and fast.optional:
                    continue
                if not any(node is one for one in snapshot.eligible):
                    raise LawBroken("8, fast_path_agrees", f"{fast.name} returned {node!r} for {snapshot!r}")
                if (
                    fast.keyed
                    and not (fast.optional and by_load)
                    and node is not other.select(snapshot, make_context(seed, key=key))
                ):
                    raise LawBroken("8, fast_path_agrees", f"{fast.name} and select differ for key {key!r}")
