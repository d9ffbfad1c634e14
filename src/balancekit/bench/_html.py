"""The report as one HTML page without scripts, fonts or links.

Pictures are in the page as SVG. Their colours are CSS variables of the page, so they fit light mode and dark mode. On a
narrow screen, pictures and tables scroll, but the page does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from balancekit._support.record import Record
from balancekit.bench import _style as style
from balancekit.bench._claims import Claim, Findings, Table
from balancekit.bench._results import TITLES, Results

__all__ = ["Section", "document", "inline_svg", "page"]

THEMED: Final = {
    style.INK: "--ink",
    style.GREY: "--grey",
    style.FAINT: "--faint",
    style.RULE: "--rule",
    style.BLUE: "--blue",
    style.ORANGE: "--orange",
    style.GREEN: "--green",
    style.PURPLE: "--purple",
    style.SKY: "--sky",
    "#ffffff": "--page",
}
"""Colours of pictures, and the CSS variables that replace them. Most are lighter in dark mode."""

POINT: Final = 4.0 / 3.0
"""Pixels per point (CSS Values and Units, section 6.2)."""
MIN_SCALE: Final = 0.62
"""Minimum scale of a picture on a narrow screen. Letters of 11 points, which are 14.7 pixels, become 9 pixels."""

SHEET: Final = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1b1f24; --grey: #6e7781; --faint: #b1bac4;
  --rule: #d8dee4; --good: #1a7f37; --bad: #cf222e; --blue: #0072b2; --orange: #d55e00; --green: #009e73;
  --purple: #b25f93; --sky: #3d9bd1; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --ink: #e6edf3; --grey: #9198a1; --faint: #656c76;
  --rule: #30363d; --good: #3fb950; --bad: #ff7b72; --blue: #4da3dd; --orange: #f0883e; --green: #2fbf98;
  --purple: #d58ab8; --sky: #8fcdf2; } }
body { margin: 0 auto; max-width: 54rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 1rem 0 0; } h2 { font-size: 1.25rem; margin: 3rem 0 .5rem; }
p, figure { margin: .5rem 0 1rem; } figure { margin: 1.5rem 0; }
figure { overflow-x: auto; } svg { width: 100%; height: auto; display: block; }
pre { overflow-x: auto; font-size: .875rem; } .bad + ul { margin: .3rem 0; }
.grey { color: var(--grey); } .good { color: var(--good); } .bad { color: var(--bad); }
.wide { overflow-x: auto; margin: .5rem 0 1rem; }
table { border-collapse: collapse; font-size: .875rem; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { color: var(--grey); font-weight: 500; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
summary { cursor: pointer; padding: .3rem 0; } nav a { margin-right: 1rem; } a { color: inherit; }
"""


class Section(Record):
    """A section of a page: its anchor, its title, its results, and its pictures as SVG text by name."""

    name: str
    title: str
    findings: Findings
    pictures: Mapping[str, str]


def page(results: Results, pictures: Mapping[str, str]) -> str:
    """Return the report of a bench as one HTML page.

    Parameters
    ----------
    results
        The results of the bench.
    pictures
        SVG text by name. A picture is shown in the section of the topic with which its name begins.
    """
    sections = [
        Section(
            name=topic,
            title=TITLES[topic],
            findings=findings,
            pictures={name: text for name, text in pictures.items() if name.startswith(f"{topic}-")},
        )
        for topic, findings in results.topics.items()
    ]
    sample = " Small samples: tolerances are wide." if results.quick else ""
    lead = f"A claim holds if chance alone explains the difference.{sample}"
    facts = {**results.machine, **results.versions, "seed": results.seed}
    return document("Measured figures of the algorithms and the expected ones", lead, facts, sections)


