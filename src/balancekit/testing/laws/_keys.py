"""Laws 11 and 12: owners of keys in consistent hashing."""

from __future__ import annotations

import itertools

from balancekit.protocols import Selector
from balancekit.snapshot import Members, Node, Snapshot
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context
from balancekit.testing.laws._subject import Subject

__all__ = ["disrupts_little", "independent_of_order"]


def independent_of_order(subject: Subject) -> None:
    """Law 11. The owner of a key does not depend on the order of the endpoints."""
    wanted = [f"key:{number}" for number in range(300)]
    nodes = subject.nodes({"a": 1.0, "b": 2.0, "c": 1.0, "d": 3.0})
    owners = _owners(subject, nodes, wanted)
    for order in itertools.permutations(nodes):
        moved = {key for key, owner in _owners(subject, order, wanted).items() if owner != owners[key]}
        if moved:
            key = min(moved)
            raise LawBroken("11, independent_of_order", f"{key!r} has another owner in another order")


def disrupts_little(subject: Subject) -> None:
    """Law 12. If an endpoint is removed, down or excluded, only its keys move. If one is added, keys move only to it.

    Each of ten equal endpoints owns keys. Owners do not depend on the endpoints that the selector had before.
    """
    wanted = [f"key:{number}" for number in range(2_000)]
    shares = {f"e{number}": 1.0 for number in range(10)}
    nodes = subject.nodes(shares)
    whole = _owners(subject, nodes, wanted)
    idle = sorted(shares.keys() - set(whole.values()))
    if idle:
        raise LawBroken(
            "12, disrupts_little", f"{idle} own none of {len(wanted)} keys of {len(shares)} endpoints"
        )
    for gone in shares:
        others = tuple([node for node in nodes if node.id != gone])
        for how, left in (
            ("was removed", _owners(subject, others, wanted)),
            ("was down", _owners(subject, nodes, wanted, eligible=others)),
            ("was excluded", _owners(subject, nodes, wanted, exclude=gone)),
        ):
            stray = [key for key in wanted if whole[key] != gone and left[key] != whole[key]]
            if stray:
                raise LawBroken(
                    "12, disrupts_little",
                    f"{len(stray)} keys moved that {gone!r} did not own when it {how}, such as {stray[0]!r}",
                )
    selector = subject.make()
    for version, ids in enumerate([[*shares][:7], [*shares][3:], shares], 1):
        present = tuple([node for node in nodes if node.id in ids])
        owners = _owners(subject, present, wanted, selector, version)
        fresh = whole if len(present) == len(nodes) else _owners(subject, present, wanted)
        differ = sum(owners[key] != fresh[key] for key in wanted)
        if differ:
            raise LawBroken(
                "12, disrupts_little",
                f"{differ} of {len(wanted)} keys have another owner than with a new selector, which had no other endpoints",
            )


def _owners(
    subject: Subject,
    nodes: tuple[Node, ...],
    wanted: list[str],
    selector: Selector | None = None,
    version: int = 1,
    *,
    eligible: tuple[Node, ...] | None = None,
    exclude: str | None = None,
) -> dict[str, str | None]:
    selector = selector or subject.make()
    snapshot = Snapshot(Members(nodes, version=version), eligible or nodes, version=version)
    tried = () if exclude is None else (exclude,)
    owners: dict[str, str | None] = {}
    for key in wanted:
        node = selector.select(snapshot, make_context(key=key, exclude=tried))
        owners[key] = None if node is None else node.id
    return owners
