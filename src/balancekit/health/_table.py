"""State tables: mappings from (state, trigger) to the next state. A pair that is not listed changes nothing.

Each machine of this package has a table, and changes its state only by this table. So the documentation is generated
from the tables, and tests enumerate every pair.
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
"""A mapping from state and trigger to the next state."""


def frozen(rows: Mapping[tuple[S, T], S]) -> Table[S, T]:
    """Return a read-only copy of a table."""
    return MappingProxyType(dict(rows))


def following(table: Table[S, T], state: S, trigger: T) -> S:
    """Return the state after a trigger; the same state if the table does not list the pair."""
    return table.get((state, trigger), state)


def markdown(states: Iterable[S], triggers: Iterable[T], table: Table[S, T]) -> str:
    """Return a table as Markdown: a row per state, a column per trigger, and an empty cell where nothing changes."""
    columns = list(triggers)
    lines = ["| | " + " | ".join(trigger.value for trigger in columns) + " |"]
    lines.append("| --- " * (len(columns) + 1) + "|")
    for state in states:
        cells = [table[state, trigger].value if (state, trigger) in table else "" for trigger in columns]
        lines.append(f"| **{state.value}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)
