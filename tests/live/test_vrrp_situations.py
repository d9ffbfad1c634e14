"""What happens to machines that hold an address: removed addresses, flapping links, hang-ups, neighbours. Needs root."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
from tests.live._lab import PATIENCE_S, Lab, why_not

REASON = why_not()
pytestmark = [pytest.mark.skipif(REASON is not None, reason=str(REASON)), pytest.mark.timeout(90)]
ADDRESS, SIX = "192.0.2.100", "2001:db8::100"
FAST = {"interval": 0.2}


@pytest.fixture
def lab(tmp_path):
    """Two routers and a client on a switch."""
    with Lab(tmp_path) as made:
        yield made


def run_six(lab):
    """Start a router of IPv6 without a source of its own."""
    words = ["--interface", "eth0", "--vrid", "51", "--address", f"{SIX}/64", "--interval", "0.2"]
    return lab.start("r1", sys.executable, "-m", "balancekit", "vrrp", "run", *words)


def log(lab, process):
    """Return what a process that has ended has said on standard error."""
    lab.stop(process)
    return "".join([path.read_text() for path in lab.folder.glob("*.log")])


def test_an_address_that_another_program_removes_comes_back(lab):
    """Without a rival, the router starts again and adds it."""
    lab.ours("r1", FAST)
    lab.wait_for("r1", ADDRESS)
    for _ in range(2):
        time.sleep(0.5)
        lab.run("ip", "-n", f"{lab.prefix}r1", "address", "del", f"{ADDRESS}/24", "dev", "eth0")
        lab.wait_for("r1", ADDRESS)


def test_a_rival_takes_an_address_that_another_program_removes(lab):
    """The router that lost it resigns, so that the other takes over after its skew."""
    lab.ours("r1", {**FAST, "priority": 100})
    lab.wait_for("r1", ADDRESS)
    lab.ours("r2", {**FAST, "priority": 90, "no-preempt": True})
    time.sleep(0.5)
    lab.run("ip", "-n", f"{lab.prefix}r1", "address", "del", f"{ADDRESS}/24", "dev", "eth0")
    lab.wait_for("r2", ADDRESS)


def test_a_second_router_of_one_machine_that_ends_leaves_the_address_to_the_first(lab):
    """One started by mistake removes the address at its start and its end; the other adds it again."""
    lab.ours("r1", FAST)
    lab.wait_for("r1", ADDRESS)
    second = lab.ours("r1", FAST)
    time.sleep(1.5)
    lab.stop(second)
    lab.wait_for("r1", ADDRESS)


def test_an_ipv6_address_comes_back_after_a_link_was_down_for_a_moment(lab):
    """The system drops addresses of IPv6 with the link, and the poll may miss that it was down."""
    run_six(lab)
    lab.wait_for("r1", SIX)
    time.sleep(0.5)
    for state in ("down", "up"):
        lab.run("ip", "-n", f"{lab.prefix}r1", "link", "set", "eth0", state)
    lab.run("ip", "-n", f"{lab.prefix}r1", "address", "replace", "fe80::11/64", "dev", "eth0", "nodad")
    lab.wait_for("r1", SIX)


def test_a_router_of_ipv6_sends_from_its_link_local_address(lab):
    """The source of its adverts is that of the interface (RFC 9568, 5.1.2.1), if none is given."""
    process = run_six(lab)
    lab.wait_for("r1", SIX)
    lab.run("ip", "-n", f"{lab.prefix}r1", "address", "del", "fe80::11/64", "dev", "eth0")
    lab.wait_for("r1", SIX, present=False)  # it cannot send
    assert "source address" in log(lab, process)
    again = run_six(lab)
    again.wait(PATIENCE_S)
    assert again.returncode == 2
    assert "link-local" in "".join([path.read_text() for path in lab.folder.glob("*.log")])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_router_gives_its_address_up_at_a_signal(lab, number):
    """A terminal that goes away ends other programs at once: the address would stay behind."""
    process = lab.ours("r1", FAST)
    lab.wait_for("r1", ADDRESS)
    os.kill(process.pid, number)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert not lab.has("r1", ADDRESS)


def test_adverts_of_other_virtual_routers_are_no_news(lab):
    """Several elections share a network, each with its number: none warns of the others."""
    one = lab.ours("r1", FAST)
    other = lab.start(
        "r2",
        *(sys.executable, "-m", "balancekit", "vrrp", "run", "--interface", "eth0", "--vrid", "52"),
        *("--address", "192.0.2.101/24", "--interval", "0.2"),
    )
    lab.wait_for("r1", ADDRESS)
    lab.wait_for("r2", "192.0.2.101")
    time.sleep(0.5)
    lab.stop(other)
    assert log(lab, one) == ""
