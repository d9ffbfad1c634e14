"""The book builds without a warning, every page can be reached, and every algorithm has a card."""

from __future__ import annotations

import importlib.util
import inspect
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from balancekit import LoadBalancer

DOCS = Path(__file__).parents[2] / "docs"


def extension() -> Any:
    """Return the extension that makes pages from the code."""
    spec = importlib.util.spec_from_file_location("book", DOCS / "_extensions" / "book.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pages(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Return the built book. A warning is an error, and so is a reference that leads nowhere."""
    return make_once("book", build)


def build(out: Path) -> None:
    """Build the book in a folder."""
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "-n",
        "--keep-going",
        "-D",
        "toc_object_entries=0",  # a third of the time, for entries of the sidebar that no test looks at
        "-b",
        "html",
        str(DOCS),
        str(out),
    ]
    built = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert built.returncode == 0, built.stdout + built.stderr


@pytest.mark.timeout(600)
def test_every_page_is_in_the_book_and_can_be_reached(pages: Path) -> None:
    """Every page can be reached from the navigation of the first one."""
    written = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    written = {path for path in written if path.parts[0] not in ("changelog.d", "_build")}
    index = (pages / "index.html").read_text(encoding="utf-8")
    for path in written:
        assert (pages / path).exists(), path
        assert path.name == "index.html" or f'href="{path}"' in index, path


@pytest.mark.timeout(600)
def test_links_to_pages_and_anchors_lead_somewhere(pages: Path) -> None:
    """Links to pages and anchors within the book lead somewhere, also those in raw HTML."""
    ids: dict[Path, set[str]] = {}
    for page in pages.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        ids[page] = set(re.findall(r'\bid="([^"]+)"', text))
    for page in ids:
        for link in re.findall(r'href="([^"]+)"', page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:|//", link):
                continue
            path, _, anchor = link.partition("?")[0].partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), (page, link)
            if anchor and target in ids and "_static" not in link:
                assert anchor in ids[target], (page, link)


@pytest.mark.timeout(600)
def test_every_parameter_of_the_balancer_is_in_its_signature(pages: Path) -> None:
    """The signature of the balancer has every parameter and no ``**options``."""
    text = (pages / "reference" / "api" / "core.html").read_text(encoding="utf-8")
    found = re.search(r'<dt [^>]*id="balancekit.LoadBalancer">.*?</dt>', text, re.DOTALL)
    assert found is not None
    shown = re.sub(r"<[^>]+>", "", found[0])
    for name in inspect.signature(LoadBalancer).parameters:
        assert name in shown
    assert "Unpack" not in text


@pytest.mark.parametrize("package", ["selectors", "routing", "hashing", "loads"])
def test_every_algorithm_has_a_card_that_says_when(package: str) -> None:
    """Every algorithm has a card that says when to use it or what it guarantees, not its name only."""
    book = extension()
    found = list(book.algorithms(package))
    assert len(found) >= 3
    for name, kind in found:
        first, said = book.facts(kind)
        assert first, name
        assert said, name


def test_pictures_belong_to_cards() -> None:
    """Each picture belongs to a card of an algorithm."""
    book = extension()
    names = {name for package in ("selectors", "hashing") for name, _ in book.algorithms(package)}
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    for picture in (DOCS / "pictures").glob("*.svg"):
        if f"pictures/{picture.name}" in pages:
            continue
        assert picture.stem.rpartition(".")[2] in names, picture


def test_every_state_and_every_trigger_is_in_the_diagram() -> None:
    """The diagram has every state, and every trigger that changes something."""
    book = extension()
    health = importlib.import_module("balancekit.health")
    for table in (health.TRANSITIONS, health.MEMBERSHIP):
        drawn = book.diagram(table)
        for (before, trigger), after in table.items():
            assert f">{before.value}</text>" in drawn
            assert f">{after.value}</text>" in drawn
            assert before is after or f">{trigger.value}</text>" in drawn


def test_each_label_of_the_diagram_is_on_its_own_arrow_alone() -> None:
    """No other arrow passes behind a label, and no two labels overlap: else a reader cannot tell whose it is."""
    book = extension()
    health = importlib.import_module("balancekit.health")
    for table in (health.TRANSITIONS, health.MEMBERSHIP):
        arrows = book.arrows_of(table)
        curves = book.curves_of(arrows, book.places_of(table))
        boxes = {}
        for pair, (x, first) in book.label_places(arrows, curves).items():
            width, height = book.half_size(arrows[pair])
            y = first - 4.0 + book.LINE_HEIGHT * (len(arrows[pair]) - 1) / 2
            assert min(math.dist((x, y), book.point(curves[pair], step / 200)) for step in range(201)) < 3.0
            for other, curve in curves.items():
                for step in range(201):
                    ox, oy = book.point(curve, step / 200)
                    assert other == pair or abs(x - ox) > width or abs(y - oy) > height, (pair, other)
            for ox, oy, other_width, other_height in boxes.values():
                assert abs(x - ox) > width + other_width or abs(y - oy) > height + other_height
            boxes[pair] = (x, y, width, height)
        assert boxes


@pytest.mark.timeout(600)
def test_llms_text_lists_every_page(pages: Path) -> None:
    """``llms.txt`` is beside the book and names each page of its four parts with a link that leads somewhere."""
    text = (pages / "llms.txt").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    written = [
        path
        for folder in ("tutorial", "how-to", "reference", "explanation")
        for path in (DOCS / folder).glob("*.md")
    ]
    assert len(links) == len(written)
    for link in links:
        assert (pages / link).exists(), link


@pytest.mark.timeout(600)
def test_pictures_of_cards_follow_the_theme(pages: Path) -> None:
    """Cards have their pictures in the page, in colours that the style sheet sets for light and dark, not as white boxes."""
    text = (pages / "reference" / "algorithms.html").read_text(encoding="utf-8")
    assert text.count('<figure class="picture"') >= 15
    assert "#ffffff" not in text[text.index('<figure class="picture"') :]
    assert "var(--blue)" in text
