"""Pages made from the code, so that they say what the code does.

=====================  ============================================================================
``{cards} PACKAGE``    a card for every algorithm of a package, from its docstrings, with its picture
``{options}``          every option of every public class with its default, from the signatures
``{states} TABLE``     a transition table of ``balancekit.health`` as a diagram
``{events}``           every event, from its docstring
``{changes}``          the fragments of ``changelog.d`` as one page
=====================  ============================================================================
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from balancekit.bench._html import inline_svg

Point = tuple[float, float]
Curve = tuple[Point, Point, Point]
"""Start, control point and end of a quadratic curve."""
Pair = tuple[Any, Any]

DOCS = Path(__file__).parents[1]
PACKAGES = ("selectors", "routing", "hashing", "loads", "health")
MARKS = {
    "When to use it": r"\*When\s+to use it:\*",
    "When not": r"\*When\s+not(?: to use it)?:\*",
    "Guarantee": r"\*Guarantee[.:]\*",
    "Cost": r"(?:^|(?<=\n))Cost:",
    "Source": r"(?:^|(?<=\n))Source:",
}

WIDTH, HEIGHT = 860, 620
"""Of a diagram of states, in pixels."""
LINE_HEIGHT = 13.0
LETTER_WIDTH = 7.0
"""Of text of 13 pixels, in pixels."""


def public(package: str) -> Iterator[tuple[str, type]]:
    """Return the public classes of a package, protocols left out."""
    module = importlib.import_module(f"balancekit.{package}")
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isclass(found) and not getattr(found, "_is_protocol", False):
            yield name, found


def algorithms(package: str) -> Iterator[tuple[str, type]]:
    """Return those that have a card: all but the parts of others."""
    for name, found in public(package):
        if name == "BoundedLoad" or not name.endswith(PARTS):
            yield name, found


PARTS = ("Load", "Values", "Placement", "HashFunction")
"""What the names of parts end with: the loads that policies make, for one."""


def plain(text: str) -> str:
    """Turn the roles of a docstring into Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return " ".join(text.split())


def facts(found: type) -> tuple[str, dict[str, str]]:
    """Return the first sentence of a class, and what its docstring and its module's say under each mark."""
    doc = inspect.cleandoc(found.__doc__ or "")
    first = doc.split("\n\n")[0]
    said: dict[str, str] = {}
    module = inspect.cleandoc(sys.modules[found.__module__].__doc__ or "")
    any_mark = "|".join(MARKS.values())
    for text in (module, doc):
        for mark, pattern in MARKS.items():
            match = re.search(pattern, text)
            if match:
                rest = text[match.end() :]
                end = re.search(rf"\n\n|{any_mark}", rest)
                said[mark] = plain(rest[: end.start()] if end else rest)
    return plain(first), said


class Generated(Directive):
    """Markdown that is made when the book is built."""

    optional_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        """Parse what :meth:`lines` says."""
        parent = nodes.section()
        parent.document = self.state.document
        lines = [line for text in self.lines() for line in text.split("\n")]
        self.state.nested_parse(StringList(lines, source="generated"), 0, parent, match_titles=True)
        return parent.children

    def lines(self) -> Sequence[str]:
        """Return the Markdown."""
        raise NotImplementedError


class Cards(Generated):
    """A card for every algorithm of a package."""

    def lines(self) -> list[str]:
        """One section each."""
        package = self.arguments[0]
        found: list[str] = []
        for name, kind in algorithms(package):
            first, said = facts(kind)
            found += [f"### {name}", "", f"`from balancekit.{package} import {name}`: {first}", ""]
            for picture in (f"{package}.{name}", name):
                if (DOCS / "pictures" / f"{picture}.svg").exists() and package in ("selectors", "hashing"):
                    drawn = (DOCS / "pictures" / f"{picture}.svg").read_text(encoding="utf-8")
                    found += ["```{raw} html", f'<figure class="picture" aria-label="{name}">']
                    found += [inline_svg(picture, drawn[drawn.index("<svg") :]), "</figure>", "```", ""]
                    break
            found += [line for mark in MARKS if mark in said for line in (f"- **{mark}:** {said[mark]}",)]
            found.append("")
        return found


class Options(Generated):
    """Every option of every public class."""

    def lines(self) -> list[str]:
        """One table for each package."""
        found: list[str] = []
        for package in PACKAGES:
            found += [
                f"## balancekit.{package}",
                "",
                "| class | options and their defaults |",
                "| --- | --- |",
            ]
            for name, kind in public(package):
                found.append(f"| `{name}` | {', '.join(options(kind)) or 'none'} |")
            found.append("")
        return found


