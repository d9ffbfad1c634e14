"""The VRRP drivers on a real network: threads and sockets, hooks, links, tracking, forks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.live._lab import Lab, why_not

from balancekit import ConfigurationError
from balancekit.adapters._vrrp_sockets import AdvertSocket, Announcer
from balancekit.adapters.vrrp import AsyncVrrp, RoleChange, VrrpThread, ip_address_hook
from balancekit.ha import (
    Role,
    SyncGroup,
    TrackedCheck,
    Tracking,
    VirtualRouter,
    read_advert_log,
    replay_adverts,
)

REASON = why_not()
pytestmark = [pytest.mark.skipif(REASON is not None, reason=str(REASON)), pytest.mark.timeout(90)]

VIP = "192.0.2.100"
R1 = VirtualRouter(vrid=51, addresses=(VIP,), source="192.0.2.11", priority=150, interval=0.1)
R2 = R1.replace(source="192.0.2.12", priority=100)


@pytest.fixture
def lab(tmp_path):
    """Make a switch with two routers and a client."""
    with Lab(tmp_path) as found:
        yield found


def reach(condition, seconds=5.0):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never did"
        time.sleep(0.005)


def started(lab, node, driver):
    """Start a driver in a node's namespace."""
    with lab.entered(node):
        driver.start()
    return driver


class Log:
    """Hooks that note what they are called with."""

    def __init__(self):
        self.calls = []

    def active(self, change):
        self.calls.append(("active", change.was.value))

    def backup(self, change):
        self.calls.append(("backup", change.role.value))

    def change(self, change):
        self.calls.append((change.was.value, change.role.value))


def ours():
    """Return the threads of drivers."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("balancekit-vrrp")]


def descriptors():
    """Return how many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_after_a_hundred_starts_and_stops_no_thread_and_no_socket_is_left(lab):
    """After a hundred starts and stops, the numbers of threads and of open files are as before."""
    driver = VrrpThread(R1, interface="eth0")
    with lab.entered("r1"):
        with driver:
            pass
        before = descriptors()
        for _ in range(100):
            with driver:
                assert driver.running
        assert descriptors() == before
    assert ours() == []
    assert not driver.running
    assert driver.role is Role.INITIALIZE
    driver.stop()


def test_hooks_are_called_in_order_and_the_last_before_stop_returns(lab):
    """At the start as backup, then active, and on stop backup again; no address is touched by the driver itself."""
    log = Log()
    driver = started(lab, "r1", VrrpThread(R1, interface="eth0", on_active=log.active, on_backup=log.backup))
    try:
        reach(lambda: driver.role is Role.ACTIVE)
        assert not lab.has("r1", VIP)
    finally:
        driver.stop()
    assert log.calls == [("backup", "backup"), ("active", "backup"), ("backup", "initialize")]


def test_every_change_of_role_is_told_after_its_hook(lab):
    """A backup that becomes faulty and is a backup again calls ``on_change`` alone; both drivers do the same."""
    told = [
        ("initialize", "backup"),
        ("backup", "fault"),
        ("fault", "backup"),
        ("active", "backup"),
        ("backup", "active"),
        ("backup", "initialize"),
        ("active", "initialize"),
    ]

    def hooks():
        log = Log()
        return log.calls, {"on_active": log.active, "on_backup": log.backup, "on_change": log.change}

    calls, given = hooks()
    driver = started(lab, "r1", VrrpThread(R1, interface="eth0", **given))
    driver.fault()
    driver.clear()
    reach(lambda: driver.role is Role.ACTIVE)
    driver.stop()
    assert calls == [("backup", "backup"), *told]

    async def main(given):
        with lab.entered("r1"):
            mine = AsyncVrrp(R1, interface="eth0", **given)
            await mine.start()
        mine.fault()
        mine.clear()
        await reached(lambda: mine.role is Role.ACTIVE)
        await mine.stop()

    calls, given = hooks()
    asyncio.run(main(given))
    assert calls == [("backup", "backup"), *told]


