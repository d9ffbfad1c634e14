"""State tables: a pair of state and trigger that is not listed changes nothing.

Each machine of this package owns a table, a mapping from (state, trigger) to state, and changes its state
by nothing else. So the documentation is drawn from the tables, and tests enumerate every pair of them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias, TypeVar

__all__ = ["Table", "following", "frozen", "markdown"]

S = TypeVar("S", bound=enum.Enum)
T = TypeVar("T", bound=enum.Enum)

Table: TypeAlias = Mapping[tuple[S, T], S]
"""Where each trigger leads from each state."""


def frozen(rows: Mapping[tuple[S, T], S]) -> Table[S, T]:
    """Return a table that cannot be changed."""
    return MappingProxyType(dict(rows))


def following(table: Table[S, T], state: S, trigger: T) -> S:
    """Return the state that ``trigger`` leads to; the same one if the table has nothing to say."""
    return table.get((state, trigger), state)


def markdown(states: Iterable[S], triggers: Iterable[T], table: Table[S, T]) -> str:
    """Draw a table: a row for each state, a column for each trigger, an empty cell where nothing changes."""
    columns = list(triggers)
    lines = ["| | " + " | ".join(trigger.value for trigger in columns) + " |"]
    lines.append("| --- " * (len(columns) + 1) + "|")
    for state in states:
        cells = [table[state, trigger].value if (state, trigger) in table else "" for trigger in columns]
        lines.append(f"| **{state.value}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)
