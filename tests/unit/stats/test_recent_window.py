"""The window of recent values: which ones it still has, and how many there were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from balancekit.stats import RecentWindow


@given(values=st.lists(st.floats(0, 1), max_size=50), size=st.integers(1, 12), count=st.integers(0, 20))
def test_the_latest_are_the_latest(values, size, count):
    """The latest values come oldest first, as many as are still here.

    Everything that was recorded is counted.
    """
    window = RecentWindow(size=size)
    for value in values:
        window.record(value)
    kept = values[-size:]
    assert window.latest(count) == (kept[-count:] if count else [])
    assert sorted(window.values()) == sorted(kept)
    assert window.recorded == len(values)
