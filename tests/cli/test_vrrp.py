"""The command ``balancekit vrrp``: replays, simulations, and what it refuses. What it does on a network is in ``live``."""

from __future__ import annotations

import json

import pytest

from balancekit.cli import main
from balancekit.ha import LoggedAdvert, VirtualRouter, packets
from balancekit.sim import vrrp_scenarios

ACTIVE = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.11", priority=150, interval=0.5)
ROUTER = ["--vrid", "51", "--address", "192.0.2.100/24", "--interval", "0.5", "--source", "192.0.2.12"]


@pytest.fixture
def log(tmp_path):
    """Return a log of an active router that was silent for two seconds, and one packet that had been forwarded."""
    ((data, destination),) = packets(ACTIVE, ACTIVE.advert(150))
    times = [k * 0.5 for k in range(20) if not 3.0 < k * 0.5 < 5.0]
    rows = [LoggedAdvert(t, ACTIVE.source, destination, 64 if t == 8.0 else 255, data) for t in times]
    path = tmp_path / "adverts.jsonl"
    path.write_text("".join(row.line() + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_replay_says_whether_the_router_would_have_taken_over(log, capsys):
    """A replay prints changes and rejections as lines of JSON.

    Its status is 1 if the router had become active, else 0.
    """
    assert main(["vrrp", "replay", log, *ROUTER]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["role"] for row in rows if "role" in row] == ["backup", "active", "backup"]
    assert rows[1]["t"] == pytest.approx(3.0 + ACTIVE.replace(priority=100).down(0.5), abs=0.001)
    assert rows[-1] == {"rejected": "hop limit 64, not 255", "count": 1}
    assert main(["vrrp", "replay", log, *ROUTER, "--missed", "4"]) == 0


@pytest.mark.parametrize("name", vrrp_scenarios())
def test_a_simulation_prints_what_happened_and_what_holds(name, capsys):
    """A simulation prints what happened and which claims hold, with status 0 if all do."""
    assert main(["vrrp", "simulate", name]) == 0
    out = capsys.readouterr().out
    assert vrrp_scenarios()[name].title in out
    assert "BROKEN" not in out
    assert out.count("holds ") == len(vrrp_scenarios()[name].claims)


def test_without_a_name_the_scenarios_are_listed(capsys):
    """Without a name, the scenarios are listed, a line each."""
    assert main(["vrrp", "simulate"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(vrrp_scenarios())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["simulate", "storm"], "scenario='storm' is not allowed: expected one of split-brain"),
        (["replay", "/nowhere", *ROUTER], "expected a file"),
        (["replay", "LOG", *ROUTER, "--priority", "0"], "priority=0"),
        (
            ["run", "--interface", "nosuch0", "--vrid", "51", "--address", "192.0.2.100/24"],
            "interface='nosuch0'",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(words, says, log, capsys):
    """A wrong parameter is one line, with what was given and what is allowed, and status 2."""
    assert main(["vrrp", *[log if word == "LOG" else word for word in words]]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
