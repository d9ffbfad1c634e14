"""HAProxy's ``acl``, ``use_backend`` and maps as the rules that :class:`balancekit.compat.haproxy.UseBackend` takes.

A condition is an OR of ANDs of names and of anonymous ``{ ... }``. A named ``acl`` that is declared several times holds if
one of its lines does; its negation holds if none does. Conditions are multiplied out, up to a limit.

Source: HAProxy 2.6 configuration manual, sections 7.1 and 7.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Final, final

from balancekit.compat import haproxy
from balancekit.compat._routing import UnsupportedExpressionError
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._haproxy_checks import check_name
from balancekit.proxyconfig._haproxy_lines import Line
from balancekit.proxyconfig._model import Origin, ProxyConfigError

__all__ = ["Acls", "Condition", "UnknownTestError", "backend_rule"]

Term = dict[str, Any]
Condition = Sequence[Sequence[Term]]
"""Alternatives, each of terms that must all hold; none for what always holds."""

MAX_TERMS: Final = 2_000
"""The largest number of alternatives of a condition, multiplied out."""
DYNAMIC: Final = re.compile(r"%\[(.+)\]")
ENTRY: Final = re.compile(r"(?!#)[ \t]*([^ \t\r]+)[ \t]*(.*?)[ \t\r]*")
"""A line of a map: a key, blanks or tabs, and a value."""
QUOTED: Final = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)""", re.DOTALL)
"""Quotes and escapes that an argument has besides those of its line."""
MAP: Final = re.compile(r"map(?:_(str|beg|end|sub|dir|dom|reg))?\((.*)\)")
PREDEFINED: Final[Mapping[str, tuple[str, ...]]] = {
    "TRUE": (),
    "METH_GET": ("method", "GET", "HEAD"),
    "METH_POST": ("method", "POST"),
    "METH_HEAD": ("method", "HEAD"),
    "METH_OPTIONS": ("method", "OPTIONS"),
    "METH_DELETE": ("method", "DELETE"),
    "METH_PUT": ("method", "PUT"),
    "METH_CONNECT": ("method", "CONNECT"),
    "METH_TRACE": ("method", "TRACE"),
}
UNKNOWN_PREDEFINED: Final = frozenset(
    {"HTTP", "HTTP_1.0", "HTTP_1.1", "HTTP_2.0", "HTTP_3.0", "HTTP_CONTENT", "HTTP_URL_ABS", "HTTP_URL_SLASH"}
    | {"HTTP_URL_STAR", "LOCALHOST", "RDP_COOKIE", "REQ_CONTENT", "WAIT_END"}
)
MATCHES: Final = frozenset(
    {"beg", "bin", "bool", "dir", "dom", "end", "found", "int", "ip", "len", "reg", "str", "sub"}
)
"""The methods of ``-m``."""
OPERATORS: Final = frozenset({"eq", "ge", "gt", "le", "lt"})
"""The operators of a comparison with a number."""


class UnknownTestError(Exception):
    """A condition that uses a test which is not modelled."""


