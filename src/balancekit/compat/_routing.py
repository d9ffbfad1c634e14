"""Requests and results of the routing of nginx, HAProxy, Envoy and the Gateway API, and their regular expressions.

Texts represent bytes as Latin-1.
"""

from __future__ import annotations

import re
from typing import Any, Final

from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit._support.text import to_bytes
from balancekit.errors import ConfigurationError

__all__ = ["RawRequest", "Routed", "UnsupportedExpressionError", "compiled", "raw_bytes", "split_target"]

TOKEN: Final = re.compile(
    r"""\\Q(?P<quoted>.*?)(?:\\E|\Z) | (?P<end>\\E) | \\x\{(?P<code>[0-9A-Fa-f]{1,2})\} | \\k(?:<(?P<named>\w+)>|\{(?P<braced>\w+)\}|'(?P<ticked>\w+)') | \\g(?P<number>[1-9]|\{[1-9][0-9]?\}) | \\(?P<escaped>.)
    | \(\?'(?P<tick>\w+)' | (?P<group>\(\?<(?![=!])) | (?P<brace>\{(?![0-9])) | (?P<opened>\[\^?\]?) | .""",
    re.DOTALL | re.VERBOSE,
)
"""One part of an expression outside of a class, including the beginning of a class."""
MEMBER: Final = re.compile(
    r"""(?P<closed>\]) | \[:(?P<not>\^?)(?P<name>[a-z]+):\] | \\x\{(?P<code>[0-9A-Fa-f]{1,2})\} | \\(?P<escaped>.)
    | (?P<sign>[\[&~|]|(?<=(?<!\\)-)-) | .""",
    re.DOTALL | re.VERBOSE,
)
"""One part of a class."""
ESCAPES: Final = {
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "h": r"[ \t]",
    "H": r"[^ \t]",
    "R": r"(?:\r\n|[\n\v\f\r\x85])",
    "e": r"\x1b",
    "G": r"\A",
    "N": r"[^\n]",
    "v": r"[\n\v\f\r\x85]",
    "V": r"[^\n\v\f\r\x85]",
}
"""Python's form of escapes that PCRE and RE2 write differently, by their letters."""
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
ELSEWHERE: Final = re.compile(
    r"\\[KXCGpPgkoc]|\(\?(?:[R&|]|[-+]?[0-9]|P>|\^|[A-Za-z-]*\))|\(\*[A-Z]|\(\?<[=!]|\[:\^"
)
"""What PCRE or RE2 has, or takes otherwise, where Python's ``re`` fails."""
FAULTS: Final = re.compile(
    "missing \\)|unterminated|unbalanced|bad character range|min repeat|multiple repeat"
)
"""Errors of Python's ``re`` that are errors everywhere."""
SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)")


class UnsupportedExpressionError(ConfigurationError):
    """An expression that may be one of PCRE or RE2, and that Python's ``re`` cannot have."""


class RawRequest(Record):
    """A request as it arrives on a connection.

    Parameters
    ----------
    target
        Target in the request line: a path, an absolute URL or ``*``.
    host
        Value of the Host header; ``None`` if there is none.
    method
        Method in the request line.
    http
        HTTP version in the request line.
    headers
        Names and values of the other headers, in order.

    Example
    -------
    >>> from balancekit.compat.envoy import RawRequest
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
        """Return the values of a header, in order, without blanks at both ends. The case of names is ignored."""
        wanted = name.lower()
        every = (("host", self.host),) if self.host is not None else ()
        return tuple([value.strip(" \t") for key, value in (*every, *self.headers) if key.lower() == wanted])


class Routed(Record):
    """The routing decision of a server for a request.

    Parameters
    ----------
    pool
        Name of the pool that gets the request; ``None`` if the server answers itself.
    path
        The path as the server normalizes it; ``None`` if that is not known.
    status
        Status of the server's own answer.
    location
        Target of a redirect.
    """

    pool: str | None = None
    path: str | None = None
    status: int | None = None
    location: str | None = None


def raw_bytes(text: str) -> bytes:
    r"""Return the bytes of a text: in Latin-1, or in UTF-8 if it has other characters.

    Example
    -------
    >>> raw_bytes(chr(233)), raw_bytes(chr(8364))
    (b'\xe9', b'\xe2\x82\xac')
    """
    return text.encode("latin-1") if text.isascii() or max(text) <= "\xff" else to_bytes(text)


def split_target(target: str) -> tuple[str | None, str]:
    """Return the authority of an absolute target and the rest; ``None`` and the target if it is not absolute.

    Example
    -------
    >>> split_target("http://h/a?b"), split_target("/a?http://h"), split_target("http://h")
    (('h', '/a?b'), (None, '/a?http://h'), ('h', ''))
    """
    found = SCHEME.match(target)
    return (None, target) if found is None else (found[2], target[found.end() :])


def translated(expression: str) -> str:
    r"""Translate an expression of PCRE or RE2 to Python's syntax: group names, POSIX classes, quotes and anchors.

    Raises
    ------
    re.error
        If a class is not closed, or its name is unknown.

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
        elif (name := found["named"] or found["braced"] or found["ticked"]) is not None:
            parts.append(f"(?P={name})")
        elif found["number"] is not None:
            parts.append(rf"(?:\{found['number'].strip('{}')})")
        elif found["tick"] is not None:
            parts.append(f"(?P<{found['tick']}>")
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
    """Return the rest of a class in Python's syntax, and the index of its end."""
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
    """Compile an expression of PCRE or RE2 for texts that represent bytes as Latin-1.

    With ``ignore_case``, only the case of ASCII letters is ignored.

    Raises
    ------
    ConfigurationError
        If the expression does not compile. The error names ``parameter``. It is an ``UnsupportedExpressionError`` if PCRE or
        RE2 may take it.
    """
    try:
        return re.compile(
            translated(expression) if expression else expression,
            re.ASCII | (re.IGNORECASE if ignore_case else 0),
        )
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        if isinstance(error, re.error) and not FAULTS.match(error.msg) and ELSEWHERE.search(expression):
            allowed = f"an expression without what Python's re has not ({error})"
            raise UnsupportedExpressionError(parameter, expression, allowed) from None
        raise ConfigurationError(parameter, expression, f"a regular expression ({error})") from None
