"""SGLang's router (sglang-router 0.3.2): the policy ``cache_aware``.

If open requests are out of balance, the server with the fewest; else the server that was sent most of the prompt, if that is
enough of it; else the server with the fewest. Recorded picks are all admissible by this rule.

*Different on purpose:* ties are at random. The router sends them to the first server in its own order, so an idle one sends all
prompts to the same server (sglang#6164, measured). Old texts go when a server has too many characters, not once a minute.
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
    """SGLang's ``cache_aware``; its key is the whole prompt.

    Parameters
    ----------
    cache_threshold
        The part of a prompt's characters above which a match decides, 0 to 1.
    balance_abs_threshold, balance_rel_threshold
        Out of balance is: the most open requests exceed the fewest by more than the first, and by more than this factor.
    max_tree_size
        Characters kept for each server, >= 1.

    Raises
    ------
    ConfigurationError
        If ``cache_threshold`` is outside [0, 1], ``balance_rel_threshold`` is below 1, or another is outside
        its bounds.

    *When not to use it:* for its own sake; :class:`~balancekit.inference.PrefixAffinity` answers sooner in every workload
    that was tried. Cost: O(length) for each server.

    Example
    -------
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
        """Return the servers that the rule may pick, given the open requests of all."""
        check_counts(open)
        fewest, most = min(open.values()), max(open.values())
        if not (most - fewest > self._absolute and most > single_precision(self._relative * fewest)):
            holders, longest = self.history.holders(text, open.keys())
            if holders and matches_enough(longest, len(text), self._threshold):
                return holders
        return {server for server, count in open.items() if count == fewest}
