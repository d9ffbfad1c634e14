"""Timers refuse what they cannot time, and run statements as they are written."""

from __future__ import annotations

import math

import pytest

from balancekit import ConfigurationError
from balancekit.bench import Findings, Results, Timer, measure, write


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rounds": 0}, "rounds=0"),
        ({"rounds": -1}, "rounds=-1"),
        ({"rounds": 1.5}, "rounds=1.5"),
        ({"milliseconds": 0}, "milliseconds=0"),
        ({"milliseconds": -1.0}, "milliseconds=-1"),
        ({"milliseconds": math.nan}, "milliseconds=nan"),
        ({"milliseconds": math.inf}, "milliseconds=inf"),
        ({"cold": "no"}, "cold='no'"),
    ],
)
def test_a_timer_without_rounds_or_time_is_refused(options, named):
    """Each option is named, with what it was."""
    with pytest.raises(ConfigurationError, match=named):
        Timer(**options)


@pytest.mark.parametrize(
    "statement",
    ["1 +", "return", "return 5", "break", "continue", "yield 1", "await call", "a\0b", 5, None],
    ids=ascii,
)
def test_a_statement_that_a_loop_cannot_repeat_is_refused(statement):
    """What is no Python, and what would end the loop or the function around it, is refused before it runs."""
    with pytest.raises(ConfigurationError, match="statement="):
        Timer().add("a", statement)


@pytest.mark.parametrize("name", ["a b", "class", "", "1"])
def test_a_name_that_no_variable_has_is_refused(name):
    """Names of a statement are those of variables."""
    with pytest.raises(ConfigurationError, match="names="):
        Timer().add("a", "pass", **{name: 1})


@pytest.mark.parametrize("label", ["a", "empty method call"])
def test_a_label_is_of_one_case(label):
    """A second case of a label would take the place of the first."""
    timer = Timer()
    timer.add("a", "pass")
    with pytest.raises(ConfigurationError, match="a label that no other case has"):
        timer.add(label, "pass")


@pytest.mark.parametrize("name", ["turns", "clock", "begin", "label", "statement", "self", "timed"])
def test_a_statement_may_use_any_name(name):
    """A name is the statement's own, whatever the loop, the method and the timer call their variables."""
    timer, seen = Timer(rounds=1, milliseconds=0.01), set()
    timer.add("a", f"note({name}); {name} = 2", note=seen.add, **{name: 1})
    assert timer.run()["a"].nanoseconds > 0.0
    assert seen == {1, 2}


@pytest.mark.parametrize(
    ("statement", "noted"),
    [
        ('note("""a\n  b""")', "a\n  b"),
        ("if True:\n    note(1)\nelse:\n    note(2)", 1),
        ("for number in range(3):\n    if number == 1:\n        break\nnote(number)", 1),
        ("# nothing\nnote(0)", 0),
    ],
)
def test_a_statement_of_several_lines_runs_as_it_is_written(statement, noted):
    """Texts keep their lines, blocks their indentation, and loops of the statement their ``break``."""
    timer, seen = Timer(rounds=1, milliseconds=0.01), set()
    timer.add("a", statement, note=seen.add)
    timer.run()
    assert seen == {noted}


def test_a_comment_is_an_empty_statement():
    """A statement without anything to do costs next to nothing."""
    timer = Timer(rounds=1, milliseconds=0.01)
    timer.add("nothing", "")
    timer.add("a comment", "# nothing")
    assert set(timer.run()) == {"empty method call", "nothing", "a comment"}


@pytest.mark.parametrize(
    ("arguments", "options", "named"),
    [
        ([3], {}, "topics=3"),
        (["speed"], {}, "topics='speed'"),
        ([["disruption"]], {"quick": "no"}, "quick='no'"),
        ([["disruption"]], {"progress": 3, "quick": True}, "progress=3"),
        ([["latency"]], {"executor": 3, "quick": True}, "executor=3"),
    ],
)
def test_what_cannot_be_measured_is_named(arguments, options, named):
    """Each argument of ``measure`` that is of another kind is refused by name."""
    with pytest.raises(ConfigurationError, match=named):
        measure(*arguments, **options)


@pytest.mark.parametrize("folder", ["", "a\0b", "file", "file/report", None], ids=ascii)
def test_a_folder_that_takes_no_files_is_refused(folder, tmp_path, monkeypatch):
    """An empty path, one that no folder can have, a file, and what lies below a file; nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    empty = Results(topics={}, seed=1, quick=True, machine={}, versions={})
    with pytest.raises(ConfigurationError, match="folder="):
        write(empty, folder)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_findings_without_a_table_say_its_name():
    """A table that is not there is a ``KeyError`` of its name."""
    with pytest.raises(KeyError, match="moved"):
        Findings()["moved"]