@final
class Acls:
    """The named tests of a section.

    Parameters
    ----------
    read
        Returns the text of a file of patterns.
    """

    __slots__ = ("_named", "_read", "_unknown", "extended", "used")

    def __init__(self, read: Callable[[str, Origin], str]) -> None:
        self._named: dict[str, list[Term]] = {}
        self._unknown: dict[str, str] = {}
        self._read = read
        self.used: set[str] = set()
        self.extended: set[str] = set()
        """Names that were declared again after a rule had used them."""

    @property
    def names(self) -> frozenset[str]:
        """The names that are declared."""
        return frozenset({*self._named, *self._unknown})

    def add(self, line: Line) -> str | None:
        """Read an ``acl`` line; return why it is not modelled, ``None`` if it is."""
        if len(line.words) < 3:
            raise ProxyConfigError(line.origin, "an acl has a name and a test")
        name = line.words[1]
        check_name(line, name, "name of an acl")
        if name.lower() == "or":
            raise ProxyConfigError(line.origin, "'or' is no name of an acl: it joins conditions")
        self.extended |= {name} & self.used
        try:
            self._named.setdefault(name, []).append(self._term(line.words[2:], line.origin))
        except UnknownTestError as error:
            self._unknown[name] = str(error)
            return str(error)
        return None

    def condition(self, given: Sequence[str], origin: Origin) -> list[list[Term]]:
        """Return ``if`` or ``unless`` and what follows as an OR of ANDs.

        Raises
        ------
        UnknownTestError
            If a test in it is not modelled.
        """
        if not given:
            return []
        if given[0] not in {"if", "unless"}:
            raise ProxyConfigError(origin, f"{' '.join(given)!r} is no condition")
        alternatives = [self._all(part, origin) for part in self._split(given[1:], origin)]
        found = [terms for alternative in alternatives for terms in alternative]
        if given[0] == "unless":  # not (a or b) = not a and not b; each not (x and y) = not x or not y
            if not _bounded([len(terms) for terms in found]):
                raise ProxyConfigError(origin, f"a condition of more than {MAX_TERMS} alternatives")
            found = [[_not(term) for term in choice] for choice in product(*found)]
        return found

    def _split(self, given: Sequence[str], origin: Origin) -> list[list[tuple[bool, str | tuple[str, ...]]]]:
        """Return the alternatives with a test: signs alone and an ``or`` without a test are allowed."""
        parts: list[list[tuple[bool, str | tuple[str, ...]]]] = [[]]
        negate, place = False, 0
        while place < len(given):
            word = given[place]
            bare = word.lstrip("!")
            negate ^= (len(word) - len(bare)) % 2 == 1
            if bare == "||" or bare.lower() == "or":
                parts.append([])
                negate = False
            elif bare == "{":
                try:
                    end = given.index("}", place)
                except ValueError:
                    raise ProxyConfigError(origin, "a { that is not closed") from None
                parts[-1].append((negate, tuple(given[place + 1 : end])))
                negate, place = False, end
            elif bare:
                parts[-1].append((negate, bare))
                negate = False
            place += 1
        return [part for part in parts if part]

    def _all(self, part: Sequence[tuple[bool, str | tuple[str, ...]]], origin: Origin) -> list[list[Term]]:
        factors: list[list[list[Term]]] = []
        for negate, test in part:
            if test == "FALSE" and test not in self.names:
                if not negate:
                    return []
                continue
            terms = self._tests(test, origin)
            if negate:
                factors.append([[_not(term) for term in terms]])
            else:
                factors.append([[term] for term in terms] if terms else [[]])
            if negate and not terms:
                return []  # not TRUE
        if not _bounded([len(factor) for factor in factors]):
            raise ProxyConfigError(origin, f"a condition of more than {MAX_TERMS} alternatives")
        return [[term for terms in choice for term in terms] for choice in product(*factors)]

    def _tests(self, test: str | tuple[str, ...], origin: Origin) -> list[Term]:
        if isinstance(test, tuple):
            return [self._term(test, origin)]
        self.used.add(test)
        if test in self._unknown:
            raise UnknownTestError(self._unknown[test])
        if test in self._named:
            return self._named[test]
        if test in PREDEFINED:
            given = PREDEFINED[test]
            return [self._term(given, origin)] if given else []
        if test in UNKNOWN_PREDEFINED:
            raise UnknownTestError(f"{test!r} is not modelled")
        raise ProxyConfigError(origin, f"there is no acl {test!r}")

    def _term(self, given: Sequence[str], origin: Origin) -> Term:
        if not given:
            raise ProxyConfigError(origin, "a test without a fetch")
        fetch, *rest = given
        name, bracket, argument = fetch.partition("(")
        if bracket and (")" not in argument or argument.rpartition(")")[2][:1] not in {"", ","}):
            raise ProxyConfigError(origin, f"{fetch!r} has no ) at its end")
        if "," in (argument.partition(")")[2] if bracket else name):
            raise UnknownTestError(f"converters in {fetch!r} are not modelled")
        term: Term = {
            "fetch": name,
            "arg": QUOTED.sub(_unquoted, argument.removesuffix(")")) if bracket else None,
            "flags": [],
            "patterns": [],
        }
        operator = ""
        for word in self._after_flags(term, rest, origin):
            if word in OPERATORS and (
                name.endswith(("_val", "_len", "_cnt")) or term.get("match") in {"int", "len"}
            ):
                operator = word
            else:
                term["patterns"].append(f"{operator} {word}".strip())
        if "," in QUOTED.sub("", argument):
            raise UnknownTestError(f"the second argument of {fetch!r} is not modelled")
        if term.get("match") == "bool":
            raise UnknownTestError("-m bool is not modelled")
        try:
            haproxy.UseBackend([{"pool": "x", "if": [[term]]}])
        except ConfigurationError as error:
            if isinstance(error, UnsupportedExpressionError) or error.parameter in {"fetch", "match"}:
                raise UnknownTestError(f"{fetch!r} is not modelled") from None
            raise ProxyConfigError(origin, str(error)) from None
        return term

    def _after_flags(self, term: Term, words: Sequence[str], origin: Origin) -> Sequence[str]:
        """Put the flags of a test into its term; return the words after them."""
        place = 0
        while place < len(words):
            word = words[place]
            if word == "-i":
                term["flags"].append("-i")
            elif word == "-m" and place + 1 < len(words):
                place += 1
                term["match"] = words[place]
                if words[place] not in MATCHES:
                    raise ProxyConfigError(
                        origin, f"-m {words[place]} is none of {', '.join(sorted(MATCHES))}"
                    )
            elif word == "-f" and place + 1 < len(words):
                place += 1
                lines = self._read(words[place], origin).split("\n")
                patterns = [
                    line.partition("\r")[0].lstrip(" \t") for line in lines if not line.startswith("#")
                ]
                term["patterns"] += filter(None, patterns)
            elif word == "--":
                return words[place + 1 :]
            elif word in {"-n", "-M", "-u"}:
                raise UnknownTestError(f"flag {word} is not modelled")
            elif word.startswith("-"):
                raise ProxyConfigError(
                    origin, f"{word} is no flag; write -- before patterns that begin with -"
                )
            else:
                break
            place += 1
        return words[place:]


