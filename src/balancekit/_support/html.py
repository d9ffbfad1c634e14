"""HTML tables for notebooks, with bars. They use no script and no style sheet.

Source: IPython, ``_repr_html_``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["bar", "html_table"]


def html_table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table. Cells are escaped, except those made by :func:`bar`.

    Example
    -------
    >>> html_table("Pool", ["id"], [["<a>"]])
    '<table><caption>Pool</caption><thead><tr><th>id</th></tr></thead><tbody><tr><td>&lt;a&gt;</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{_escaped(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    title = f"<caption>{_escaped(caption)}</caption>"
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class _Bar(str):
    """HTML that needs no escaping."""

    __slots__ = ()


def bar(share: float) -> str:
    """Return a cell with a bar for a share from 0 to 1, and the share in percent."""
    width = 100.0 * min(1.0, max(0.0, share))
    style = f"display:inline-block;height:0.7em;width:{width:.1f}px;background:currentColor;opacity:0.4"
    return _Bar(f'<span style="{style}"></span> {share:.1%}')


def _cell(value: object) -> str:
    return value if isinstance(value, _Bar) else _escaped(value)


def _escaped(value: object) -> str:
    text = "" if value is None else str(value)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