def test_two_threads_share_an_address(lab):
    """The higher priority holds it; lowered below the other's, it loses it after the other's down time."""
    drivers = []
    try:
        for node, router in (("r1", R1), ("r2", R2)):
            address = ip_address_hook("eth0", f"{VIP}/24")
            drivers.append(
                started(
                    lab,
                    node,
                    VrrpThread(router, interface="eth0", on_active=address.add, on_backup=address.remove),
                )
            )
        lab.wait_for("r1", VIP)
        assert "active: priority 150" in drivers[0].explain()
        reach(lambda: "192.0.2.11 (150) active" in drivers[1].explain())
        drivers[0].set_priority(50)
        lab.wait_for("r2", VIP)
        lab.wait_for("r1", VIP, present=False)
        assert [driver.role for driver in drivers] == [Role.BACKUP, Role.ACTIVE]
        assert drivers[0].rejected == drivers[1].rejected == {}
    finally:
        for driver in drivers:
            driver.stop()
    assert not lab.has("r1", VIP)
    assert not lab.has("r2", VIP)


def test_a_hook_that_hangs_delays_no_advert(lab):
    """Beside a router without hooks, one whose hook hangs sends as many adverts, but for a fifth.

    The hook returns once the other router has sent 60: were adverts to wait for it, they would wait for each other.
    """
    begun, go_on = threading.Event(), threading.Event()

    def hang(change):
        begun.set()
        go_on.wait(60.0)

    free = R1.replace(vrid=52, addresses=("192.0.2.101",))
    hanging = VrrpThread(R1, interface="eth0", on_active=hang, hook_timeout=90.0)
    other = VrrpThread(free, interface="eth0")
    with lab.entered("r2"):
        hearing = AdvertSocket("eth0", R2)
    sent = Counter()

    def heard(vrid):
        while (packet := hearing.receive()) is not None:
            sent[packet.data[1]] += 1
        return sent[vrid]

    try:
        for driver in (hanging, other):
            started(lab, "r1", driver)
        reach(lambda: begun.is_set() and other.role is Role.ACTIVE)
        heard(free.vrid)
        sent.clear()
        reach(lambda: heard(free.vrid) >= 60, seconds=50.0)
        assert sent[R1.vrid] >= 48
    finally:
        go_on.set()
        hanging.stop()
        other.stop()
        hearing.close()


def test_a_hook_that_takes_too_long_faults_the_router_until_it_tries_again(lab):
    """Priority 0 is sent; after ``hook_retry`` seconds it is backup, and active again."""
    hangs = [True]

    def hang(change):
        if hangs.pop() if hangs else False:
            time.sleep(1.0)

    driver = VrrpThread(R1, interface="eth0", on_active=hang, hook_timeout=0.3, hook_retry=0.5)
    started(lab, "r1", driver)
    try:
        reach(lambda: driver.role is Role.FAULT)
        assert driver.explain() == "fault: hook"
        reach(lambda: driver.role is Role.ACTIVE)
    finally:
        driver.stop()


def test_a_hook_that_raises_faults_the_router(lab, caplog):
    """A hook that raises makes the router resign.

    ``on_backup`` is called, and ``clear`` lets the router try again.
    """
    log = Log()
    fails = [True]

    def fail(change):
        log.active(change)
        if fails.pop() if fails else False:
            raise OSError("no address")

    driver = VrrpThread(R1, interface="eth0", on_active=fail, on_backup=log.backup, hook_retry=None)
    started(lab, "r1", driver)
    try:
        reach(lambda: driver.role is Role.FAULT)
        reach(lambda: log.calls[-1] == ("backup", "fault"))
        time.sleep(0.5)
        assert driver.role is Role.FAULT
        driver.clear("hook")
        reach(lambda: driver.role is Role.ACTIVE)
    finally:
        driver.stop()
    assert "on_active raised" in caplog.text
    assert log.calls == [
        ("backup", "backup"),
        ("active", "backup"),
        ("backup", "fault"),
        ("active", "backup"),
        ("backup", "initialize"),
    ]