def options(kind: type) -> list[str]:
    """Return the options of a class, with their defaults."""
    fields = getattr(kind, "_fields", ())
    if fields and "__init__" not in vars(kind):
        return [_option(field, getattr(kind, field, inspect.Parameter.empty)) for field in fields]
    parameters = list(inspect.signature(kind).parameters.values())
    return [_option(p.name, p.default) for p in parameters if p.kind is not p.VAR_KEYWORD]


def _option(name: str, default: object) -> str:
    if default is inspect.Parameter.empty:
        return f"`{name}`"
    text = f"{default.__name__}" if callable(default) and hasattr(default, "__name__") else repr(default)
    return f"`{name}={text}`" if " at 0x" not in text else f"`{name}=...`"


class Events(Generated):
    """Every event."""

    def lines(self) -> list[str]:
        """One row each."""
        module = importlib.import_module("balancekit.events")
        found = ["| event | fields | what happened |", "| --- | --- | --- |"]
        for name in module.__all__:
            kind = getattr(module, name)
            if inspect.isclass(kind) and kind is not module.Event:
                fields = (
                    ", ".join(f"`{field}`" for field in kind._fields if field not in ("endpoint", "at"))
                    or "none"
                )
                found.append(f"| `{name}` | {fields} | {plain(inspect.getdoc(kind) or '')} |")
        return found


class Changes(Generated):
    """The changelog."""

    def lines(self) -> list[str]:
        """By kind, then by issue."""
        found: list[str] = []
        kinds = ("added", "changed", "fixed", "deprecated", "removed", "picks")
        for kind in kinds:
            fragments = sorted((DOCS / "changelog.d").glob(f"*.{kind}.md"))
            if fragments:
                found += [f"## {kind.capitalize()}", ""]
                for fragment in fragments:
                    text = fragment.read_text(encoding="utf-8").strip()
                    if text.startswith("- "):
                        found += [text, ""]
                    else:
                        found += ["- " + text.replace("\n", "\n  "), ""]
        return found


