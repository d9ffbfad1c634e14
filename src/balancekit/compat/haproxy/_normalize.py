"""The steps of HAProxy's ``http-request normalize-uri``.

Cost: O(length) per step. Source: HAProxy 2.6.12, observed; its configuration manual, ``normalize-uri``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from balancekit._support.url_paths import BAD_ESCAPE, ESCAPE, UNRESERVED
from balancekit.errors import ConfigurationError

__all__ = ["STEPS", "normalizer"]

Step = Callable[[str, str], tuple[str, str] | None]
"""A function of a path and a query that returns the new ones, or ``None`` for status 400."""


def _merge_slashes(path: str, query: str) -> tuple[str, str]:
    return re.sub("//+", "/", path), query


def _strip_dot(path: str, query: str) -> tuple[str, str]:
    kept = [segment for segment in path.split("/")[1:] if segment != "."]
    return ("/" + "/".join(kept) + ("/" if path.endswith("/.") and kept else "")), query


def _strip_dotdot(path: str, query: str, *, full: bool) -> tuple[str, str]:
    """Remove each ``..`` and the segment before it. If there is none before it, only ``full`` removes the ``..``."""
    segments = path.split("/")[1:]
    if segments[-1] == "..":
        segments.append("")
    kept: list[str] = []
    up = 0
    for segment in reversed(segments[:-1]):
        if segment == "..":
            up += 1
        elif up:
            up -= 1
        else:
            kept.append(segment)
    kept += [] if full else [".."] * up
    return "/" + "".join([f"{segment}/" for segment in reversed(kept)]) + segments[-1], query


def _decode_unreserved(path: str, query: str) -> tuple[str, str]:
    def decoded(found: re.Match[str]) -> str:
        letter = chr(int(found[1], 16))
        return letter if letter in UNRESERVED else found[0]

    return ESCAPE.sub(decoded, path), ESCAPE.sub(decoded, query)


def _to_uppercase(path: str, query: str) -> tuple[str, str]:
    return ESCAPE.sub(lambda found: found[0].upper(), path), ESCAPE.sub(lambda found: found[0].upper(), query)


def _strict(step: Step) -> Step:
    return lambda path, query: (
        None if BAD_ESCAPE.search(path) or BAD_ESCAPE.search(query) else step(path, query)
    )


def _sort_query(path: str, query: str) -> tuple[str, str]:
    return path, "&".join(sorted(query.split("&"), key=lambda part: part.partition("=")[0]))


STEPS: Final[dict[str, Step]] = {
    "path-merge-slashes": _merge_slashes,
    "path-strip-dot": _strip_dot,
    "path-strip-dotdot": lambda path, query: _strip_dotdot(path, query, full=False),
    "path-strip-dotdot full": lambda path, query: _strip_dotdot(path, query, full=True),
    "percent-decode-unreserved": _decode_unreserved,
    "percent-decode-unreserved strict": _strict(_decode_unreserved),
    "percent-to-uppercase": _to_uppercase,
    "percent-to-uppercase strict": _strict(_to_uppercase),
    "query-sort-by-name": _sort_query,
}


def normalizer(name: str) -> Step:
    """Return the step of this name.

    Raises
    ------
    ConfigurationError
        If no step has the name.
    """
    step = STEPS.get(name)
    if step is None:
        raise ConfigurationError("normalize", name, f"one of {', '.join(STEPS)}")
    return step
