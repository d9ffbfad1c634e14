"""``balancekit capacity``: a plan from a file, as text and as data, and mistakes in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from balancekit.cli import main

PLAN = """
utilisation = 0.7
[demand]
requests = 1_000_000
[gslb]
sites = 4
[l7]
requests_per_second = 50_000
[survive]
l7 = 1
"""


@pytest.fixture
def plan(tmp_path):
    """Return the path of a plan."""
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def test_it_prints_a_table_with_formulas(plan, capsys):
    """The command prints a table with formulas, and the losses that the plan does not survive."""
    assert main(["capacity", str(plan)]) == 0
    out = capsys.readouterr().out
    assert "ceil(250,000 requests/s / (50,000 * 0.7)) = 8" in out
    assert "note: does not survive the loss of one of 4 sites: 333,333 requests/s" in out


def test_it_prints_data(plan, capsys):
    """The data that the command prints have the same numbers as the table."""
    assert main(["capacity", str(plan), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sites"][0]["l7"]["count"] == 9


def test_the_plan_of_the_how_to_page_gives_the_numbers_that_it_shows(tmp_path, capsys):
    """The TOML that a reader pastes makes the plan of the page's program."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "capacity.md").read_text(encoding="utf-8")
    [text] = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    path = tmp_path / "plan.toml"
    path.write_text(text)
    assert main(["capacity", str(path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [data["sites"][0][tier]["count"] for tier in ("l4", "l7", "backends")] == [3, 9, 1118]
    assert data["binding"] == {"l4": "gbps", "l7": "requests", "backends": "in flight"}


@pytest.mark.parametrize(
    "text", ["demand = 1", "[demand]\nrequests = -1\n[l7]\ngbps = 1", "[", "[cost]\na = 1"]
)
def test_a_wrong_file_is_one_line_and_status_2(tmp_path, capsys, text):
    """A wrong file is one line on standard error and status 2, with nothing on standard output."""
    path = tmp_path / "plan.toml"
    path.write_text(text)
    assert main(["capacity", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("balancekit capacity: ")
    assert printed.err.count("\n") == 1
    assert main(["capacity", str(tmp_path / "none.toml")]) == 2
