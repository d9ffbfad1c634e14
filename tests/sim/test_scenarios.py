"""Scenarios in files: all that are shipped run, mistakes are named, and the command prints what came of them."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import math
import operator
import tomllib
from pathlib import Path

import pytest

from balancekit import ConfigurationError
from balancekit.cli import main
from balancekit.events import Drained, Draining, Ejected
from balancekit.sim import (
    Claim,
    Deterministic,
    Poisson,
    RecordedArrivals,
    Server,
    builtin_scenarios,
    load_scenario,
    simulate,
)
from balancekit.sim._configured import scenario_tables
from balancekit.sim._scenario import _scenario


@pytest.mark.parametrize("name", builtin_scenarios())
def test_a_shipped_scenario_shows_what_it_claims(name):
    """Each shipped scenario holds its claims with every balancer it names, and says what is to be seen."""
    scenario = load_scenario(name)
    reports = {balancer: scenario.run(balancer) for balancer in scenario.balancers}
    findings = scenario.check(reports)
    assert len(findings) >= 3
    assert scenario.why
    assert [finding.data() for finding in findings if not finding.holds] == []
    for report in reports.values():
        assert report.requests == scenario.requests
        assert len(report.latency) + report.failures == report.requests


GOOD = """
[arrivals]
kind = "poisson"
rate = 10.0

[servers.s]
service = { kind = "deterministic", mean = 0.01 }
"""

CLAIM = """
[[claims]]
text = "it is quick"
balancer = "default"
measure = "p99"
high = 1.0
"""


def test_what_is_not_said_has_a_default(tmp_path):
    """A scenario needs servers and arrivals only, and all else has a default."""
    file = tmp_path / "small.toml"
    file.write_text(GOOD)
    scenario = load_scenario(file)
    assert list(scenario.balancers) == ["default"]
    assert scenario.replace(requests=50, warm_up=0).run("default").failures == 0


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        (("rate = 10.0", "rate = -1"), "arrivals.rate"),
        (('kind = "poisson"', 'kind = "fish"'), "arrivals.kind"),
        (("rate = 10.0", "speed = 10.0"), "arrivals"),
        (('"deterministic"', '"sometimes"'), "servers.s.service.kind"),
        (("[servers.s]", "[servers.s]\ncolour = 1"), "servers.s"),
        (("[servers.s]", "[[servers]]"), "servers"),
        (
            (
                "[servers.s]",
                "[servers.s-1]\nservice = { kind = 'deterministic', mean = 1.0 }\n[servers.s]\ncount = 2",
            ),
            "servers.s",
        ),
        (("[arrivals]", "colour = 1\n[arrivals]"), "scenario"),
        (("[arrivals]", "requests = 0\n[arrivals]"), "requests"),
        (("[servers.s]", '[[balancers]]\nselector = "Fastest"\n[servers.s]'), "balancers.Fastest.selector"),
        (("[servers.s]", '[[balancers]]\nload = "Weight"\n[servers.s]'), "balancers.default.load.kind"),
        (("[servers.s]", '[[faults]]\nkind = "flood"\n[servers.s]'), "faults.kind"),
        (("[arrivals]", "[arrivals"), "scenario"),
        (("[arrivals]", "timeout = 0\n[arrivals]"), "timeout"),
        (("[arrivals]", "hedge = -1.0\n[arrivals]"), "hedge"),
        (("[arrivals]", "clients = 0\n[arrivals]"), "clients"),
        (("[arrivals]", "[keys]\ncount = 0\n[arrivals]"), "keys.count"),
        (("[arrivals]", "[keys]\ncount = 3\ncolour = 1\n[arrivals]"), "keys"),
        (("[servers.s]", "[servers.s]\ndiscipline = 'lifo'"), "servers.s.discipline"),
        (
            ("[servers.s]", '[[balancers]]\noptions = { d = 2 }\nselector = "First"\n[servers.s]'),
            "balancers.First.options",
        ),
        (
            ("[servers.s]", '[[balancers]]\nexhaustion = "Choice"\n[servers.s]'),
            "balancers.default.exhaustion.kind",
        ),
        (("[servers.s]", "[[balancers]]\nhealth = 3\n[servers.s]"), "balancers.default.health"),
        (("[servers.s]", "[[balancers]]\nhealth = { colour = 1 }\n[servers.s]"), "balancers.default.health"),
        (
            ("[servers.s]", "[[balancers]]\nhealth = { damping = { colour = 1 } }\n[servers.s]"),
            "balancers.default.health.damping",
        ),
        (
            ("[servers.s]", '[[balancers]]\nhealth = { start = "ill" }\n[servers.s]'),
            "balancers.default.health.start",
        ),
        (("[servers.s]", "[balancers]\nname = 'a'\n[servers.s]"), "balancers"),
        (("[servers.s]", "[[balancers]]\nattempts = 'y'\n[servers.s]"), "balancers.default.attempts"),
        (("[servers.s]", "[[balancers]]\ntimeout = -1.0\n[servers.s]"), "balancers.default.timeout"),
        (
            (
                "[servers.s]",
                (
                    "[[balancers]]\nselector = 'central queue'\n"
                    "[servers.t]\nservice = { kind = 'exponential', mean = 7.0 }\n[servers.s]"
                ),
            ),
            "balancers",
        ),
        (("[servers.s]", "[servers.s]\ncount = 1_000_000_000"), "servers.s.count"),
        (("[arrivals]", "[keys]\ncount = 1_000_000_000\n[arrivals]"), "keys.count"),
        (("[servers.s]", "[[balancers]]\n[[balancers]]\n[servers.s]"), "balancers"),
        (("[servers.s]", CLAIM.replace("p99", "beauty") + "[servers.s]"), "measure"),
        (("[servers.s]", CLAIM.replace("default", "other") + "[servers.s]"), "claims"),
        (("[servers.s]", CLAIM.replace("high", "height") + "[servers.s]"), "claims"),
        (("[servers.s]", CLAIM.replace("p99", "share t") + "[servers.s]"), "claims.measure"),
        (("[servers.s]", "[servers.s]\ncount = 0"), "servers.s.count"),
        (("[servers.s]", CLAIM.replace("high = 1.0", "") + "[servers.s]"), "low"),
        (("[servers.s]", CLAIM.replace("high", "low = 2.0\nhigh") + "[servers.s]"), "low"),
        (("[servers.s]", CLAIM.replace("1.0", "'much'") + "[servers.s]"), "high"),
    ],
)
def test_a_wrong_word_is_named(tmp_path, change, parameter):
    """A wrong word in a scenario is named, with what is allowed."""
    file = tmp_path / "wrong.toml"
    file.write_text(GOOD.replace(*change))
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(file)
    assert caught.value.parameter == parameter


RICH = """
title = "Everything that a scenario may say"
requests = 4000
warm_up = 100
attempts = 2
timeout = 1.0
clients = 3
why = "Because."

