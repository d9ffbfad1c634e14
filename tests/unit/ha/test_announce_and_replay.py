"""Announcements as frames, and logs of adverts under another configuration."""

from __future__ import annotations

import ipaddress
import math
import struct
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.ha import (
    Became,
    LoggedAdvert,
    Role,
    VirtualRouter,
    VrrpMachine,
    decode_advert,
    gratuitous_arp,
    packets,
    read_advert_log,
    replay_adverts,
    unsolicited_na,
)

MAC = bytes.fromhex("020000000001")


@given(address=st.ip_addresses(v=4))
def test_an_arp_announcement_has_its_address_twice(address):
    """An ARP announcement is a broadcast request.

    Its sender and target addresses are the address (RFC 5227 section 2.3).
    """
    frame = gratuitous_arp(str(address), MAC)
    destination, source, kind = struct.unpack_from("!6s6sH", frame)
    assert (destination, source, kind) == (b"\xff" * 6, MAC, 0x0806)
    assert frame[14:22] == bytes.fromhex("0001080006040001")
    sender_mac, sender, target_mac, target = struct.unpack_from("!6s4s6s4s", frame, 22)
    assert (sender_mac, target_mac) == (MAC, bytes(6))
    assert sender == target == address.packed
    assert len(frame) == 42


@given(address=st.ip_addresses(v=6))
def test_a_neighbour_advertisement_overrides_and_sums_up(address):
    """A neighbour advertisement goes to all nodes with hop limit 255, override and link-layer option.

    Its checksum holds (RFC 4861 section 4.4).
    """
    frame = unsolicited_na(str(address), MAC)
    assert frame[:14] == bytes.fromhex("333300000001") + MAC + b"\x86\xdd"
    head, body = frame[14:54], frame[54:]
    assert head[0] >> 4 == 6
    assert struct.unpack_from("!HBB", head, 4) == (len(body), 58, 255)
    assert head[8:24] == address.packed
    assert head[24:] == ipaddress.ip_address("ff02::1").packed
    assert body[0] == 136
    assert body[4] == 0x20
    assert body[8:24] == address.packed
    assert body[24:] == bytes((2, 1)) + MAC
    words = head[8:] + struct.pack("!LL", len(body), 58) + body
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_wrong_addresses_are_refused():
    """A wrong address is refused: one of the other family, a text that is none, or a MAC of another length."""
    for make, address in ((gratuitous_arp, "fe80::1"), (unsolicited_na, "192.0.2.1"), (gratuitous_arp, "lb")):
        with pytest.raises(ConfigurationError, match="address"):
            make(address, MAC)
    with pytest.raises(ConfigurationError, match="mac"):
        gratuitous_arp("192.0.2.1", b"\1")


ACTIVE = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.11", priority=150, interval=0.5)
BACKUP = ACTIVE.replace(source="192.0.2.12", priority=100)


def log(times):
    """Return a log of the active router's adverts."""
    ((data, destination),) = packets(ACTIVE, ACTIVE.advert(150))
    return [LoggedAdvert(t, ACTIVE.source, destination, 255, data) for t in times]


def test_a_log_survives_its_lines():
    """A log that is written is read again. Empty lines are skipped, and any other line is refused with its number."""
    whole = log([0.1, 0.25])
    lines = [packet.line() for packet in whole]
    assert list(read_advert_log([lines[0], "", lines[1]])) == whole
    for bad in ("{}", "nonsense", "[1]", lines[0].replace("31", "zz", 1)):
        with pytest.raises(ConfigurationError, match="line 2"):
            list(read_advert_log([lines[0], bad]))


def test_two_lost_adverts_do_no_harm_three_do():
    """With three missed adverts allowed, a gap of two intervals and a half is survived, one of four is not."""
    steady = [k * 0.5 for k in range(20)]
    gap = [t for t in steady if not 3.0 < t < 5.0]  # 3.5, 4.0, 4.5 are lost
    assert replay_adverts(log(steady), BACKUP).takeovers == 0
    assert replay_adverts(log([t for t in steady if not 3.0 < t < 4.5]), BACKUP).takeovers == 0
    found = replay_adverts(log(gap), BACKUP)
    assert found.takeovers == 1
    ((at, change),) = [(t, change) for t, change in found.changes if change.role is Role.ACTIVE]
    assert at == pytest.approx(3.0 + BACKUP.down(0.5))
    assert "no advert" in change.why
    assert found.role_at(4.9) is Role.ACTIVE
    assert found.role_at(9.0) is Role.BACKUP
    assert replay_adverts(log(gap), BACKUP.replace(missed=4)).takeovers == 0


