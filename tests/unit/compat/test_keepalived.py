"""keepalived as a process: defaults, quirks, groups and tracked things. Whole elections are in ``oracles``."""

from __future__ import annotations

import pytest

from balancekit import ConfigurationError
from balancekit.compat.keepalived import Instance, Keepalived, TrackFile, TrackScript
from balancekit.ha import Ipv4Checksum, RejectedAdvert, Role, Send, encode_advert

ONE = Instance(
    virtual_router_id=51,
    virtual_ipaddress=("192.0.2.100/24",),
    unicast_src_ip="192.0.2.11",
    advert_int=0.5,
    vrrp_version=3,
)
PACKET = {"source": "192.0.2.12", "destination": "224.0.0.18"}


def active(**facts):
    """Return an active process, and the time."""
    process = Keepalived(instances={"VI": ONE, **facts.pop("others", {})}, **facts)()
    process.start(now=0.0)
    now = process.deadline
    process.advance(now=now)
    assert process.role("VI") is Role.ACTIVE
    return process, now


def sent(effects):
    """Return the instances and priorities of the adverts in some effects."""
    return [(name, effect.advert.priority) for name, effect in effects if isinstance(effect, Send)]


def test_the_defaults_are_those_of_the_configuration_file():
    """The defaults are version 2, an interval of 1 s, priority 100, three adverts, and preemption."""
    router = Instance(
        virtual_router_id=1, virtual_ipaddress=("192.0.2.1",), unicast_src_ip="192.0.2.2"
    ).router()
    assert (router.version, router.interval, router.priority, router.missed) == (2, 1.0, 100, 3)
    assert router.preempt
    assert router.preempt_delay == 0.0


@pytest.mark.parametrize(
    ("data", "hop_limit"),
    [
        (encode_advert(ONE.router().advert(200), **PACKET), 254),
        (encode_advert(ONE.router().advert(200), **PACKET, ipv4_checksum=Ipv4Checksum.PLAIN), 255),
        (encode_advert(ONE.router().replace(addresses=("192.0.2.1",)).advert(200), **PACKET), 255),
        (bytes.fromhex("3233c801001ea1acc0000264"), 255),
    ],
)
def test_a_dropped_advert_puts_off_the_next_one(data, hop_limit):
    """An advert dropped for its TTL, checksum, addresses or type puts off the next one by a whole interval."""
    process, now = active()
    with pytest.raises(RejectedAdvert):
        process.receive_packet(data, **PACKET, hop_limit=hop_limit, now=now + 0.4)
    assert process.role("VI") is Role.ACTIVE
    assert process.deadline == pytest.approx(now + 0.9)


@pytest.mark.parametrize("data", [bytes.fromhex("3133c801001ea1"), bytes.fromhex("3163c801001ea17cc0000264")])
def test_a_packet_for_no_instance_puts_off_nothing(data):
    """A packet that is too short, or of another virtual router, puts off nothing."""
    process, now = active()
    with pytest.raises(RejectedAdvert, match="no instance"):
        process.receive_packet(data, **PACKET, hop_limit=255, now=now + 0.4)
    assert process.deadline == pytest.approx(now + 0.5)


def test_an_interval_of_zero_is_adopted():
    """An interval of zero is adopted, and the backup takes over at once."""
    process = Keepalived(instances={"VI": ONE})()
    process.start(now=0.0)
    data = encode_advert(ONE.router().advert(200).replace(interval=0.0), **PACKET)
    process.receive_packet(data, **PACKET, hop_limit=255, now=0.1)
    assert process.deadline == pytest.approx(0.1)
    process.advance(now=0.1)
    assert process.role("VI") is Role.ACTIVE


def test_a_plain_checksum_is_right_in_version_2():
    """In version 2 a plain checksum is right, as there is no other."""
    two = ONE.replace(vrrp_version=2, advert_int=1.0)
    process = Keepalived(instances={"VI": two})()
    process.start(now=0.0)
    process.receive_packet(
        encode_advert(two.router().advert(200), **PACKET), **PACKET, hop_limit=255, now=1.0
    )
    assert process.deadline == pytest.approx(1.0 + 3.0 + 156 / 256)