def test_a_cut_wire_is_a_fault_and_the_other_router_takes_over(lab):
    """A cut wire is a fault, and the other router takes over.

    Plugged in again, the router starts as backup and preempts.
    """
    one = started(lab, "r1", VrrpThread(R1, interface="eth0"))
    other = started(lab, "r2", VrrpThread(R2, interface="eth0"))
    try:
        reach(lambda: one.role is Role.ACTIVE)
        lab.unplug("r1")
        reach(lambda: one.role is Role.FAULT and other.role is Role.ACTIVE)
        assert one.explain() == "fault: link"
        lab.plug_in("r1")
        reach(lambda: one.role is Role.ACTIVE and other.role is Role.BACKUP)
    finally:
        one.stop()
        other.stop()


SIX = VirtualRouter(vrid=51, addresses=("fe80::100",), source="fe80::11", priority=150, interval=0.1)
PAIRS = pytest.mark.parametrize(
    ("one", "other"), [(R1, R2), (SIX, SIX.replace(source="fe80::12", priority=100))], ids=["IPv4", "IPv6"]
)


@PAIRS
def test_an_interface_that_was_made_anew_is_used(lab, one, other):
    """A router whose interface is deleted is faulty; made anew under the same name, it is sent and received on, again and again."""
    space, switch = lab.prefix + "r1", lab.prefix + "switch"
    one = started(lab, "r1", VrrpThread(one, interface="eth0"))
    other = started(lab, "r2", VrrpThread(other, interface="eth0"))
    try:
        reach(lambda: one.role is Role.ACTIVE and other.role is Role.BACKUP)
        for _ in range(3):
            lab.run(*f"ip -n {space} link del eth0".split())
            reach(lambda: one.role is Role.FAULT and other.role is Role.ACTIVE)
            lab.run(*f"ip -n {space} link add eth0 type veth peer name r1 netns {switch}".split())
            lab.run(*f"ip -n {switch} link set r1 master br0 up".split())
            lab.run(*f"ip -n {space} address add 192.0.2.11/24 dev eth0".split())
            lab.run(*f"ip -n {space} link set eth0 up".split())
            lab.run(*f"ip -n {space} address replace fe80::11/64 dev eth0 nodad".split())
            reach(lambda: one.role is Role.ACTIVE and other.role is Role.BACKUP)
    finally:
        one.stop()
        other.stop()


@PAIRS
def test_a_router_without_its_own_address_gives_its_role_up(lab, one, other):
    """A router whose own address was taken from the machine cannot send an advert: it is faulty, and does not stay active beside another."""
    address = f"{one.source}/{64 if ':' in one.source else 24}"
    space = lab.prefix + "r1"
    one = started(lab, "r1", VrrpThread(one, interface="eth0"))
    other = started(lab, "r2", VrrpThread(other, interface="eth0"))
    try:
        reach(lambda: one.role is Role.ACTIVE and other.role is Role.BACKUP)
        lab.run("ip", "-n", space, "address", "del", address, "dev", "eth0")
        reach(lambda: one.role is Role.FAULT and other.role is Role.ACTIVE)
        assert one.explain() == "fault: source address"
        lab.run(*f"ip -n {space} address add {address} dev eth0".split(), *["nodad"] * (":" in address))
        reach(lambda: one.role is Role.ACTIVE and other.role is Role.BACKUP)
    finally:
        one.stop()
        other.stop()


@pytest.mark.parametrize(
    ("own", "protected"), [(VIP, VIP), ("fe80::77", "fe80::77"), ("FE80:0::77", "fe80::77")]
)
def test_a_router_starts_in_fault_without_its_own_address_unless_it_protects_it(lab, own, protected):
    """A router whose address is not there starts in fault; one that sends from the address it protects has it when it is active."""
    absent = R1.replace(source="192.0.2.77")
    driver = started(lab, "r1", VrrpThread(absent, interface="eth0"))
    assert driver.explain() == "fault: source address"
    driver.stop()
    hook = ip_address_hook("eth0", f"{protected}/64" if ":" in protected else f"{protected}/24")
    owner = R1.replace(source=own, addresses=(protected,), priority=255)
    driver = started(
        lab, "r1", VrrpThread(owner, interface="eth0", on_active=hook.add, on_backup=hook.remove)
    )
    try:
        reach(lambda: lab.has("r1", protected))
        assert driver.role is Role.ACTIVE
    finally:
        driver.stop()


