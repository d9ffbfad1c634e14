"""Envoy's matchers of a route: path, headers, query parameters, cookies.

Cost: O(length). Source: Envoy 1.40.0, observed; ``RouteMatch``, ``HeaderMatcher``, ``QueryParameterMatcher``, ``CookieMatcher``,
``StringMatcher``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from balancekit._support.record import Record
from balancekit.compat._routing import compiled
from balancekit.errors import ConfigurationError

__all__ = [
    "MatchedRequest",
    "cookie_matcher",
    "header_matcher",
    "path_matcher",
    "query_matcher",
    "read_cookies",
    "string_matcher",
]

StringTest = Callable[[str], bool]

VARIABLE: Final = re.compile(r"(\{[^{}]*\})")
IN_SEGMENT: Final = r"A-Za-z0-9\-._~%!$&'()*+,;:@="
"""Characters that a star in a URI template matches."""
INTEGER: Final = re.compile(r"[ \t]*[+-]?[0-9]{1,19}[ \t]*")
STRINGS: Final[dict[str, Callable[[str, str], bool]]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
}


class MatchedRequest(Record):
    """The parts of a request that matchers of routes use.

    Parameters
    ----------
    path
        Normalized path without the query.
    headers
        Values by lower-case name, including pseudo headers.
    query
        First value of each query parameter, as it was sent.
    cookies
        First value of each cookie, without quotes around it.
    """

    path: str
    headers: Mapping[str, Sequence[str]]
    query: Mapping[str, str]
    cookies: Mapping[str, str]


def fold(text: str) -> str:
    """Return a text with its ASCII letters in lower case."""
    return "".join([letter.lower() if letter.isascii() else letter for letter in text])


def path_matcher(match: Mapping[str, Any]) -> StringTest:
    """Return the test of the path for a ``RouteMatch``.

    Raises
    ------
    ConfigurationError
        If the match has no supported path specifier.
    """
    exact_case = match.get("case_sensitive", True)
    same = (lambda text: text) if exact_case else fold
    if "prefix" in match:
        start = same(match["prefix"])
        return lambda path: same(path).startswith(start)
    if "path" in match:
        whole = same(match["path"])
        return lambda path: same(path) == whole
    if "path_separated_prefix" in match:
        stem = same(match["path_separated_prefix"])
        return lambda path: same(path) == stem or same(path).startswith(stem + "/")
    if "safe_regex" in match:
        full = compiled("safe_regex", match["safe_regex"]["regex"]).fullmatch
        return lambda path: full(path) is not None
    if "path_match_policy" in match:
        typed = match["path_match_policy"]["typed_config"]
        template = template_expression(typed["path_template"]).fullmatch
        return lambda path: template(path) is not None
    raise ConfigurationError(
        "match", dict(match), "prefix, path, path_separated_prefix, safe_regex or path_match_policy"
    )


def template_expression(text: str) -> re.Pattern[str]:
    """Return the regular expression of a URI template.

    A star at the beginning of a segment is a wildcard, which may be followed by text. Envoy does not escape other stars, so they
    are operators of the expression: ``/a*`` matches ``/`` and ``/aa``. A variable may be anywhere.

    Raises
    ------
    ConfigurationError
        If the result is no valid expression.

    Example
    -------
    >>> template = template_expression("/img/{name}.png")
    >>> [path for path in ("/img/a.png", "/img/.png", "/img/a/b.png") if template.fullmatch(path)]
    ['/img/a.png']
    """
    parts = []
    for piece in VARIABLE.split(text):
        if piece.startswith("{"):
            segments = (piece[1:-1].partition("=")[2] or "*").split("/")
            parts.append("/".join(map(_segment, segments)))
        else:
            rest, *segments = piece.split("/")
            parts.append("/".join([_literal(rest), *map(_segment, segments)]))
    return compiled("path_template", "".join(parts))


def _segment(text: str) -> str:
    if text.startswith("**"):
        return f"[{IN_SEGMENT}/]*{_literal(text[2:])}"
    if text.startswith("*"):
        return f"[{IN_SEGMENT}]+{_literal(text[1:])}"
    return _literal(text)


def _literal(text: str) -> str:
    return re.sub(r"[$()+.\[\]]", r"\\\g<0>", text)


def string_matcher(match: Mapping[str, Any]) -> StringTest:
    """Return the test of a ``StringMatcher``.

    Raises
    ------
    ConfigurationError
        If the matcher has no supported pattern.
    """
    if "safe_regex" in match:
        full = compiled("safe_regex", match["safe_regex"]["regex"]).fullmatch
        return lambda text: full(text) is not None
    for name, test in STRINGS.items():
        if name in match:
            wanted = match[name]
            if match.get("ignore_case"):
                folded = fold(wanted)
                return lambda text: test(fold(text), folded)
            return lambda text: test(text, wanted)
    raise ConfigurationError("string_match", dict(match), "exact, prefix, suffix, contains or safe_regex")


def header_matcher(match: Mapping[str, Any]) -> Callable[[MatchedRequest], bool]:
    """Return the test of a ``HeaderMatcher``.

    If a header has several values, one of them must match; with ``invert_match``, none may match. A missing header does not match,
    whether inverted or not, except with ``treat_missing_header_as_empty`` or ``present_match``.
    """
    name, invert = match["name"].lower(), bool(match.get("invert_match"))
    if "string_match" in match:
        test = string_matcher(match["string_match"])
    elif "range_match" in match:
        test = _range(match["range_match"])
    else:
        present = bool(match.get("present_match", True))
        return lambda request: ((name in request.headers) is present) is not invert
    empty = ("",) if match.get("treat_missing_header_as_empty") else ()

    def holds(request: MatchedRequest) -> bool:
        values = request.headers.get(name, empty)
        return bool(values) and any(map(test, values)) is not invert

    return holds


def query_matcher(match: Mapping[str, Any]) -> Callable[[MatchedRequest], bool]:
    """Return the test of a ``QueryParameterMatcher``. A missing parameter matches only ``present_match: false``."""
    name = match["name"]
    if "string_match" not in match:
        present = bool(match.get("present_match", True))
        return lambda request: (name in request.query) is present
    test = string_matcher(match["string_match"])
    return lambda request: name in request.query and test(request.query[name])


def cookie_matcher(match: Mapping[str, Any]) -> Callable[[MatchedRequest], bool]:
    """Return the test of a ``CookieMatcher``. A missing cookie matches only with ``invert_match``."""
    name, invert, test = match["name"], bool(match.get("invert_match")), string_matcher(match["string_match"])
    return lambda request: (name in request.cookies and test(request.cookies[name])) is not invert


def read_cookies(lines: Iterable[str]) -> dict[str, str]:
    """Return the cookies in the values of ``Cookie`` headers. If a name occurs several times, its first value is used.

    Example
    -------
    >>> read_cookies(['a=1; b="x y"', "a=2; c"])
    {'a': '1', 'b': 'x y'}
    """
    found: dict[str, str] = {}
    for line in lines:
        for part in line.split(";"):
            name, equals, value = part.strip(" \t").partition("=")
            if equals:
                quoted = len(value) > 1 and value[0] == value[-1] == '"'
                found.setdefault(name, value[1:-1] if quoted else value)
    return found


def _range(span: Mapping[str, Any]) -> StringTest:
    start, end = int(span.get("start", 0)), int(span.get("end", 0))
    return lambda text: INTEGER.fullmatch(text) is not None and start <= int(text) < end
