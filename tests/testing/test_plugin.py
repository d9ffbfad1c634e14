"""Fixtures of the pytest plugin, as a project that has balancekit installed uses them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from tests.docs._paste import blocks

from balancekit.testing import ManualClock

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-code.md"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder outside the repository."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        *arguments,
    ]
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=100, check=False
    )


def test_pytest_finds_the_plugin():
    """The distribution has an entry point of the group pytest11 that names the module."""
    found = metadata.distribution("balancekit").entry_points.select(group="pytest11")
    assert [(each.name, each.value) for each in found] == [("balancekit", "balancekit.testing.plugin")]


def test_the_page_is_a_test_file_that_passes(tmp_path):
    """The block of the page, as a file, passes with strict markers and warnings as errors; its three tests run."""
    ((_, code),) = blocks(PAGE.read_text(encoding="utf-8"))
    (tmp_path / "test_page.py").write_text(code, encoding="utf-8")
    done = run(tmp_path, "--strict-markers", "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_nothing_is_imported_for_tests_that_ask_for_nothing(tmp_path):
    """Without a fixture of the plugin, no test loads the balancer, numpy or aiohttp."""
    code = "import sys\ndef test_it():\n    assert not {'balancekit.balancer', 'numpy', 'aiohttp'} & set(sys.modules)\n"
    (tmp_path / "test_it.py").write_text(code, encoding="utf-8")
    done = run(tmp_path, "-p", "no:hypothesispytest", "-p", "no:sybil", "-p", "no:aiohttp", "-p", "no:anyio")
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_can_be_left_out(tmp_path):
    """With ``-p no:balancekit`` the plugin's fixtures are unknown."""
    (tmp_path / "test_it.py").write_text("def test_it(manual_clock): ...\n", encoding="utf-8")
    done = run(tmp_path, "-p", "no:balancekit")
    assert done.returncode == 1
    assert "fixture 'manual_clock' not found" in done.stdout


class TestFixtures:
    """In this very process."""

    def test_the_clock_stands_still(self, manual_clock):
        """The time of the clock moves by ``advance`` only."""
        assert isinstance(manual_clock, ManualClock)
        before = manual_clock()
        manual_clock.advance(2.5)
        assert manual_clock() == before + 2.5

    def test_balancers_pick_alike(self, make_balancer):
        """Two balancers over the same endpoints pick the same, on the manual clock."""
        first, second = make_balancer(["a", "b", "c"]), make_balancer(["a", "b", "c"])
        assert first.ranking() == second.ranking()

    def test_options_are_passed_on(self, make_balancer):
        """An option of LoadBalancer given by name wins over those of the fixture."""
        clock = ManualClock(7.0)
        assert make_balancer(clock=clock).stats().at == 7.0

    @pytest.mark.toy_servers("x")
    def test_servers_are_those_of_the_marker(self, toy_servers):
        """The marker names the servers that run."""
        assert [server.name for server in toy_servers] == ["x"]

    def test_there_are_two_servers_without_it(self, toy_servers):
        """Without the marker two servers called a and b run."""
        assert [server.name for server in toy_servers] == ["a", "b"]
        assert len(set(toy_servers.addresses)) == 2
