"""The 117 mistakes of a first hour, and some more: none is silent, and none gets an error that does not say what to do."""

from __future__ import annotations

import pytest
from tests.unit.mistakes import balancers, clients, others
from tests.unit.mistakes._row import Row

ROWS = [*balancers.ROWS, *clients.ROWS, *others.ROWS]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_mistake_is_answered(row: Row):
    """The error or warning is the one in the table; what only looks like a mistake does what was meant."""
    row.check()


def test_the_table_is_complete():
    """There are at least 117 rows, each with a name of its own."""
    assert len(ROWS) >= 117
    assert len({(row.name, row.do.__module__) for row in ROWS}) == len(ROWS)
