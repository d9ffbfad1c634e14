"""Picks from many endpoints, and from the last one that is left of many."""

from __future__ import annotations

from random import Random
from typing import Final

from balancekit.errors import ConfigurationError
from balancekit.protocols import SupportsPrepare
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context, make_snapshot
from balancekit.testing.laws._fast_picks import fast_picks
from balancekit.testing.laws._subject import Subject

__all__ = ["check_last_of_many", "check_sizes"]

MANY: Final = 1_100
"""Number of endpoints: more than a recursion over all of them survives, and than fit in the index of one byte."""
SOME: Final = 200
"""Number of endpoints of which one is left. Fifty draws at random miss it in three of four cases."""


def check_sizes(subject: Subject, law: str) -> None:
    """Refuse a selector that raises for one endpoint or for many. It may refuse to have so many in ``prepare``.

    Raises
    ------
    LawBroken
        Naming the number of endpoints.
    """
    for count in (1, MANY):
        snapshot = make_snapshot(subject.nodes({f"n{number}": 1.0 for number in range(count)}))
        selector = subject.make()
        try:
            if isinstance(selector, SupportsPrepare):
                selector.prepare(snapshot)
            fast = fast_picks(selector, snapshot, Random(1))
            picked = [selector.select(snapshot, make_context(2, key=f"key:{number}")) for number in range(3)]
            picked += [pick.bind("key:1")() or snapshot.eligible[0] for pick in fast]
        except ConfigurationError:
            continue
        except Exception as error:
            raise LawBroken(
                law, f"it raised {type(error).__name__} with {count} endpoints: {error}"
            ) from error
        wrong = [node for node in picked if node not in snapshot.eligible]
        if wrong:
            raise LawBroken(law, f"picked {wrong[0]!r} from {count} endpoints")


def check_last_of_many(subject: Subject, law: str) -> None:
    """Refuse a selector that does not find the last candidate of many.

    Raises
    ------
    LawBroken
        Naming the endpoint that is left, and what was picked.
    """
    nodes = subject.nodes({f"n{number}": 1.0 for number in range(SOME)})
    for place in (0, SOME // 2, SOME - 1):
        left = nodes[place]
        others = [node.id for node in nodes if node is not left]
        for how, snapshot, exclude in (
            ("excluded", make_snapshot(nodes), others),
            ("down", make_snapshot(nodes, down=others), ()),
        ):
            ctx = make_context(place, key="user:1", exclude=frozenset(exclude))
            picked = subject.make().select(snapshot, ctx)
            if picked is not left:
                raise LawBroken(
                    law, f"picked {picked!r} with all of {SOME} endpoints except {left.id!r} {how}"
                )
