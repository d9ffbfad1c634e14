"""Prompts sent to servers, character by character, for rules that match whole texts.

The longest beginning that a text shares with any of many is shared with one of its neighbours in sorted order, so no tree
is needed. Cost: O(log texts) comparisons and O(length) a server.
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
    """What each server was sent, up to a number of characters; the least recently sent is forgotten.

    Parameters
    ----------
    max_size
        Characters kept for each server.

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
        """Note that a server was sent a text."""
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
        """Forget all servers but these."""
        for known in (self._sorted, self._recent, self._sizes):
            for server in [server for server in known if server not in servers]:
                del known[server]

    def matches(self, text: str) -> Mapping[str, int]:
        """Return how many leading characters of a text each server was sent before."""
        return {server: _longest(texts, text) for server, texts in self._sorted.items()}

    def holders(self, text: str, among: AbstractSet[str]) -> tuple[set[str], int]:
        """Return those of some servers that were sent the longest beginning of a text, and its characters."""
        matches = {server: match for server, match in self.matches(text).items() if server in among}
        longest = max(matches.values(), default=0)
        return {server for server, match in matches.items() if match == longest}, longest


def _longest(texts: SortedList[str], text: str) -> int:
    at = texts.bisect_left(text)
    return max([_common(text, other) for other in texts[max(0, at - 1) : at + 1]], default=0)


def _common(one: str, other: str) -> int:
    """Return how many leading characters two texts share, by bisection."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
