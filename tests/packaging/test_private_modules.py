"""Modules whose names begin with an underscore are used by their own package alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import balancekit

SOURCES = Path(balancekit.__file__).parents[1]

TRANSLATION = "writes, reads and plans what this holds: a translation knows both sides"
REBUILT = "a machine of another system, built of the parts of ours that are the same"
HALVES = "the default decision is one algorithm in two halves, a selector and a load"
EXCEPTIONS = {
    ("proxyconfig", "compat"): TRANSLATION,
    ("proxyconfig", "l7"): TRANSLATION,
    ("compat", "gslb"): REBUILT,
    ("compat", "hashing"): REBUILT,
    ("compat", "l7"): REBUILT,
    ("selectors", "loads"): HALVES,
    ("cli", "adapters"): "the command for VRRP finds the address of an interface as its sockets do",
    (
        "cli",
        "l7",
    ): "the command that compares tables of different spellings has the rule of a plan for what moves",
}
"""Which package may use private modules of which other one, and why."""


def imported(path: Path) -> Iterator[str]:
    """Yield the full names of what a file imports of the library, modules and their attributes alike."""
    package = path.relative_to(SOURCES).parts[:-1]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from [f"{base}.{alias.name}" for alias in node.names]


def holder(name: str) -> tuple[str, ...] | None:
    """Return the package that holds the first private part of a name of the library, ``None`` if all of it is public."""
    parts = tuple(name.split("."))
    private = [
        place for place, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")
    ]
    return parts[: private[0]] if private and parts[0] == "balancekit" else None


def foreign() -> Iterator[tuple[str, str, str]]:
    """Yield, for each import of what is private to another package, both packages and a text."""
    for path in sorted(SOURCES.glob("balancekit/**/*.py")):
        own = path.relative_to(SOURCES).parts[:-1]
        for name in imported(path):
            owner = holder(name)
            if owner is not None and own[: len(owner)] != owner:
                yield (*own, path.stem)[1], owner[1], f"{path.relative_to(SOURCES)} imports {name}"


def test_private_modules_stay_private() -> None:
    """No package imports what is private to another, but for the exceptions, each with a reason; none of them is left over."""
    found = list(foreign())
    assert [text for user, owner, text in found if (user, owner) not in EXCEPTIONS] == []
    assert {(user, owner) for user, owner, _ in found} == EXCEPTIONS.keys()


def test_what_is_private_is_told_from_what_is_not() -> None:
    """The package that holds a private module is the one before the underscore; dunder names are not private."""
    assert holder("balancekit.l4._nat.Nat") == ("balancekit", "l4")
    assert holder("balancekit._selection.pickers.Pick") == ("balancekit",)
    assert holder("balancekit.l4.FlowTable") is None
    assert holder("balancekit.testing.__main__") is None
    assert holder("other._private.x") is None
