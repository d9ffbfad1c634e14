"""Lines of HAProxy's configuration: words, quotes, comments, variables of the environment, sections.

Source: HAProxy 2.6 configuration manual, sections 2.2 and 2.3.
"""

# ruff: noqa: SIM905 - lists of words are texts here

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from balancekit.proxyconfig._haproxy_conditions import CONDITIONS, Conditions
from balancekit.proxyconfig._model import Origin, ProxyConfigError

__all__ = [
    "SECTIONS",
    "VARIABLE",
    "Environment",
    "Line",
    "Section",
    "bound_ports",
    "haproxy_sections",
    "whole_number",
    "words",
]

SECTIONS: Final = frozenset(
    """global defaults frontend backend listen peers userlist resolvers mailers program http-errors ring cache
    log-forward fcgi-app crt-list traces acme log-profile crt-store""".split()
)
ENDED_BY_EMPTY: Final = frozenset(
    """acl balance bind cookie default-server default_backend hash-type mode server server-template timeout use-server
    use_backend""".split()
)
"""Lines whose arguments are read up to an empty one."""
MESSAGES: Final = frozenset({".notice", ".warning", ".diag", ".alert"})
ESCAPE: Final = re.compile(r"""\\(?:([nrt])|x([0-9A-Fa-f]{2})|([ \\#'"$]))""")
CONTROLS: Final[Mapping[str, str]] = {"n": "\n", "r": "\r", "t": "\t"}
VARIABLE: Final = re.compile(
    r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?:\[\*\])?(?:-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))"
)
MAX_LINE: Final = 65_536
"""Characters; HAProxy itself takes fewer."""


MAX_WORDS: Final = 64


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

    @property
    def base(self) -> str | None:
        """The name of the defaults that the section starts from; ``None`` if it names none."""
        words = self.words[2 if self.name else 1 :]
        return words[1] if words[:1] == ("from",) and len(words) > 1 else None


class Environment:
    """Variables of the environment that lines use; those that ``setenv`` and the like of ``global`` set are among them.

    Parameters
    ----------
    given
        What the proxy was started with, as far as it is known.
    """

    __slots__ = ("_values", "unknown")

    def __init__(self, given: Mapping[str, str]) -> None:
        self._values = dict(given)
        self.unknown: list[str] = []
        """Names that were used and are not known; they are empty."""

    def value(self, found: re.Match[str]) -> str:
        """Return what stands for a variable: its value, its default, or nothing."""
        name = found[1] or found[3]
        default: str | None = found[2]
        value = self._values.get(name, default)
        if value is None:
            self.unknown.append(name)
        return value or ""

    @property
    def names(self) -> frozenset[str]:
        """Names of the variables that are known."""
        return frozenset(self._values)

    def read(self, line: Line) -> None:
        """Carry out a line of ``global``."""
        first, *rest = line.words
        if first == "setenv" and len(rest) > 1:
            self._values[rest[0]] = rest[1]
        elif first == "presetenv" and len(rest) > 1:
            self._values.setdefault(rest[0], rest[1])
        elif first == "unsetenv":
            for name in rest:
                self._values.pop(name, None)
        elif first == "resetenv":
            self._values = {name: self._values[name] for name in rest if name in self._values}


def haproxy_sections(
    path: str, text: str, environment: Environment, note: Callable[[Line, str], None] | None = None
) -> Iterator[Section]:
    """Yield the sections of a file; note what conditions and variables that are not known are taken to be.

    Raises
    ------
    ProxyConfigError
        For a line that cannot be read, or that stands in no section.
    """
    head: Line | None = None
    lines: list[Line] = []
    for line in _lines(path, text, environment, note):
        first = line.words[0]
        if first in SECTIONS:
            if head is not None:
                yield _section(head, lines)
            head, lines = line, []
        elif head is None:
            raise ProxyConfigError(line.origin, f"{first!r} stands in no section")
        else:
            lines.append(line)
            if head.words[0] == "global":
                environment.read(line)
    if head is not None:
        yield _section(head, lines)