def test_a_replay_counts_what_is_rejected():
    """A replay counts rejected packets by reason: bytes that are no advert, and adverts of another configuration."""
    packets_ = log([0.0, 0.5, 1.0])
    packets_[1] = packets_[1]._replace(hop_limit=64)
    found = replay_adverts(packets_, BACKUP.replace(addresses=("192.0.2.101",)), end=5.0)
    assert found.rejected == {"hop limit 64, not 255": 1, "addresses 192.0.2.100": 2}
    assert found.takeovers == 1


def test_a_replay_begins_and_ends_when_told():
    """Packets before the start are not received; without an end the last packet is it."""
    assert replay_adverts(log([0.0]), BACKUP).takeovers == 0
    assert replay_adverts(log([0.0]), BACKUP, end=3.0).takeovers == 1
    assert replay_adverts(log([0.0, 1.0]), BACKUP, start=0.9, end=2.6).takeovers == 0
    assert replay_adverts([], BACKUP).role_at(-1.0) is Role.INITIALIZE
    with pytest.raises(ConfigurationError, match="log"):
        replay_adverts(log([1.0, 0.5]), BACKUP)


def stepwise(packets_, router, end):
    """Return the changes of role of a router that sends every advert that is due."""
    machine, changes, now = router(), [], 0.0

    def note(effects):
        changes.extend([(now, effect) for effect in effects if isinstance(effect, Became)])

    note(machine.start(now=now))
    for until, packet in [*[(packet.t, packet) for packet in packets_], (end, None)]:
        while machine.deadline <= until:
            now = machine.deadline
            note(machine.advance(now=now))
        now = until
        if packet is not None:
            advert = decode_advert(
                packet.data,
                source=packet.source,
                destination=packet.destination,
                hop_limit=packet.hop_limit,
            )
            note(machine.receive(advert, packet.source, now=now))
    return tuple(changes)


@given(
    gaps=st.lists(st.floats(0.0, 6.0), max_size=30),
    priorities=st.lists(st.sampled_from([0, 50, 100, 150]), min_size=30, max_size=30),
    options=st.fixed_dictionaries(
        {
            "preempt": st.booleans(),
            "preempt_delay": st.sampled_from([0.0, 2.0]),
            "answer_lower": st.booleans(),
            "priority": st.sampled_from([1, 100, 255]),
        }
    ),
)
def test_a_replay_reports_what_a_router_that_sends_all_its_adverts_does(gaps, priorities, options):
    """The changes of a replay are those of a router that does everything when it is due, adverts included."""
    router = BACKUP.replace(**options)
    packets_ = []
    for t, priority in zip(accumulate(gaps), priorities, strict=False):
        ((data, destination),) = packets(ACTIVE, ACTIVE.advert(priority))
        packets_.append(LoggedAdvert(t, ACTIVE.source, destination, 255, data))
    end = sum(gaps) + 5.0
    assert replay_adverts(packets_, router, end=end).changes == stepwise(packets_, router, end)


@pytest.mark.parametrize("end", [None, 1e15])
def test_a_replay_costs_the_same_however_far_apart_packets_are(end, monkeypatch):
    """A replay takes at most three steps per packet, also through years in which nothing was received."""
    steps = []
    advance = VrrpMachine.advance

    def counted(machine, *, now):
        steps.append(now)
        assert len(steps) < 100
        return advance(machine, now=now)

    monkeypatch.setattr(VrrpMachine, "advance", counted)
    found = replay_adverts(log([0.0, 1e9, 1e9 + 0.5, 1e14]), BACKUP, end=end)
    times = [0.0, 1.805, 1e9, 1e9 + 2.305, 1e14, 1e14 + 1.805]
    assert [at for at, _ in found.changes] == pytest.approx(times[: 5 if end is None else 6], rel=1e-3)
    assert len(steps) <= 15


@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize("t", [math.inf, math.nan, 1e16])
def test_a_replay_refuses_a_time_that_is_none(name, t):
    """A start or an end that is no number of seconds is refused by its name."""
    with pytest.raises(ConfigurationError, match=name):
        replay_adverts(log([0.0]), BACKUP, **{name: t})


@pytest.mark.parametrize("t", ["1e300", "Infinity", "-Infinity", "NaN"])
def test_a_log_with_a_time_that_is_none_is_refused(t):
    """A time that is infinite or no number is no line of a log, and no packet to replay: the replay would never end."""
    line = f'{{"t":{t},"source":"192.0.2.11","destination":"224.0.0.18","hop_limit":255,"hex":""}}'
    with pytest.raises(ConfigurationError, match="line 1"):
        list(read_advert_log([line]))
    packet = LoggedAdvert(float(t.lower()), "192.0.2.11", "224.0.0.18", 255, b"")
    router = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12")
    with pytest.raises(ConfigurationError):
        replay_adverts([packet], router)