@pytest.mark.parametrize("source", ["192.0.2.11", "fe80::11"])
def test_whether_an_advert_could_be_sent_is_known_without_sending_it(lab, source):
    """An address that is not there is told from one that is, also where addresses of others may be bound; nothing is sent."""
    absent = source.replace("11", "77")
    router = VirtualRouter(vrid=51, addresses=("fe80::100" if ":" in source else VIP,), source=source)
    for setting in ("net.ipv4.ip_nonlocal_bind=0", "net.ipv4.ip_nonlocal_bind=1"):
        lab.inside("r1", "sysctl", "-qw", setting)
        with lab.entered("r1"):
            present, other = AdvertSocket("eth0", router), AdvertSocket("eth0", router.replace(source=absent))
        with lab.entered("r2"):
            hearing = AdvertSocket("eth0", router.replace(source=source.replace("11", "12")))
        assert present.can_send(source)
        assert not other.can_send(absent)
        assert hearing.receive() is None
        present.send(b"one", "ff02::12" if ":" in source else "224.0.0.18", source)
        reach(lambda hearing=hearing: hearing.receive() is not None)
        for one in (present, other, hearing):
            one.close()


def test_announcements_tell_the_present_hardware_address(lab):
    """An address is announced with the hardware address that the interface has now."""
    with lab.entered("r1"):
        announcer = Announcer("eth0")
    inner, frames = announcer._socket, []

    class Heard:
        getsockname, close = inner.getsockname, inner.close

        def send(self, frame):
            frames.append(frame)

    announcer._socket = Heard()
    announcer.announce((VIP,))
    lab.run(*f"ip -n {lab.prefix}r1 link set eth0 address 02:00:00:00:00:99".split())
    announcer.announce((VIP, "2001:db8::100"))
    announcer.close()
    new = bytes.fromhex("020000000099")
    assert [new in frame for frame in frames] == [False, True, True]


def test_an_address_is_removed_whatever_its_prefix_length(lab):
    """What a predecessor left with another prefix length goes too, and others stay; an interface that is gone has none."""
    hook = ip_address_hook("eth0", f"{VIP}/24", "2001:db8::100/64")
    change = RoleChange("router", Role.BACKUP, Role.ACTIVE, "", (VIP, "2001:db8::100"))
    for address in (f"{VIP}/24", f"{VIP}/32", "2001:db8::100/128"):
        lab.inside("r1", "ip", "address", "add", address, "dev", "eth0")
    with lab.entered("r1"):
        hook.remove(change)
        hook.remove(change)
    assert not lab.has("r1", VIP)
    assert not lab.has("r1", "2001:db8::100")
    assert lab.has("r1", "192.0.2.11")
    lab.run(*f"ip -n {lab.prefix}r1 link del eth0".split())
    with lab.entered("r1"):
        hook.remove(change)


def test_tracked_checks_fault_the_router(lab):
    """A failing check of weight 0 resigns; a passing one lets it come back; unknown names are refused."""
    tracking = Tracking(checks={"web": TrackedCheck(fall=2)})
    driver = started(lab, "r1", VrrpThread(R1, interface="eth0", tracking=tracking))
    try:
        reach(lambda: driver.role is Role.ACTIVE)
        driver.report("web", passed=True)
        driver.report("web", passed=False)
        assert driver.role is Role.ACTIVE
        assert driver.report("web", passed=False).faults == ("web",)
        assert driver.role is Role.FAULT
        driver.report("web", passed=True)
        reach(lambda: driver.role is Role.ACTIVE)
        with pytest.raises(ConfigurationError, match="one of web"):
            driver.report("disk", passed=True)
    finally:
        driver.stop()


def test_a_sync_group_changes_together(lab):
    """A fault of one member moves both addresses to the other router."""
    other = "192.0.2.101"
    drivers = []
    try:
        for node, router in (("r1", R1), ("r2", R2)):
            group = SyncGroup(routers={"a": router, "b": router.replace(vrid=52, addresses=(other,))})
            address = ip_address_hook("eth0", f"{VIP}/24", f"{other}/24")
            drivers.append(
                started(
                    lab,
                    node,
                    VrrpThread(group, interface="eth0", on_active=address.add, on_backup=address.remove),
                )
            )
        for one in (VIP, other):
            lab.wait_for("r1", one)
        drivers[0].fault("disk", member="b")
        for one in (VIP, other):
            lab.wait_for("r2", one)
            lab.wait_for("r1", one, present=False)
    finally:
        for driver in drivers:
            driver.stop()