def test_scripts_and_files_concern_the_instances_that_track_them():
    """A weight moves the priority of what is in no group, a failure without weight is a fault of the whole sync group."""
    other = ONE.replace(virtual_router_id=52, virtual_ipaddress=("192.0.2.101",))
    third = ONE.replace(virtual_router_id=53, virtual_ipaddress=("192.0.2.102",))
    process, now = active(
        others={"B": other, "C": third},
        sync_groups={"G": ("VI", "B")},
        scripts={"check": TrackScript(fall=2, instances=("VI",)), "slow": TrackScript(weight=-30)},
        files={"load": TrackFile(weight=2, instances=("C",))},
    )
    process.file("load", -10, now=now)
    process.script("slow", passed=False, now=now)
    assert {name for name, _ in sent(process.advance(now=now + 0.5))} == {"VI", "B", "C"}
    assert sorted(sent(process.advance(now=now + 1.0))) == [("B", 100), ("C", 50), ("VI", 100)]
    process.script("check", passed=True, now=now + 1.0)
    assert process.script("check", passed=False, now=now + 1.0) == ()
    assert sorted(sent(process.script("check", passed=False, now=now + 1.0))) == [("B", 0), ("VI", 0)]
    assert [process.role(name) for name in ("VI", "B", "C")] == [Role.FAULT, Role.FAULT, Role.ACTIVE]
    process.script("check", passed=True, now=now + 1.1)
    assert process.role("B") is Role.BACKUP


@pytest.mark.parametrize(
    "fixed",
    [{"sync_groups": {"G": ("VI",)}}, {"others": {"VI": ONE.replace(priority=255)}}],
    ids=["group", "owner"],
)
@pytest.mark.parametrize(
    ("weight", "role"),
    [(2, Role.ACTIVE), (-1, Role.ACTIVE), (-254, Role.ACTIVE), (1, Role.FAULT), (0, Role.FAULT)],
)
def test_a_fixed_priority_is_moved_by_nothing(fixed, weight, role):
    """Weighted scripts and files are ignored in a sync group and by an owner; a file of weight 1 is one of weight 0."""
    process, now = active(
        scripts={"slow": TrackScript(weight=-30)}, files={"load": TrackFile(weight=weight)}, **fixed
    )
    priority = process.routers["VI"].priority
    process.script("slow", passed=False, now=now)
    process.file("load", 300, now=now)
    assert process.role("VI") is role
    if role is Role.ACTIVE:
        assert sent(process.advance(now=process.deadline)) == [("VI", priority)]


@pytest.mark.parametrize(
    ("version", "given", "interval"),
    [
        (2, 1.5, 2.0), (2, 0.3, 1.0), (2, 2.4, 2.0), (2, 255, 255.0), (3, 0.333, 0.33), (3, 0.015, 0.02), (3, 0.01, 0.01), (3, 40.95, 40.95),
        (3, 41, 40.95), (3, 255, 40.95), (3, 0.29, 0.29),
    ],
)  # fmt: skip
def test_intervals_are_rounded_as_the_server_does(version, given, interval):
    """Whole seconds in version 2, hundredths in version 3, half upwards, and never 0."""
    assert ONE.replace(vrrp_version=version, advert_int=given).router().interval == interval


@pytest.mark.parametrize("given", [0.0, 0.009, 255.5, -1.0, float("nan")])
def test_intervals_that_the_server_ignores_are_refused(given):
    """Under a hundredth of a second, or over 255."""
    with pytest.raises(ConfigurationError, match="advert_int"):
        ONE.replace(advert_int=given)


@pytest.mark.parametrize(
    ("state", "nopreempt", "delay", "preempt", "kept"),
    [
        ("BACKUP", False, 2.0, True, 2.0), ("BACKUP", True, 2.0, False, 0.0), ("MASTER", True, 0.0, True, 0.0), ("MASTER", False, 2.0, True, 0.0),
        ("MASTER", True, 2.0, True, 0.0),
    ],
)  # fmt: skip
def test_the_state_and_what_it_clears(state, nopreempt, delay, preempt, kept):
    """MASTER clears both directives about preemption, and one of them clears the other."""
    router = ONE.replace(state=state, nopreempt=nopreempt, preempt_delay=delay).router()
    assert (router.preempt, router.preempt_delay) == (preempt, kept)
    with pytest.raises(ConfigurationError, match="state"):
        ONE.replace(state="FAULT")


@pytest.mark.parametrize("flag", ["nopreempt", "lower_prio_no_advert"])
def test_flags_are_true_or_false(flag):
    """A word in place of a flag, which would count as true, is refused."""
    with pytest.raises(ConfigurationError, match=flag):
        ONE.replace(**{flag: "no"})


