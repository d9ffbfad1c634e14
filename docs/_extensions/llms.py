"""``llms.txt`` beside the book: every page with its first sentence, for language models that read documentation.

Source: llmstxt.org, the proposal of a file ``/llms.txt``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tasks import groups, with_all

DOCS = Path(__file__).parents[1]
PARTS = {
    "tutorial": "Tutorial",
    "how-to": "How-to guides",
    "reference": "Reference",
    "explanation": "Explanation",
}


def first_sentence(text: str) -> str:
    """Return the first sentence of prose in a page."""
    body = re.sub(r"^(```|:::).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    prose = [
        line
        for line in body.split("\n\n")[1:]
        if line.strip() and not line.lstrip().startswith(("#", "|", "<", "{", "-", "`"))
    ]
    found = " ".join(prose[0].split()) if prose else ""
    return re.split(r"(?<=[.:])\s", found, maxsplit=1)[0]


def entry(page: Path) -> str:
    """Return the line of one page."""
    text = page.read_text(encoding="utf-8")
    heading = text.split("\n", 1)[0].removeprefix("# ").strip()
    said = first_sentence(text)
    return f"- [{heading}]({page.parent.name}/{page.stem}.html)" + (f": {said}" if said else "")


def llms_text() -> str:
    """Return the text of ``llms.txt``."""
    lines = ["# balancekit", "", "> Load-balancing decisions for Python programs, as a library.", ""]
    for folder, title in PARTS.items():
        lines += [f"## {title}", ""]
        if folder == "how-to":
            for task, names in groups(with_all((DOCS / "index.md").read_text(encoding="utf-8"))).items():
                lines += [f"### {task}", "", *[entry(DOCS / folder / f"{name}.md") for name in names], ""]
        else:
            lines += [*[entry(page) for page in sorted((DOCS / folder).glob("*.md"))], ""]
    return "\n".join(lines)


def write(app: Any, error: Exception | None) -> None:
    """Write the file once the book is built."""
    if error is None and app.builder.name == "html":
        (Path(app.outdir) / "llms.txt").write_text(llms_text(), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
