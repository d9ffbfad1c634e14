"""Lines of HAProxy's configuration: words, quotes, comments, variables of the environment, sections.

Source: HAProxy 2.6 configuration manual, sections 2.2 and 2.3.
"""

# ruff: noqa: SIM905 - lists of words are texts here

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from balancekit.proxyconfig._model import Origin, ProxyConfigError

__all__ = ["SECTIONS", "Line", "Section", "haproxy_sections", "words"]

SECTIONS: Final = frozenset(
    """global defaults frontend backend listen peers userlist resolvers mailers program http-errors ring cache
    log-forward fcgi-app crt-list traces acme log-profile crt-store""".split()
)
ESCAPES: Final[Mapping[str, str]] = {"n": "\n", "r": "\r", "t": "\t"}
VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?:\[\*\])?\}|([A-Za-z_][A-Za-z0-9_]*))")
MAX_LINE: Final = 65_536
"""Characters; HAProxy itself takes fewer."""


class Line(NamedTuple):
    """The words of one line."""

    words: tuple[str, ...]
    origin: Origin

    def __str__(self) -> str:
        return " ".join(self.words)


class Section(NamedTuple):
    """A section and its lines."""

    kind: str
    name: str
    origin: Origin
    words: tuple[str, ...]
    lines: tuple[Line, ...]


def haproxy_sections(path: str, text: str, environment: Mapping[str, str]) -> Iterator[Section]:
    """Yield the sections of a file.

    Raises
    ------
    ProxyConfigError
        For a line that cannot be read, or that stands in no section.
    """
    head: Line | None = None
    lines: list[Line] = []
    for number, raw in enumerate(text.split("\n"), 1):
        origin = Origin(path, number)
        if len(raw) > MAX_LINE:
            raise ProxyConfigError(origin, f"a line of more than {MAX_LINE} characters")
        found = words(raw.rstrip("\r"), origin, environment)
        if not found:
            continue
        if found[0] in SECTIONS and (raw[:1] not in " \t" or found[0] not in {"cache", "ring"}):
            if head is not None:
                yield _section(head, lines)
            head, lines = Line(found, origin), []
        elif head is None:
            raise ProxyConfigError(origin, f"{found[0]!r} stands in no section")
        else:
            lines.append(Line(found, origin))
    if head is not None:
        yield _section(head, lines)


def words(text: str, origin: Origin, environment: Mapping[str, str]) -> tuple[str, ...]:
    r"""Return the words of a line.

    Example
    -------
    >>> words(r'acl a path_beg "/x y" \#z # comment', Origin("f", 1), {})
    ('acl', 'a', 'path_beg', '/x y', '#z')
    """
    found: list[str] = []
    word: list[str] | None = None
    quote = ""
    place = 0
    while place < len(text):
        letter = text[place]
        if letter == "\\" and quote != "'" and place + 1 < len(text):
            place += 1
            follows = text[place]
            plain = quote == '"' and follows not in '\\"$#'
            word = [] if word is None else word
            word.append(f"\\{follows}" if plain else ESCAPES.get(follows, follows))
        elif quote and letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
            word = [] if word is None else word
        elif quote == '"' and letter == "$":
            name = VARIABLE.match(text, place)
            if name is not None:
                word = [] if word is None else word
                word.append(environment.get(name[1] or name[2], ""))
                place = name.end()
                continue
            word = [] if word is None else word
            word.append(letter)
        elif not quote and letter == "#":
            break
        elif not quote and letter in " \t":
            if word is not None:
                found.append("".join(word))
                word = None
        elif word is None:
            word = [letter]
        else:
            word.append(letter)
        place += 1
    if quote:
        raise ProxyConfigError(origin, f"a {quote} that is not closed")
    if word is not None:
        found.append("".join(word))
    return tuple(found)


def _section(head: Line, lines: list[Line]) -> Section:
    kind, *rest = head.words
    if kind in {"frontend", "backend", "listen"} and not rest:
        raise ProxyConfigError(head.origin, f"a {kind} has a name")
    return Section(kind, rest[0] if rest else "", head.origin, head.words, tuple(lines))
