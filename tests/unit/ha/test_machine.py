"""The VRRP machine: every pair of its table, its timers, preemption, faults, pauses."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from balancekit import ConfigurationError
from balancekit.ha import (
    VRRP,
    Action,
    Announce,
    Became,
    RejectedAdvert,
    Role,
    Send,
    VirtualRouter,
    VrrpTrigger,
    Withdraw,
    decode_advert,
)

ROUTER = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", interval=0.5)
OWNER = ROUTER.replace(priority=255)
HIGHER, LOWER = "192.0.2.13", "192.0.2.11"


def state(machine):
    """Return everything a machine knows."""
    return {name: _frozen(getattr(machine, name)) for name in type(machine).__slots__}


def _frozen(value):
    return dict(value) if isinstance(value, dict) else value


def sent(effects):
    """Return the priorities of the adverts in some effects."""
    return [effect.advert.priority for effect in effects if isinstance(effect, Send)]


def in_role(role, router=ROUTER):
    """Return a machine in a role, reached by public calls, and the time."""
    machine = router()
    if role is not Role.INITIALIZE:
        machine.start(now=0.0)
    if role is Role.ACTIVE and machine.role is not Role.ACTIVE:
        machine.advance(now=machine.deadline)
    if role is Role.FAULT:
        machine.fault("link", now=0.0)
    if role is Role.BACKUP and machine.role is Role.ACTIVE:
        machine.receive(router.advert(255), HIGHER, now=0.0)
    assert machine.role is role
    return machine, machine.since or 0.0


def cause(trigger):
    """Return the router to use, and the call that is the trigger."""
    due = 10.0  # far beyond every deadline
    calm = ROUTER.replace(check_pause=False)
    return {
        VrrpTrigger.START: (ROUTER, lambda m, t: m.clear("link", now=t) or m.start(now=t)),
        VrrpTrigger.START_OWNER: (OWNER, lambda m, t: m.clear("link", now=t) or m.start(now=t)),
        VrrpTrigger.STOP: (ROUTER, lambda m, t: m.stop(now=t)),
        VrrpTrigger.ADVERT_DUE: (
            ROUTER,
            lambda m, t: m.advance(now=t + 0.5) if m.role is Role.ACTIVE else (),
        ),
        VrrpTrigger.DOWN: (calm, lambda m, t: m.advance(now=t + due) if m.role is not Role.ACTIVE else ()),
        VrrpTrigger.RESIGNED: (ROUTER, lambda m, t: m.receive(ROUTER.advert(0), HIGHER, now=t)),
        VrrpTrigger.SUPERIOR: (ROUTER, lambda m, t: m.receive(ROUTER.advert(101), HIGHER, now=t)),
        VrrpTrigger.TOLERATED: (
            ROUTER.replace(preempt=False),
            lambda m, t: m.receive(ROUTER.advert(99), LOWER, now=t) if m.role is not Role.ACTIVE else (),
        ),
        VrrpTrigger.INFERIOR: (ROUTER, lambda m, t: m.receive(ROUTER.advert(99), LOWER, now=t)),
        VrrpTrigger.FAIL: (ROUTER, _fail),
        VrrpTrigger.PAUSED: (ROUTER, lambda m, t: m.advance(now=t + due)),
        VrrpTrigger.OUTRANKED: (ROUTER, lambda m, t: m.leave_with_group(resign=True, now=t)),
        VrrpTrigger.GROUP: (ROUTER, lambda m, t: m.leave_with_group(now=t)),
    }[trigger]


def _fail(machine, t):
    if machine.role is Role.INITIALIZE:
        machine.fault("disk", now=t)
        return machine.start(now=t)
    return machine.fault("disk", now=t)


VISITED = set()


@pytest.mark.parametrize(("role", "trigger"), list(itertools.product(Role, VrrpTrigger)))
def test_every_pair_does_what_the_table_says(role, trigger):
    """Role, adverts, announcements and timer after each trigger in each role are those of the table.

    A pair not listed changes none.
    """
    router, call = cause(trigger)
    machine, t = in_role(role, router)
    before = machine.deadline
    effects = call(machine, t)
    step = VRRP.get((role, trigger))
    VISITED.add((role, trigger))
    if step is None:
        assert effects == ()
        assert (machine.role, machine.deadline) == (role, before)
        return
    assert machine.role is step.role
    expected = [100 if router is not OWNER else 255] * (Action.SEND in step.actions)
    expected += [0] * (Action.RESIGN in step.actions)
    assert sent(effects) == expected
    assert any(isinstance(effect, Announce) for effect in effects) is (Action.ANNOUNCE in step.actions)
    assert any(isinstance(effect, Withdraw) for effect in effects) is (Action.WITHDRAW in step.actions)
    assert [(e.was, e.role) for e in effects if isinstance(e, Became)] == [(role, step.role)] * (
        role is not step.role
    )
    now = {VrrpTrigger.ADVERT_DUE: t + 0.5, VrrpTrigger.DOWN: t + 10.0, VrrpTrigger.PAUSED: t + 10.0}.get(
        trigger, t
    )
    wait = {
        Action.ADVERT_TIMER: 0.5,
        Action.DOWN_TIMER: machine.down,
        Action.SKEW_TIMER: machine.skew,
    }
    armed = [wait[action] for action in step.actions if action in wait]
    assert machine.deadline == (pytest.approx(now + armed[-1]) if armed else None)


def test_the_table_is_visited_whole():
    """No pair of a role and a trigger is left out, and every listed pair leads somewhere from public calls."""
    for pair in itertools.product(Role, VrrpTrigger):
        if pair not in VISITED:  # run alone
            test_every_pair_does_what_the_table_says(*pair)
    assert set(itertools.product(Role, VrrpTrigger)) == VISITED
    assert set(VRRP) <= VISITED


# ---------------------------------------------------------------------- timers


@pytest.mark.parametrize(
    ("priority", "skew", "down"),
    [
        (1, 0.9961, 3.9961),
        (100, 0.6094, 3.6094),
        (150, 0.4141, 3.4141),
        (200, 0.2188, 3.2188),
        (254, 0.0078, 3.0078),
    ],
)
def test_timers_are_the_rfcs(priority, skew, down):
    """Skew and down time at 1 s are those of the RFC, exact to the printed digits."""
    router = ROUTER.replace(priority=priority, interval=1.0)
    assert router.skew(1.0) == pytest.approx(skew, abs=5e-5)
    assert router.down(1.0) == pytest.approx(down, abs=5e-5)


def test_version_2_has_its_skew_of_one_second_whatever_the_interval():
    """Version 2 has a skew of ``(256 - priority) / 256`` seconds, whatever the interval (RFC 3768 section 6.1)."""
    router = ROUTER.replace(version=2, interval=2.0, priority=60)
    assert router.skew(2.0) == pytest.approx(196 / 256)
    assert router.down(2.0) == pytest.approx(6 + 196 / 256)


def test_a_backup_adopts_the_active_routers_interval():
    """A backup of version 3 uses the sender's interval for its down time, and its own once it is active."""
    machine, _ = in_role(Role.BACKUP)
    machine.receive(ROUTER.replace(interval=2.0).advert(150), HIGHER, now=1.0)
    assert machine.deadline == pytest.approx(1.0 + 3 * 2.0 + 156 / 256 * 2.0)
    machine.advance(now=machine.deadline)
    assert machine.role is Role.ACTIVE
    assert machine.deadline == pytest.approx(1.0 + 3 * 2.0 + 156 / 256 * 2.0 + 0.5)


