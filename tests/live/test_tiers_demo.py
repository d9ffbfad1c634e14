"""The demo of all tiers with an address that VRRP moves between two network namespaces."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.cli.test_command import children, none_left, start
from tests.cli.test_tiers_demo import check_what_callers_saw
from tests.live._lab import why_not

from balancekit.cli._network import BRIDGE_ADDRESS, Network

REASON = why_not()
pytestmark = [pytest.mark.skipif(REASON is not None, reason=str(REASON)), pytest.mark.timeout(180)]


def space():
    """Return the network namespace that this thread is in."""
    return Path("/proc/thread-self/ns/net").readlink()


def spaces(mark):
    """Return the network namespaces of the marked processes."""
    found = set()
    for pid in children(mark):
        with suppress(OSError):  # ended meanwhile
            found.add(Path(f"/proc/{pid}/ns/net").readlink())
    return found


def network():
    """Return the interfaces that this machine has."""
    return sorted(socket.if_nameindex())


def check_one_run(mark):
    """Run the demo; assert what callers saw and that nothing is left; print what was measured."""
    before = network()
    demo = start(mark, "--tiers", "--seconds", "18", "--json")
    out, err = demo.communicate(timeout=170)
    assert (demo.returncode, err) == (0, "")
    report = json.loads(out)
    assert (report["vrrp"], report["why_not"]) == (True, None)
    check_what_callers_saw(report)
    proxy = report["phases"][3]
    assert {*proxy["detected_after"], *proxy["killed"]} == {"eu-l4-1", "eu-l4-2"}
    for phase in report["phases"]:
        words = (
            "name",
            "requests",
            "failures",
            "retries",
            "detected_after",
            "detection_bound",
            "p99",
            "stall",
        )
        print({word: phase[word] for word in words})
    print(f"last failure after {report['phases'][4]['last_failure_after']} s, at most 4.5 s")
    assert none_left(mark)
    assert network() == before


def test_the_address_of_a_dead_proxy_moves_and_no_caller_sees_a_failure():
    """The other proxy takes it after the down time; a server, an edge and a proxy die unseen."""
    check_one_run("mark-tiers-vrrp")


@pytest.mark.nightly
@pytest.mark.parametrize("number", range(30))
def test_so_it_is_in_thirty_runs(number):
    """In thirty runs no caller sees the death of a server, an edge or a proxy, and nothing is left."""
    check_one_run(f"mark-tiers-{number}-of-30")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_no_process_namespace_or_interface_is_left(how):
    """Ctrl-C and SIGTERM give status 130; the kernel removes what a killed one leaves."""
    before, mark = network(), f"mark-tiers-{how.name}"
    demo = start(mark, "--tiers", "--json")
    until = time.monotonic() + 60.0
    while len(spaces(mark)) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(spaces(mark)) == 3
    time.sleep(1.0)
    demo.send_signal(how)
    demo.communicate(timeout=30)
    assert demo.returncode == (-signal.SIGKILL if how is signal.SIGKILL else 130)
    assert none_left(mark)
    assert network() == before


def test_a_network_is_left_as_it_was_entered():
    """Inside, this thread has a switch and the machine's interfaces are not there; after it, everything is as before."""
    home, machine = space(), network()
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with Network() as made:
            assert space() != home
            assert sorted(name for _, name in socket.if_nameindex()) == ["br0", "lo"]
            inner = made.add_router("router-1", "192.0.2.11")
            assert "router-1" in [name for _, name in socket.if_nameindex()]
            os.close(inner)
            socket.create_server((BRIDGE_ADDRESS, 0)).close()
        assert (space(), network()) == (home, machine)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_a_network_that_cannot_be_made_leaves_the_thread_where_it_was(monkeypatch):
    """Without the command ``ip`` no network is made, the error has a reason, and the thread stays where it was."""
    home = space()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OSError, match="iproute2"):
        Network().__enter__()
    assert space() == home


def test_other_threads_stay_where_they_are():
    """Only the thread that enters a network is in it, and other threads stay where they are."""
    home, seen, go_on, entered = space(), [], threading.Event(), threading.Event()

    def look():
        entered.wait(10.0)
        seen.append(space())
        go_on.set()

    thread = threading.Thread(target=look)
    thread.start()
    with Network():
        entered.set()
        go_on.wait(10.0)
    thread.join()
    assert seen == [home]
