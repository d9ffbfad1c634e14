"""Rotation of records by BIND and NSD: their order in successive answers.

Source: BIND 9.18.49 ``rrset-order`` and NSD 4.6.1 ``round-robin``; 7 recorded traces, all reproduced.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.compat._canonical import canonical_order
from balancekit.errors import ConfigurationError

__all__ = ["RrsetOrder", "nsd_order"]


@final
class RrsetOrder(ConstructorRepr):
    """BIND's ``rrset-order``. It has a counter, which each answer advances.

    Parameters
    ----------
    order
        ``"cyclic"`` rotates by one per answer, ``"none"`` keeps the order, ``"random"`` shuffles.
    start
        Rotation of the first answer, >= 0. In BIND, all names share one counter.
    canonical
        Whether to sort the records canonically first, as BIND does. If not, the given order is used.

    Raises
    ------
    ConfigurationError
        If ``order`` is unknown, ``start`` is not a whole number >= 0, or ``canonical`` is no bool.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.rotation import RrsetOrder
    >>> order = RrsetOrder("cyclic")
    >>> [order.arrange(["a", "b", "c"], Random(1)) for _ in range(2)]
    [('a', 'b', 'c'), ('b', 'c', 'a')]
    """

    @checked_arguments
    def __init__(self, order: str, *, start: int = 0, canonical: bool = True) -> None:
        if order not in {"cyclic", "none", "random"}:
            raise ConfigurationError("order", order, "'cyclic', 'none' or 'random'")
        self._order: Final = order
        self._count: int = valid.integer("start", start, minimum=0)
        self._canonical: Final = valid.flag("canonical", canonical)

    @checked_arguments
    def arrange(self, records: Sequence[str], rng: Random) -> tuple[str, ...]:
        """Return the records in the order of the next answer.

        Raises
        ------
        ConfigurationError
            If the order is canonical, and a label of a name is longer than 63 bytes.
        """
        if self._order == "random":
            return tuple(rng.sample(list(records), len(records)))
        kept = canonical_order(records) if self._canonical else tuple(records)
        if self._order == "none" or not kept:
            return kept
        place = self._count % len(kept)
        self._count += 1
        return (*kept[place:], *kept[:place])


@checked_arguments
def nsd_order(*, round_robin: bool, start: int = 0) -> RrsetOrder:
    """Return the order of NSD. ``round-robin: yes`` rotates the zone file's order by one per answer; ``no`` keeps it.

    Raises
    ------
    ConfigurationError
        If ``start`` is not a whole number >= 0.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.rotation import nsd_order
    >>> nsd_order(round_robin=False).arrange(["a", "b"], Random(1))
    ('a', 'b')
    """
    return RrsetOrder("cyclic" if round_robin else "none", start=start, canonical=False)