def test_an_active_router_counts_by_its_own_interval():
    """An active router measures a pause by the down time of its own interval."""
    machine, _ = in_role(Role.BACKUP)
    machine.receive(ROUTER.replace(interval=20.0).advert(150), HIGHER, now=1.0)
    machine.advance(now=machine.deadline)
    assert machine.down == pytest.approx(ROUTER.down(0.5))


def test_another_number_of_missed_adverts():
    """The down time is ``missed`` times the interval, and the skew."""
    assert ROUTER.replace(missed=5).down(0.5) == pytest.approx(2.5 + 156 / 256 * 0.5)


def test_a_changed_priority_moves_a_running_down_timer_by_the_difference():
    """The down time counts from the last advert that armed it, whatever the priority was then (keepalived)."""
    machine, _ = in_role(Role.BACKUP, ROUTER.replace(priority=80))
    machine.receive(ROUTER.advert(100), HIGHER, now=6.4375)
    machine.set_priority(120, now=6.8)
    assert machine.deadline == pytest.approx(6.4375 + 1.5 + 136 / 256 * 0.5)
    machine.receive(ROUTER.advert(0), HIGHER, now=7.0)
    machine.set_priority(200, now=7.01)
    assert machine.deadline == pytest.approx(7.0 + 56 / 256 * 0.5)  # the skew stays one


