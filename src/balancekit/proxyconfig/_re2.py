"""Regular expressions that RE2 refuses although Python's ``re`` takes them, and programs that are too large for Envoy.

RE2 has no assertions that look around, no references to groups and no possessive quantifiers; it counts repetitions, and
Envoy limits the program that an expression becomes. The size is estimated from below: what is refused here is refused there.

Source: RE2 syntax; Envoy 1.40, ``re2.max_program_size.error_level``, 100 unless a runtime value is set.
"""

from __future__ import annotations

import re
from typing import Final, final

__all__ = ["MAX_PROGRAM_KEY", "re2_problem"]

MAX_PROGRAM_KEY: Final = "re2.max_program_size"
"""What a bootstrap has that sets the limit itself."""
MAX_PROGRAM: Final = 100
"""Instructions."""
MAX_REPEATED: Final = 1000
"""How often an expression, and all that it is inside of, may repeat a part."""
TOKEN: Final = re.compile(
    r"""\\Q(?P<quoted>.*?)(?:\\E|\Z) | \\(?P<escaped>x\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{2}|[pP]\{\^?\w+\}|[0-9]{1,3}|.)
    | (?P<set>\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\])
    | \((?P<opened>\?(?:P?<[A-Za-z_0-9]+>|[imsU-]*[:)]|.)?)? | (?P<closed>\)) | (?P<bar>\|) | (?P<border>[\^$])
    | (?P<quantifier>[*+?]|\{(?P<least>[0-9]+)(?P<comma>,(?P<most>[0-9]*))?\})(?P<behind>[+?]?) | .""",
    re.DOTALL | re.VERBOSE,
)
GROUP: Final = re.compile(r"\?(?:P?<[A-Za-z_0-9]+>|[imsU-]*[:)])")
LETTERS: Final = frozenset("AbBCdDsSwWzQEpPafnrtvx")
"""Letters that RE2 takes behind a backslash."""
BORDERS: Final = frozenset("AbBzE")


@final
class _Part:
    """What is known of one group while it is read: sizes are numbers of instructions at least."""

    __slots__ = ("before", "largest", "last", "repeated", "widest")

    def __init__(self) -> None:
        self.before = self.last = self.widest = 0
        self.repeated = self.largest = 1
        """How often the last item, and any, repeats what is inside of it."""

    def add(self, size: int, repeated: int = 1) -> None:
        """Add an item."""
        self.before += self.last
        self.last, self.repeated = size, repeated
        self.largest = max(self.largest, repeated)

    def close(self) -> None:
        """End an alternative."""
        self.widest = max(self.widest, self.before + self.last)
        self.before = self.last = 0


def re2_problem(expression: str, *, limited: bool = True) -> str:
    r"""Return why RE2 or Envoy refuses an expression; empty if nothing speaks against it.

    Parameters
    ----------
    expression
        One that Python's ``re`` compiles, once translated.
    limited
        Whether Envoy's limit for the size of the program holds.

    Example
    -------
    >>> re2_problem(r"/[a-z]+(?:/[0-9]{1,4})?"), re2_problem("a(?=b)")
    ('', 'RE2 has no (?=')
    >>> re2_problem("(a{100}){11}"), re2_problem("[^/]{101}")
    ('RE2 repeats a part at most 1000 times', 'its RE2 program has more than 100 instructions')
    """
    if not expression:
        return "an expression is not empty"
    stack = [_Part()]
    for found in TOKEN.finditer(expression):
        part = stack[-1]
        if found["quoted"] is not None:
            for _ in found["quoted"]:
                part.add(1)
        elif (escaped := found["escaped"]) is not None:
            if (escaped.isalpha() and escaped not in LETTERS and escaped.isascii()) or _refers(escaped):
                return f"RE2 has no \\{escaped}"
            part.add(0 if escaped in BORDERS else 1)
        elif (opened := found["opened"]) is not None and not GROUP.fullmatch(opened):
            return f"RE2 has no ({opened}"
        elif opened is not None and opened.endswith(")"):
            continue  # flags from here on
        elif found[0].startswith("("):
            stack.append(_Part())
        elif found["closed"] is not None and len(stack) > 1:
            part.close()
            stack.pop()
            stack[-1].add(part.widest, part.largest)
        elif found["bar"] is not None:
            part.close()
        elif found["quantifier"] is not None:
            if found["behind"] == "+":
                return f"RE2 has no {found[0]}"
            if found["least"] is not None and (problem := _repeat(part, found)):
                return problem
        else:
            part.add(0 if found["border"] is not None else 1)
    stack[0].close()
    if limited and stack[0].widest > MAX_PROGRAM:
        return f"its RE2 program has more than {MAX_PROGRAM} instructions"
    return ""


def _refers(escaped: str) -> bool:
    """Return whether digits behind a backslash refer to a group: they are no octal number."""
    return escaped[0].isdecimal() and escaped[0] != "0" and (len(escaped) == 1 or not escaped[1] < "8")


def _repeat(part: _Part, found: re.Match[str]) -> str:
    """Repeat the last item of a part; return why RE2 does not."""
    least = int(found["least"][:5])
    times = least if not found["most"] else int(found["most"][:5])
    part.repeated *= max(least, times, 1)
    if max(least, times) > MAX_REPEATED or part.repeated > MAX_REPEATED:
        return f"RE2 repeats a part at most {MAX_REPEATED} times"
    part.last *= times
    part.largest = max(part.largest, part.repeated)
    return ""
