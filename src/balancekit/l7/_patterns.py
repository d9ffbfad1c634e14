"""Path patterns: exact, segment prefix, text prefix, regular expression, template.

Write patterns without escapes; they are escaped here where necessary (``exact("/café")``). Each pattern has a
*literal*: the text with which every path it matches begins. The table finds and ranks patterns by their literals.

Cost: a comparison for the first three, one match of a compiled expression for the others. Source: RFC 3986; RFC 6570
(templates, of which this is level 1); the Gateway API's ``PathPrefix``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol, final
from urllib.parse import quote

from balancekit._support.arguments import checked_arguments
from balancekit._support.url_paths import unescape
from balancekit.errors import ConfigurationError
from balancekit.l7._literals import literal_of

__all__ = [
    "Exact",
    "PathPattern",
    "Prefix",
    "Regex",
    "Template",
    "TextPrefix",
    "escaped",
    "exact",
    "prefix",
    "regex",
    "template",
    "text_prefix",
]

MAX_PATTERN: Final = 10_000
"""Characters of a regular expression; compiling millions takes seconds."""
SAFE: Final = "/!$&'()*+,;=:@-._~%"
PARAMETERS: Final = "use query() for parameters"
NO_PARAMS: Final[Mapping[str, str]] = MappingProxyType({})
VARIABLE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}")
ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")


class PathPattern(Protocol):
    """A condition on the path. Made by the five functions of this module."""

    @property
    def literal(self) -> str:
        """The text with which every matching path begins."""
        ...

    @property
    def whole(self) -> bool:
        """Whether the literal's last segment is complete, so that it can be found at a slash."""
        ...

    def matches(self, path: str, /) -> bool:
        """Whether it matches a path as the table reads it."""
        ...

    def params(self, path: str, /) -> Mapping[str, str]:
        """Return the named parts of a path that matches."""
        ...

    def decoded(self) -> PathPattern:
        """Return the pattern for paths that are decoded before they are matched."""
        ...

    def rewritten(self, path: str, new: str, /) -> str:
        """Return a matching path with the matched text replaced."""
        ...


@final
class Exact:
    """The whole path is this text."""

    __slots__ = ("literal",)
    whole = True

    def __init__(self, text: str) -> None:
        self.literal: str = text

    def matches(self, path: str, /) -> bool:
        """Whether the path is the text."""
        return path == self.literal

    def params(self, path: str, /) -> Mapping[str, str]:
        """Return nothing."""
        return NO_PARAMS

    def decoded(self) -> Exact:
        """Return the pattern with its escapes decoded."""
        return Exact(unescape(self.literal))

    def rewritten(self, path: str, new: str, /) -> str:
        """Return the new path."""
        return new

    def __repr__(self) -> str:
        return f"exact({self.literal!r})"


@final
class Prefix:
    """The path is this text or continues it with a slash. A slash at the end of the text is ignored."""

    __slots__ = ("literal",)
    whole = True

    def __init__(self, text: str) -> None:
        self.literal: str = text.rstrip("/")

    def matches(self, path: str, /) -> bool:
        """Whether the path is the text or lies below it."""
        size = len(self.literal)
        return path.startswith(self.literal) and (len(path) == size or path[size] == "/")

    def params(self, path: str, /) -> Mapping[str, str]:
        """Return nothing."""
        return NO_PARAMS

    def decoded(self) -> Prefix:
        """Return the pattern with its escapes decoded."""
        return Prefix(unescape(self.literal))

    def rewritten(self, path: str, new: str, /) -> str:
        """Return the path with another prefix."""
        return (new.rstrip("/") + path[len(self.literal) :]) or "/"

    def __repr__(self) -> str:
        return f"prefix({self.literal or '/'!r})"


