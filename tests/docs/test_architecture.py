"""The drawings of the architecture page are those of the code."""

from __future__ import annotations

import tomllib
from pathlib import Path
from textwrap import dedent

import balancekit
from balancekit import engine

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"


def rooms() -> str:
    """Return the layers that import-linter enforces, one a line, as far as they exist."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["name"] == "layers"]
    here = Path(balancekit.__file__).parent
    lines = []
    for layer in layers:
        names = [name.strip(" ()").removeprefix("balancekit.") for name in layer.split("|")]
        there = [name for name in names if (here / name).is_dir() or (here / f"{name}.py").exists()]
        if there:
            lines.append(" | ".join(there))
    return "\n".join(lines)


def request() -> str:
    """Return the drawing of one request in the docstring of the engine."""
    assert engine.__doc__ is not None
    _, _, after = engine.__doc__.partition(".. code-block:: text\n\n")
    drawing, _, _ = after.partition("\n``locks.py``")
    return dedent(drawing).strip("\n")


def test_the_rooms_are_those_that_are_enforced() -> None:
    """The drawing lists the layers of import-linter's contract, from top to bottom."""
    assert f"```text\n{rooms()}\n```" in PAGE.read_text(encoding="utf-8")


def test_the_request_is_the_one_of_the_engine() -> None:
    """The drawing of a request is the one in ``balancekit/engine/__init__.py``."""
    assert f"```text\n{request()}\n```" in PAGE.read_text(encoding="utf-8")


def test_the_modules_in_the_drawing_exist() -> None:
    """Each module of the engine that the drawing names is there, with the function it names."""
    names = [word.rstrip(".,") for word in request().replace("(", " ").split() if "." in word]
    known = {"fast_path", "publisher", "ledger", "runtime", "membership", "state"}
    called = [name for name in names if name.split(".")[0] in known]
    assert len(called) >= 6
    for name in called:
        module, attribute = name.split(".")[:2]
        text = (Path(engine.__file__).parent / f"{module}.py").read_text(encoding="utf-8")
        assert f"def {attribute}(" in text, name


def test_the_modules_at_the_root_are_public() -> None:
    """The engine and the plumbing have packages of their own; every module at the root is for users."""
    here = Path(balancekit.__file__).parent
    private = [path.name for path in here.glob("_*.py") if path.name not in {"__init__.py", "__main__.py"}]
    assert private == []
