"""Hostile values for the whole public API, and hostile text for everything that is read: documented errors only."""

from __future__ import annotations

import json
import random
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from balancekit import BalancekitError
from balancekit.adapters import HttpTarget
from balancekit.adapters._retry_after import quota_reset, retry_after
from balancekit.adapters._target import address_of
from balancekit.checks._http import BadAnswerError, Response
from balancekit.discovery import parse_targets, source
from balancekit.errors import StickyValueError
from balancekit.routing import StickyValues, source_prefix

from . import _calls as calls

PIECES = 50
CALLS = 2_000
"""A hundred thousand in fifty pieces in CI, each some seconds; a million in the long form."""
MAX_ADDED_BYTES = 1 << 30
"""What one piece may add to the size of the process: more is a ``MemoryError`` inside the call at fault."""


@pytest.fixture
def bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, and with a limit on memory."""
    monkeypatch.chdir(tmp_path)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MAX_ADDED_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def fuzz(seed: int) -> None:
    """Make calls; refuse foreign exceptions, slow calls, and refused calls that changed something."""
    made, foreign, slow, changed = calls.run(CALLS, seed)
    assert made >= CALLS
    assert foreign == {}
    assert slow == {}
    assert changed == {}


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("seed", range(PIECES))
def test_any_value_succeeds_or_is_refused_by_a_documented_error(seed: int) -> None:
    """A call with any values of any types ends with a result or an error of the library, within a second of CPU time."""
    fuzz(seed)


@pytest.mark.nightly
@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("seed", range(1_000, 1_000 + 10 * PIECES))
def test_a_million_calls(seed: int) -> None:
    """The same ten times as often, with other seeds."""
    fuzz(seed)


LETTERS = [
    *"0123456789 ,:-+.%[]{}()=;?#@/\\\"'\r\n\t\0aZé\u0663\uff48\udcff\U0001f600",
    "true",
    "null",
    "http://",
    "unix:",
    "[::1]",
]
VALID = {
    "targets": json.dumps(
        [{"targets": ["10.0.0.1:80"], "labels": {"__weight__": "2", "__priority__": "1", "x": "y"}}]
    ),
    "target": "https://api.example.com:8443/v1",
    "source": "static:10.0.0.1:80,10.0.0.2:80?interval=30",
    "sticky": StickyValues("orders", [b"sixteen secrets!"]).issue("10.0.0.1:8080"),
    "answer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "date": "Thu, 01 Jan 1970 00:01:00 GMT",
    "reset": "6m0s",
    "address": "2001:db8::1",
}


def answer(text: str) -> None:
    """Read an answer of a check, in two pieces and the end."""
    response, data = Response(), text.encode("utf-8", "surrogatepass")
    for piece in (data[: len(data) // 2], data[len(data) // 2 :], b""):
        if piece or not response.ended:
            response.feed(piece)


READERS: dict[str, Any] = {
    "targets": parse_targets,
    "target": lambda text: (address_of(text), HttpTarget(text)),
    "source": source,
    "sticky": StickyValues("orders", [b"sixteen secrets!"]).read,
    "answer": answer,
    "date": lambda text: retry_after({"Retry-After": text, "retry-after-ms": text[::-1]}, wall=0.0),
    "reset": lambda text: quota_reset(
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": text}
    ),
    "address": source_prefix,
}


def mutated(text: str, rng: random.Random) -> str:
    """Change a text in a few places: other letters, missing parts, repeated parts."""
    for _ in range(rng.randrange(1, 6)):
        place, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:place] + rng.choice(LETTERS) + text[place:]
        elif kind == 1:
            text = text[:place] + rng.choice(LETTERS) + text[place + 1 :]
        elif kind == 2:
            text = text[:place] + text[min(end, place + 8) :]
        else:
            text = text[:place] + text[place:end] * rng.choice((2, 3, 50)) + text[end:]
    return text


@pytest.mark.parametrize("name", READERS)
def test_any_text_is_read_or_refused_by_a_documented_error(name: str) -> None:
    """Every reader of text from elsewhere takes a mutated one, or raises an error that it documents."""
    rng, read, refused = random.Random(7), READERS[name], 0
    for _ in range(1_000):
        try:
            read(mutated(VALID[name], rng))
        except (BalancekitError, StickyValueError, BadAnswerError):
            refused += 1
    assert refused < 1_000 or name == "sticky"
