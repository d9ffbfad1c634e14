"""Literal beginnings of regular expressions: what a table of routes looks them up by.

Cost: O(length). Errs on the safe side: a shorter text, or none, where the beginning cannot be determined without compiling.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["literal_of"]

SPECIAL: Final = frozenset(".^$*+?{}[]|()")
"""Letters that are no text in an expression, unless a backslash precedes them."""
CLASS_OR_ESCAPE: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
"""What stands for one letter and may have parentheses and bars that are no groups: in a class a bracket that comes first is a letter."""


def literal_of(pattern: str) -> str:
    r"""Return the text with which every string begins in which an expression can be found, as far as it is plain.

    Example
    -------
    >>> literal_of(r"^/users/[0-9]+$"), literal_of(r"\.php$"), literal_of("^/a|/b"), literal_of("^/colou?r")
    ('/users/', '', '', '/colo')
    """
    if not pattern.startswith("^") or _alternatives(pattern):
        return ""
    found: list[str] = []
    place = 1
    while place < len(pattern):
        letter = pattern[place]
        if letter == "\\":
            following = pattern[place + 1 : place + 2]
            if not following or following.isalnum():
                break
            letter, place = following, place + 1
        elif letter in SPECIAL:
            if letter in "*?{" and found:
                found.pop()
            break
        found.append(letter)
        place += 1
    return "".join(found)


def _alternatives(pattern: str) -> bool:
    """Whether a pattern may have a ``|`` outside of groups.

    With a ``#``, which may begin a comment, any ``|`` is taken for one.
    """
    if "|" not in pattern or "#" in pattern:
        return "|" in pattern
    depth = 0
    for letter in CLASS_OR_ESCAPE.sub("", pattern):
        if letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
        elif letter == "|" and depth <= 0:
            return True
    return False
