"""The page of the bench: every claim is on it, failed ones first, and pictures fit."""

from __future__ import annotations

import math
import re

import pytest

from balancekit.bench._claims import Claim, Column, Findings, Table
from balancekit.bench._html import Section, document, inline_svg

HOLDS = Claim(name="a", text="a < b", measured=1.25, right=1.5, low=1.0, high=2.0, source="a book")
FAILS = Claim(name="c", text="c & d", measured=7.5, right=None, low=-math.inf, high=2.0)
UNJUDGED = Claim(name="e", text="e, of speed", measured=9.5, right=None, low=0.0, high=1.0, judged=False)


def page(*claims: Claim, rows: int = 0) -> str:
    """Return a page with one section."""
    table = Table(name="t", title="a table", columns=(Column(name="n"),), rows=(("x",),) * rows)
    findings = Findings(claims=claims, tables=(table,) if rows else ())
    section = Section(name="topic", title="A topic", findings=findings, pictures={})
    return document("Heading", "Lead.", {"seed": 7}, [section])


def test_every_claim_is_on_the_page_with_its_figures() -> None:
    """Each claim is there with its verdict, source, figures and what is allowed, as text."""
    found = page(HOLDS, FAILS, UNJUDGED)
    assert "<summary>3 claims and their figures</summary>" in found
    all_claims = found[found.index("<summary>") :]
    for words in (
        ("holds", "a &lt; b", "a book", "1.250", "1.500", "1.000 to 2.000"),
        ("fails", "c &amp; d", "7.500", "at most 2.000"),
        ("not judged", "e, of speed", "9.500", "0.000 to 1.000"),
    ):
        assert re.search(".*".join(map(re.escape, words)), all_claims) is not None, words
    assert "None" not in found


@pytest.mark.parametrize(
    ("claims", "verdict"),
    [
        ((HOLDS,), "All 1 claims hold."),
        (
            (HOLDS, UNJUDGED),
            "All 1 claims hold.</strong> The machine was busy: 1 claims about speed are not judged.",
        ),
        ((HOLDS, FAILS), "1 of 2 claims do not hold."),
    ],
)
def test_the_verdict_comes_first(claims: tuple[Claim, ...], verdict: str) -> None:
    """How many claims hold stands above the sections, and each that does not, with a link to its section."""
    above = page(*claims).partition("<section")[0]
    assert verdict in above
    link = '<a href="#topic">c &amp; d</a>: 7.500, allowed at most 2.000'
    assert (link in above) is (FAILS in claims)


def test_a_page_without_claims_has_no_verdict() -> None:
    """Where nothing is claimed, nothing is said to hold."""
    assert "claims" not in page().partition("</style>")[2]


@pytest.mark.parametrize(("rows", "shown"), [(120, True), (121, False)])
def test_long_tables_are_left_out(rows: int, shown: bool) -> None:
    """A table of up to 120 rows is on the page; longer ones are in the figures alone."""
    found = page(HOLDS, rows=rows)
    assert (found.count('<td class="">x</td>') == rows) is shown
    assert ("a table" in found) is shown


def test_a_picture_is_as_wide_as_the_page_and_has_ids_of_its_own() -> None:
    """Two pictures of one page share no id, refer to their own, and have no width and height but those of the page."""
    svg = '<svg width="72pt" height="9" viewBox="0 0 72 9"><metadata>m</metadata><g id="x"/><use xlink:href="#x"/></svg>'
    found = inline_svg("one", svg)
    opening = found.partition(">")[0]
    assert 'viewBox="0 0 72 9"' in opening
    assert re.search(r'style="max-width: \d+px; min-width: \d+px"', opening)
    assert not re.search(r'\s(width|height)="', opening)
    assert found.partition(">")[2] == '<g id="one.x"/><use href="#one.x"/></svg>'
