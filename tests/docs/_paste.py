"""Paste the blocks of one page into this interpreter, one after the other: ``python _paste.py PAGE``."""

from __future__ import annotations

import linecache
import re
import sys
from pathlib import Path


def blocks(text: str) -> list[tuple[int, str]]:
    """Return the Python blocks of a page with the number of the line above each."""
    pattern = r"^```python\n(.*?)^```"
    found = re.finditer(pattern, text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)), match.group(1)) for match in found]


def main() -> None:
    """Run every block in one namespace, as an interactive session does."""
    page = Path(sys.argv[1])
    text = page.read_text(encoding="utf-8")
    linecache.cache[str(page)] = (len(text), None, text.splitlines(keepends=True), str(page))
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, block in blocks(text):
        exec(compile("\n" * line + block, str(page), "exec"), namespace)


if __name__ == "__main__":
    main()
