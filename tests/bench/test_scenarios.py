"""A scenario's report: pictures that can be read, figures that are those of the simulation, a page by itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from balancekit.bench import write_scenario
from balancekit.bench._plot_scenario import shares, slowest
from balancekit.bench._plot_timeline import over_time
from balancekit.bench._scenario import compared
from balancekit.bench._style import styled
from balancekit.cli import main
from balancekit.sim import builtin_scenarios, load_scenario

from .test_pictures import legible

MINE = """
title = "Mine & <yours>"
requests = 400
warm_up = 40
[arrivals]
kind = "poisson"
rate = 30.0
[servers.s]
count = 3
service = { kind = "exponential", mean = 0.05 }
[[balancers]]
name = "default"
[[balancers]]
name = "in turn"
selector = "RoundRobin"
[[claims]]
text = "no request waits for an hour"
balancer = "default"
measure = "p99"
high = 3600.0
"""


@pytest.fixture(scope="module")
def run():
    """Return a scenario, cut short, and what came of it."""
    scenario = load_scenario("eighty-percent").replace(requests=3_000, warm_up=300)
    return scenario, {name: scenario.run(name) for name in scenario.balancers}


@pytest.mark.parametrize("name", builtin_scenarios())
def test_every_text_can_be_read(name):
    """In every built-in scenario no text is cut off at the border, and no two lie on each other."""
    scenario = load_scenario(name).replace(requests=600, warm_up=60)
    reports = {balancer: scenario.run(balancer) for balancer in scenario.balancers}
    found = compared(scenario, reports)
    with styled():
        for draw in (slowest, shares):
            assert legible(draw(found)) == ([], [])
        for balancer, report in reports.items():
            assert legible(over_time(balancer, report, scenario.faults)) == ([], [])


def test_tables_are_the_reports(run):
    """Tables have the quantiles, errors and shares of the reports, for each balancer and endpoint."""
    scenario, reports = run
    found = compared(scenario, reports)
    for name, report in reports.items():
        (row,) = found["figures"].where(balancer=name)
        assert (row["mean"], row["p99"], row["errors"]) == (report.mean, report.quantile(0.99), report.errors)
        assert {
            own["endpoint"]: own["share"] for own in found["shares"].where(balancer=name)
        } == report.shares
        curve = found["slowest"].where(balancer=name)
        assert curve[0]["seconds"] == report.latency.min()
        for point in curve[1:]:
            longer = np.mean(report.latency > point["seconds"])
            assert abs(longer - point["slower"]) <= 1.0 / len(report.latency)
    assert [claim.measured for claim in found.claims] == [one.value for one in scenario.check(reports)]


def test_the_command_writes_pictures_data_and_a_page(tmp_path, capsys):
    """The command writes pictures, data and a page into a folder that was not there.

    It prints data and nothing else.
    """
    (tmp_path / "mine.toml").write_text(MINE, encoding="utf-8")
    home = tmp_path / "deep" / "report"
    assert main(["simulate", str(tmp_path / "mine.toml"), "--out", str(home), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["title"] == "Mine & <yours>"
    names = {file.name for file in home.iterdir()}
    pictures = {"slowest", "shares", "over-time-1", "over-time-2"}
    assert names == {f"{name}.{kind}" for name in pictures for kind in ("svg", "png")} | {
        "figures.json",
        "report.html",
    }
    assert f"10 files in {home}" in err
    assert imread(home / "slowest.png").std() > 0.05
    data = json.loads((home / "figures.json").read_text(encoding="utf-8"))
    assert [table["name"] for table in data["tables"]] == ["figures", "shares", "slowest"]
    page = (home / "report.html").read_text(encoding="utf-8")
    assert "<h1>Mine &amp; &lt;yours&gt;</h1>" in page
    assert "All 1 claims hold" in page
    assert "balancekit simulate " in page
    assert "title = &quot;Mine &amp; &lt;yours&gt;&quot;" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_report_of_none_served_has_no_curve(tmp_path):
    """A report of a run in which all servers hang has a page, without a picture of times."""
    text = MINE.replace(
        "[[balancers]]",
        '[[faults]]\nkind = "hang"\nendpoint = "s-0"\nat = 0.0\nseconds = 1e9\n\n[[balancers]]',
        1,
    )
    text = text.replace("count = 3", "count = 1").replace("title =", "timeout = 0.2\ntitle =", 1)
    text = text.split("[[claims]]")[0]
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    scenario = load_scenario(tmp_path / "mine.toml")
    files = write_scenario(
        scenario, {name: scenario.run(name) for name in scenario.balancers}, tmp_path / "out"
    )
    assert {file.name for file in files if "over-time" not in file.name} == {"figures.json", "report.html"}


def test_a_folder_that_cannot_be_made_is_said_before_anything_runs(tmp_path, capsys):
    """A folder that cannot be made ends the command before the first scenario runs."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["simulate", "eighty-percent", "--out", str(tmp_path / "file")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("balancekit simulate: ")


