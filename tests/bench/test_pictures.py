"""Pictures and the report: something is on them, nothing is cut off, and they need nothing else."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.image import imread

from balancekit.bench import CARDS, draw, write
from balancekit.bench._cards import STRUCTURE_CARDS, HashingCard, SelectorCard, figures_of
from balancekit.bench._plot_cards import card_of_selector, card_of_structure
from balancekit.bench._registry import SELECTORS, STRUCTURES
from balancekit.bench._report import PICTURES
from balancekit.bench._style import styled, svg
from balancekit.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
NAMES = [f"{topic}-{name}" for topic, pictures in PICTURES.items() for name in pictures]


@pytest.fixture(scope="session")
def drawn(results):
    """Return all pictures by name."""
    return {name: f for topic, found in results.topics.items() for name, f in draw(topic, found).items()}


@pytest.fixture(scope="session")
def folder(results, make_once):
    """Return a folder with everything a run writes."""
    return make_once("bench-report", lambda home: write(results, home / "new" / "report")) / "new" / "report"


def texts(figure):
    """Return every visible text of a figure with its box in pixels."""
    renderer = figure.canvas.get_renderer()
    every = list(figure.texts)
    for axes in figure.axes:
        (low, high), (left, right) = sorted(axes.get_ylim()), sorted(axes.get_xlim())
        x_ticks = [t.label1 for t in axes.xaxis.get_major_ticks() if left <= t.get_loc() <= right]
        y_ticks = [t.label1 for t in axes.yaxis.get_major_ticks() if low <= t.get_loc() <= high]
        every += [
            *axes.texts,
            axes.xaxis.label,
            axes.yaxis.label,
            axes.title,
            axes._left_title,
            *x_ticks,
            *y_ticks,
        ]
    return [
        (text, text.get_window_extent(renderer)) for text in every if text.get_visible() and text.get_text()
    ]


def legible(figure):
    """Return which texts are cut off, and which lie on each other or on a bar."""
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    found = texts(figure)
    cut = [t.get_text() for t, box in found if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    touching = [
        (one.get_text(), other.get_text())
        for (one, a), (other, b) in itertools.combinations(found, 2)
        if _meet(a, b)
    ]
    for axes in figure.axes:
        bars = [bar.get_window_extent() for drawn in axes.containers for bar in drawn.patches]
        touching += [
            (text.get_text(), "a bar")
            for text in axes.texts
            if any(_meet(text.get_window_extent(), bar) for bar in bars)
        ]
    return cut, touching


def _meet(a, b):
    return a.x0 + 1 < b.x1 and b.x0 + 1 < a.x1 and a.y0 + 3 < b.y1 and b.y0 + 3 < a.y1


@pytest.mark.parametrize("name", NAMES)
def test_every_text_can_be_read(drawn, name):
    """No text of a picture is cut off at the border, and none lies on another or on a bar."""
    with styled():
        assert legible(drawn[name]) == ([], [])


@pytest.mark.parametrize("name", NAMES)
def test_every_axis_says_what_it_shows(drawn, name):
    """Every axis has a label below it, or names at each row. The finding above has at most two lines."""
    figure = drawn[name]
    for axes in figure.axes:
        assert axes.get_xlabel()
    assert any(axes.get_ylabel() or axes.get_yticklabels() for axes in figure.axes)
    finding = figure.texts[-2].get_text()
    assert len(finding) > 20
    assert finding.count("\n") <= 1
    assert not any(axes.get_legend() for axes in figure.axes)


@pytest.mark.parametrize("name", NAMES)
def test_files_are_pictures(folder, name):
    """A picture is a PNG with ink, at least 1 000 pixels wide, and an SVG that is XML and fits the README."""
    pixels = imread(folder / f"{name}.png")
    assert pixels.shape[1] >= 1_000
    assert 0.01 < float((pixels[..., :3].min(axis=2) < 0.9).mean()) < 0.6
    text = (folder / f"{name}.svg").read_text(encoding="utf-8")
    assert ET.fromstring(text).tag.endswith("svg")
    assert text.count("<text") >= 8
    assert len(text) < 80_000


def test_the_same_figures_give_the_same_svg(results):
    """The same figures give the same SVG byte by byte, without a date or random ids."""
    one, other = [
        svg(draw("disruption", results.topics["disruption"])["disruption-moved"], "m") for _ in range(2)
    ]
    assert one == other
    assert not re.search(r"20\d\d-\d\d|[Mm]atplotlib v", one)


class Page(HTMLParser):
    """Collects tags, ids, and what is loaded or pointed at."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.targets, self.tags = [], [], [], []

    def handle_starttag(self, tag, attributes):
        """Note a tag."""
        facts = dict(attributes)
        self.tags.append(tag)
        if tag not in {"meta", "br", "!doctype"}:
            self.open.append(tag)
        self.ids += [facts["id"]] if "id" in facts else []
        self.targets += [facts[name] for name in ("href", "src", "xlink:href") if name in facts]

    def handle_startendtag(self, tag, attributes):
        """Note a tag that is closed at once."""
        self.handle_starttag(tag, attributes)
        if tag not in {"meta", "br"}:
            self.open.pop()

    def handle_endtag(self, tag):
        """Check that it was the last one opened."""
        assert self.open.pop() == tag


