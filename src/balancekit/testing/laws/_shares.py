"""Laws 9 and 10: shares of endpoints, in proportion to weights or equal."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final

from balancekit.errors import ConfigurationError
from balancekit.protocols import Selector
from balancekit.snapshot import Node, PickContext, Snapshot
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context, make_snapshot
from balancekit.testing._statistics import Z, chi_square_z
from balancekit.testing.laws._fast_picks import FastPick, fast_picks
from balancekit.testing.laws._subject import Subject

__all__ = ["evenly", "in_proportion"]

PICKS: Final = 6_000
"""Number of picks in each situation. A share of 1/13 that is wrong by a fifth is detected."""
MAX_OTHERWISE_MISSING: Final = 2
"""Maximum number of missing endpoints that are tested as removed and as excluded, and not only as down. The expected shares
are the same, so a few cases suffice to test the code of removal and exclusion."""
BEFORE: Final = 2_000
"""Number of picks before a change. A selector that counts picks and lets newcomers catch up gives them as many."""
EARLIER_KEYS: Final = "{}, earlier"
"""Keys before a change: other ones, since a selector may keep each key at its endpoint."""
FRACTIONS: Final = {"a": 1.5, "b": 2.5, "c": 7.0}
"""Weights of which the whole parts give other shares."""
ALIKE: Final[Mapping[str, float]] = dict.fromkeys(
    ("node-A", "node-a", "10.0.0.1:80", "10.0.0.1:8080", "[::1]:80", f"{'x' * 40}1", f"{'x' * 40}2"), 1.0
)
"""Endpoints of weight 1 whose ids differ by case only, or at their end."""
MANY: Final[Mapping[str, float]] = {f"n{number}": 1.0 for number in range(300)}
"""More endpoints than fit in the index of one byte."""
MANY_PICKS: Final = 3_000
ZERO_PICKS: Final = 1_000
MAX_SHOWN: Final = 12


def in_proportion(subject: Subject) -> None:
    """Law 9. Shares are in proportion to weights, whichever endpoints are missing.

    This is checked with five endpoints of weights 5, 3, 2, 2 and 1, for all sets of missing endpoints that leave at least
    two. They are missing because they are down, were removed, or are excluded by the request. It is also checked after
    endpoints were added or came back, after weights changed, for weights that are fractions, for ids that are nearly equal,
    and for 300 endpoints. In addition, an endpoint of weight 0 is never picked while another one may be picked.
    """
    shares = {"a": 5.0, "b": 3.0, "c": 2.0, "d": 2.0, "e": 1.0}
    _check_shares(subject, shares, shares, "9, in_proportion")
    fractions = make_snapshot(subject.nodes(FRACTIONS))
    counts = _counts(subject, subject.make(), fractions, make_context(12), PICKS)
    _compare("9, in_proportion", "weights that are fractions, select", counts, FRACTIONS)
    _check_zero(subject)


def _check_zero(subject: Subject) -> None:
    """Check that an endpoint of weight 0 is not picked, by ``select`` with and without exclusions, and by pickers."""
    snapshot = make_snapshot(subject.nodes({"a": 2.0, "zero": 0.0, "b": 1.0, "c": 1.0}))
    for exclude in ((), ("c",)):
        ctx = make_context(11, exclude=exclude)
        counts = _counts(subject, subject.make(), snapshot, ctx, ZERO_PICKS)
        if counts.get("zero"):
            raise LawBroken(
                "9, in_proportion", f"weight zero was picked, with {exclude or 'none'} excluded: {counts}"
            )
    for fast in fast_picks(subject.make(), snapshot, Random(11)):
        picked = {getattr(fast.bind(f"key:{number}")(), "id", None) for number in range(ZERO_PICKS)}
        if "zero" in picked:
            raise LawBroken("9, in_proportion", f"weight zero was picked by {fast.name}")


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
    for how, equal, picks in (
        ("ids that are nearly equal", ALIKE, PICKS),
        (f"{len(MANY)} endpoints", MANY, MANY_PICKS),
    ):
        try:
            snapshot = make_snapshot(subject.nodes(equal))
            counts = _counts(subject, subject.make(), snapshot, make_context(13), picks)
        except ConfigurationError:  # more endpoints than its table has rows
            continue
        _compare(law, f"{how}, select", counts, equal)


def _compare(law: str, situation: str, counts: Mapping[str, int], wanted: Mapping[str, float]) -> None:
    z = chi_square_z(counts, wanted)
    if z > Z or set(counts) - set(wanted):
        raise LawBroken(
            law,
            f"{situation} gave {_shown(counts)} for weights {_shown(wanted)}: {z:.1f} standard deviations "
            f"off (at most {Z})",
        )


def _shown(numbers: Mapping[str, float]) -> str:
    """Return numbers by id; of many, the smallest and the largest ones."""
    ranked = sorted(numbers.items())
    if len(ranked) > MAX_SHOWN:
        ranked = sorted(ranked, key=lambda item: item[1])
        return f"{dict(ranked[:2])} to {dict(ranked[-2:])} of {len(ranked)} endpoints"
    return f"{dict(ranked)}"


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
    some = make_snapshot(nodes, down=missing)
    for fast in fast_picks(selector, some, Random(seed)):
        by_load = fast.optional and getattr(selector, "default_load", None) is not None
        if not fast.keyed and not subject.held and not by_load:
            yield "down", fast.name, _counts_by(_unkeyed(fast), 1, PICKS)


def _unkeyed(fast: FastPick) -> Callable[[int], Node | None]:
    """Return a function that picks on a fast path, whatever the number of the request."""
    pick = fast.bind("")
    return lambda _number: pick()


def _changes(subject: Subject, shares: Mapping[str, float]) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield changes and the counts after them: endpoints join or come back, or weights change, after some picks."""
    fewer = {id: weight for id, weight in shares.items() if id not in {"a", "e"}}
    others = dict(zip(shares, reversed([*shares.values()]), strict=True))
    for how, before in (("two endpoints joined", fewer), (f"weights were {others}", others)):
        selector, ctx = subject.make(), make_context(hash_free_seed(set(before)))
        _counts(subject, selector, make_snapshot(subject.nodes(before)), ctx, BEFORE, keys=EARLIER_KEYS)
        whole = make_snapshot(subject.nodes(shares), version=2)
        yield how, _counts(subject, selector, whole, ctx, PICKS)
    selector, ctx = subject.make(), make_context(hash_free_seed({"a"}))
    nodes = make_snapshot(subject.nodes(shares)).members.nodes
    _counts(subject, selector, make_snapshot(nodes), ctx, 7)
    _counts(
        subject, selector, make_snapshot(nodes, down={"a", "e"}, version=2), ctx, BEFORE, keys=EARLIER_KEYS
    )
    yield "two endpoints came back", _counts(subject, selector, make_snapshot(nodes, version=3), ctx, PICKS)


