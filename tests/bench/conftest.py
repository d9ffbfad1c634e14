"""One quick run of everything, for all tests that look at what came of it."""

from __future__ import annotations

import pytest

from balancekit.bench import measure


@pytest.fixture(scope="session")
def results():
    """Return the findings of all topics from small samples."""
    return measure(seed=1, quick=True)
