"""The policy ``cache_aware`` of Shepherd model gateway (smg 1.13.0), the successor of SGLang's router.

The rule takes the servers that were sent the longest prefix of the prompt, if that prefix is long enough, and picks among them one
with the fewest open requests. If its open requests are too far above the mean of all servers, or if no prefix is long enough, the
rule picks one with the fewest open requests of all servers.

Not implemented: load that servers report (a queue of 8, or 0.8 of the cache), the warm-up of new servers, and the policies
``prefix_hash`` and ``least_load``.

Source: recorded picks, all of which are admissible by this rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.compat._text_selector import TextSelector, check_counts, matches_enough, single_precision

__all__ = ["CacheAware"]

MIN_MARGIN: Final = 4
"""Minimum number of open requests above the mean from which a server is passed over."""


@final
class CacheAware(TextSelector):
    """The selector ``cache_aware`` of smg. The key of a request is the whole prompt.

    Parameters
    ----------
    cache_threshold
        Share of the prompt's characters above which a matching prefix is long enough, 0 to 1.
    spill_abs_threshold, spill_rel_threshold
        A matching server is passed over if its open requests exceed the mean by more than
        ``min(spill_abs_threshold, max(4, ceil(2 * sqrt(mean))))``, and also by more than the factor ``spill_rel_threshold``.
        Both are >= 0.
    max_tree_size
        Maximum number of characters of the texts of each server, >= 1.

    Raises
    ------
    ConfigurationError
        If ``cache_threshold`` is outside [0, 1], a threshold is negative, or ``max_tree_size`` is below 1.

    Cost: O(length of the prompt) per server.

    Example
    -------
    >>> from balancekit.compat.smg import CacheAware
    >>> policy = CacheAware(spill_abs_threshold=2)
    >>> policy.history.add("a", "You are a pirate. Hello!")
    >>> sorted(policy.admissible("You are a pirate. Is it me?", {"a": 9, "b": 1, "c": 1}))
    ['b', 'c']
    """

    @checked_arguments
    def __init__(
        self,
        *,
        cache_threshold: float = 0.3,
        spill_abs_threshold: float = 64.0,
        spill_rel_threshold: float = 1.5,
        max_tree_size: int = 2**26,
    ) -> None:
        super().__init__(valid.integer("max_tree_size", max_tree_size, minimum=1))
        self._threshold = single_precision(
            valid.number("cache_threshold", cache_threshold, minimum=0.0, maximum=1.0)
        )
        self._absolute = valid.number("spill_abs_threshold", spill_abs_threshold, minimum=0.0)
        self._relative = single_precision(
            valid.number("spill_rel_threshold", spill_rel_threshold, minimum=0.0)
        )

    @checked_arguments
    def admissible(self, text: str, open: Mapping[str, int]) -> AbstractSet[str]:
        """Return the servers that the rule allows for a prompt, given the number of open requests of each server.

        Raises
        ------
        ConfigurationError
            If ``open`` is empty, or a number is negative.
        """
        check_counts(open)
        mean = sum(open.values()) / len(open)
        margin = min(self._absolute, max(MIN_MARGIN, math.ceil(2.0 * math.sqrt(mean))))
        holders, longest = self.history.holders(text, open.keys())
        if holders and matches_enough(longest, len(text), self._threshold):
            fewest = min(open[server] for server in holders)
            if not (fewest > mean + margin and fewest > self._relative * mean):
                return {server for server in holders if open[server] == fewest}
        fewest = min(open.values())
        return {server for server, count in open.items() if count == fewest}
