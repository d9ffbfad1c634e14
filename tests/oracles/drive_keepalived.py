"""Driver of ``balancekit.compat.keepalived`` for traces of keepalived.

:func:`candidates` takes a trace without its outputs and plays its plan in virtual time: routers that ran
keepalived become processes of :mod:`balancekit.compat.keepalived`, speakers of the recorder's own become
routers of :mod:`balancekit.ha`. ``began`` says when each was listening after a start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

from balancekit.compat.keepalived import Instance, Keepalived, TrackFile, TrackScript
from balancekit.ha import Ipv4Checksum, Role, SyncGroup, VirtualRouter
from balancekit.sim import VrrpDo, VrrpEvent, VrrpSimulation

__all__ = ["candidates"]

Json = Mapping[str, Any]

OWN_SPEAKER = "python"
"""The instance name of the recorder's own speaker."""
STATES = {Role.BACKUP: "BACKUP", Role.ACTIVE: "MASTER", Role.FAULT: "FAULT", Role.INITIALIZE: "STOP"}
HAPPENINGS = {
    "stop": VrrpDo.STOP,
    "kill": VrrpDo.KILL,
    "freeze": VrrpDo.FREEZE,
    "thaw": VrrpDo.THAW,
    "partition": VrrpDo.SPLIT,
    "heal": VrrpDo.HEAL,
}
WITHOUT_EFFECT = ("garp_", "vrrp_garp_", "notify", "accept", "dont_track_primary")
"""How directives begin that change neither states nor packets."""
SCRIPT_PHASES = (0.0, 0.25, 0.5, 0.75)
"""When a tracked script may run, in parts of its interval after the router began."""
NOTICED_S = 0.02
"""By how much a start may have been noticed earlier or later than that of another router."""
SLOW_S = 0.002
"""By how much later the timers of a router may fire than those of another that end at the same time."""


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be: one answer, or one for each phase of tracked scripts.

    Then the same where one router began a little later than was noticed, and where the timers of one or more fire a little
    late: that decides between timers that end together.
    """
    phases = (
        SCRIPT_PHASES if any("track_scripts" in server for server in trace["config"]["servers"]) else (0.0,)
    )
    routers = sorted({router for router, _, _ in trace["inputs"]["began"]})
    for late in (None, *routers):
        for phase in phases:
            yield {"outputs": _play(trace, phase, late)}
    for count in range(1, len(routers)):
        for slow in combinations(routers, count):
            yield {"outputs": _play(trace, phases[0], None, slow)}


class _Slow:
    """A speaker whose timers fire a little late."""

    def __init__(self, speaker: Any) -> None:
        self._speaker = speaker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._speaker, name)

    @property
    def deadline(self) -> float | None:
        due = self._speaker.deadline
        return None if due is None else due + SLOW_S


def _slowed(maker: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: _Slow(maker())


def _play(trace: Json, phase: float, late: str | None, slow: tuple[str, ...] = ()) -> list[Json]:
    servers = {server["name"]: server for server in trace["config"]["servers"]}
    makers = {name: maker for name, server in servers.items() if (maker := _maker(server)) is not None}
    makers |= {name: _slowed(maker) for name, maker in makers.items() if name in slow}
    began = _began(
        [(router, name, t + NOTICED_S * (router == late)) for router, name, t in trace["inputs"]["began"]]
    )
    events: list[VrrpEvent] = []
    calls: list[tuple[float, str, Callable[..., Any]]] = []
    injected: list[Json] = []
    failing: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for step in trace["inputs"]["plan"]:
        t, router, what = step["t"], step.get("router"), step["do"]
        if what == "start":
            start = next(began[router], t) if router in began else t
            events.append(VrrpEvent(at=start, do=VrrpDo.START, nodes=(router,)))
        elif what == "link":
            do = VrrpDo.CUT if step["to"] == "down" else VrrpDo.JOIN
            events.append(VrrpEvent(at=t, do=do, nodes=(router,)))
        elif what in {"partition", "heal"}:
            nodes = tuple(step["routers"][:1]) if what == "partition" else ()
            events.append(VrrpEvent(at=t, do=HAPPENINGS[what], nodes=nodes))
        elif what == "reload":
            calls.append((t, router, _reload(step["set"])))
        elif what == "track_file":
            calls.append((t, router, _file(step["file"], step["value"])))
        elif what in {"script_fails", "script_passes"}:
            failing.setdefault((router, step["script"]), []).append((t, what == "script_fails"))
        elif what == "inject":
            injected.append(step)
        else:
            events.append(VrrpEvent(at=t, do=HAPPENINGS[what], nodes=(router,)))
    seconds = trace["inputs"]["seconds"]
    for server in servers.values():
        starts = [event.at for event in events if event.do is VrrpDo.START and server["name"] in event.nodes]
        for script, options in server.get("track_scripts", {}).items() if starts else ():
            turns = failing.get((server["name"], script), [])
            interval = options.get("interval", 1)
            run = starts[0] + phase * interval
            while run < seconds:
                failed = [fails for t, fails in turns if t <= run]
                passed = not (failed and failed[-1])
                calls.append((run, server["name"], _script(script, passed=passed)))
                run += interval
    simulation = VrrpSimulation(makers, events)
    for t, router, action in calls:
        simulation.call(t, router, action)
    for step in injected:
        simulation.inject(
            step["t"],
            bytes.fromhex(step["hex"]),
            source=step["src"],
            destination=step["dst"],
            hop_limit=step["ttl"],
        )
    report = simulation.run(seconds)
    outputs: list[Json] = [
        {
            "t": sent.t,
            "router": sent.node,
            "src": sent.source,
            "dst": sent.destination,
            "hex": sent.data.hex(),
        }
        | {"advert": None}
        for sent in report.sent
    ]
    outputs += [
        {"t": step["t"], "router": step["router"], "src": step["src"], "dst": step["dst"], "hex": step["hex"]}
        | {"advert": None}
        for step in injected
    ]
    outputs += [
        {"t": change.t, "router": change.node, "instance": change.member, "state": STATES[change.role]}
        for change in report.changes
        if change.role is not None
    ]
    return sorted(outputs, key=lambda row: row["t"])


def _began(rows: list[tuple[str, str, float]]) -> dict[str, Iterator[float]]:
    """Return, for each router, when it was listening after each of its starts."""
    found: dict[str, dict[str, list[float]]] = {}
    for router, instance, t in rows:
        found.setdefault(router, {}).setdefault(instance, []).append(t)
    return {
        router: iter([min(times) for times in zip(*instances.values(), strict=True)])
        for router, instances in found.items()
    }


def _maker(server: Json) -> Callable[[], Any] | None:
    if server["speaker"] == "keepalived":
        return Keepalived(
            instances={instance["name"]: _instance(server, instance) for instance in server["instances"]},
            sync_groups={name: tuple(group) for name, group in server.get("sync_groups", {}).items()},
            scripts={
                name: TrackScript(
                    **{word: script[word] for word in ("weight", "rise", "fall") if word in script}
                )
                for name, script in server.get("track_scripts", {}).items()
            },
            files={name: TrackFile(weight=weight) for name, weight in server.get("track_files", {}).items()},
        )
    if server["speaker"] == "python":
        router = VirtualRouter(
            vrid=server["vrid"],
            addresses=tuple([address.partition("/")[0] for address in server["vips"]]),
            source=server["address"],
            priority=server["priority"],
            interval=server["interval"],
            version=server["version"],
            preempt=server.get("preempt", not server.get("nopreempt", False)),
            preempt_delay=server.get("preempt_delay", 0.0),
            ipv4_checksum=Ipv4Checksum.PSEUDO_HEADER if server.get("pseudo4", True) else Ipv4Checksum.PLAIN,
        )
        return SyncGroup(routers={OWN_SPEAKER: router})
    return None


def _instance(server: Json, instance: Json) -> Instance:
    options = [line.split() for line in instance.get("extra", ())]
    words: dict[str, Any] = {}
    for name, *values in options:
        if name in {"nopreempt", "lower_prio_no_advert"}:
            words[name] = True
        elif name == "preempt_delay":
            words[name] = float(values[0])
        elif name == "down_timer_adverts":
            words[name] = int(values[0])
        elif not name.startswith(WITHOUT_EFFECT):
            raise ValueError(f"a directive we do not have: {name}")
    return Instance(
        virtual_router_id=instance["vrid"],
        virtual_ipaddress=tuple(instance["vips"]),
        unicast_src_ip=server["address"],
        priority=instance["priority"],
        advert_int=instance["interval"],
        vrrp_version=instance["version"],
        unicast_peer=tuple(instance.get("unicast_peers", ())),
        state=instance.get("state", "BACKUP"),
        **words,
    )


def _reload(changes: Json) -> Callable[..., Any]:
    unknown = set(changes) - {"priority"}
    if unknown:
        raise ValueError(f"a reload we do not have: {', '.join(sorted(unknown))}")
    return lambda process, now: process.set_priority(changes["priority"], now=now)


def _file(name: str, value: int) -> Callable[..., Any]:
    return lambda process, now: process.file(name, value, now=now)


def _script(name: str, *, passed: bool) -> Callable[..., Any]:
    return lambda process, now: process.script(name, passed=passed, now=now)
