"""The answer of a look-up in a prefix table."""

from __future__ import annotations

from typing import NamedTuple

from balancekit.inference._blocks import Blocks

__all__ = ["PrefixMatch"]


class PrefixMatch(NamedTuple):
    """What is known of a prompt's blocks, as one look-up found it. Good until the table changes."""

    blocks: Blocks
    """The prompt."""
    ends: list[int]
    """The last block of each run of blocks that were last used in the same epoch and have the same holders."""
    facts: list[int]
    """Epoch and holders of each run; 0 for blocks that are unknown."""
    runs: list[tuple[int, int]]
    """Holders as a bit set, and how many leading blocks they have; the deeper, the later."""

    def depth(self, bit: int) -> int:
        """Return how many leading blocks the endpoint of a bit has."""
        for holders, depth in reversed(self.runs):
            if holders & bit:
                return depth
        return 0
