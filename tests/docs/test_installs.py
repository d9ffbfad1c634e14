"""What a page needs that is not installed with the library is named on it."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest
from tests.docs._paste import blocks

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*(ROOT / "docs" / "tutorial").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md")])
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INSTALLED: Final = {"balancekit", *[re.split(r"[<>=; ]", one)[0] for one in PROJECT["dependencies"]]}
MODULES: Final = {
    "balancekit.testing.server": "testing",
    "balancekit.testing.laws": "testing",
    "balancekit.adapters.routed_httpx2": "httpx2",
    "balancekit.adapters.dnspython": "dns",
    "balancekit.observability.opentelemetry": "otel",
    "prometheus_client": "prometheus",
    "flask_session": "flask-session",
    "grpc": "grpcio",
}
"""What is asked for by another name than that of the module."""
BROUGHT: Final = {"werkzeug": "flask"}
"""Packages that come with another one."""


def needed(page: Path) -> set[str]:
    """Return the extras and packages that the blocks of a page import."""
    found = set()
    for _, block in blocks(page.read_text(encoding="utf-8")):
        for given, plain in re.findall(r"^\s*(?:from ([\w.]+) import|import ([\w.]+))", block, re.MULTILINE):
            module = given or plain
            package = module.partition(".")[0]
            if module in MODULES:
                found.add(MODULES[module])
            elif re.fullmatch(r"balancekit\.(adapters|observability)\.\w+", module):
                extra = module.rpartition(".")[2].removeprefix("routed_")
                found |= {extra} & set(PROJECT["optional-dependencies"])
            elif package not in INSTALLED and package not in sys.stdlib_module_names:
                found.add(MODULES.get(package, BROUGHT.get(package, package)))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_to_install(page: Path) -> None:
    """Each extra and each package that a block imports is in a ``pip install`` of the page."""
    text = page.read_text(encoding="utf-8")
    asked = " ".join(re.findall(r"pip install\s+([^`\n]+(?:\n[^`\n]+)?)", text))
    missing = {name for name in needed(page) if not re.search(rf"(?<![\w-]){name}(?![\w-])", asked)}
    assert not missing


def test_pages_need_something_at_all() -> None:
    """The pages about clients are among those that need an extra."""
    assert sum([bool(needed(page)) for page in PAGES]) >= 15