def _given(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words before the first empty one, which HAProxy takes for the end of the line."""
    return words[: words.index("")] if "" in words else words


def _lines(
    path: str, text: str, environment: Environment, note: Callable[[Line, str], None] | None
) -> Iterator[Line]:
    """Yield the lines of all sections that conditions leave."""
    conditions = Conditions()
    for number, raw in enumerate(text.split("\n"), 1):
        origin = Origin(path, number)
        if len(raw) > MAX_LINE:
            raise ProxyConfigError(origin, f"a line of more than {MAX_LINE} characters")
        found = words(raw.rstrip("\r"), origin, environment)
        if len(found) > MAX_WORDS:
            raise ProxyConfigError(origin, f"a line of more than {MAX_WORDS} words")
        unknown = ", ".join(environment.unknown)
        environment.unknown.clear()
        if not found or (not conditions.reading and found[0] not in CONDITIONS):
            continue
        line = Line(_given(found) if found[0] in ENDED_BY_EMPTY and not unknown else found, origin)
        if note is not None and unknown and conditions.reading:
            note(line, f"the environment's {unknown} is not known here, and taken to be empty")
        if found[0] in CONDITIONS:
            for assumed in conditions.read(found, origin, environment.names):
                if note is not None:
                    note(line, assumed)
        elif found[0].startswith(".") and found[0] not in MESSAGES:
            raise ProxyConfigError(origin, f"{found[0]} is no directive")
        elif found[0] == ".alert":
            raise ProxyConfigError(origin, f".alert: {' '.join(found[1:])}")
        elif found[0] not in MESSAGES:
            yield line
    conditions.end()


def words(text: str, origin: Origin, environment: Environment) -> tuple[str, ...]:
    r"""Return the words of a line.

    A backslash before a letter that it does not escape stays, as in the expressions of ``path_reg``.

    Example
    -------
    >>> words(r'acl a path_reg "/x y" \#z ^/a\.b # comment', Origin("f", 1), Environment({}))
    ('acl', 'a', 'path_reg', '/x y', '#z', '^/a\\.b')
    """
    found: list[str] = []
    word: list[str] | None = None
    quote = ""
    place = 0
    while place < len(text):
        letter = text[place]
        if not quote and letter in " \t":
            if word is not None:
                found.append("".join(word))
                word = None
            place += 1
            continue
        piece, end = letter, place + 1
        escape = ESCAPE.match(text, place) if letter == "\\" and quote != "'" else None
        if escape is None and quote != "'" and text.startswith("\\x", place):
            raise ProxyConfigError(origin, "\\x without two hexadecimal digits")
        if escape is not None and (quote or escape[3] != "$"):
            piece, end = _meant(escape), escape.end()
        elif quote and letter == quote:
            piece = quote = ""
        elif not quote and letter in "\"'":
            piece, quote = "", letter
        elif quote == '"' and letter == "$" and (name := VARIABLE.match(text, place)) is not None:
            piece, end = environment.value(name), name.end()
        elif not quote and letter == "#":
            break
        word = [] if word is None else word
        word.append(piece)
        place = end
    if quote:
        raise ProxyConfigError(origin, f"a {quote} that is not closed")
    if word is not None:
        found.append("".join(word))
    return tuple(found)


def _meant(escape: re.Match[str]) -> str:
    """Return what an escape stands for."""
    if escape[1]:
        return CONTROLS[escape[1]]
    if escape[2]:
        return bytes.fromhex(escape[2]).decode("utf-8", "surrogateescape")
    return escape[3]


def _section(head: Line, lines: list[Line]) -> Section:
    kind, *rest = head.words
    if kind in {"frontend", "backend", "listen"} and not rest:
        raise ProxyConfigError(head.origin, f"a {kind} has a name")
    named = rest and not (kind == "defaults" and rest[0] == "from")
    return Section(kind, rest[0] if named else "", head.origin, head.words, tuple(lines))


def bound_ports(line: Line, environment: Environment) -> list[int]:
    """Return the ports of a ``bind``, at most a thousand of each range."""
    found: list[int] = []
    for address in line.words[1].split(",") if len(line.words) > 1 else ():
        port = VARIABLE.sub(environment.value, address).rpartition(":")[2]
        first, _, last = port.partition("-")
        if first.isdecimal() and (not last or last.isdecimal()):
            found += range(int(first[:6]), min(int(last[:6] or first[:6]), int(first[:6]) + 1000) + 1)
    return found


def whole_number(line: Line, value: str, minimum: int) -> int:
    """Return a whole number, at most 2**31.

    Raises
    ------
    ProxyConfigError
        If it is none.
    """
    if not value.isascii() or not value.isdecimal() or not minimum <= int(value[:12]) <= 2**31:
        raise ProxyConfigError(line.origin, f"{value!r} is not a whole number >= {minimum}")
    return int(value[:12])