class States(Directive):
    """A transition table as a picture."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        health: Any = importlib.import_module("balancekit.health")
        return [nodes.raw("", diagram(getattr(health, self.arguments[0])), format="html")]


def diagram(table: dict[tuple[Any, Any], Any]) -> str:
    """Draw states on an ellipse and an arrow for each pair of states, with what leads from one to the other.

    States stand in the order in which the table first names them.
    """
    arrows, place = arrows_of(table), places_of(table)
    parts = [
        (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="states" xmlns="http://www.w3.org/2000/svg" '
            'style="max-width:100%;height:auto;font:13px sans-serif;color:inherit">'
        ),
        (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>'
        ),
    ]
    curves = curves_of(arrows, place)
    for (sx, sy), (mx, my), (ex, ey) in curves.values():
        parts.append(
            f'<path d="M{sx:.0f} {sy:.0f}Q{mx:.0f} {my:.0f} {ex:.0f} {ey:.0f}" fill="none" stroke="currentColor" '
            'stroke-opacity=".55" marker-end="url(#tip)"/>'
        )
    for pair, (tx, ty) in label_places(arrows, curves).items():
        for line, text in enumerate(sorted(arrows[pair])):
            at = f'x="{tx:.0f}" y="{ty + LINE_HEIGHT * line:.0f}" text-anchor="middle"'
            halo = 'stroke="var(--color-background-primary,#fff)" stroke-width="4" fill="none"'
            parts.append(f"<text {at} {halo}>{escape(text)}</text>")
            parts.append(f'<text {at} fill="currentColor">{escape(text)}</text>')
    for state, (x, y) in place.items():
        parts.append(
            f'<rect x="{x - 52:.0f}" y="{y - 17:.0f}" width="104" height="34" rx="17" '
            'fill="var(--color-background-primary,#fff)" stroke="currentColor" stroke-width="1.5"/>'
            f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" fill="currentColor" font-weight="600">'
            f"{escape(str(state.value))}</text>"
        )
    return "".join([*parts, "</svg>"])


def arrows_of(table: dict[tuple[Any, Any], Any]) -> dict[Pair, list[str]]:
    """Return what leads from one state to another, by pair of states."""
    arrows: dict[Pair, list[str]] = {}
    for (before, trigger), after in table.items():
        if before is not after:
            arrows.setdefault((before, after), []).append(str(trigger.value))
    return arrows


def places_of(table: dict[tuple[Any, Any], Any]) -> dict[Any, Point]:
    """Return where each state stands."""
    states = list(dict.fromkeys(state for (before, _), after in table.items() for state in (before, after)))
    angles = [2 * math.pi * number / len(states) for number in range(len(states))]
    return {
        state: (WIDTH / 2 + 300 * math.sin(angle), HEIGHT / 2 - 235 * math.cos(angle))
        for state, angle in zip(states, angles, strict=True)
    }


def curves_of(arrows: dict[Pair, list[str]], place: dict[Any, Point]) -> dict[Pair, Curve]:
    """Return the arrows as curves."""
    return {pair: _curve(*place[pair[0]], *place[pair[1]]) for pair in arrows}


def _curve(x0: float, y0: float, x1: float, y1: float) -> Curve:
    """Return an arrow between two boxes: arrows there and back pass on different sides."""
    length = math.hypot(x1 - x0, y1 - y0)
    bend = 26.0 / length
    mx, my = (x0 + x1) / 2 - (y1 - y0) * bend, (y0 + y1) / 2 + (x1 - x0) * bend
    return _edge(x0, y0, mx, my), (mx, my), _edge(x1, y1, mx, my)


def point(curve: Curve, share: float) -> Point:
    """Return a point of a quadratic curve, at a share of the way."""
    start, middle, end = ((1 - share) ** 2, 2 * share * (1 - share), share**2)
    (sx, sy), (mx, my), (ex, ey) = curve
    return start * sx + middle * mx + end * ex, start * sy + middle * my + end * ey


def label_places(arrows: dict[Pair, list[str]], curves: dict[Pair, Curve]) -> dict[Pair, Point]:
    """Return where the first line of each label stands: on its arrow, away from other arrows and labels.

    A third of the way is best, nearer to where the arrow comes from, as far as there is room.
    """
    points = {pair: [point(curve, step / 60) for step in range(61)] for pair, curve in curves.items()}
    found: dict[Pair, Point] = {}
    taken: list[tuple[Point, Point]] = []
    for pair, triggers in sorted(arrows.items(), key=lambda item: -max(map(len, item[1]))):
        half = half_size(triggers)
        others = [(one, (0.0, 0.0)) for other in points if other != pair for one in points[other]]

        def room(share: float, pair: Pair = pair, half: Point = half, others: Any = others) -> float:
            """Return how far the nearest other thing is, where 1 touches the label; more than 1.6 is as good as 1.6."""
            x, y = point(curves[pair], share)
            gaps = [
                max(abs(x - ox) / (half[0] + width), abs(y - oy) / (half[1] + height))
                for (ox, oy), (width, height) in (*others, *taken)
            ]
            return min([1.6, *gaps]) - abs(share - 0.36) / 4

        x, y = point(curves[pair], max((step / 50 for step in range(8, 38)), key=room))
        taken.append(((x, y), half))
        found[pair] = (x, y + 4.0 - LINE_HEIGHT * (len(triggers) - 1) / 2)
    return found


def half_size(triggers: Sequence[str]) -> Point:
    """Return half the width and half the height of a label."""
    return max(map(len, triggers)) * LETTER_WIDTH / 2, LINE_HEIGHT * len(triggers) / 2


def _edge(x: float, y: float, towards_x: float, towards_y: float) -> tuple[float, float]:
    """Return where a line from the middle of a box leaves it."""
    dx, dy = towards_x - x, towards_y - y
    scale = min(56 / abs(dx) if dx else math.inf, 20 / abs(dy) if dy else math.inf)
    return x + dx * scale, y + dy * scale


def end_parameters(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """End a list of parameters or errors where a paragraph begins: numpydoc ends it only with another heading."""
    inside = False
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if set(following) == {"-"}:
            inside = line in {"Parameters", "Raises", "Returns", "Yields"}
        elif inside and re.match(r"[*A-Z]", line) and not lines[number - 1] and not following.startswith(" "):
            lines[number:number] = ["Notes", "-----", ""]
            return


def setup(app: Any) -> dict[str, object]:
    """Register the directives."""
    app.connect("autodoc-process-docstring", end_parameters, priority=400)
    directives = {"cards": Cards, "options": Options, "states": States, "events": Events, "changes": Changes}
    for name, directive in directives.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}
