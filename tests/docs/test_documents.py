"""Everything in the documents that looks like code is run: README, ``docs/**/*.md`` and every docstring."""

import doctest
from pathlib import Path

import pytest
from sybil import Document, Sybil
from sybil.document import PythonDocStringDocument
from sybil.example import Example
from sybil.parsers.markdown import PythonCodeBlockParser as MarkdownPython
from sybil.parsers.markdown import SkipParser
from sybil.parsers.rest import DocTestParser

ROOT = Path(__file__).parents[2]
SESSIONS = DocTestParser(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
PROSE = Sybil(parsers=[MarkdownPython(), SkipParser()])
CODE = Sybil(parsers=[SESSIONS], document_types={".py": PythonDocStringDocument})

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = sorted((ROOT / "src").rglob("*.py"))


def name(path: Path) -> str:
    """Name a file as the repository does."""
    return str(path.relative_to(ROOT))


def run(document: Document) -> None:
    """Run a document's examples in order, in one namespace."""
    example: Example
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_a_page_runs(page: Path) -> None:
    """A block that a reader may paste works; blocks of one page build on each other."""
    run(PROSE.parse(page))


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_every_example_in_a_docstring_runs(module: Path) -> None:
    """What a docstring shows is what happens."""
    run(CODE.parse(module))


def test_the_pages_have_examples_at_all() -> None:
    """If the parsers found nothing, the tests above would prove nothing."""
    assert sum(len(list(PROSE.parse(page).examples())) for page in PAGES) >= 5
    assert sum(len(list(CODE.parse(module).examples())) for module in MODULES) >= 60
