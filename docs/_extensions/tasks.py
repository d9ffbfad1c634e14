"""How-to pages by task, as the first page of the book groups them; pages that it does not name go to its last group."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]


def groups(text: str) -> dict[str, list[str]]:
    r"""Return the names of how-to pages by the caption of their group, from the text of the first page.

    Example
    -------
    >>> groups("```{toctree}\n:caption: Test\n\nhow-to/toy-servers\n```\n")
    {'Test': ['toy-servers']}
    """
    found: dict[str, list[str]] = {}
    for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        names = re.findall(r"^how-to/([\w-]+)$", block, re.MULTILINE)
        if names:
            found[re.findall(r"^:caption: (.*)$", block, re.MULTILINE)[0]] = names
    return found


def with_all(text: str) -> str:
    """Return the text of the first page with every how-to page in a group."""
    listed = groups(text)
    named = {name for names in listed.values() for name in names}
    rest = [path.stem for path in sorted((DOCS / "how-to").glob("*.md")) if path.stem not in named]
    last = f"how-to/{list(listed.values())[-1][-1]}\n"
    return text.replace(last, last + "".join(f"how-to/{name}\n" for name in rest))


def fill(app: Any, name: str, source: list[str]) -> None:
    """Complete the first page before it is parsed."""
    if name == "index":
        source[0] = with_all(source[0])


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
