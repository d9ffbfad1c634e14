"""Base of selectors that send a prompt to a server that was sent a similar prompt before."""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import ClassVar

from balancekit._support.display import ConstructorRepr
from balancekit.compat._prompt_history import PromptHistory
from balancekit.errors import ConfigurationError
from balancekit.loads import InFlight
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["TextSelector", "check_counts", "matches_enough", "single_precision"]


class TextSelector(ConstructorRepr, ABC):
    """A selector with a history of the texts that each server was sent. The key of a request is its prompt."""

    keyed: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def __init__(self, max_tree_size: int) -> None:
        self.history: PromptHistory = PromptHistory(max_tree_size)
        """The texts that each server was sent."""

    @abstractmethod
    def admissible(self, text: str, open: Mapping[str, int]) -> AbstractSet[str]:
        """Return the servers that the rule allows for a text, given the number of open requests of each server."""

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return a random admissible candidate, and record that it is sent the text."""
        candidates = {node.id: node for node in snapshot.candidates(ctx)}
        if not candidates:
            return None
        text = _text(ctx.key)
        allowed = self.admissible(text, {id: node.inflight for id, node in candidates.items()})
        chosen = ctx.rng.choice([node for id, node in candidates.items() if id in allowed])
        if ctx.trace is not None:
            ctx.trace.note(f"any of {', '.join(sorted(allowed))}")
        elif ctx.key is not None:
            self.history.add(chosen.id, text)
        return chosen

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Drop the history of servers that were removed."""
        self.history.keep({node.id for node in snapshot.members.nodes})


def check_counts(open: Mapping[str, int]) -> None:
    """Raise ``ConfigurationError`` if there is no server or a number of open requests is negative."""
    if not open or min(open.values()) < 0:
        raise ConfigurationError("open", open, "the open requests, >= 0, of at least one server")


def single_precision(value: float) -> float:
    """Return a number rounded to 32-bit floating point, in which the routers compute their thresholds.

    Example
    -------
    >>> 1.16 * 25 == 29.0, single_precision(single_precision(1.16) * 25) == 29.0
    (False, True)
    """
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def matches_enough(matched: int, length: int, threshold: float) -> bool:
    """Return whether the matching share of a text is above a threshold, in 32-bit floating point.

    Example
    -------
    >>> threshold = single_precision(0.29)
    >>> matches_enough(29, 100, threshold), matches_enough(30, 100, threshold), matches_enough(0, 0, threshold)
    (False, True, False)
    """
    return length > 0 and single_precision(single_precision(matched) / single_precision(length)) > threshold


def _text(key: str | bytes | int | None) -> str:
    if isinstance(key, bytes):
        return key.decode("latin-1")
    return "" if key is None else str(key)
