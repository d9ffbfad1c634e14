"""Tables of figures that fit the width of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import HEAVY_HEAD, Box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from balancekit.errors import printable

__all__ = ["figure_tables"]

BETWEEN = 3
"""Number of characters between two columns of a table."""
MIN_NAME = 12
"""Minimum width of the column with the names of rows, in characters. Longer names are wrapped."""


def figure_tables(
    columns: Sequence[tuple[str, bool]],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    title: str | None = None,
    box: Box | None = HEAVY_HEAD,
) -> Iterator[Table]:
    """Yield one table if it fits into ``width``, otherwise several with the same rows and some of the columns each.

    Each table has the first column. Cells of figures are never wrapped or cut.

    Parameters
    ----------
    columns
        Head of each column, and whether it has figures, which are aligned to the right. There are at least two columns. The
        first has the names of the rows, which may be wrapped.
    rows
        Cells as text.
    width
        Width of the terminal in characters.
    title
        Title of the first table.
    box
        Style of the lines around cells, or ``None`` for no lines.
    """
    rows = [[*map(printable, row)] for row in rows]
    wide = [max(map(cell_len, [head, *cells])) for (head, _), *cells in zip(columns, *rows, strict=True)]
    name = min(wide[0], max(MIN_NAME, width // 3)) if sum(wide) + BETWEEN * len(wide) + 1 > width else wide[0]
    start = 1
    while start < len(columns):
        room, end = width - name - BETWEEN - 1, start
        while end < len(columns) and (end == start or room >= wide[end] + BETWEEN):
            room -= wide[end] + BETWEEN
            end += 1
        table = Table(
            title=title if start == 1 else None, title_justify="left", box=box, pad_edge=box is not None
        )
        table.add_column(columns[0][0], max_width=name, overflow="fold")
        for head, figures in columns[start:end]:
            table.add_column(head, justify="right" if figures else "left", no_wrap=figures, overflow="fold")
        for row in rows:
            table.add_row(*[Text(cell) for cell in (row[0], *row[start:end])])
        yield table
        start = end
