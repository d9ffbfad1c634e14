"""HAProxy's ways to compare a sample with a pattern, and to look it up in a map.

Cost: O(length) a pattern; maps are scanned line by line but for exact ones. Source: HAProxy 2.6.12, observed; ``pat_match_*``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from balancekit.compat._routing import compiled
from balancekit.errors import ConfigurationError

__all__ = ["METHODS", "Lookup", "Matcher", "lookup", "matcher"]

Matcher = Callable[[str], bool]
Lookup = Callable[[str], str | None]

METHODS: Final = ("str", "beg", "end", "sub", "dir", "dom", "reg", "len", "int")
DIR: Final = "/?"
DOM: Final = "/?.:"
NUMBER: Final = re.compile(r"-?[0-9]+")
COMPARISONS: Final[dict[str, Callable[[int, int], bool]]] = {
    "eq": int.__eq__,
    "ge": int.__ge__,
    "gt": int.__gt__,
    "le": int.__le__,
    "lt": int.__lt__,
}


def matcher(method: str, pattern: str, *, ignore_case: bool = False) -> Matcher:
    """Return the test of one pattern.

    Raises
    ------
    ConfigurationError
        For an unknown method or a wrong pattern.
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


def lookup(method: str, entries: Iterable[tuple[str, str]]) -> Lookup:
    """Return a map's answer to a sample: of ``beg`` the longest key, of the others the first line that matches."""
    lines = [(key, value) for key, value in entries]
    if method == "str":
        first: dict[str, str] = {}
        for key, value in lines:
            first.setdefault(key, value)
        return first.get
    if method == "beg":
        lines.sort(key=lambda line: -len(line[0]))
    tests = [(matcher(method, key), value) for key, value in lines]
    return lambda sample: next((value for test, value in tests if test(sample)), None)


def leading(sample: str) -> int:
    """Return the integer at the start of a sample, 0 if there is none."""
    found = NUMBER.match(sample)
    return int(found[0]) if found is not None else 0


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
    return _word(wanted, DIR if method == "dir" else DOM)


def _word(wanted: str, delimiters: str) -> Matcher:
    """Return the test for a word between delimiters or ends, anywhere; delimiters round the pattern are cut."""
    word = wanted.strip(delimiters)
    edge = re.escape(delimiters)
    search = re.compile(f"(?:^|[{edge}]){re.escape(word)}(?=[{edge}]|$)(?!\\n)").search
    if not word:
        return lambda _sample: False
    return lambda sample: search(sample) is not None


def _number(pattern: str) -> Callable[[int], bool]:
    name, _, rest = pattern.strip().partition(" ")
    if name in COMPARISONS:
        low = _integer(rest.strip(), pattern)
        compare = COMPARISONS[name]
        return lambda value: compare(value, low)
    if ":" in name:
        low_text, _, high_text = name.partition(":")
        first = _integer(low_text, pattern) if low_text else None
        last = _integer(high_text, pattern) if high_text else None
        return lambda value: (first is None or value >= first) and (last is None or value <= last)
    exact = _integer(name, pattern)
    return lambda value: value == exact


def _integer(text: str, pattern: str) -> int:
    if NUMBER.fullmatch(text):
        return int(text)
    raise ConfigurationError("patterns", pattern, "'ge 5', '5', '1:5' or the like")
