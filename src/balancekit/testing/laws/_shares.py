"""Laws 9 and 10: shares of endpoints, in proportion to weights or equal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from random import Random
from typing import Final

from balancekit.protocols import Selector, SupportsPicker
from balancekit.snapshot import Node, PickContext, Snapshot
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context, make_snapshot
from balancekit.testing._statistics import Z, chi_square_z
from balancekit.testing.laws._subject import Subject

__all__ = ["evenly", "in_proportion"]

PICKS: Final = 6_000
"""Number of picks in each situation. A share of 1/13 that is wrong by a fifth is detected."""
MAX_OTHERWISE_MISSING: Final = 2
"""Maximum number of missing endpoints that are tested as removed and as excluded, and not only as down. The expected shares
are the same, so a few cases suffice to test the code of removal and exclusion."""


def in_proportion(subject: Subject) -> None:
    """Law 9. Shares are in proportion to weights, whichever endpoints are missing.

    This is checked with five endpoints of weights 5, 3, 2, 2 and 1, for all sets of missing endpoints that leave at least
    two. They are missing because they are down, were removed, or are excluded by the request. It is also checked after
    endpoints were added and after weights changed. In addition, an endpoint of weight 0 is never picked while another one
    may be picked.
    """
    shares = {"a": 5.0, "b": 3.0, "c": 2.0, "d": 2.0, "e": 1.0}
    _check_shares(subject, shares, shares, "9, in_proportion")
    nodes = subject.nodes({"a": 2.0, "zero": 0.0, "b": 1.0})
    counts = _counts(subject, subject.make(), make_snapshot(nodes), make_context(11), 2_000)
    if counts.get("zero"):
        raise LawBroken("9, in_proportion", f"weight zero was picked: {counts}")


def evenly(subject: Subject) -> None:
    """Law 10. Shares are equal, whichever endpoints are missing and whatever their weights. Checked like law 9."""
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
            for how, path, counts in _situations(subject, given_weights, set(missing)):
                _compare(law, f"with {missing or 'none'} {how}, {path}", counts, wanted)
    for how, counts in _changes(subject, given_weights):
        _compare(law, f"right after {how}, select", counts, expected)


def _compare(law: str, situation: str, counts: Mapping[str, int], wanted: Mapping[str, float]) -> None:
    z = chi_square_z(counts, wanted)
    if z > Z or set(counts) - set(wanted):
        raise LawBroken(
            law,
            f"{situation} gave {dict(sorted(counts.items()))} for weights {wanted}: {z:.1f} standard deviations "
            f"off (at most {Z})",
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
    _counts(subject, selector, whole, ctx, 7)  # some picks while no endpoint is missing
    yield (
        "down",
        "select",
        _counts(subject, selector, make_snapshot(nodes, down=missing, version=2), ctx, PICKS),
    )

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


def _changes(subject: Subject, shares: Mapping[str, float]) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield changes and the counts after them: endpoints are added, or weights change, after the first picks."""
    fewer = {id: weight for id, weight in shares.items() if id not in {"a", "e"}}
    others = dict(zip(shares, reversed([*shares.values()]), strict=True))
    for how, before in (("two endpoints joined", fewer), (f"weights were {others}", others)):
        selector, ctx = subject.make(), make_context(hash_free_seed(set(before)))
        _counts(subject, selector, make_snapshot(subject.nodes(before)), ctx, 7)
        whole = make_snapshot(subject.nodes(shares), version=2)
        yield how, _counts(subject, selector, whole, ctx, PICKS)


def hash_free_seed(ids: set[str]) -> int:
    """Return a seed that is the same in each process, unlike one from ``hash()``."""
    return sum(ord(id) << position for position, id in enumerate(sorted(ids))) + 17


def _counts(
    subject: Subject,
    selector: Selector,
    snapshot: Snapshot,
    ctx: PickContext,
    picks: int,
) -> dict[str, int]:
    """Return the number of picks of each endpoint, while a number of requests is kept in flight."""
    counts: dict[str, int] = {}
    held: list[Node] = []
    keyed = getattr(selector, "keyed", False)
    level = int(subject.held * sum(node.weight for node in snapshot.candidates(ctx)))
    rng = Random(23)
    for number in range(picks + level):
        if len(held) >= max(1, level):
            place = rng.randrange(len(held))
            held[place], held[-1] = held[-1], held[place]
            held.pop().inflight -= 1
        request = make_context(ctx.rng, key=f"key:{number}", exclude=ctx.exclude) if keyed else ctx
        node = selector.select(snapshot, request)
        if node is None:
            continue
        node.inflight += 1
        held.append(node)
        if number >= level:
            counts[node.id] = counts.get(node.id, 0) + 1
    for node in held:
        node.inflight -= 1
    return counts
