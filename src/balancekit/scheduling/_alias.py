"""Alias table: weighted sampling in constant time.

The table has ``n`` columns of equal width. Each column holds one or two items. One uniform random number chooses the
column, and its fraction chooses the item in the column. Items of weight zero are in no column, so they are never drawn.

Cost: O(n) to build, O(1) and one random number for a draw; 48 bytes per item.

Source: Vose 1991, "A linear algorithm for generating random numbers with a given distribution".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit.errors import ConfigurationError

__all__ = ["AliasTable"]

T = TypeVar("T")

MIN_EXACT: Final = 1e-280
MAX_EXACT: Final = 1e280
"""Bounds of the largest weight between which the mean neither overflows nor underflows. Outside, weights are scaled."""


@final
class AliasTable(StateRepr, Generic[T], prints=("size",)):
    """A table from which items are drawn with probabilities proportional to their weights.

    Threads may draw at the same time: a draw changes nothing but the random generator.

    *When not to use it:* if weights change often. Each change takes a new table, which is O(n).

    Parameters
    ----------
    items
        The items to draw from, at least one.
    weights
        One finite number >= 0 for each item. If all are zero, all items are equally likely.

    Raises
    ------
    ConfigurationError
        If ``items`` is empty, or ``weights`` has another length or holds anything but finite numbers >= 0.

    Example
    -------
    >>> import random
    >>> from balancekit.scheduling import AliasTable
    >>> table = AliasTable("abc", [5, 0, 1])
    >>> rng = random.Random(7)
    >>> "b" in {table.draw(rng.random) for _ in range(1000)}
    False
    """

    __slots__ = ("alias", "cut", "own", "size")

    own: list[T]
    """The item of each column."""
    alias: list[T]
    """The second item of each column; the same item if the column has only one."""
    cut: list[float]
    """The point in each column at which its second item begins. Column ``k`` reaches from ``k`` to ``k + 1``."""
    size: float
    """The number of columns."""

    @checked_arguments
    def __init__(self, items: Sequence[T], weights: Sequence[float]) -> None:
        if len(items) != len(weights):
            raise ConfigurationError("weights", weights, f"{len(items)} weights, one for each item")
        if not items:
            raise ConfigurationError("items", items, "at least one item")
        valid.numbers("weights", weights, minimum=0.0)
        # Three lists and no list of tuples: thousands of tuples trigger a full garbage collection, which stops all threads.
        self.own = [item for item, weight in zip(items, weights, strict=True) if weight > 0.0]
        drawn = [weight for weight in weights if weight > 0.0]
        if drawn and not MIN_EXACT <= max(drawn) <= MAX_EXACT:
            largest = max(drawn)
            drawn = [weight / largest for weight in drawn]
        if not drawn:
            self.own, drawn = list(items), [1.0] * len(items)
        size = len(drawn)
        mean = math.fsum(drawn) / size
        self.alias = list(self.own)
        fill = [weight / mean for weight in drawn]
        poor = [k for k in range(size) if fill[k] < 1.0]
        rich = [k for k in range(size) if fill[k] >= 1.0]
        self.cut = [k + 1.0 for k in range(size)]
        while poor and rich:
            k, donor = poor.pop(), rich[-1]
            self.cut[k] = k + fill[k]
            self.alias[k] = self.own[donor]
            fill[donor] -= 1.0 - fill[k]
            if fill[donor] < 1.0:
                poor.append(rich.pop())
        self.size = float(size)

    def draw(self, random: Callable[[], float]) -> T:
        """Draw one item. O(1).

        Parameters
        ----------
        random
            Called once; returns a number uniform in [0, 1), like ``random.random``.

        Raises
        ------
        ConfigurationError
            If ``random`` cannot be called without arguments, or returns anything but a number from 0 to below 1.
        """
        try:
            x = random() * self.size
            column = int(x)
            return self.own[column] if x < self.cut[column] else self.alias[column]
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise ConfigurationError(
                "random", random, "a callable without arguments that returns numbers from 0 to below 1"
            ) from error
