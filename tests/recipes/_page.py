"""The code that a how-to page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

__all__ = ["PAGES", "blocks", "first_block", "names_of"]

PAGES = Path(__file__).parents[2] / "docs" / "how-to"


def blocks(text: str) -> list[str]:
    """Return the code that readers see, block by block."""
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def first_block(page: str) -> str:
    """Return the first block of a page."""
    return blocks((PAGES / f"{page}.md").read_text(encoding="utf-8"))[0]


def names_of(page: str) -> dict[str, Any]:
    """Run the first block of a page; return what it defines."""
    names: dict[str, Any] = {}
    exec(compile(first_block(page), f"{page}.md", "exec"), names)
    return names
