"""Hostile values for the whole public API: documented errors only, and nothing changed by a refused call."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    """Any values succeed or are refused by a documented error, in ten times as many calls with other seeds."""
    fuzz(seed)
