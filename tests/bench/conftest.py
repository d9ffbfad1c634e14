"""One quick run of all topics, shared by the tests of bench."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from balancekit.bench import measure


@pytest.fixture(scope="session")
def results(make_once):
    """Return the findings of all topics from small samples."""

    def fill(folder: Path) -> None:
        (folder / "results").write_bytes(pickle.dumps(measure(seed=1, quick=True)))

    return pickle.loads((make_once("bench-results", fill) / "results").read_bytes())
