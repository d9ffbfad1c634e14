"""Requests and answers of the routing machines: a request line and headers in, a pool or a status out.

Text stands for bytes by latin-1. Nothing here belongs to one server.
"""

from __future__ import annotations

import re
from typing import Any, Final

from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit._support.text import to_bytes
from balancekit.errors import ConfigurationError

__all__ = ["RawRequest", "Routed", "compiled", "raw_bytes", "split_target"]

TOKEN: Final = re.compile(
    r"""\\Q(?P<quoted>.*?)(?:\\E|\Z) | (?P<end>\\E) | \\x\{(?P<code>[0-9A-Fa-f]{1,2})\} | \\(?P<escaped>.)
    | (?P<group>\(\?<(?![=!])) | (?P<brace>\{(?![0-9])) | (?P<opened>\[\^?\]?) | .""",
    re.DOTALL | re.VERBOSE,
)
"""The parts of an expression outside of a class, that of its beginning included."""
MEMBER: Final = re.compile(
    r"""(?P<closed>\]) | \[:(?P<not>\^?)(?P<name>[a-z]+):\] | \\x\{(?P<code>[0-9A-Fa-f]{1,2})\} | \\(?P<escaped>.)
    | (?P<sign>[\[&~|]|(?<=(?<!\\)-)-) | .""",
    re.DOTALL | re.VERBOSE,
)
"""The parts of a class."""
ESCAPES: Final = {
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "h": r"[ \t]",
    "H": r"[^ \t]",
    "R": r"(?:\r\n|[\n\v\f\r\x85])",
    "e": r"\x1b",
}
"""What PCRE and RE2 write otherwise than Python."""
CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": r"\ -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t-\r\ ",
    "upper": "A-Z",
    "word": "0-9A-Z_a-z",
    "xdigit": "0-9A-Fa-f",
}
SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)")


class RawRequest(Record):
    """A request as it arrives on a connection.

    Parameters
    ----------
    target
        As in the request line: a path, an absolute URL or ``*``.
    host
        The Host header; ``None`` if there is none.
    method, http
        The other words of the request line.
    headers
        The other headers, in order.

    Example
    -------
    >>> RawRequest(target="/a", host="shop.test").values("Host")
    ('shop.test',)
    """

    target: str = "/"
    host: str | None = None
    method: str = "GET"
    http: str = "1.1"
    headers: tuple[tuple[str, str], ...] = ()

    @checked_arguments
    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of a header, in order, without the blanks around them; names have no case."""
        wanted = name.lower()
        every = (("host", self.host),) if self.host is not None else ()
        return tuple([value.strip(" \t") for key, value in (*every, *self.headers) if key.lower() == wanted])


class Routed(Record):
    """What a server does with a request.

    Parameters
    ----------
    pool
        The pool that gets it; ``None`` if the server answers by itself.
    path
        The path as the server reads it; ``None`` where the server shows none.
    status
        The status of the server's own answer.
    location
        Where a redirect points.
    """

    pool: str | None = None
    path: str | None = None
    status: int | None = None
    location: str | None = None


def raw_bytes(text: str) -> bytes:
    r"""Return the bytes that a text stands for: those of latin-1, or of UTF-8 if it has other characters.

    Example
    -------
    >>> raw_bytes(chr(233)), raw_bytes(chr(8364))
    (b'\xe9', b'\xe2\x82\xac')
    """
    return text.encode("latin-1") if text.isascii() or max(text) <= "\xff" else to_bytes(text)


def split_target(target: str) -> tuple[str | None, str]:
    """Return the authority of an absolute target, ``None`` if it is none, and what follows it.

    Example
    -------
    >>> split_target("http://h/a?b"), split_target("/a?http://h"), split_target("http://h")
    (('h', '/a?b'), (None, '/a?http://h'), ('h', ''))
    """
    found = SCHEME.match(target)
    return (None, target) if found is None else (found[2], target[found.end() :])


def translated(expression: str) -> str:
    r"""Return an expression of PCRE or RE2 as Python writes it: names of groups, classes, quotes and ends.

    Raises
    ------
    re.error
        For a class that is not closed or has a name that is unknown.

    Example
    -------
    >>> translated(r"^/(?<a>[[:alpha:]_&&]+)\Q.x\E\z")
    '^/(?P<a>[A-Za-z_\\&\\&]+)\\.x\\Z'
    """
    parts: list[str] = []
    place = 0
    while place < len(expression):
        found = TOKEN.match(expression, place)
        assert found is not None
        place = found.end()
        if found["opened"] is not None:
            members, place = _class(expression, place)
            parts += [found["opened"].replace("]", r"\]"), members]
        elif found["quoted"] is not None:
            parts.append(re.escape(found["quoted"]))
        elif found["code"] is not None:
            parts.append(rf"\x{found['code']:0>2}")
        elif found["escaped"] is not None:
            parts.append(ESCAPES.get(found["escaped"], found[0]))
        elif found["group"] is not None:
            parts.append("(?P<")
        elif found["brace"] is not None:
            parts.append(r"\{")
        elif found["end"] is None:
            parts.append(found[0])
    return "".join(parts)


def _class(expression: str, place: int) -> tuple[str, int]:
    """Return the rest of a class as Python writes it, and where it ends."""
    parts: list[str] = []
    while True:
        found = MEMBER.match(expression, place)
        if found is None:
            raise re.error("unterminated character set", expression, place)
        place = found.end()
        if found["name"] is not None:
            if found["name"] not in CLASSES or found["not"]:
                raise re.error(f"unknown class {found[0]}", expression, place)
            parts.append(CLASSES[found["name"]])
        elif found["code"] is not None:
            parts.append(rf"\x{found['code']:0>2}")
        elif found["escaped"] is not None:
            parts.append(r" \t" if found["escaped"] == "h" else found[0])
        elif found["sign"] is not None:
            parts.append("\\" + found["sign"])
        else:
            parts.append(found[0])
            if found["closed"] is not None:
                return "".join(parts), place


def compiled(parameter: str, expression: Any, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile an expression over bytes that stand as latin-1; without case, that of ASCII letters only.

    Raises
    ------
    ConfigurationError
        If it does not compile.
    """
    try:
        return re.compile(
            translated(expression) if expression else expression,
            re.ASCII | (re.IGNORECASE if ignore_case else 0),
        )
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        raise ConfigurationError(parameter, expression, f"a regular expression ({error})") from None
