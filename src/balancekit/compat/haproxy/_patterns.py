"""HAProxy's methods to compare a sample with a pattern, and to find a sample in a map.

Cost: O(length) per pattern. A map with the match ``str`` is O(1); other maps are read line by line.
Source: HAProxy 2.6.12, observed; ``pat_match_*``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from balancekit.compat._routing import compiled, raw_bytes
from balancekit.errors import ConfigurationError

__all__ = ["METHODS", "Lookup", "Matcher", "lookup", "matcher", "value_matcher"]

Matcher = Callable[[str], bool]
Lookup = Callable[[str], str | None]

METHODS: Final = ("str", "beg", "end", "sub", "dir", "dom", "reg", "len", "int")
DIR: Final = "/?"
DOM: Final = "/?.:"
WORDS: Final = {"dir": DIR, "dom": DOM}
NUMBER: Final = re.compile(r"-?[0-9]+")
LEADING: Final = re.compile(r"[-+]?[0-9]+")
MAX_DIGITS: Final = 20
INT_64: Final = (-(1 << 63), (1 << 63) - 1)
RANGES: Final[dict[str, tuple[str, int]]] = {
    "eq": ("{}", 0),
    "ge": ("{}:", 0),
    "gt": ("{}:", 1),
    "le": (":{}", 0),
    "lt": (":{}", -1),
}
"""The range that a comparison stands for, and what is added to its number."""


def matcher(method: str, pattern: str, *, ignore_case: bool = False) -> Matcher:
    """Return the test of one pattern.

    Raises
    ------
    ConfigurationError
        If ``method`` is another word, or ``pattern`` is no regular expression for ``"reg"``, or no number or range for
        ``"int"`` and ``"len"``.
    """
    if method not in METHODS:
        raise ConfigurationError("match", method, f"one of {', '.join(METHODS)}")
    if method == "reg":
        search = compiled("patterns", pattern, ignore_case=ignore_case).search
        return lambda sample: search(sample) is not None
    if method in {"int", "len"}:
        test = _number(pattern)
        return (
            (lambda sample: test(len(sample))) if method == "len" else (lambda sample: test(leading(sample)))
        )
    wanted = fold(pattern) if ignore_case else pattern
    compare = _comparison(method, wanted)
    return (lambda sample: compare(fold(sample))) if ignore_case else compare


def lookup(method: str, entries: Iterable[tuple[str, str]], *, converted: bool = False) -> Lookup:
    """Return the look-up of a map: with ``beg`` the longest matching key wins, otherwise the first matching line.

    With ``dir`` and ``dom``, a key may consist of delimiters only. Such a key matches only if the samples are ``converted``,
    and then only a sample that is empty or ends with a delimiter.
    """
    lines = [(key, value) for key, value in entries]
    if method == "str":
        first: dict[str, str] = {}
        for key, value in lines:
            first.setdefault(key, value)
        return first.get
    if method == "beg":
        lines.sort(key=lambda line: -len(line[0]))
    tests = [
        (
            _ends_with(WORDS[method])
            if converted and method in WORDS and not key.strip(WORDS[method])
            else matcher(method, key),
            value,
        )
        for key, value in lines
    ]
    return lambda sample: next((value for test, value in tests if test(sample)), None)


def value_matcher(pattern: str) -> Matcher:
    """Return the test of one pattern of a fetch whose name ends with ``_val``.

    Raises
    ------
    ConfigurationError
        If ``pattern`` is no number and no range.
    """
    test = _number(pattern)
    return lambda sample: test(value(sample))


def leading(sample: str) -> int:
    """Return the integer at the start of a sample, limited to 64 bits; 0 if there is none."""
    found = LEADING.match(sample)
    return _limited(found[0]) if found is not None else 0


def _limited(text: str) -> int:
    """Return the integer that a text is, limited to 64 bits."""
    digits = text.lstrip("+-").lstrip("0")[:MAX_DIGITS]  # as many give one beyond the limit
    number = int(digits or "0") * (-1 if text.startswith("-") else 1)
    return min(max(number, INT_64[0]), INT_64[1])


def value(sample: str) -> int:
    """Return the signed integer of 32 bits that a fetch whose name ends with ``_val`` reads from a text.

    Reading ends at the first character above ``9``. A character below ``0``, or a byte above 127, counts as a digit less
    than 0.

    Example
    -------
    >>> [value(text) for text in ("7x", "-3", "1.5", "x")]
    [7, -3, 85, 0]
    """
    total, sign = 0, -1 if sample.startswith("-") else 1
    for byte in raw_bytes(sample)[sign < 0 :]:
        digit = (byte ^ 0x80) - 0x80 - ord("0")
        if digit > 9:
            break
        total = (total * 10 + sign * digit + (1 << 31)) % (1 << 32) - (1 << 31)
    return total


def fold(text: str) -> str:
    """Return a text with its ASCII letters in lower case."""
    if text.isascii():
        return text.lower()
    return "".join([letter.lower() if letter.isascii() else letter for letter in text])


def _comparison(method: str, wanted: str) -> Matcher:
    if method == "str":
        return lambda sample: sample == wanted
    if method == "beg":
        return lambda sample: sample.startswith(wanted)
    if method == "end":
        return lambda sample: sample.endswith(wanted)
    if method == "sub":
        return lambda sample: wanted in sample
    return _word(wanted, WORDS[method])


def _word(wanted: str, delimiters: str) -> Matcher:
    """Return the test for a word between delimiters or ends of the text. Delimiters around the pattern are removed."""
    word = wanted.strip(delimiters)
    edge = re.escape(delimiters)
    search = re.compile(f"(?:^|[{edge}]){re.escape(word)}(?=[{edge}]|$)(?!\\n)").search
    if not word:
        return lambda _sample: False
    return lambda sample: search(sample) is not None


def _ends_with(delimiters: str) -> Matcher:
    return lambda sample: not sample or sample[-1] in delimiters


def _number(pattern: str) -> Callable[[int], bool]:
    """Return the test of a range. A minus separates as a colon does, so ``-3`` is the range up to 3."""
    name, _, rest = pattern.strip().partition(" ")
    if name in RANGES:
        form, more = RANGES[name]
        name = form.format(_integer(rest.strip(), pattern) + more)
    ends = re.split("[:-]", name, maxsplit=1)
    if ends == ["", ""]:
        ends = ["0", ""]
    first = _integer(ends[0], pattern) if ends[0] or len(ends) == 1 else None
    last = _integer(ends[-1], pattern) if ends[-1] else None
    if first is not None and last is not None and first > last:
        raise ConfigurationError("patterns", pattern, "a range that does not end before it begins")
    return lambda value: (first is None or value >= first) and (last is None or value <= last)


def _integer(text: str, pattern: str) -> int:
    if NUMBER.fullmatch(text):
        return _limited(text)
    raise ConfigurationError("patterns", pattern, "a number or a range such as '5', '1:5' or 'ge 5'")
