"""``balancekit bench``: what it accepts, what it prints, what it writes, and when it fails."""

from __future__ import annotations

import json
import multiprocessing
import time

import pytest

import balancekit.cli._bench as command
from balancekit.bench import _disruption as disruption
from balancekit.bench._registry import STRUCTURES, StructureCase
from balancekit.cli import main
from balancekit.hashing import JumpHash

QUICK = ["bench", "disruption", "--quick", "--workers", "1"]


def test_it_prints_figures_beside_the_right_ones(capsys):
    """The command prints tables, claims with verdicts, and the machine, with status 0 if all claims hold."""
    assert main(QUICK) == 0
    out, err = capsys.readouterr()
    assert "hash % N from 4 to 5 servers moves 80% of all keys" in out
    assert "all claims hold" in out
    assert "CPython" in out or "PyPy" in out
    assert "fails" not in out
    assert err == ""


def measure_for_ever(topics, *, executor, **_options):
    """Occupy the workers for far longer than a test lasts."""
    executor.submit(time.sleep, 0.0).result()
    executor.submit(time.sleep, 3600.0)
    raise KeyboardInterrupt


def test_an_interruption_does_not_wait_for_the_workers(monkeypatch, capsys):
    """Ctrl-C ends the processes although they are at work, and the command with them."""
    monkeypatch.setattr(command, "measure", measure_for_ever)
    assert main(["bench", "disruption", "--quick", "--workers", "2"]) == 130
    assert multiprocessing.active_children() == []
    assert capsys.readouterr().err == "balancekit bench: interrupted\n"


def test_a_claim_that_fails_is_status_1(monkeypatch, capsys):
    """A claim that fails ends the command with status 1.

    Here jump hash is passed off as a structure of which any node may leave.
    """
    wrong = STRUCTURES | {"JumpHash": StructureCase(make=JumpHash)}
    monkeypatch.setattr(disruption, "STRUCTURES", wrong)
    assert main(QUICK) == 1
    out = capsys.readouterr().out
    assert "does not hold: JumpHash, 11 to 10 (one in the middle leaves): no key moves needlessly" in out
    assert "not all claims hold" in out


def test_it_writes_a_report_and_data(tmp_path, capsys):
    """The command writes pictures, figures and the page into a folder that was not there.

    It prints data and nothing else.
    """
    home = tmp_path / "deep" / "report"
    assert main([*QUICK, "--out", str(home), "--json", "--seed", "7"]) == 0
    names = {file.name for file in home.iterdir()}
    assert {"report.html", "figures.json", "disruption-moved.svg", "disruption-moved.png"} <= names
    assert all(file.stat().st_size > 500 for file in home.iterdir())
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert data == json.loads((home / "figures.json").read_text(encoding="utf-8"))
    assert (data["seed"], data["holds"], list(data["topics"])) == (7, True, ["disruption"])
    assert f"{len(names)} files in {home}" in err


def test_it_draws_all_cards(tmp_path, monkeypatch, capsys):
    """The command draws each card into one file. Here it draws the cards of one."""
    monkeypatch.setattr(command, "CARDS", ("HashRing",))
    assert main(["bench", "cards", "--out", str(tmp_path)]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["HashRing.svg"]
    assert "1 cards" in capsys.readouterr().out


def test_cards_that_are_not_all_drawn_replace_none(tmp_path, monkeypatch):
    """An error after the first card leaves the folder as it was."""
    old = tmp_path / "HashRing.svg"
    old.write_text("old", encoding="utf-8")
    monkeypatch.setattr(command, "CARDS", ("HashRing", "no such"))
    assert main(["bench", "cards", "--out", str(tmp_path)]) == 2
    assert [file.read_text(encoding="utf-8") for file in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("words", [[*QUICK, "--out", "report"], ["bench", "cards"]])
def test_without_matplotlib_it_says_what_to_install(words, monkeypatch, tmp_path, capsys):
    """Without matplotlib the command says in one line what to install, ends with status 2, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "find_spec", lambda _name: None)
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err == "balancekit bench: No module named 'matplotlib': pip install 'balancekit[plots]'\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_status_2(tmp_path, capsys):
    """A folder that cannot be made ends the command with status 2 before anything is measured."""
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    assert main([*QUICK, "--out", str(file / "report")]) == 2
    assert "Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["weather"], "invalid choice: 'weather'"),
        (["--seed", "-1"], "'-1' is not a whole number"),
        (["--seed", "one"], "'one' is not a whole number"),
        (["--workers", "0"], "'0' is not a number of processes"),
        (["--workers", "65"], "'65' is not a number of processes"),
        (["--workers", "many"], "'many' is not a number of processes"),
        (["--loud"], "unrecognized arguments: --loud"),
        (["--out"], "expected one argument"),
    ],
)
def test_bad_arguments(words, says, capsys):
    """Each wrong argument is named on standard error; the status is 2."""
    with pytest.raises(SystemExit) as caught:
        main(["bench", *words])
    assert caught.value.code == 2
    assert says in capsys.readouterr().err