@final
class TextPrefix:
    """The path begins with this text, wherever it is cut: ``/api`` also matches ``/apiary``."""

    __slots__ = ("literal",)
    whole = False

    def __init__(self, text: str) -> None:
        self.literal: str = text

    def matches(self, path: str, /) -> bool:
        """Whether the path begins with the text."""
        return path.startswith(self.literal)

    def params(self, path: str, /) -> Mapping[str, str]:
        """Return nothing."""
        return NO_PARAMS

    def decoded(self) -> TextPrefix:
        """Return the pattern with its escapes decoded."""
        return TextPrefix(unescape(self.literal))

    def rewritten(self, path: str, new: str, /) -> str:
        """Return the path with another beginning."""
        return new + path[len(self.literal) :]

    def __repr__(self) -> str:
        return f"text_prefix({self.literal!r})"


@final
class Regex:
    """A regular expression of Python's, searched for in the path; ``^`` and ``$`` anchor it."""

    __slots__ = ("expression", "literal", "search")
    whole = False

    def __init__(self, expression: re.Pattern[str]) -> None:
        self.expression: re.Pattern[str] = expression
        self.literal: str = literal_of(expression.pattern)
        self.search: Callable[[str], re.Match[str] | None] = expression.search

    def matches(self, path: str, /) -> bool:
        """Whether the expression is found in the path."""
        return self.search(path) is not None

    def params(self, path: str, /) -> Mapping[str, str]:
        """Return the named groups that took part."""
        found = self.search(path)
        groups = {} if found is None else found.groupdict()
        return {name: text for name, text in groups.items() if text is not None}

    def decoded(self) -> Regex:
        """Return the same: an expression says itself what it is compared with."""
        return self

    def rewritten(self, path: str, new: str, /) -> str:
        r"""Return the path with the match replaced; ``\1`` and ``\g<name>`` stand for groups.

        What does not begin with a slash gets one: behind a host it would be a part of its name.
        """
        found = self.expression.sub(new, path, count=1)
        return found if found.startswith("/") else f"/{found}"

    def __repr__(self) -> str:
        return f"regex({self.expression.pattern!r})"


@final
class Template:
    """Segments, some of them named: ``/users/{id}``; ``{rest:path}`` at the end takes all that is left."""

    __slots__ = ("literal", "names", "search", "segments", "text")
    whole = True

    def __init__(self, text: str) -> None:
        self.text: str = text
        self.segments: tuple[str, ...] = tuple(text.split("/")[1:])
        self.names: tuple[str, ...] = tuple([name for name, _ in VARIABLE.findall(text)])
        fixed: list[str] = []
        for segment in self.segments:
            if VARIABLE.fullmatch(segment):
                break
            fixed.append(segment)
        self.literal: str = "".join([f"/{segment}" for segment in fixed])
        self.search: Callable[[str], re.Match[str] | None] = re.compile(
            "".join([f"/{_segment(segment)}" for segment in self.segments]), re.DOTALL
        ).fullmatch

    def matches(self, path: str, /) -> bool:
        """Whether the path has these segments."""
        return self.search(path) is not None

    def params(self, path: str, /) -> Mapping[str, str]:
        """Return the named segments, as in the path."""
        found = self.search(path)
        return NO_PARAMS if found is None else found.groupdict()

    def decoded(self) -> Template:
        """Return the pattern with the escapes of its fixed segments decoded."""
        return Template("".join([f"/{_unescaped(segment)}" for segment in self.segments]))

    def rewritten(self, path: str, new: str, /) -> str:
        """Return the new path with the named segments put in."""
        params = self.params(path)
        return VARIABLE.sub(lambda found: params[found[1]], new)

    def __repr__(self) -> str:
        return f"template({self.text!r})"


@checked_arguments
def exact(text: str, /) -> Exact:
    """Match one path and nothing else; ``/a`` is not ``/a/``.

    Example
    -------
    >>> from balancekit.l7 import exact
    >>> exact("/a").matches("/a"), exact("/a").matches("/a/")
    (True, False)
    """
    return Exact(_written(text))


@checked_arguments
def prefix(text: str, /) -> Prefix:
    """Match a path and everything below it, cut at slashes: ``/a`` matches ``/a``, ``/a/`` and ``/a/b``, not ``/ab``.

    Example
    -------
    >>> from balancekit.l7 import prefix
    >>> [prefix("/a").matches(path) for path in ("/a", "/a/b", "/ab")]
    [True, True, False]
    """
    return Prefix(_written(text))