def document(
    heading: str,
    lead: str,
    facts: Mapping[str, object],
    sections: Sequence[Section],
    *,
    texts: Sequence[tuple[str, str]] = (),
) -> str:
    """Return a page: failed claims first, then the pictures, claims and tables of each section, then ``texts``."""
    claims = [(section, claim) for section in sections for claim in section.findings.claims]
    wrong = [(section, claim) for section, claim in claims if not claim.holds]
    judged = sum(claim.judged for _, claim in claims)
    busy = (
        ""
        if judged == len(claims)
        else f" The machine was busy: {len(claims) - judged} claims about speed are not judged."
    )
    verdict = f'<strong class="good">All {judged} claims hold.</strong>{busy} ' if claims else ""
    if wrong:
        links = "".join(
            f'<li><a href="#{section.name}">{escape(claim.text)}</a>: {claim.measured:{claim.form}}, '
            f"allowed {escape(claim.allowed)}</li>"
            for section, claim in wrong
        )
        verdict = (
            f'<strong class="bad">{len(wrong)} of {judged} claims do not hold.</strong>{busy}<ul>{links}</ul>'
        )
    written = "".join(
        f"<section>\n<h2>{escape(title)}</h2>\n<pre>{escape(text)}</pre>\n</section>\n"
        for title, text in texts
    )
    named = ", ".join(f"{escape(str(name))} {escape(str(value))}" for name, value in facts.items())
    links = "".join(f'<a href="#{section.name}">{section.name}</a>' for section in sections)
    nav = f"<nav>{links}</nav>\n" if len(sections) > 1 else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>balancekit: {escape(heading)}</title>\n<style>{SHEET}</style>\n</head>\n<body>\n"
        f'<h1>{escape(heading)}</h1>\n<div>{verdict}{escape(lead)}</div>\n<p class="grey">{named}</p>\n'
        f"{nav}{''.join(map(_section, sections))}{written}</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    findings = section.findings
    drawn = "".join(f"<figure>{inline_svg(name, text)}</figure>\n" for name, text in section.pictures.items())
    wrong = [claim for claim in findings.claims if not claim.holds]
    failed = _claims(wrong) if wrong else ""
    tables = "".join(_table(table) for table in findings.tables if len(table.rows) <= 120)
    all_claims = (
        f"<details><summary>{len(findings.claims)} claims and their figures</summary>\n"
        f"{_claims(findings.claims)}</details>\n"
    )
    return (
        f'<section id="{section.name}">\n<h2>{escape(section.title)}</h2>\n{failed}{drawn}'
        f"{all_claims if findings.claims else ''}"
        f"{f'<details><summary>All tables</summary>{tables}</details>' if tables else ''}\n</section>\n"
    )


_CLASSES: Final = {"holds": "good", "fails": "bad", "not judged": "grey"}


def _claims(claims: tuple[Claim, ...] | list[Claim]) -> str:
    rows = "".join(
        f'<tr><td class="{_CLASSES[claim.verdict]}">{claim.verdict}</td>'
        f'<td>{escape(claim.text)}<br><span class="grey">{escape(claim.source)}</span></td>'
        f'<td class="number">{claim.measured:{claim.form}}</td>'
        f'<td class="number">{"" if claim.right is None else format(claim.right, claim.form)}</td>'
        f'<td class="number">{escape(claim.allowed)}</td></tr>\n'
        for claim in claims
    )
    head = "".join(f"<th>{word}</th>" for word in ("", "claim", "measured", "right", "allowed"))
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n'


def _table(table: Table) -> str:
    numeric = ["number" if column.form else "" for column in table.columns]
    head = "".join(
        f'<th class="{kind}">{escape(column.name)}</th>'
        for kind, column in zip(numeric, table.columns, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{escape(column.text(cell))}</td>'
            for kind, column, cell in zip(numeric, table.columns, row, strict=True)
        )
        + "</tr>\n"
        for row in table.rows
    )
    return (
        f'<p>{escape(table.title)}</p>\n<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div>\n"
    )


def inline_svg(name: str, text: str) -> str:
    """Return a picture to embed in a page: with unique ids, the colours of the page, and the width of the page."""
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}.\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}.", text)
    for colour, variable in THEMED.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', _opening, text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    return re.sub(r"xlink:href", "href", text)


def _opening(match: re.Match[str]) -> str:
    """Return the opening tag of a picture that is as wide as the page, within a maximum and a minimum width."""
    width = float(match[1].split()[2])
    shown = f"max-width: {width * POINT:.0f}px; min-width: {width * POINT * MIN_SCALE:.0f}px"
    return f'<svg viewBox="{match[1]}" role="img" style="{shown}">'