[arrivals]
kind = "closed"
count = 20
pause = { kind = "deterministic", mean = 0.1 }

[keys]
count = 50
skew = 1.0

[servers.a]
count = 2
workers = 2
discipline = "sharing"
service = { kind = "lognormal", mean = 0.01 }

[servers.b]
service = { kind = "lognormal", mean = 0.01 }

[[faults]]
kind = "crash"
endpoint = "b"
at = 2.0
seconds = 10.0

[[faults]]
kind = "drain"
endpoint = "a-0"
at = 15.0

[[balancers]]
name = "own"
selector = "RingHash"
options = { vnodes = 100 }
routing = [{ kind = "BoundedLoad", factor = 1.5 }]
load = "InFlight"
exhaustion = "LeastBad"
attempts = 3
hedge = 0.5
[balancers.health]
start = "warming"
failures = { threshold = 2 }
ejection = { max_duration = 30.0 }
damping = {}
probation = { successes = 2 }
warm_up = { window = 5.0 }
success_rate = { min_rate = 0.5 }

[[balancers]]
name = "central queue"
selector = "central queue"
"""


def test_everything_that_may_be_said(tmp_path):
    """Each option of a scenario file is understood and reaches the simulation."""
    file = tmp_path / "rich.toml"
    file.write_text(RICH)
    scenario = load_scenario(file)
    report = scenario.run("own")
    assert report.disruption is not None
    assert report.failures == 0
    kinds = {type(event).__name__ for event in report.events}
    assert {"Ejected", "Draining", "Drained"} <= kinds
    assert scenario.run("central queue").shares == {"central queue": 1.0}
    with pytest.raises(ConfigurationError, match="default"):
        scenario.run("default")


STRANGE = (5, -1, 0, 1.5, math.nan, math.inf, "x", "", True, [], [1], ["x"], [[]], {}, {"x": 1})


def places(value, at=()):
    """Yield the way to every word of a scenario."""
    yield at
    for step in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[step], (*at, step))


@pytest.mark.parametrize("name", ["rich", *builtin_scenarios()])
def test_whatever_is_written_wherever_is_understood_or_refused(name):
    """Each of fifteen strange values in the place of every word is understood or raises ConfigurationError."""
    facts = tomllib.loads(builtin_scenarios().get(name, RICH))
    for balancer in facts.get("balancers", []):
        if balancer.get("selector") == "MaglevHash":
            balancer["options"] = {"size": 251}  # it is built for each value
    refused = 0
    for *way, last in itertools.islice(places(facts), 1, None):
        for value in STRANGE:
            changed = copy.deepcopy(facts)
            table = functools.reduce(operator.getitem, way, changed)
            table[last] = value
            try:
                _scenario(changed)
            except ConfigurationError:
                refused += 1
    assert refused > 100


def test_every_measure_is_read_from_the_report(tmp_path):
    """Every measure is read from the report, including a ratio and one with nothing to measure."""
    file = tmp_path / "rich.toml"
    file.write_text(RICH)
    scenario = load_scenario(file)
    reports = {name: scenario.run(name) for name in scenario.balancers}
    own = reports["own"]

    def value(measure, over=None, balancer="own"):
        claim = Claim(text="t", balancer=balancer, measure=measure, over=over, high=9.0)
        return scenario.replace(claims=(claim,)).check(reports)[0].value

    assert value("p99") == own.quantile(0.99)
    assert value("attempts") == own.attempts > 1.0
    assert value("share b") == own.shares["b"]
    assert value("busy a-1") == own.busy["a-1"]
    assert value("ejections") == sum(type(event).__name__ == "Ejected" for event in own.events)
    first = next(event.at for event in own.events if type(event).__name__ == "Ejected")
    assert value("failover") == pytest.approx(first - 2.0)
    assert 0.0 <= value("drain") < 1.0
    assert value("mean", over="central queue") == own.mean / reports["central queue"].mean
    assert math.isnan(value("failover", balancer="central queue"))
    assert math.isnan(value("disruption", balancer="central queue"))
    assert value("mean", over="own") == 1.0
    assert value("attempts", over="central queue") == own.attempts
    assert value("retries", over="central queue") == math.inf
    claim = Claim(text="t", balancer="central queue", measure="drain", low=0.0)
    finding = scenario.replace(claims=(claim,)).check(reports)[0]
    assert not finding.holds
    assert json.loads(json.dumps(finding.data(), allow_nan=False))["value"] is None


def test_the_scenario_in_the_documents(tmp_path):
    """The scenario in the documents is valid, and its claims hold."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "simulate.md"
    file = tmp_path / "mine.toml"
    file.write_text(page.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0])
    scenario = load_scenario(file)
    reports = {name: scenario.run(name) for name in scenario.balancers}
    assert [finding.holds for finding in scenario.check(reports)] == [True]