# ---------------------------------------------------------------------- elections


@pytest.mark.parametrize(
    ("priority", "source", "role"),
    [
        (101, LOWER, Role.BACKUP),
        (100, HIGHER, Role.BACKUP),
        (100, LOWER, Role.ACTIVE),
        (99, HIGHER, Role.ACTIVE),
    ],
)
def test_an_active_router_yields_to_priority_then_address(priority, source, role):
    """An active router yields to priority, then address.

    It answers an inferior advert at once and announces its addresses (RFC 9568).
    """
    machine, t = in_role(Role.ACTIVE)
    effects = machine.receive(ROUTER.advert(priority), source, now=t + 0.1)
    assert machine.role is role
    assert sent(effects) == ([100] if role is Role.ACTIVE else [])
    assert machine.deadline == pytest.approx(t + 0.1 + (0.5 if role is Role.ACTIVE else machine.down))


def test_addresses_are_compared_as_numbers():
    """192.0.2.9 is below 192.0.2.12, though it is the greater string."""
    machine, t = in_role(Role.ACTIVE)
    machine.receive(ROUTER.advert(100), "192.0.2.9", now=t)
    assert machine.role is Role.ACTIVE


def test_an_inferior_advert_may_be_ignored():
    """With ``answer_lower=False`` an inferior advert is discarded, and the timer stays (RFC 5798)."""
    machine, t = in_role(Role.ACTIVE, ROUTER.replace(answer_lower=False))
    before = machine.deadline
    assert machine.receive(ROUTER.advert(99), HIGHER, now=t + 0.1) == ()
    assert machine.deadline == before


def test_the_owner_preempts_though_preemption_is_off():
    """The router that owns the addresses takes over although preemption is off (RFC 5798)."""
    machine, _ = in_role(Role.BACKUP, OWNER.replace(preempt=False))
    before = machine.deadline
    machine.receive(ROUTER.advert(200), HIGHER, now=0.1)
    assert machine.deadline == before


def test_preemption_may_be_off():
    """Inferior adverts keep a backup with ``preempt=False`` where it is."""
    machine, _ = in_role(Role.BACKUP, ROUTER.replace(preempt=False))
    for k in range(100):
        assert machine.receive(ROUTER.advert(1), LOWER, now=k * 0.5) == ()
        assert machine.advance(now=k * 0.5) == ()
    assert machine.role is Role.BACKUP


def test_preemption_may_be_delayed():
    """Preemption may be delayed.

    Adverts within the delay from the first inferior one re-arm the down timer, as in keepalived.
    """
    machine, _ = in_role(Role.BACKUP, ROUTER.replace(preempt_delay=2.0))
    for k in range(1, 8):
        machine.receive(ROUTER.advert(1), LOWER, now=k * 0.5)
    assert machine.deadline == pytest.approx(2.0 + machine.down)  # 0.5 + 2.0 is not within the delay
    machine.receive(ROUTER.advert(150), HIGHER, now=3.6)  # a superior one forgets the delay
    machine.receive(ROUTER.advert(1), LOWER, now=4.0)
    assert machine.deadline == pytest.approx(4.0 + machine.down)


def test_the_delay_does_not_matter_when_the_active_router_dies():
    """When the active router dies, the down timer runs from its last advert, whatever the delay."""
    machine, _ = in_role(Role.BACKUP, ROUTER.replace(preempt_delay=10.0))
    machine.receive(ROUTER.advert(1), LOWER, now=0.5)
    machine.advance(now=0.5 + machine.down)
    assert machine.role is Role.ACTIVE


# ---------------------------------------------------------------------- rejection


