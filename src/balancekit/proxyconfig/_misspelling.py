"""Words that are one slip away from a known one: a character more, less or another, or two that changed places."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

__all__ = ["one_slip_away"]

MIN_CHARS: Final = 4
"""Shorter words are not compared: a word of a module or of a later version may well be one character away."""


def one_slip_away(word: str, known: Collection[str]) -> str | None:
    """Return the known word that was probably meant by another one; ``None`` if there is none, or if the word is known.

    Example
    -------
    >>> [one_slip_away(word, ("server", "hash")) for word in ("sever", "hsah", "hash", "fancy")]
    ['server', 'hash', None, None]
    """
    if len(word) < MIN_CHARS or word in known:
        return None
    return next((one for one in known if len(one) >= MIN_CHARS and _one_slip(word, one)), None)


def _one_slip(word: str, known: str) -> bool:
    if abs(len(word) - len(known)) > 1:
        return False
    start = next(
        (place for place, (a, b) in enumerate(zip(word, known, strict=False)) if a != b),
        min(len(word), len(known)),
    )
    left, right = word[start:], known[start:]
    return (
        left[1:] == right[1:]
        or left[1:] == right
        or left == right[1:]
        or (left[2:] == right[2:] and left[:2] == right[1::-1])
    )
