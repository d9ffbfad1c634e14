"""Every block of README and ``docs/**/*.md`` runs as a reader pastes it, and so does every docstring."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import pkgutil
import re
import shutil
import subprocess
import symtable
import sys
from pathlib import Path

import pytest
from sybil import Document, Sybil
from sybil.document import PythonDocStringDocument
from sybil.example import Example
from sybil.parsers.rest import DocTestParser
from tests._public_classes import HOT, public_classes
from tests.docs._paste import blocks

import balancekit

ROOT = Path(__file__).parents[2]
PASTE = Path(__file__).with_name("_paste.py")
SESSIONS = DocTestParser(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
CODE = Sybil(parsers=[SESSIONS], document_types={".py": PythonDocStringDocument})

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE = [page for page in PAGES if blocks(page.read_text(encoding="utf-8"))]
MODULES = sorted((ROOT / "src").rglob("*.py"))
PUBLIC = {kind for kind in public_classes() if kind.__name__ not in HOT}
PROGRAMS = {"redis.md": "redis-server", "sessions.md": "redis-server"}
"""Programs that a page starts."""


def name(path: Path) -> str:
    """Name a file as the repository does."""
    return str(path.relative_to(ROOT))


def run(document: Document) -> None:
    """Run a document's examples in order, in one namespace."""
    example: Example
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_every_block_of_a_page_runs_as_pasted(page: Path, tmp_path: Path) -> None:
    """The blocks of a page, pasted in order into a fresh interpreter outside the repository, raise nothing."""
    program = PROGRAMS.get(page.name)
    if program is not None and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    command = [sys.executable, "-I", "-W", "error", str(PASTE), str(page)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


def test_no_page_has_code_that_readers_do_not_see() -> None:
    """A page has no invisible block and skips no block."""
    for page in PAGES:
        assert not re.search(r"<!--+ *(invisible|skip)", page.read_text(encoding="utf-8")), page


def public_names() -> dict[str, object]:
    """Return the public names of the library: the top level first, then packages in the order of the alphabet."""
    found: dict[str, object] = {name: getattr(balancekit, name) for name in balancekit.__all__}
    for module in pkgutil.iter_modules(balancekit.__path__, "balancekit."):
        if not module.name.rpartition(".")[2].startswith("_"):
            package = importlib.import_module(module.name)
            for each in getattr(package, "__all__", ()):
                found.setdefault(each, getattr(package, each))
    return found


def inline_calls(text: str) -> list[str]:
    """Return the inline code of README's tables that calls a name of the library, with real arguments."""
    cells = [line for line in text.splitlines() if line.startswith("|")]
    codes = re.findall(r"`([^`]+\))`", "\n".join(cells))
    found = []
    for code in codes:
        try:
            ast.parse(f"_({code})", mode="eval")  # an expression, or keyword arguments
        except SyntaxError:
            continue
        found.append(code)
    return found


@pytest.mark.parametrize("code", inline_calls((ROOT / "README.md").read_text(encoding="utf-8")))
def test_inline_calls_of_the_readme_run(code: str) -> None:
    """Each call in README's tables can be evaluated with the public names and three endpoints."""
    lb = balancekit.LoadBalancer(["a", "b", "c"], selector=balancekit.RoundRobin())
    scope = public_names() | {
        "lb": lb,
        "endpoints": ["a", "b", "c"],
        "list": ["a", "b"],
        "id": "a",
        "tried": {"a"},
        "listener": lambda event: None,
        "Random": __import__("random").Random,
        "select": lambda snapshot, ctx: None,
        "snapshot": None,
        "ctx": None,
        "_": lambda *values, **options: (values, options),
    }
    code = code.replace("LoadBalancer(...", "LoadBalancer(endpoints").replace("(...)", "()")
    if code != "check_selector(MyAlgorithm)":  # the tutorial runs it
        eval(f"_({code})", scope)


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_every_example_in_a_docstring_runs(module: Path) -> None:
    """Each docstring example prints what it shows, and no object of a public class that it makes prints an address in memory."""
    document = CODE.parse(module)
    example: Example
    for example in document.examples():
        example.evaluate()
        made = [value for value in example.namespace.values() if type(value) in PUBLIC]
        assert [text for text in map(repr, made) if " at 0x" in text] == []


def public_examples() -> dict[str, doctest.DocTest]:
    """Return the examples of each public module, class, function and method by the name of their place."""
    finder, found = doctest.DocTestFinder(), {}
    whole = doctest.DocTestFinder(recurse=False)
    for info in pkgutil.walk_packages(balancekit.__path__, "balancekit."):
        if "._" in info.name or {"engine", "cli", "__main__"} & set(info.name.split(".")):
            continue
        module = importlib.import_module(info.name)
        found |= {test.name: test for test in whole.find(module, info.name, globs={})}
        for each in getattr(module, "__all__", ()):
            thing = getattr(module, each)
            home = getattr(thing, "__module__", None)
            if isinstance(home, str) and home.startswith("balancekit.") and callable(thing):
                found |= {test.name: test for test in finder.find(thing, f"{home}.{each}", globs={})}
    return {place: test for place, test in found.items() if test.examples}


def unbound(code: str) -> set[str]:
    """Return the names that code uses and neither binds itself nor finds among the built-in names."""
    top = symtable.symtable(code, "example", "exec")
    tables = [top]
    for table in tables:
        tables += table.get_children()
    bound = {
        symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()
    }
    used = {
        symbol.get_name()
        for table in tables
        for symbol in table.get_symbols()
        if symbol.is_global() or (table is top and symbol.is_referenced())
    }
    return used - bound - set(dir(builtins))


EXAMPLES = public_examples()


@pytest.mark.parametrize("place", sorted(EXAMPLES))
def test_an_example_of_a_public_name_imports_what_it_uses(place: str) -> None:
    """The example of a public class, function or method uses no name that it does not import or define."""
    assert unbound("".join(example.source for example in EXAMPLES[place].examples)) == set()


def test_the_pages_have_examples_at_all() -> None:
    """The parsers find at least 5 blocks in pages, 15 inline calls and 60 docstring examples."""
    assert sum(len(blocks(page.read_text(encoding="utf-8"))) for page in PAGES) >= 5
    assert len(inline_calls((ROOT / "README.md").read_text(encoding="utf-8"))) >= 15
    assert sum(len(list(CODE.parse(module).examples())) for module in MODULES) >= 60