def backend_rule(
    text: str, origin: Origin, read: Callable[[str, Origin], str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the name or the map of a ``use_backend``, and the pools that it may name.

    Raises
    ------
    UnknownTestError
        If the expression is not modelled.
    """
    dynamic = DYNAMIC.fullmatch(text)
    if dynamic is None:
        if "%" in text:
            raise UnknownTestError(f"{text!r} is not modelled")
        return {"pool": text}, [text]
    sample, *converters = _split_converters(dynamic[1])
    if "," in QUOTED.sub("", sample):
        raise UnknownTestError(f"the second argument of {sample!r} is not modelled")
    found = MAP.fullmatch(converters[-1]) if converters else None
    if found is None or any(one not in {"lower", "upper"} for one in converters[:-1]):
        raise UnknownTestError(f"{text!r} is not modelled")
    path, _, default = found[2].partition(",")
    entries = []
    for line in read(path.strip(), origin).split("\n"):
        entry = ENTRY.fullmatch(line)
        if entry is not None:
            entries.append((entry[1], entry[2]))
    options = {
        "sample": sample,
        "match": found[1] or "str",
        "entries": entries,
        "converters": converters[:-1],
        "default": default.strip() or None,
    }
    try:
        haproxy.UseBackend([{"map": options}])
    except ConfigurationError as error:
        raise UnknownTestError(f"{text!r} is not modelled ({error})") from None
    return {"map": options}, [
        *dict.fromkeys([*(value for _, value in entries), *([default.strip()] if default.strip() else [])])
    ]


def _split_converters(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        if letter == "," and not depth:
            parts.append("")
            continue
        depth += (letter == "(") - (letter == ")")
        parts[-1] += letter
    return [part.strip() for part in parts]


def _not(term: Term) -> Term:
    return {**term, "negate": not term.get("negate", False)}


def _bounded(lengths: Sequence[int]) -> bool:
    total = 1
    for length in lengths:
        total *= max(1, length)
        if total > MAX_TERMS:
            return False
    return True


def _unquoted(found: re.Match[str]) -> str:
    return next((text for text in found.groups() if text is not None), "")