def test_each_member_of_a_sync_group_sends_from_its_own_address(lab):
    """Routers of two networks on one interface: the other router takes the adverts of both, and faults are those of the member."""
    sources = {"r1": ("192.0.2.11", "198.51.100.11"), "r2": ("192.0.2.12", "198.51.100.12")}
    drivers = {}
    try:
        for node, priority in (("r1", 150), ("r2", 100)):
            inside, outside = sources[node]
            lab.run(*f"ip -n {lab.prefix}{node} address add {outside}/24 dev eth0".split())
            one = R1.replace(source=inside, priority=priority)
            other = one.replace(vrid=52, addresses=("198.51.100.100",), source=outside)
            group = SyncGroup(routers={"a": one, "b": other})
            drivers[node] = started(lab, node, VrrpThread(group, interface="eth0"))
        reach(lambda: drivers["r1"].role is Role.ACTIVE)
        heard = drivers["r2"]._core.machine.machines
        reach(lambda: {heard["a"].last_source, heard["b"].last_source} == set(sources["r1"]))
        assert drivers["r2"].role is Role.BACKUP
        assert not drivers["r2"].rejected
        lab.run(*f"ip -n {lab.prefix}r1 address delete 198.51.100.11/24 dev eth0".split())
        reach(lambda: drivers["r1"].role is Role.FAULT and drivers["r2"].role is Role.ACTIVE)
    finally:
        for driver in drivers.values():
            driver.stop()


def test_received_packets_are_logged_and_can_be_replayed(lab, tmp_path):
    """The log of a backup says that it would have been active with a down time of one missed advert less than its gap."""
    path = tmp_path / "adverts.jsonl"
    backup = started(lab, "r2", VrrpThread(R2, interface="eth0", advert_log=path))
    one = started(lab, "r1", VrrpThread(R1, interface="eth0"))
    try:
        reach(lambda: path.read_text(encoding="utf-8").count("\n") > 20)
    finally:
        one.stop()
        backup.stop()
    log = list(read_advert_log(path.read_text(encoding="utf-8").splitlines()))
    assert {(packet.source, packet.destination, packet.hop_limit) for packet in log} == {
        (R1.source, "224.0.0.18", 255)
    }
    lower = replay_adverts(log, R2, start=log[0].t)
    higher = replay_adverts(log, R2.replace(priority=200), start=log[0].t)
    assert higher.takeovers == 1
    assert lower.takeovers <= higher.takeovers


def test_in_a_forked_child_the_driver_is_stopped(lab):
    """The threads are the parent's, and so are the sockets: the child closes its own ends and can start again."""
    driver = started(lab, "r1", VrrpThread(R1, interface="eth0"))
    try:
        reach(lambda: driver.role is Role.ACTIVE)
        child = os.fork()
        if child == 0:
            os._exit(int(driver.running or driver.role is not Role.INITIALIZE))
        assert os.waitpid(child, 0)[1] == 0
        assert driver.role is Role.ACTIVE
    finally:
        driver.stop()


def test_a_wrong_interface_or_source_is_refused_by_name(lab):
    """A wrong interface or source is refused by name, and nothing is left open."""
    with lab.entered("r1"):
        before = descriptors()
        driver = VrrpThread(R1, interface="eth7")
        with pytest.raises(ConfigurationError, match="one of lo, eth0"):
            driver.start()
        assert not driver.running
        assert descriptors() == before
    assert ours() == []
    with pytest.raises(ConfigurationError, match="router"):
        VrrpThread("eth0", interface="eth0")
    for hook in ("on_active", "on_backup", "on_change"):
        for driver in (VrrpThread, AsyncVrrp):
            with pytest.raises(ConfigurationError, match=hook):
                driver(R1, interface="eth0", **{hook: "add"})


# ---------------------------------------------------------------------- asyncio


