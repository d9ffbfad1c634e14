"""Tables of figures that fit a terminal: where it is narrow, several with the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import HEAVY_HEAD, Box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from balancekit.errors import printable

__all__ = ["figure_tables"]

BETWEEN = 3
"""Columns of the terminal between two of a table."""
MIN_NAME = 12
"""Columns that the names of rows keep, wrapped."""


def figure_tables(
    columns: Sequence[tuple[str, bool]],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    title: str | None = None,
    box: Box | None = HEAVY_HEAD,
) -> Iterator[Table]:
    """Yield tables that show every cell whole, each with the first column: one if it fits into ``width``.

    Parameters
    ----------
    columns
        Heads, and whether each column is of figures, to the right. The first of at least two names the rows; it is wrapped.
    rows
        Cells as text.
    width
        Columns of the terminal.
    title
        Of the first table.
    box
        Lines around cells, or ``None``.
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