@pytest.mark.parametrize(
    ("changes", "source", "reason"),
    [
        ({"vrid": 52}, HIGHER, "virtual router 52"),
        ({"version": 2, "interval": 1.0}, HIGHER, "version 2"),
        ({}, "192.0.2.12", "its own advert"),
        ({"interval": 0.02}, HIGHER, "interval 0.02 s"),
        ({"addresses": ("192.0.2.101",)}, HIGHER, "addresses 192.0.2.101"),
        ({"addresses": ("192.0.2.100", "192.0.2.101")}, HIGHER, "addresses"),
    ],
)
@pytest.mark.parametrize("role", list(Role))
def test_a_rejected_advert_changes_nothing(role, changes, source, reason):
    """A rejected advert has no effect, and the machine is equal before and after, its deadline too."""
    router = ROUTER.replace(min_interval=0.1)
    machine, t = in_role(role, router)
    advert = ROUTER.replace(**changes).advert(200)
    before = state(machine)
    assert machine.receive(advert, source, now=t + 100.0) == ()
    assert state(machine) == before
    assert reason in router.rejection(advert, source)


def test_an_interval_of_zero_is_rejected():
    """An advert with an interval of zero is rejected (RFC 5798)."""
    assert "interval 0 s" in ROUTER.rejection(ROUTER.advert(150).replace(interval=0.0), HIGHER)
    assert (
        ROUTER.replace(min_interval=0.0).rejection(ROUTER.advert(150).replace(interval=0.0), HIGHER) is None
    )


def test_version_2_must_agree_on_the_interval():
    """In version 2 an advert with another interval is rejected (RFC 3768 section 7.1)."""
    router = ROUTER.replace(version=2, interval=1.0)
    assert router.rejection(router.advert(150), HIGHER) is None
    assert "interval 2 s" in router.rejection(router.replace(interval=2.0).advert(150), HIGHER)


def test_unicast_routers_listen_to_their_peers_only():
    """An advert from any other address is rejected, unless ``check_peers`` is off."""
    router = ROUTER.replace(peers=(LOWER,))
    assert router.destinations == (LOWER,)
    assert router.rejection(ROUTER.advert(1), LOWER) is None
    assert "no peer" in router.rejection(ROUTER.advert(1), HIGHER)
    assert router.replace(check_peers=False).rejection(ROUTER.advert(1), HIGHER) is None


def test_addresses_may_differ_where_they_are_not_checked():
    """``check_addresses=False`` accepts any list, as the RFCs leave it open; the order never matters."""
    two = ROUTER.replace(addresses=("192.0.2.100", "192.0.2.101"))
    assert two.rejection(two.replace(addresses=("192.0.2.101", "192.0.2.100")).advert(1), HIGHER) is None
    assert two.replace(check_addresses=False).rejection(ROUTER.advert(1), HIGHER) is None