def test_the_report_is_one_page_that_needs_nothing_else(folder, results):
    """The report is one page with every picture in it.

    It has no script, no font and no link to elsewhere, and ids are unique.
    """
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert {"script", "link", "img", "iframe"}.isdisjoint(page.tags)
    assert page.tags.count("svg") == len(NAMES)
    assert "://" not in text
    assert "@import" not in text
    assert "@font-face" not in text
    assert len(page.ids) == len(set(page.ids))
    assert {target[1:] for target in page.targets} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(page.ids)
    assert "width=device-width" in text
    assert "prefers-color-scheme: dark" in text
    # No colour of the light page is left in a picture that could not be read in the dark.
    assert not re.search(r'style="[^"]*#(1b1f24|ffffff)', text)
    # Whether each claim holds is for other tests: those about speed depend on who else is at work.
    missed = sum(not claim.holds for found in results.topics.values() for claim in found.claims)
    count = sum(claim.judged for found in results.topics.values() for claim in found.claims)
    verdict = f"{missed} of {count} claims do not hold." if missed else f"All {count} claims hold."
    assert verdict in text


@pytest.mark.parametrize("name", CARDS)
def test_every_card_can_be_read(name):
    """On every card shares sum to one and nothing is cut off. The committed file is a picture under 40 kB."""
    figures = figures_of(name)
    assert sum(figures.shares) == pytest.approx(1.0)
    with styled(name):
        draw_card = card_of_selector if isinstance(figures, SelectorCard) else card_of_structure
        cut, touching = legible(draw_card(STRUCTURE_CARDS.get(name, name), figures))
    assert (cut, touching) == ([], [])
    if isinstance(figures, HashingCard):
        assert sum(figures.gained) == pytest.approx(figures.shares[figures.left])
    committed = ROOT / "docs" / "pictures" / f"{name}.svg"
    assert committed.stat().st_size < 40_000
    assert ET.fromstring(committed.read_text(encoding="utf-8")).tag.endswith("svg")


def test_every_card_has_a_name_of_its_own():
    """Every card has a name of its own, so that none overwrites another's file."""
    assert len(CARDS) == len(set(CARDS)) == len(SELECTORS) - 1 + len(STRUCTURES)
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    committed = {file.stem for file in (ROOT / "docs" / "pictures").glob("*.svg")}
    assert {name for name in committed if f"/pictures/{name}.svg" not in pages} == set(CARDS)


def test_an_unknown_card_is_refused():
    """An unknown card is refused by name, with those there are."""
    with pytest.raises(ConfigurationError, match="one of RoundRobin"):
        figures_of("Roulette")
