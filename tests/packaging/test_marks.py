"""Marks that silence a tool, and mutants that are argued: each has its reason, and none is out of date."""

from __future__ import annotations

import io
import re
import tokenize
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"# ?(type: ?ignore|noqa|pragma:|pyright:)")
REASONED = re.compile(
    r"(# (type: ignore\[[a-z, -]+\]|pyright: ignore\[\w+\]|noqa: [A-Z0-9, ]*[A-Z0-9]|pragma: no cover)\s+)+[-#] \S.*"
)
"""A mark or two that name their rules, and what they are for."""
TYPE_MARK = re.compile(r"# ?(type:|pyright:)")
TYPE_CHECKED = ("src", "benchmarks", "tests/typing")


def marks() -> list[tuple[str, str]]:
    """Return the place and the text of every comment that silences a tool."""
    found = []
    for folder in ("src", "tests", "tools", "benchmarks", "docs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            if not MARK.search(source):
                continue
            for token in tokenize.generate_tokens(io.StringIO(source).readline):
                if token.type == tokenize.COMMENT and (mark := MARK.search(token.string)):
                    place = f"{path.relative_to(ROOT).as_posix()}:{token.start[0]}"
                    found.append((place, token.string[mark.start() :]))
    return found


def test_a_mark_has_its_reason_beside_it():
    """A comment that silences a type checker, a linter or a coverage report names the rules and says why."""
    found = marks()
    assert len(found) > 100
    bare = [place for place, text in found if not REASONED.fullmatch(text)]
    assert not bare, f"write `# noqa: RULE - reason` or `# type: ignore[rule]  # reason` in {', '.join(bare)}"


def test_a_mark_for_a_type_checker_stands_where_one_reads():
    """Tests and tools are not type-checked, but for those of the typing, so a mark there would be noise."""
    typed = [place for place, text in marks() if TYPE_MARK.match(text)]
    unread = [place for place in typed if not place.startswith(TYPE_CHECKED)]
    assert not unread, f"remove what no type checker reads from {', '.join(unread)}"


def test_every_equivalent_mutant_names_a_line_that_is_there() -> None:
    """Each mutant that is argued to change nothing is found in its file: code that has changed is argued anew."""
    listed = tomllib.loads((ROOT / "tools" / "mutation_equivalents.toml").read_text(encoding="utf-8"))[
        "mutant"
    ]
    stale = []
    for mutant in listed:
        path = ROOT / "src" / "balancekit" / mutant["file"]
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if mutant["line"] not in [line.strip() for line in lines]:
            stale.append(f"{mutant['file']}: {mutant['line']}")
    assert stale == []
