"""The policy ``cache_aware`` of SGLang's router (sglang-router 0.3.2).

The rule picks

1. the server with the fewest open requests, if open requests are out of balance;
2. otherwise the server that was sent the longest prefix of the prompt, if that prefix is long enough;
3. otherwise the server with the fewest open requests.

*Differences from the router.* Ties are broken at random. The router picks the first server in its own order, so an idle router
sends all prompts to the same server (sglang#6164, measured). Old texts are dropped when a server has too many characters; the
router drops them once per minute.

Source: recorded picks, all of which are admissible by this rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.compat._text_selector import TextSelector, check_counts, matches_enough, single_precision

__all__ = ["CacheAware"]


@final
class CacheAware(TextSelector):
    """The selector ``cache_aware`` of SGLang. The key of a request is the whole prompt.

    Parameters
    ----------
    cache_threshold
        Share of the prompt's characters above which a matching prefix is long enough, 0 to 1.
    balance_abs_threshold, balance_rel_threshold
        Open requests are out of balance if the largest number exceeds the smallest by more than ``balance_abs_threshold``
        (>= 0), and by more than the factor ``balance_rel_threshold`` (>= 1).
    max_tree_size
        Maximum number of characters of the texts of each server, >= 1.

    Raises
    ------
    ConfigurationError
        If ``cache_threshold`` is outside [0, 1], ``balance_rel_threshold`` is below 1, or another is outside
        its bounds.

    Notes
    -----
    *When not to use it:* unless you need the same choices as SGLang. :class:`~balancekit.inference.PrefixAffinity` has lower
    latencies in all workloads that were measured.

    Cost: O(length of the prompt) per server.

    Example
    -------
    >>> from balancekit.compat.sglang import CacheAware
    >>> policy = CacheAware(balance_abs_threshold=2)
    >>> policy.history.add("a", "You are a pirate. Hello!")
    >>> policy.admissible("You are a pirate. Is it me?", {"a": 1, "b": 0})
    {'a'}
    >>> policy.admissible("You are a pirate. Is it me?", {"a": 3, "b": 0})
    {'b'}
    """

    @checked_arguments
    def __init__(
        self,
        *,
        cache_threshold: float = 0.3,
        balance_abs_threshold: int = 64,
        balance_rel_threshold: float = 1.5,
        max_tree_size: int = 2**26,
    ) -> None:
        super().__init__(valid.integer("max_tree_size", max_tree_size, minimum=1))
        self._threshold = single_precision(
            valid.number("cache_threshold", cache_threshold, minimum=0.0, maximum=1.0)
        )
        self._absolute = valid.integer("balance_abs_threshold", balance_abs_threshold, minimum=0)
        self._relative = single_precision(
            valid.number("balance_rel_threshold", balance_rel_threshold, minimum=1.0)
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
        fewest, most = min(open.values()), max(open.values())
        if not (most - fewest > self._absolute and most > single_precision(self._relative * fewest)):
            holders, longest = self.history.holders(text, open.keys())
            if holders and matches_enough(longest, len(text), self._threshold):
                return holders
        return {server for server, count in open.items() if count == fewest}
