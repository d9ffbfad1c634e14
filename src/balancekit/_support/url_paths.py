"""Normalisation of URL paths, as this library, RFC 3986, HAProxy, nginx and Envoy do it.

Every function takes a path as it was sent. It returns the path that is compared with routes, or ``None`` if the request
must be rejected.

Cost: O(length).

Source: RFC 3986, section 6.2.2; the observed behaviour of nginx 1.22.1 and Envoy 1.40.0 (``tests/oracles``).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["envoy", "nginx", "raw", "remove_dots", "rfc3986", "strict", "strict_problem", "unescape"]

UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
ESCAPED_SLASH: Final = re.compile(r"%(2[fF]|5[cC])")
ESCAPED_BY_ENVOY: Final = re.compile(r"[\"<>^`{|}]")

PROBLEMS: Final = (
    (re.compile(r"^(?!/)"), "it does not begin with '/'"),
    (re.compile(r"[^\x21-\x7e]"), "it has a space, a control character or a byte that is not ASCII"),
    (re.compile(r"[?#]"), "it has a '?' or '#'"),
    (BAD_ESCAPE, "it has a '%' without two hexadecimal digits"),
    (re.compile(r"%00"), "it has an encoded NUL"),
    (re.compile(r"%25[0-9A-Fa-f]{2}"), "it has an escape of an escape, which some servers decode twice"),
    (re.compile(r"\\|%5[cC]"), "it has a backslash, which some servers read as '/'"),
    (re.compile(r"%2[fF]"), "it has an encoded '/', which some servers decode"),
    (
        re.compile(r"%(?:2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])"),
        "it has an encoded letter, digit, '-', '.', '_' or '~', which some servers decode",
    ),
    (re.compile(r"//"), "it has '//', which some servers merge"),
    (re.compile(r"/\.{1,2}(?=[/;]|$)"), "it has a dot segment, which some servers remove"),
)


def strict(path: str) -> str | None:
    """Return the path with hexadecimal digits in upper case; ``None`` if servers may interpret it differently."""
    return ESCAPE.sub(_upper, path) if strict_problem(path) is None else None


def strict_problem(path: str) -> str | None:
    """Return the reason why servers may interpret a path differently; ``None`` if there is none."""
    for pattern, text in PROBLEMS:
        if pattern.search(path):
            return text
    return None


def raw(path: str) -> str | None:
    """Return the path as it was sent, like HAProxy; ``None`` if it does not begin with ``/``."""
    return path if path.startswith("/") else None


def rfc3986(path: str) -> str | None:
    """Decode escapes of unreserved characters, convert hexadecimal digits to upper case, and remove dot segments."""
    return remove_dots(ESCAPE.sub(_unreserved, path)) if path.startswith("/") else None


def nginx(path: str, *, merge_slashes: bool = True) -> str | None:
    """Decode every escape once, then remove dot segments and merge slashes, like nginx.

    Each character of the result is one byte. A bad escape, an encoded NUL and a ``..`` above the root are rejected.
    """
    if not path.startswith("/"):
        return None
    if "%" in path:
        if BAD_ESCAPE.search(path):
            return None
        path = unescape(path)
        if "\0" in path:
            return None
    if "/." not in path and "//" not in path:
        return path
    return remove_dots(path, merge_slashes=merge_slashes, climb=False)


def envoy(
    path: str, *, normalize: bool = True, merge_slashes: bool = False, escaped_slashes: str = "keep"
) -> str | None:
    r"""Apply Envoy's three options in Envoy's order: escaped slashes, normalisation, merged slashes.

    Parameters
    ----------
    path
        The path as it was sent.
    normalize
        Whether to decode escapes of unreserved characters, encode quotes, braces and the like, convert ``\`` to ``/``,
        and remove dot segments. A dot segment may have a suffix that begins with ``;`` if its dots are not escaped.
    merge_slashes
        Whether to replace several slashes by one.
    escaped_slashes
        ``"keep"``, ``"reject"`` or ``"unescape"``: what is done with an encoded slash or backslash.
    """
    if not path.startswith("/"):
        return None
    if escaped_slashes != "keep" and ESCAPED_SLASH.search(path):
        if escaped_slashes == "reject":
            return None
        path = ESCAPED_SLASH.sub(_byte, path)
    if normalize:
        if "%00" in path:
            return None
        found = remove_dots(
            _parameters_of_dots(
                ESCAPE.sub(_unreserved_as_sent, path.replace("\\", "/")), path.replace("\\", "/")
            )
        )
        assert found is not None
        path = ESCAPED_BY_ENVOY.sub(_escape, found)
    if merge_slashes:
        path = re.sub("//+", "/", path) if path.strip("/") else path[:2]
    return path


def _escape(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


def _parameters_of_dots(decoded: str, sent: str) -> str:
    """Remove ``;...`` after a dot segment whose dots were sent unescaped."""
    if ";" not in sent:
        return decoded
    both = zip(decoded.split("/"), sent.split("/"), strict=True)
    return "/".join(
        [
            re.sub(r"^(\.{1,2});.*", r"\1", one) if was.startswith(".") and _dots(was) else one
            for one, was in both
        ]
    )


def _dots(segment: str) -> bool:
    return segment.partition(";")[0] in {".", ".."}


def remove_dots(path: str, *, merge_slashes: bool = False, climb: bool = True) -> str | None:
    """Remove dot segments.

    Parameters
    ----------
    path
        A path that begins with ``/``.
    merge_slashes
        Whether to remove empty segments.
    climb
        Whether a ``..`` above the root is ignored. Otherwise the result is ``None``.

    Example
    -------
    >>> remove_dots("/a/./b/../c/."), remove_dots("/../a"), remove_dots("/../a", climb=False)
    ('/a/c/', '/a', None)
    """
    kept: list[str] = []
    segments = path.split("/")[1:]
    last = len(segments) - 1
    for place, segment in enumerate(segments):
        if segment == "..":
            if kept:
                kept.pop()
            elif not climb:
                return None
        elif segment != "." and (segment or place == last or not merge_slashes):
            kept.append(segment)
            continue
        if place == last:
            kept.append("")
    return "/" + "/".join(kept)


def unescape(text: str) -> str:
    """Replace every escape by the character with the value of its byte.

    Example
    -------
    >>> unescape("/a%2fb%20c")
    '/a/b c'
    """
    return ESCAPE.sub(_byte, text)


def _byte(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))


def _upper(found: re.Match[str]) -> str:
    return found[0].upper()


def _unreserved(found: re.Match[str]) -> str:
    letter = _byte(found)
    return letter if letter in UNRESERVED else found[0].upper()


def _unreserved_as_sent(found: re.Match[str]) -> str:
    letter = _byte(found)
    return letter if letter in UNRESERVED else found[0]