def test_asyncio_and_a_thread_share_an_address(lab):
    """Hooks are coroutine functions or plain ones; priorities, faults and stops do what they do in a thread."""
    log = Log()

    async def active(change):
        log.active(change)

    async def main():
        with lab.entered("r1"):
            mine = AsyncVrrp(R1, interface="eth0", on_active=active, on_backup=log.backup)
            await mine.start()
        await reached(lambda: mine.role is Role.ACTIVE)
        mine.fault("disk")
        await reached(lambda: other.role is Role.ACTIVE)
        mine.clear("disk")
        await reached(lambda: mine.role is Role.ACTIVE and other.role is Role.BACKUP)
        assert "active: priority 150" in mine.explain()
        mine.set_priority(50)
        await reached(lambda: mine.role is Role.BACKUP)
        mine.set_priority(150)
        await reached(lambda: mine.role is Role.ACTIVE)
        await mine.stop()
        await mine.stop()
        assert not mine.running

    other = started(lab, "r2", VrrpThread(R2, interface="eth0"))
    before = descriptors()
    try:
        asyncio.run(main())
        reach(lambda: other.role is Role.ACTIVE)
    finally:
        other.stop()
    assert descriptors() <= before
    assert [call[0] for call in log.calls] == [
        "backup",
        "active",
        "backup",
        "active",
        "backup",
        "active",
        "backup",
    ]


