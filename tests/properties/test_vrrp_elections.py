"""Elections of two to five routers under random deaths, resignations, restarts and splits: the laws of VRRP."""

from __future__ import annotations

from bisect import bisect_left
from itertools import combinations

from hypothesis import given, note
from hypothesis import strategies as st

from balancekit.ha import Role, VirtualRouter
from balancekit.sim import VrrpDo, VrrpEvent, VrrpSimulation

INTERVAL = 1.0
MAX_DELAY = INTERVAL / 4 - 0.01
FIRST = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.11", interval=INTERVAL)
EPSILON = 1e-6


@st.composite
def histories(draw):
    """Draw routers, and what happens to them: the living die or resign, the dead start, the network splits or heals."""
    count = draw(st.integers(2, 5))
    routers = {
        f"r{k}": FIRST.replace(
            source=f"192.0.2.{11 + k}",
            priority=draw(st.sampled_from([1, 50, 100, 100, 101, 150, 254])),
            preempt=draw(st.booleans()),
        )
        for k in range(count)
    }
    alive = set(routers)
    t = draw(st.floats(0.0, 5.0))
    events = []
    for _ in range(draw(st.integers(0, 8))):
        do = draw(st.sampled_from([VrrpDo.KILL, VrrpDo.STOP, VrrpDo.START, VrrpDo.SPLIT, VrrpDo.HEAL]))
        if do is VrrpDo.HEAL:
            nodes = ()
        elif do is VrrpDo.SPLIT:
            nodes = tuple(sorted(draw(st.sets(st.sampled_from(sorted(routers)), min_size=1))))
        else:
            choice = sorted(set(routers) - alive) if do is VrrpDo.START else sorted(alive)
            if not choice:
                continue
            nodes = (draw(st.sampled_from(choice)),)
            (alive.add if do is VrrpDo.START else alive.discard)(nodes[0])
        events.append(VrrpEvent(at=t, do=do, nodes=nodes))
        t += draw(st.floats(0.01, 8.0))
    starts = [VrrpEvent(at=draw(st.floats(0.0, 1.0)), do=VrrpDo.START, nodes=(name,)) for name in routers]
    events = [event.replace(at=event.at + 1.0) for event in events]
    delays = sorted([draw(st.floats(0.0, MAX_DELAY)), draw(st.floats(0.0, MAX_DELAY))])
    return routers, starts + events, tuple(delays), draw(st.integers(0, 1000))


def timeline(routers, events, report):
    """Yield spells of time in which nothing changed: begin, end, who is alive, who is active, who is in which cell."""
    steps = [(event.at, 0, event) for event in events] + [(change.t, 1, change) for change in report.changes]
    alive, active, cell = set(), set(), dict.fromkeys(routers, 0)
    last, last_event = 0.0, 0.0
    for t, kind, step in sorted(steps, key=lambda step: step[:2]):
        yield last, t, last_event, set(alive), set(active), dict(cell)
        last = t
        if kind == 1:
            (active.add if step.role is Role.ACTIVE else active.discard)(step.node)
            continue
        last_event = t
        if step.do is VrrpDo.START:
            alive |= set(step.nodes)
        elif step.do in {VrrpDo.KILL, VrrpDo.STOP}:
            alive -= set(step.nodes)
        else:
            cell = {name: int(name in step.nodes) for name in routers}
    yield last, report.end, last_event, set(alive), set(active), dict(cell)


@given(history=histories())
def test_elections_converge_and_never_leave_or_double_for_long(history):
    """Within a down time and the packets on their way after the last event, each part of the network has one holder.

    Never is a part with a living router without a holder for longer than the largest down time after an event. Never
    are two active that can reach each other for longer than one delay after both have sent.
    """
    routers, events, latency, seed = history
    longest = max(router.down(INTERVAL) for router in routers.values())
    settled = max(event.at for event in events) + longest + 3 * MAX_DELAY
    simulation = VrrpSimulation(routers, events, latency=latency, seed=seed)
    report = simulation.run(settled + 10 * INTERVAL)
    sent = {name: [advert.t for advert in report.sent if advert.node == name] for name in routers}
    without, doubled = {}, {}
    for begin, end, event, alive, active, cell in timeline(routers, events, report):
        note(f"{begin:.3f}-{end:.3f}: alive {sorted(alive)}, active {sorted(active)}, cells {cell}")
        for part in set(cell.values()):
            members = {name for name in alive if cell[name] == part}
            holders = active & members
            if end > settled and members:
                assert len(holders) == 1, f"{sorted(holders)} hold from {begin} to {end}"
            if holders or not members:
                without.pop(part, None)
            else:
                since = max(without.setdefault(part, begin), event)
                assert end - since <= longest + MAX_DELAY + EPSILON, f"none holds from {since} to {end}"
        for pair in combinations(sorted(routers), 2):
            if not (set(pair) <= active & alive and cell[pair[0]] == cell[pair[1]]):
                doubled.pop(pair, None)
                continue
            since = max(doubled.setdefault(pair, begin), event)
            both = [next(iter(sent[name][bisect_left(sent[name], since - EPSILON) :]), None) for name in pair]
            if None not in both:
                assert end <= max(both) + latency[1] + EPSILON, (
                    f"{pair} are both active from {since} to {end}"
                )