def hash_free_seed(ids: set[str]) -> int:
    """Return a seed that is the same in each process, unlike one from ``hash()``."""
    return sum(ord(id) << position for position, id in enumerate(sorted(ids))) + 17


def _counts(
    subject: Subject,
    selector: Selector,
    snapshot: Snapshot,
    ctx: PickContext,
    picks: int,
    *,
    keys: str = "key:{}",
) -> dict[str, int]:
    """Return the number of picks of each endpoint, while a number of requests is kept in flight."""
    keyed = getattr(selector, "keyed", False)
    level = int(subject.held * sum(node.weight for node in snapshot.candidates(ctx)))

    def pick(number: int) -> Node | None:
        request = make_context(ctx.rng, key=keys.format(number), exclude=ctx.exclude) if keyed else ctx
        return selector.select(snapshot, request)

    return _counts_by(pick, level, picks)


def _counts_by(pick: Callable[[int], Node | None], level: int, picks: int) -> dict[str, int]:
    """Return the number of picks of each endpoint by a function of the number of the request; at least one is in flight."""
    counts: dict[str, int] = {}
    held: list[Node] = []
    rng = Random(23)
    for number in range(picks + level):
        if len(held) >= max(1, level):
            place = rng.randrange(len(held))
            held[place], held[-1] = held[-1], held[place]
            held.pop().inflight -= 1
        node = pick(number)
        if node is None:
            continue
        node.inflight += 1
        held.append(node)
        if number >= level:
            counts[node.id] = counts.get(node.id, 0) + 1
    for node in held:
        node.inflight -= 1
    return counts
