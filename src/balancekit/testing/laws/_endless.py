"""Picks that never end, found by the number of lines that they run: no clock, and the same in each run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from balancekit.snapshot import Key, Snapshot
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context, make_snapshot
from balancekit.testing.laws._subject import Subject

__all__ = ["check_end"]

MAX_LINES: Final = 5_000_000
"""The most lines of one pick, including what it builds first. Counting them takes about a second."""


class EndlessError(BaseException):
    """A pick ran more lines than it may: none that code on trial catches as one of its own errors."""


def check_end(subject: Subject, law: str) -> None:
    """Refuse a selector that looks for ever for an endpoint that is not there, which would stop the check as well.

    Errors that it raises are for other laws to find.

    Raises
    ------
    LawBroken
        Naming the endpoints, and which of them were excluded.
    """
    zero = {"a": 0.0, "b": 0.0}
    for how, snapshot, exclude in (
        ("without endpoints", make_snapshot({}), ()),
        (
            "with both of two endpoints down",
            make_snapshot(subject.nodes({"a": 1.0, "b": 2.0}), down=("a", "b")),
            (),
        ),
        (
            "with both of two endpoints excluded",
            make_snapshot(subject.nodes({"a": 1.0, "b": 2.0})),
            ("a", "b"),
        ),
        ("with one of two endpoints excluded", make_snapshot(subject.nodes({"a": 1.0, "b": 2.0})), ("a",)),
        ("with endpoints of weight zero only", make_snapshot(subject.nodes(zero)), ()),
    ):
        for key in (None, "user:1"):
            if not _ends(subject, snapshot, key, exclude):
                raise LawBroken(law, f"no answer after {MAX_LINES:,} lines of code {how}, key {key!r}")


def _ends(subject: Subject, snapshot: Snapshot, key: Key | None, exclude: tuple[str, ...]) -> bool:
    selector, ctx = subject.make(), make_context(key=key, exclude=exclude)
    try:
        with limited_lines(MAX_LINES):
            selector.select(snapshot, ctx)
    except EndlessError:
        return False
    except Exception:
        return True
    return True


@contextmanager
def limited_lines(count: int) -> Iterator[None]:
    """Raise in the block as soon as this thread has run ``count`` lines in functions that the block calls."""
    left = count

    def trace(_frame: FrameType, _event: str, _argument: Any) -> Callable[..., Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise EndlessError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
