"""Results that are kept: they say where they are from, and two of them can be compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from benchmarks.compare import compare, main

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILES = sorted((BENCHMARKS / "results").glob("*.json"))


def test_results_of_all_benchmarks_are_kept():
    """The results of all benchmarks that can keep them are kept, and of no other."""
    sources = (file.read_text(encoding="utf-8") for file in BENCHMARKS.rglob("*.py"))
    saves = re.compile(r"^ +save\(\s*\"(\w+)\"", re.MULTILINE)
    savers = {name for source in sources for name in saves.findall(source)}
    assert len(savers) >= 6
    assert {file.stem for file in FILES} == savers


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_kept_results_say_where_they_are_from(file):
    """Kept results have the machine, the versions, and figures that are ratios."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["benchmark"] == file.stem
    assert {"python", "machine", "system"} <= set(kept["machine"])
    assert {"balancekit", "numpy"} <= set(kept["versions"])
    assert kept["figures"]
    assert all(figure > 0.0 for figure in kept["figures"].values())


def test_a_comparison_shows_what_changed():
    """A comparison shows old, new and the factor, and what is in one only. Small changes can be left out."""
    old = {"machine": {}, "versions": {"numpy": "1"}, "figures": {"a": 2.0, "b": 10.0, "gone": 1.0}}
    new = {"machine": {}, "versions": {"numpy": "2"}, "figures": {"a": 3.0, "b": 10.5, "come": 1.0}}
    lines = compare(old, new, 1.2)
    assert lines[:2] == ["old numpy 1", "new numpy 2"]
    assert [line.split() for line in lines[3:]] == [
        ["a", "2.00", "3.00", "1.50"],
        ["gone", "1.00", "-", "-"],
        ["come", "-", "1.00", "-"],
    ]
    assert len(compare(old, new, 1.0)) == 7


def test_what_is_no_result_is_refused(tmp_path, capsys):
    """A file that is no result is refused with status 2 and the reason."""
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}", encoding="utf-8")
    assert main([str(FILES[0]), str(wrong)]) == 2
    assert main([str(FILES[0]), str(tmp_path / "missing.json")]) == 2
    assert capsys.readouterr().err.count("cannot be compared") == 2
    assert main([str(FILES[0]), str(FILES[0])]) == 0
