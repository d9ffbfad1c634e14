"""Scenarios in files: all that are shipped run, mistakes are named, and the command prints what came of them."""

from __future__ import annotations

import json

import pytest

from balancekit import ConfigurationError
from balancekit.cli import main
from balancekit.sim import load_scenario, shipped


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_scenario_runs_with_every_balancer(name):
    """Shortened; every request is answered or counted as failed."""
    scenario = load_scenario(name).replace(requests=1_500, warm_up=100)
    assert len(scenario.balancers) >= 3
    for balancer in scenario.balancers:
        report = scenario.run(balancer)
        assert report.requests == 1_500
        assert len(report.latency) + report.failures == pytest.approx(1_500, abs=100)


@pytest.mark.timeout(60)
def test_the_default_is_not_fooled_by_the_black_hole():
    """Ten times fewer failures than any balancer that looks only at how busy servers are."""
    scenario = load_scenario("black-hole").replace(requests=8_000)
    failures = {name: scenario.run(name).failures for name in scenario.balancers}
    assert failures["default"] * 5 < min(count for name, count in failures.items() if name != "default")


@pytest.mark.timeout(60)
def test_the_default_is_the_best_but_for_least_request_at_eighty_percent():
    """One balancer that sees everything: only the exact minimum and the central queue beat it at p99."""
    scenario = load_scenario("eighty-percent").replace(requests=20_000, warm_up=2_000)
    p99 = {name: scenario.run(name).quantile(0.99) for name in scenario.balancers}
    assert p99["default"] < p99["two choices, in flight"]
    assert p99["default"] < p99["round robin"] / 10
    assert p99["central queue (the bound)"] < p99["default"]


GOOD = """
[arrivals]
kind = "poisson"
rate = 10.0

[servers.s]
service = { kind = "always", mean = 0.01 }
"""


def test_what_is_not_said_has_a_default(tmp_path):
    """Servers and arrivals are enough."""
    file = tmp_path / "small.toml"
    file.write_text(GOOD)
    scenario = load_scenario(file)
    assert list(scenario.balancers) == ["default"]
    assert scenario.replace(requests=50, warm_up=0).run("default").failures == 0


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        (("rate = 10.0", "rate = -1"), "rate"),
        (('kind = "poisson"', 'kind = "fish"'), "arrivals.kind"),
        (("rate = 10.0", "speed = 10.0"), "arrivals"),
        (('"always"', '"sometimes"'), "service.kind"),
        (("[servers.s]", "[servers.s]\ncolour = 1"), "servers.s"),
        (("[arrivals]", "colour = 1\n[arrivals]"), "scenario"),
        (("[arrivals]", "requests = 0\n[arrivals]"), "requests"),
        (("[servers.s]", '[[balancers]]\nselector = "Fastest"\n[servers.s]'), "selector"),
        (("[servers.s]", '[[balancers]]\nload = "Weight"\n[servers.s]'), "load"),
        (("[servers.s]", '[[faults]]\nkind = "flood"\n[servers.s]'), "faults.kind"),
        (("[arrivals]", "[arrivals"), "scenario"),
    ],
)
def test_a_wrong_word_is_named(tmp_path, change, parameter):
    """With what would have been right."""
    file = tmp_path / "wrong.toml"
    file.write_text(GOOD.replace(*change))
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(file)
    assert caught.value.parameter == parameter


def test_the_command(tmp_path, capsys):
    """A table, data, a list of what is shipped; a mistake ends with status 2."""
    file = tmp_path / "small.toml"
    file.write_text("requests = 200\nwarm_up = 10\n" + GOOD)
    assert main(["simulate", str(file)]) == 0
    assert "default" in capsys.readouterr().out
    assert main(["simulate", str(file), "--json", "--seed", "3"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["balancers"]["default"]["shares"] == {"s": 1.0}
    assert main(["simulate"]) == 0
    assert "slow-server" in capsys.readouterr().out
    assert main(["simulate", "nowhere.toml"]) == 2
    assert "slow-server" in capsys.readouterr().err