def test_texts_are_printed_as_they_stand(tmp_path, capsys):
    """Texts are printed as they stand: brackets are no mark-up, colons no pictures."""
    file = tmp_path / "texts.toml"
    text = "requests = 200\nwarm_up = 10\n" + GOOD + CLAIM.replace("it is quick", "mean [s] :sleeping: [/b]")
    file.write_text("title = '[/b] [red]'\n" + text)
    assert main(["simulate", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "mean [s] :sleeping: [/b]" in shown
    assert "[/b] [red]" in shown


def test_the_command(tmp_path, capsys):
    """The command prints a table, data, or a list of shipped scenarios, and ends with status 2 on a mistake."""
    file = tmp_path / "small.toml"
    file.write_text("requests = 200\nwarm_up = 10\n" + GOOD)
    assert main(["simulate", str(file)]) == 0
    assert "default" in capsys.readouterr().out
    assert main(["simulate", str(file), "--json", "--seed", "3"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["balancers"]["default"]["shares"] == {"s": 1.0}
    assert main(["simulate"]) == 0
    assert "slow-server" in capsys.readouterr().out
    assert main(["simulate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        name: load_scenario(name).title for name in builtin_scenarios()
    }
    assert main(["simulate", "--out", "nowhere"]) == 2
    assert "name a scenario" in capsys.readouterr().err
    file.write_text("requests = 200\nwarm_up = 10\nwhy = 'Look here.'\n" + GOOD + CLAIM)
    assert main(["simulate", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "it is quick" in shown
    assert "Look here." in shown
    file.write_text("requests = 200\nwarm_up = 10\n" + GOOD + CLAIM.replace("1.0", "0.001"))
    assert main(["simulate", str(file)]) == 1
    assert "FAILS" in capsys.readouterr().out
    assert main(["simulate", str(file), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["claims"][0]["holds"] is False
    assert main(["simulate", "nowhere.toml"]) == 2
    assert "slow-server" in capsys.readouterr().err


def finding(measure, low, *, fault=0.0, over=None, events=()):
    """Return what a claim finds in reports with these events and no failure."""
    report = simulate(
        {"a": Server(service=Deterministic(mean=0.1))}, RecordedArrivals(seconds=[0.0, 1.0]), requests=2
    ).replace(events=tuple(events))
    claim = Claim(text="t", balancer="x", measure=measure, low=low, over=over)
    return claim.find({"x": report, "y": report}, fault)


def test_nothing_over_nothing_is_no_ratio():
    """A claim about a ratio of two zeros is NaN and does not hold; a ratio to zero is infinite."""
    none = finding("errors", 2.0, over="y")
    assert math.isnan(none.value)
    assert not none.holds
    failed = simulate(
        {"a": Server(service=Deterministic(mean=1.0))}, Poisson(rate=1.0), requests=5, timeout=0.5
    )
    served = failed.replace(failures=0)
    claim = Claim(text="t", balancer="x", measure="errors", low=2.0, over="y")
    assert claim.find({"x": failed, "y": served}).value == math.inf


def test_a_failover_counts_from_the_fault():
    """An ejection before the fault is no failover, and without one afterwards there is none."""
    early = Ejected(endpoint="a", at=1.0, until=2.0, streak=1, cause="failures")
    late = Ejected(endpoint="b", at=7.5, until=9.0, streak=1, cause="failures")
    assert finding("failover", 0.0, fault=5.0, events=[early, late]).value == 2.5
    assert math.isnan(finding("failover", 0.0, fault=5.0, events=[early]).value)


def test_a_drain_ends_with_its_own_endpoint():
    """The first drain lasts until its endpoint is drained, whatever other endpoint is drained before."""
    events = [
        Draining(endpoint="a", at=1.0, inflight=1, deadline=None),
        Draining(endpoint="b", at=2.0, inflight=1, deadline=None),
        Drained(endpoint="b", at=3.0, forced=False, remaining=0),
        Drained(endpoint="a", at=6.0, forced=False, remaining=0),
    ]
    assert finding("drain", 0.0, events=events).value == 5.0
    assert math.isnan(finding("drain", 0.0, events=events[:3]).value)


def test_a_report_that_is_missing_is_named():
    """A check without the report of a balancer raises ConfigurationError with its name."""
    with pytest.raises(ConfigurationError, match="round robin"):
        load_scenario("slow-server").check({})


def test_balancers_of_a_configuration_are_tables():
    """What is no list of tables under [[simulation.balancers]] raises ConfigurationError with its name."""
    facts = {
        "endpoints": ["a:1"],
        "simulation": {"balancers": 3, "server": {"service": {"kind": "exponential", "mean": 1.0}}},
    }
    with pytest.raises(ConfigurationError, match=r"^simulation\.balancers="):
        scenario_tables(facts)
