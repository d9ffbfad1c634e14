"""A recipe says what you get, shows code that is run, and does not keep from you how it fails and when not to use it.

That its blocks run is tested with all other pages, in ``tests/docs``.
"""

from __future__ import annotations

import re

import pytest
from tests.recipes._page import PAGES, blocks

RECIPES = (
    "aiohttp",
    "databases",
    "edge-http",
    "edge-tcp",
    "fastapi",
    "grpc",
    "httpx",
    "llm-gateway",
    "llm-routing",
    "redis",
    "requests",
    "streaming",
)

every_recipe = pytest.mark.parametrize("name", RECIPES)


@every_recipe
def test_a_recipe_has_its_parts_in_order(name: str) -> None:
    """A recipe has its parts in order. They are what you get, code, failures with code, and when not to use it."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    head, failing, after = re.split(r"^## When (?:things fail|not to use it)\n", text, flags=re.MULTILINE)
    assert re.match(r"# .+\n\n\S.+", head)
    assert "assert" in "".join(blocks(head))
    assert "assert" in "".join(blocks(failing))
    assert after.strip()


@every_recipe
def test_a_recipe_needs_nothing_but_what_readers_see(name: str) -> None:
    """A recipe uses neither the tests of the library nor private names."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    for block in blocks(text):
        assert "tests." not in block
        assert not re.search(r"(?<![\w\"'])\w+\._[a-z]|import _", block)