def test_names_that_are_not_there_are_refused():
    """A name that is not there is refused by a ``ConfigurationError`` that lists those there are."""
    with pytest.raises(ConfigurationError, match="one of VI"):
        Keepalived(instances={"VI": ONE}, sync_groups={"G": ("VJ",)})
    with pytest.raises(ConfigurationError, match="one of VI"):
        Keepalived(instances={"VI": ONE}, scripts={"check": TrackScript(instances=("VJ",))})
    with pytest.raises(ConfigurationError, match="sync_groups"):
        Keepalived(instances={"VI": ONE}, sync_groups={"G": ("VI",), "H": ("VI",)})
    with pytest.raises(ConfigurationError, match="vrid"):
        ONE.replace(virtual_router_id=0)


@pytest.mark.parametrize(
    ("state", "first"), [("BACKUP", Role.BACKUP), ("MASTER", Role.ACTIVE)], ids=["backup", "master"]
)
def test_priority_255_is_active_at_once_only_after_a_start_with_state_master(state, first):
    """Priority 255 begins as a backup, with ``state MASTER`` as active. After a fault it begins as a backup."""
    process = Keepalived(instances={"VI": ONE.replace(priority=255, state=state)})()
    process.start(now=0.0)
    assert process.role("VI") is first
    process.advance(now=process.deadline)
    assert process.role("VI") is Role.ACTIVE
    process.fault(now=2.0)
    process.clear(now=3.0)
    assert process.role("VI") is Role.BACKUP
    assert process.deadline == 3.0 + 3 * 0.5 + 0.5 / 256


@pytest.mark.parametrize(
    ("words", "renewed"),
    [({}, False), ({"nopreempt": True}, False), ({"preempt_delay": 5.0}, True), ({"preempt_delay": 5.0, "state": "MASTER"}, False)],
    ids=["plain", "nopreempt", "delay", "master"],
)  # fmt: skip
def test_priority_255_preempts_always_but_waits_for_a_delay(words, renewed):
    """An inferior advert does not set the timer of a backup of priority 255, except within its ``preempt_delay``."""
    process = Keepalived(instances={"VI": ONE.replace(priority=255, **words)})()
    process.start(now=0.0)
    process.fault(now=0.1)
    process.clear(now=0.2)
    before = process.deadline
    data = encode_advert(ONE.router().advert(200), **PACKET)
    process.receive_packet(data, **PACKET, hop_limit=255, now=0.4)
    assert (process.deadline > before) is renewed


def test_the_active_one_of_two_priorities_of_255_falls_to_254():
    """An active instance of priority 255 that receives an advert of 255 has priority 254 from then on, and yields."""
    process, now = active(others={"VI": ONE.replace(priority=255, unicast_src_ip="192.0.2.99")})
    with pytest.raises(RejectedAdvert):
        process.receive_packet(
            encode_advert(ONE.router().replace(addresses=("192.0.2.1",)).advert(255), **PACKET),
            **PACKET,
            hop_limit=255,
            now=now,
        )
    assert sent(process.advance(now=process.deadline)) == [("VI", 255)]
    process.receive_packet(
        encode_advert(ONE.router().advert(255), **PACKET), **PACKET, hop_limit=255, now=now + 0.6
    )
    assert process.role("VI") is Role.BACKUP
    assert sent(process.advance(now=process.deadline)) == [("VI", 254)]


def test_a_reload_lets_an_active_instance_send_and_a_backup_wait_from_then_on():
    """After a change of priority an advert is due at once. A backup waits a whole down time from then on."""
    process, now = active()
    process.set_priority(150, now=now + 0.2)
    assert sent(process.advance(now=now + 0.2)) == [("VI", 150)]
    process = Keepalived(instances={"VI": ONE})()
    process.start(now=0.0)
    process.set_priority(255, now=1.0)
    assert process.deadline == 1.0 + 3 * 0.5 + 0.5 / 256


def test_tracking_moves_no_timer_of_an_active_instance():
    """A tracked file that changes the priority leaves the time of the next advert as it is."""
    process, _ = active(files={"load": TrackFile(weight=2)})
    before = process.deadline
    process.file("load", 5, now=before - 0.1)
    assert process.deadline == before
    assert sent(process.advance(now=before)) == [("VI", 110)]


def test_nopreempt_holds_again_for_a_lower_priority_after_a_reload():
    """With ``nopreempt`` an instance that is reloaded with a priority below 255 lets inferior adverts set its timer."""
    process = Keepalived(instances={"VI": ONE.replace(priority=255, nopreempt=True)})()
    process.start(now=0.0)
    process.set_priority(150, now=0.1)
    before = process.deadline
    data = encode_advert(ONE.router().advert(100), **PACKET)
    process.receive_packet(data, **PACKET, hop_limit=255, now=0.4)
    assert process.deadline > before