async def reached(condition, seconds=5.0):
    """Wait on the loop until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


def test_an_async_hook_that_hangs_is_cancelled_and_faults_the_router(lab):
    """A coroutine hook that hangs is cancelled and faults the router.

    It is active again after ``hook_retry`` seconds.
    """
    hangs = [True]

    async def hang(change):
        if hangs.pop() if hangs else False:
            await asyncio.sleep(60.0)

    async def main():
        with lab.entered("r1"):
            mine = AsyncVrrp(R1, interface="eth0", on_active=hang, hook_timeout=0.2, hook_retry=0.4)
            await mine.start()
        await reached(lambda: mine.role is Role.FAULT)
        await reached(lambda: mine.role is Role.ACTIVE)
        await mine.stop()

    asyncio.run(main())


def test_a_plain_hook_that_takes_too_long_is_not_overtaken(lab):
    """A hook behind a plain one that takes too long is called when that is done, and never at the same time."""
    calls, free = [], threading.Event()

    def active(change):
        calls.append("active begins")
        free.wait(5.0)
        calls.append("active ends")

    def backup(change):
        calls.append(change.role.value)

    async def main():
        with lab.entered("r1"):
            mine = AsyncVrrp(
                R1, interface="eth0", on_active=active, on_backup=backup, hook_timeout=0.2, hook_retry=None
            )
            await mine.start()
        await reached(lambda: mine.role is Role.FAULT)
        await asyncio.sleep(0.1)
        assert calls == ["backup", "active begins"]
        free.set()
        await reached(lambda: len(calls) == 4)
        await mine.stop()

    asyncio.run(main())
    assert calls == ["backup", "active begins", "active ends", "fault"]


def test_a_hook_that_forgets_a_cancellation_does_not_keep_the_loop(lab):
    """The task that calls hooks ends with its loop although the hook that it waits for forgets to."""

    async def forget(change):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60.0)

    async def main():
        with lab.entered("r1"):
            mine = AsyncVrrp(R1, interface="eth0", on_active=forget, hook_timeout=30.0)
            await mine.start()
        await reached(lambda: mine.role is Role.ACTIVE)
        await asyncio.sleep(0.1)
        (hooks,) = (task for task in asyncio.all_tasks() if task.get_name() == "balancekit-vrrp-hooks")
        hooks.cancel()
        async with asyncio.timeout(5.0):
            await asyncio.gather(hooks, return_exceptions=True)
        await mine.stop()

    asyncio.run(main())


def test_a_stop_that_is_cancelled_leaves_no_socket(lab):
    """The sockets are closed although the last hooks still run; ``start`` opens new ones."""

    async def slow(change):
        await asyncio.sleep(0.3)

    async def main():
        with lab.entered("r1"):
            mine = AsyncVrrp(R1, interface="eth0", on_backup=slow)
            before = descriptors()
            await mine.start()
            stopping = asyncio.create_task(mine.stop())
            await asyncio.sleep(0.05)
            stopping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stopping
            assert descriptors() == before
            await mine.start()
            await mine.stop()
            assert descriptors() == before

    asyncio.run(main())


def test_a_hook_may_stop_its_driver_and_be_cancelled_from_within(lab):
    """A hook that calls ``stop`` does not wait for itself; one that waits for something cancelled faults the router."""
    calls = []

    async def backup(change):
        calls.append(change.role.value)
        if change.role is Role.BACKUP:
            cancelled = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled
        if change.role is Role.FAULT:
            await mine.stop()

    async def main():
        with lab.entered("r1"):
            await mine.start()
        await reached(lambda: mine.role is Role.FAULT)
        mine.clear("hook")
        await reached(lambda: mine.role is Role.ACTIVE)
        mine.fault("disk")
        await reached(lambda: not mine.running)

    mine = AsyncVrrp(R1, interface="eth0", on_backup=backup, hook_timeout=60.0)
    asyncio.run(main())
    assert calls == ["backup", "fault"]


def test_a_driver_whose_threads_cannot_be_started_leaves_no_socket(lab, monkeypatch):
    """If the system refuses a thread, ``start`` raises, nothing is left, and the driver can be started later."""
    start, refused = threading.Thread.start, []

    def limited(thread):
        if thread.name == refused[0]:
            raise RuntimeError("can't start new thread")
        start(thread)

    driver = VrrpThread(R1, interface="eth0")
    with lab.entered("r1"):
        before = descriptors()
        for name in ("balancekit-vrrp", "balancekit-vrrp-hooks"):
            refused[:] = [name]
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", limited)
                with pytest.raises(RuntimeError, match="can't start"):
                    driver.start()
            reach(lambda: ours() == [])
            assert descriptors() == before
            assert not driver.running
        with driver:
            assert driver.running
    assert ours() == []


def test_an_address_that_cannot_be_removed_keeps_no_other(monkeypatch):
    """All addresses of a router are tried, and then the first error is raised; a command that hangs is an ``OSError``, too."""
    tried = []

    def run(words, **_options):
        tried.append(words[4])
        if words[4].startswith("192.0.2.100"):
            return subprocess.CompletedProcess(words, 2, "", "RTNETLINK answers: Operation not permitted")
        if words[4].startswith("192.0.2.101"):
            raise subprocess.TimeoutExpired(words, 5.0)
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    addresses = tuple(f"192.0.2.{number}" for number in (100, 101, 102))
    hook = ip_address_hook("eth0", *[f"{address}/24" for address in addresses])
    change = RoleChange("router", Role.BACKUP, Role.ACTIVE, "", addresses)
    with pytest.raises(OSError, match="not permitted"):
        hook.remove(change)
    assert tried == [f"{address}/32" for address in addresses]
    with pytest.raises(TimeoutError, match="5 s"):
        hook.remove(change._replace(addresses=addresses[1:]))


def test_a_blocked_event_loop_gives_its_role_up_instead_of_two_being_active(lab):
    """A loop that is blocked for longer than a down time wakes as backup, and sends nothing before it has listened."""

    async def main():
        with lab.entered("r1"):
            mine = AsyncVrrp(R1, interface="eth0", check_link=False)
            await mine.start()
        await reached(lambda: mine.role is Role.ACTIVE)
        time.sleep(1.5)  # noqa: ASYNC251 - the blocked loop is what is tested
        await asyncio.sleep(0.01)
        assert mine.role is Role.BACKUP
        await reached(lambda: mine.role is Role.ACTIVE)
        await mine.stop()

    other = started(lab, "r2", VrrpThread(R2, interface="eth0"))
    try:
        asyncio.run(main())
    finally:
        other.stop()


def test_the_command_needs_an_interface_that_is_there(lab):
    """An interface that is not there is one line and exit status 2, without a traceback."""
    words = [
        "-m",
        "balancekit",
        "vrrp",
        "run",
        "--interface",
        "eth9",
        "--vrid",
        "51",
        "--address",
        "192.0.2.100/24",
    ]
    failing = lab.start("r1", sys.executable, *words)
    failing.communicate(timeout=15)
    assert failing.returncode == 2
    (log,) = lab.folder.glob("r1-*.log")
    assert "interface='eth9'" in log.read_text(encoding="utf-8")