@checked_arguments
def text_prefix(text: str, /) -> TextPrefix:
    """Match every path that begins with a text, cut anywhere.

    *When not to use it:* to guard a subtree. Use :func:`prefix`.

    Example
    -------
    >>> from balancekit.l7 import text_prefix
    >>> [text_prefix("/ap").matches(path) for path in ("/api", "/app/x", "/a")]
    [True, True, False]
    """
    return TextPrefix(_written(text))


@checked_arguments
def regex(expression: str, /) -> Regex:
    """Search a path for a regular expression of Python's ``re``.

    As in nginx, an expression without ``^`` is found anywhere in the path; :meth:`RouteTable.check` reports it.
    Expressions run on text that clients choose; avoid nested repetition.

    Raises
    ------
    ConfigurationError
        If the expression does not compile.

    Example
    -------
    >>> from balancekit.l7 import regex
    >>> regex(r"^/users/(?P<id>[0-9]+)$").params("/users/42")
    {'id': '42'}
    """
    if not isinstance(expression, str) or not expression:
        raise ConfigurationError("regex", expression, "a regular expression as text")
    try:
        if len(expression) > MAX_PATTERN:
            raise ConfigurationError("regex", expression, f"at most {MAX_PATTERN} characters")
        return Regex(re.compile(expression))
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigurationError("regex", expression, f"a regular expression ({error})") from None


@checked_arguments
def template(text: str, /) -> Template:
    """Match a path segment by segment; ``{name}`` is one segment of at least one character, ``{name:path}`` the rest.

    Raises
    ------
    ConfigurationError
        If a variable is not a whole segment, has the name of another, or ``{name:path}`` is not last. If the text has a
        ``?`` or ``#``.

    Example
    -------
    >>> from balancekit.l7 import template
    >>> template("/users/{id}/files/{rest:path}").params("/users/7/files/a/b")
    {'id': '7', 'rest': 'a/b'}
    """
    if not isinstance(text, str) or not text.startswith("/"):
        raise ConfigurationError("template", text, "a path that begins with '/'")
    names: set[str] = set()
    segments = text.split("/")[1:]
    for place, segment in enumerate(segments):
        found = VARIABLE.fullmatch(segment)
        if found is None:
            if "{" in segment or "}" in segment:
                raise ConfigurationError(
                    "template", text, "variables that are whole segments, such as /{id}/"
                )
            continue
        if found[1] in names:
            raise ConfigurationError("template", text, f"each name once; {found[1]!r} occurs twice")
        if found[2] and place < len(segments) - 1:
            raise ConfigurationError("template", text, f"{{{found[1]}:path}} as the last segment")
        names.add(found[1])
    return Template("".join([f"/{_segment_text(one)}" for one in segments]))


def _written(text: str) -> str:
    """Return a pattern's text as requests spell it.

    Raises
    ------
    ConfigurationError
        If it is no path.
    """
    if not isinstance(text, str) or not text.startswith("/"):
        raise ConfigurationError("path", text, "a path that begins with '/'")
    return escaped("path", text, hint=PARAMETERS)


def escaped(parameter: str, text: str, *, hint: str, keep: str = "") -> str:
    """Return a text of a path as requests spell it, without escaping the letters in ``keep``.

    Raises
    ------
    ConfigurationError
        If it has a query or a fragment.
    """
    if "?" in text or "#" in text:
        raise ConfigurationError(parameter, text, f"a path without '?' and '#'; {hint}")
    return ESCAPE.sub(lambda found: found[0].upper(), quote(text, safe=SAFE + keep, errors="surrogatepass"))


def _segment_text(segment: str) -> str:
    return segment if VARIABLE.fullmatch(segment) else escaped("template", segment, hint=PARAMETERS)


def _unescaped(segment: str) -> str:
    return segment if VARIABLE.fullmatch(segment) else unescape(segment)


def _segment(segment: str) -> str:
    found = VARIABLE.fullmatch(segment)
    if found is None:
        return re.escape(segment)
    return f"(?P<{found[1]}>{'.*' if found[2] else '[^/]+'})"
