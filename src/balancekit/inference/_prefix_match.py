"""The result of a look-up in a prefix table."""

from __future__ import annotations

from typing import NamedTuple

from balancekit.inference._blocks import Blocks

__all__ = ["PrefixMatch"]


class PrefixMatch(NamedTuple):
    """The known blocks of a prompt, as found by one look-up; valid until the table changes."""

    blocks: Blocks
    """The prompt."""
    ends: list[int]
    """The last block of each run of blocks that were last used in the same epoch and have the same holders."""
    facts: list[int]
    """Epoch and holders of each run; 0 for blocks that are unknown."""
    runs: list[tuple[int, int]]
    """Pairs of holders, as a bit set, and their number of leading blocks, in ascending order of that number."""

    def depth(self, bit: int) -> int:
        """Return the number of leading blocks of the endpoint with this bit."""
        for holders, depth in reversed(self.runs):
            if holders & bit:
                return depth
        return 0
