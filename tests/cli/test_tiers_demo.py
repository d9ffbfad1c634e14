"""The demo of all tiers: what callers see while one node of each dies, then a site, and that nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from rich.console import Console
from tests.cli.test_command import children, none_left, start

from balancekit.cli import _tiers_demo, main
from balancekit.cli._tiers_report import Phase, TiersReport, print_tiers

LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the sites are addresses of Linux's loopback"
)
WITHOUT_ROOT = """
import sys
from balancekit.cli import _tiers_demo

class Refused(_tiers_demo.Network):
    def __enter__(self):
        raise OSError("network namespaces need root")

_tiers_demo.Network = Refused
sys.exit(_tiers_demo.run_tiers_demo(seconds=18.0, as_json=True))
"""
BESIDE_THE_PARENT = 12


def check_what_callers_saw(report):
    """Assert that only the death of the site was seen, and it no longer than the formula says."""
    calm, server, edge, proxy, site = report["phases"]
    assert [calm["killed"], server["killed"], edge["killed"]] == [[], ["eu-server-1"], ["us-l7-1"]]
    assert proxy["killed"] in (
        ["eu-l4-1"],
        ["eu-l4-2"],
    )  # on a busy machine the address may have moved before
    assert len(site["killed"]) == 5
    for phase in (calm, server, edge, proxy):
        assert (phase["failures"], phase["last_failure_after"]) == (0, None), phase
        assert phase["requests"] > 20
        assert 0 < phase["p50"] <= phase["p99"]
    assert {"eu-l7-1", "eu-l7-2"} >= server["detected_after"].keys() > set()
    assert {"us-l4-1", "us-l4-2"} >= edge["detected_after"].keys() > set()
    assert site["detected_after"].keys() == {"DNS"}
    assert site["failures"] > 0
    assert site["failure_bound"] == site["detection_bound"] + 2.0 == 4.5
    assert site["last_failure_after"] <= site["failure_bound"] + site["stall"]
    assert report["as_promised"]
    assert report["failures"] == site["failures"]
    assert 0 < report["dns_queries"] < report["requests"]


@LINUX
@pytest.mark.timeout(180)
def test_only_the_death_of_a_site_is_seen_by_callers():
    """Callers see no death of a server, an edge or a proxy.

    They see the death of a site for detection and TTL at most.
    """
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ROOT], capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert (report["vrrp"], report["why_not"]) == (False, "network namespaces need root")
    check_what_callers_saw(report)
    assert report["phases"][3]["detected_after"] == {}


@LINUX
@pytest.mark.timeout(120)
def test_a_murdered_demo_leaves_no_process():
    """When a demo is killed by SIGKILL, all twelve processes notice that their parent is gone and end."""
    demo = start("mark-tiers-kill", "--tiers", "--json")
    until = time.monotonic() + 60.0
    while len(children("mark-tiers-kill")) <= BESIDE_THE_PARENT and time.monotonic() < until:
        time.sleep(0.05)
    assert len(children("mark-tiers-kill")) > BESIDE_THE_PARENT
    demo.kill()
    demo.communicate(timeout=20)
    assert none_left("mark-tiers-kill")


@LINUX
def test_too_short_a_run_is_refused(capsys):
    """The last part has to be longer than detection and TTL: usage errors end with status 2."""
    assert main(["demo", "--tiers", "--seconds", "5"]) == 2
    assert "at least 18" in capsys.readouterr().err


@LINUX
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("server 'eu-l7-1' ended"), "server 'eu-l7-1' ended"),
        (TimeoutError(), "not ready in time"),
    ],
    ids=["ended", "late"],
)
def test_a_process_that_does_not_start_is_one_line(error, says, monkeypatch, capsys):
    """A process that does not start is one line with the reason and exit status 1.

    This thread is in its own network again.
    """

    async def run(self):
        raise error

    monkeypatch.setattr(_tiers_demo.TiersDemo, "run", run)
    assert main(["demo", "--tiers", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("balancekit demo --tiers: ")
    assert says in captured.err
    assert captured.err.count("\n") == 1


def test_a_failure_is_as_promised_until_its_bound_and_what_the_process_was_late():
    """Without a bound none is; the bound counts from the kill to the end of the last request."""
    phase = Phase("site us", ("us-l4-1",), 10.0, detection_bound=2.5, failure_bound=4.5)
    assert (phase.as_promised, phase.last_failure) == (True, None)
    phase.record(began=13.0, ended=14.5, retries=2, cause="refused")
    assert (phase.as_promised, phase.last_failure) == (True, 4.5)
    phase.record(began=13.0, ended=14.75, retries=2, cause="timeout")
    assert not phase.as_promised
    phase.stall = 0.25
    assert phase.as_promised
    phase.failure_bound = None
    assert not phase.as_promised
    assert (phase.requests, phase.failures, phase.retries) == (2, 2, 4)


def test_a_node_notices_once_and_the_dead_notice_nothing():
    """The first time counts, from the kill on; what is killed reports no detection."""
    phase = Phase("server", ("web-1",), 10.0)
    phase.on_detection("edge-1", 10.5)
    phase.on_detection("edge-1", 12.0)
    phase.on_detection("web-1", 10.1)
    assert phase.detected == {"edge-1": 0.5}
    calm = Phase("calm")
    calm.on_detection("edge-1", 1.0)
    assert calm.detected == {}


def test_the_table_shows_what_was_measured_beside_the_formulas():
    """The table has one row a phase: detection and its bound, failures and theirs."""
    calm = Phase("calm")
    calm.record(began=0.0, ended=0.05, retries=0, cause=None)
    site = Phase("site us", ("a", "b"), 10.0, detection_bound=2.5, failure_bound=4.5)
    site.on_detection("DNS", 12.0)
    site.record(began=12.0, ended=13.0, retries=2, cause="refused")
    console = Console(width=120, record=True, quiet=False, file=None)
    with console.capture() as printed:
        print_tiers(console, TiersReport(30.0, False, "no root", [calm, site], [], dns_queries=2))
    text = printed.get()
    (row,) = [line for line in text.splitlines() if "site us (2)" in line]
    assert [word.strip() for word in row.split("│")[2:9]] == [
        "2.0 s",
        "2.5 s",
        "1",
        "2",
        "1",
        "3.0 s",
        "4.5 s",
    ]
    assert "no address moved by VRRP: no root" in text
    assert "1 failures seen by callers, as the formulas say" in text