def test_a_file_that_is_no_text_is_refused(tmp_path, capsys):
    """A file that is not UTF-8 is refused with a message that says so."""
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    assert main(["simulate", str(tmp_path / "mine.toml")]) == 2
    assert "expected TOML: " in capsys.readouterr().err


def test_a_failed_claim_stands_at_the_top_with_a_link(tmp_path):
    """The first paragraph of a page lists each claim that does not hold and links to its section."""
    (tmp_path / "mine.toml").write_text(MINE.replace("high = 3600.0", "high = 0.0001"), encoding="utf-8")
    scenario = load_scenario(tmp_path / "mine.toml")
    write_scenario(scenario, {name: scenario.run(name) for name in scenario.balancers}, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    head = page[: page.index("<section")]
    assert "1 of 1 claims do not hold" in head
    assert '<a href="#balancers">no request waits for an hour' in head


def test_a_report_that_is_interrupted_changes_no_file(tmp_path, monkeypatch):
    """Whatever picture, figure or page fails or is interrupted, the folder holds the old report whole, and nothing else."""
    (tmp_path / "mine.toml").write_text(MINE, encoding="utf-8")
    scenario = load_scenario(tmp_path / "mine.toml")
    reports = {name: scenario.run(name) for name in scenario.balancers}
    out = tmp_path / "out"
    write_scenario(scenario, reports, out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    changed = scenario.replace(title="Another title")
    for failing in ("figures.json", "report.html", "shares.png"):

        def write(path, data, failing=failing, real=Path.write_bytes):
            if path.name == failing:
                raise KeyboardInterrupt
            return real(path, data)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", write)
            with pytest.raises(KeyboardInterrupt):
                write_scenario(changed, reports, out)
        assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    write_scenario(changed, reports, out)
    assert "Another title" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("requests", [1, 5, 12, 25])
def test_a_report_of_few_requests_is_written(tmp_path, requests):
    """A run that is too short for a curve of the slowest has a page all the same."""
    text = MINE.replace("requests = 400", f"requests = {requests}")
    (tmp_path / "few.toml").write_text(text, encoding="utf-8")
    assert main(["simulate", str(tmp_path / "few.toml"), "--out", str(tmp_path / "out")]) in {0, 1}
    assert (tmp_path / "out" / "report.html").exists()
    assert (tmp_path / "out" / "slowest.svg").exists() is (requests >= 20)


def test_names_are_drawn_as_they_are(tmp_path):
    """Dollar signs in the names of balancers and servers are no formulas."""
    name = "a $b_{$ \\frac{"
    scenario = Path(tmp_path / "dollars.toml")
    scenario.write_text(
        'requests = 200\nwarm_up = 0\n[arrivals]\nkind = "poisson"\nrate = 10.0\n'
        "[servers.'$s_{']\ncount = 2\nservice = { kind = \"exponential\", mean = 0.02 }\n"
        f"[[balancers]]\nname = '{name}'\n",
        encoding="utf-8",
    )
    assert main(["simulate", str(scenario), "--out", str(tmp_path / "out")]) == 0
    assert "$b_{$" in (tmp_path / "out" / "shares.svg").read_text(encoding="utf-8")
