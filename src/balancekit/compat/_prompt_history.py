"""History of the prompts that servers were sent, for rules that compare characters of texts.

Texts are kept in sorted order. The text with the longest common prefix is one of the two neighbours of a text in that order,
so no tree is needed.

Cost: O(log texts) comparisons and O(length) per server.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import final

from sortedcontainers import SortedList

__all__ = ["PromptHistory"]


@final
class PromptHistory:
    """The texts that each server was sent. If there are too many characters, the least recently sent texts are dropped.

    Parameters
    ----------
    max_size
        Maximum number of characters of each server. The last text is kept even if it is longer.

    Example
    -------
    >>> history = PromptHistory()
    >>> history.add("a", "How are you?")
    >>> history.matches("How is it?")
    {'a': 4}
    """

    def __init__(self, max_size: int = 2**26) -> None:
        self._max_size = max_size
        self._sorted: dict[str, SortedList[str]] = {}
        self._recent: dict[str, OrderedDict[str, None]] = {}
        self._sizes: dict[str, int] = {}

    def add(self, server: str, text: str) -> None:
        """Record that a server was sent a text."""
        recent = self._recent.setdefault(server, OrderedDict())
        texts = self._sorted.setdefault(server, SortedList())
        if text in recent:
            recent.move_to_end(text)
            return
        recent[text] = None
        texts.add(text)
        self._sizes[server] = self._sizes.get(server, 0) + len(text)
        while self._sizes[server] > self._max_size and len(recent) > 1:
            oldest, _ = recent.popitem(last=False)
            texts.remove(oldest)
            self._sizes[server] -= len(oldest)

    def keep(self, servers: AbstractSet[str]) -> None:
        """Drop all servers except these."""
        for known in (self._sorted, self._recent, self._sizes):
            for server in [server for server in known if server not in servers]:
                del known[server]

    def matches(self, text: str) -> Mapping[str, int]:
        """Return the length of the longest prefix of a text that each server was sent before, in characters."""
        return {server: _longest(texts, text) for server, texts in self._sorted.items()}

    def holders(self, text: str, among: AbstractSet[str]) -> tuple[set[str], int]:
        """Return the servers among ``among`` that were sent the longest prefix of a text, and its length."""
        matches = {server: match for server, match in self.matches(text).items() if server in among}
        longest = max(matches.values(), default=0)
        return {server for server, match in matches.items() if match == longest}, longest


def _longest(texts: SortedList[str], text: str) -> int:
    at = texts.bisect_left(text)
    return max([_common(text, other) for other in texts[max(0, at - 1) : at + 1]], default=0)


def _common(one: str, other: str) -> int:
    """Return the length of the common prefix of two texts, by bisection."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