def test_mutated_packets_leave_a_machine_as_it_was():
    """Packets that are not accepted change nothing in an active router and a backup.

    Here are 100 000 random and mutated ones.
    """
    random = Random(3)
    seed = bytes.fromhex("313396010032d399c0000264")
    machines = [in_role(Role.ACTIVE)[0], in_role(Role.BACKUP)[0]]
    untouched = accepted = 0
    for k in range(100_000):
        data = bytearray(seed)
        for _ in range(random.randrange(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        packet = random.randbytes(random.randrange(30)) if k % 4 == 0 else bytes(data)
        machine = machines[k % 2]
        before = state(machine)
        try:
            advert = decode_advert(packet, source=HIGHER, destination="224.0.0.18", hop_limit=255)
        except RejectedAdvert:
            assert state(machine) == before
            untouched += 1
            continue
        if ROUTER.rejection(advert, HIGHER) is None:
            accepted += 1
            continue
        assert machine.receive(advert, HIGHER, now=50.0) == ()
        assert state(machine) == before
        untouched += 1
    assert untouched > 90_000
    assert untouched + accepted == 100_000


# ---------------------------------------------------------------------- priority, faults, pauses


def test_a_lowered_priority_is_sent_not_acted_upon():
    """The active router goes on with the new priority; the backup's down timer decides (keepalived)."""
    machine, t = in_role(Role.ACTIVE)
    assert machine.set_priority(50, now=t) == ()
    assert sent(machine.advance(now=machine.deadline)) == [50]


def test_an_outranked_router_may_resign_at_once():
    """An outranked router may resign at once by an advert of priority 0. Rivals that fell silent do not count."""
    machine, _ = in_role(Role.BACKUP, ROUTER.replace(resign_when_outranked=True, priority=120))
    machine.receive(ROUTER.advert(100), HIGHER, now=1.0)  # a rival that is preempted
    machine.advance(now=machine.deadline)
    assert machine.role is Role.ACTIVE
    assert machine.set_priority(101, now=3.0) == ()
    effects = machine.set_priority(99, now=3.0)
    assert sent(effects) == [0]
    assert machine.role is Role.BACKUP
    assert machine.deadline == pytest.approx(3.0 + machine.down)


def test_a_dead_rival_outranks_none():
    """A router that was silent for a down time is forgotten at the takeover."""
    machine, _ = in_role(Role.BACKUP, ROUTER.replace(resign_when_outranked=True))
    machine.receive(ROUTER.advert(150), HIGHER, now=0.0)
    machine.advance(now=machine.deadline)
    assert machine.set_priority(50, now=machine.deadline) == ()
    assert machine.role is Role.ACTIVE


def test_faults_stand_until_the_last_is_cleared():
    """Several reasons may stand at once; a router whose last one goes starts as backup."""
    machine, t = in_role(Role.ACTIVE)
    assert sent(machine.fault("disk", now=t)) == [0]
    assert machine.fault("link", now=t) == ()
    assert machine.faults == ("disk", "link")
    assert machine.clear("disk", now=t + 1) == ()
    assert machine.role is Role.FAULT
    machine.clear("link", now=t + 2)
    assert machine.role is Role.BACKUP
    assert machine.deadline == pytest.approx(t + 2 + machine.down)


@pytest.mark.parametrize("call", ["advance", "receive", "set_priority"])
@pytest.mark.parametrize("role", [Role.BACKUP, Role.ACTIVE])
def test_a_paused_router_listens_for_a_down_time_before_it_sends(role, call):
    """A frozen process wakes as backup and sends nothing, whichever call comes first."""
    machine, _ = in_role(role)
    woken = machine.deadline + machine.down + 0.001
    effects = {
        "advance": lambda: machine.advance(now=woken),
        "receive": lambda: machine.receive(ROUTER.advert(1), LOWER, now=woken),
        "set_priority": lambda: machine.set_priority(99, now=woken),
    }[call]()
    assert sent(effects) == []
    assert machine.role is Role.BACKUP
    assert machine.deadline == pytest.approx(woken + machine.down)


def test_a_late_timer_is_no_pause():
    """A router whose timer is up to a down time late does what is due."""
    machine, _ = in_role(Role.BACKUP)
    machine.advance(now=machine.deadline + machine.down)
    assert machine.role is Role.ACTIVE
    frozen, _ = in_role(Role.ACTIVE, ROUTER.replace(check_pause=False))
    assert sent(frozen.advance(now=1e6)) == [100]


def test_starting_twice_is_once():
    """A second start of a running router changes nothing."""
    machine, _ = in_role(Role.BACKUP)
    before = state(machine)
    assert machine.start(now=1.0) == ()
    assert state(machine) == before


def test_it_explains_itself():
    """A machine explains itself in one line: its role, the router it received, and what comes next."""
    machine = ROUTER()
    assert machine.explain(now=0.0) == "initialize: not started"
    machine.start(now=0.0)
    assert machine.explain(now=1.0) == "backup: no advert received; would take over in 0.8 s"
    machine.receive(ROUTER.advert(0), HIGHER, now=1.0)
    assert machine.explain(now=1.1) == "backup: 192.0.2.13 resigned 0.1 s ago; would take over in 0.2 s"
    machine.advance(now=machine.deadline)
    assert machine.explain(now=machine.since + 0.2) == "active: priority 100, for 0.2 s; next advert in 0.3 s"
    machine.fault("disk", now=3.0)
    assert machine.explain(now=3.0) == "fault: disk"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vrid", 0),
        ("addresses", ("fe80::1",)),
        ("source", "lb1"),
        ("source", "fe80::1"),
        ("priority", 0),
        ("priority", 256),
        ("interval", 0.0),
        ("interval", 41.0),
        ("preempt_delay", -1.0),
        ("missed", 0),
        ("min_interval", -1.0),
        ("preempt", 1),
        ("peers", "192.0.2.11"),
        ("peers", ("fe80::1",)),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(name, value):
    """A wrong configuration is refused at construction by a ``ConfigurationError`` that names the parameter."""
    with pytest.raises(ConfigurationError, match=name if name != "addresses" else "source"):
        ROUTER.replace(**{name: value})


@pytest.mark.parametrize(("router", "priority"), [(ROUTER, 0), (ROUTER, 255), (OWNER, 100)])
def test_tracking_stays_within_1_and_254_and_off_the_owner(router, priority):
    """Tracking outside 1 to 254, or on the owner, is refused, and nothing changes."""
    machine, t = in_role(Role.BACKUP if router is ROUTER else Role.ACTIVE, router)
    before = state(machine)
    with pytest.raises(ConfigurationError, match="priority"):
        machine.set_priority(priority, now=t)
    assert state(machine) == before


@pytest.mark.parametrize("wrong", ["0.0.0.0", "224.0.0.18", "255.255.255.255"])
@pytest.mark.parametrize("field", ["addresses", "source", "peers"])
def test_an_address_is_that_of_one_machine(field, wrong):
    """No machine has the unspecified address, that of a group or that of all; a router cannot send from them nor to hold them."""
    value = wrong if field == "source" else (wrong,)
    with pytest.raises(ConfigurationError, match=field):
        VirtualRouter(**{"vrid": 51, "addresses": ("192.0.2.100",), "source": "192.0.2.12", field: value})


@pytest.mark.parametrize("field", ["addresses", "source"])
@pytest.mark.parametrize("wrong", ["::", "ff02::12"])
def test_an_ipv6_address_is_that_of_one_machine(field, wrong):
    """The unspecified address and groups of IPv6 are no machine's."""
    value = wrong if field == "source" else (wrong,)
    with pytest.raises(ConfigurationError, match=field):
        VirtualRouter(**{"vrid": 51, "addresses": ("2001:db8::100",), "source": "fe80::12", field: value})


def test_an_address_that_stands_twice_is_refused():
    """An advert with one address twice is none that the other routers accept; two spellings are one address."""
    for twice in (("192.0.2.100", "192.0.2.100"), ("2001:db8::1", "2001:db8:0::1")):
        source = "fe80::1" if ":" in twice[0] else "192.0.2.12"
        with pytest.raises(ConfigurationError, match="addresses"):
            VirtualRouter(vrid=51, addresses=twice, source=source)


def test_priority_255_is_one_as_any_other_for_a_router_that_does_not_claim():
    """Without ``claims`` a router of 255 starts as a backup, heeds ``preempt_delay``, and may get another priority."""
    machine, _ = in_role(Role.BACKUP, OWNER.replace(claims=False, preempt_delay=9.0))
    machine.receive(ROUTER.advert(200), HIGHER, now=0.1)
    assert machine.deadline == 0.1 + 3 * 0.5 + 0.5 / 256
    machine.set_priority(100, now=0.2)
    machine.set_priority(255, now=0.2)
    assert machine.priority == 255
    with pytest.raises(ConfigurationError, match="priority"):
        machine.set_priority(256, now=0.3)


def test_a_router_may_be_active_at_its_start():
    """With ``starts_active`` a router is active at once after a start, and a backup after a fault."""
    machine = ROUTER.replace(starts_active=True)()
    assert sent(machine.start(now=0.0)) == [100]
    machine.fault(now=1.0)
    machine.clear(now=2.0)
    assert machine.role is Role.BACKUP
    assert machine.stop(now=3.0)
    assert sent(machine.start(now=4.0)) == [100]


def test_a_renewed_timer_begins_again():
    """``renew`` makes an advert due at once, or has a backup wait a whole down time; it changes no other role."""
    machine, t = in_role(Role.ACTIVE)
    machine.renew(now=t + 0.1)
    assert machine.deadline == t + 0.1
    machine, t = in_role(Role.BACKUP)
    machine.renew(now=t + 0.4)
    assert machine.deadline == t + 0.4 + ROUTER.down(0.5)
    for role in (Role.INITIALIZE, Role.FAULT):
        machine, t = in_role(role)
        before = state(machine)
        assert machine.renew(now=t) == ()
        assert state(machine) == before
