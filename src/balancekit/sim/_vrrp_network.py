"""Simulation of a network of VRRP routers in virtual time.

It shows which router is active at each time, and for how long no router or several routers are.

Routers are the state machines of :mod:`balancekit.ha`, and packets are the bytes that they send. Events kill, stop, freeze
and restart routers, cut links, split the network and lose packets.

Cost: about 50 µs per packet and receiver.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from random import Random
from typing import Any, Final, Protocol

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import plain_function
from balancekit.errors import ConfigurationError
from balancekit.ha import (
    Became,
    MemberEffect,
    RejectedAdvert,
    Send,
    SyncGroup,
    VirtualRouter,
    packets,
)
from balancekit.sim._vrrp_events import VrrpDo, VrrpEvent
from balancekit.sim._vrrp_report import SentAdvert, VrrpChange, VrrpReport

__all__ = ["VrrpSimulation", "VrrpSpeaker"]

SINGLE: Final = "router"
"""The member name of a router that is in no sync group."""


class VrrpSpeaker(Protocol):
    """The interface of a simulated router. :class:`~balancekit.ha.SyncGroupMachine` implements it."""

    @property
    def routers(self) -> Mapping[str, VirtualRouter]:
        """The members, by name."""
        ...

    @property
    def deadline(self) -> float | None:
        """Time of the next call of :meth:`advance`, in seconds; ``None`` if none is needed."""
        ...

    def start(self, *, now: float) -> tuple[MemberEffect, ...]:
        """Start every member."""
        ...

    def stop(self, *, now: float) -> tuple[MemberEffect, ...]:
        """Stop every member."""
        ...

    def receive_packet(
        self, data: bytes, *, source: str, destination: str, hop_limit: int, now: float
    ) -> tuple[MemberEffect, ...]:
        """Receive a packet."""
        ...

    def advance(self, *, now: float) -> tuple[MemberEffect, ...]:
        """Process the timers that have expired."""
        ...

    def set_priority(self, priority: int, *, now: float) -> tuple[MemberEffect, ...]:
        """Change the priority of all members."""
        ...

    def fault(self, reason: str, *, now: float) -> tuple[MemberEffect, ...]:
        """Set a fault of all members."""
        ...

    def clear(self, reason: str, *, now: float) -> tuple[MemberEffect, ...]:
        """Clear the fault with this reason of all members."""
        ...


_SPEAKER_CALLS: Final[Mapping[VrrpDo, Callable[[VrrpSpeaker, float, float], tuple[MemberEffect, ...]]]] = {
    VrrpDo.STOP: lambda speaker, _, now: speaker.stop(now=now),
    VrrpDo.CUT: lambda speaker, _, now: speaker.fault("link", now=now),
    VrrpDo.JOIN: lambda speaker, _, now: speaker.clear("link", now=now),
    VrrpDo.PRIORITY: lambda speaker, value, now: speaker.set_priority(int(value), now=now),
    VrrpDo.FAULT: lambda speaker, _, now: speaker.fault("fault", now=now),
    VrrpDo.CLEAR: lambda speaker, _, now: speaker.clear("fault", now=now),
}
"""Function for each action on a running router. Arguments: the speaker, the event's value, the time."""


class _Node:
    """One simulated router."""

    def __init__(self, name: str, make: Callable[[], VrrpSpeaker]) -> None:
        self.name = name
        self.make = make
        self.speaker: VrrpSpeaker | None = None
        self.frozen = False
        self.cut = False
        self.cell = 0
        self.backlog: deque[tuple[bytes, str, str, int]] = deque()


class VrrpSimulation(ConstructorRepr):
    """Simulation of VRRP routers, the network between them, and events of both. Run it with :meth:`run`.

    Parameters
    ----------
    routers
        Routers by name: a :class:`~balancekit.ha.VirtualRouter`, a :class:`~balancekit.ha.SyncGroup`, or any
        callable that makes a :class:`VrrpSpeaker`.
    events
        The events. A router without a ``START`` event starts at time 0, before all other events. The link of a router
        can be cut while the router is stopped.
    latency
        Minimum and maximum latency of a packet in seconds. Latencies are distributed uniformly between them.
    seed
        Seed of latencies and losses, >= 0.

    Raises
    ------
    ConfigurationError
        If ``routers`` is empty or holds something other than routers, a latency is negative or the second is less than
        the first, ``seed`` is negative, or an event names an unknown router.

    Notes
    -----
    *Guarantee.* Equal arguments give equal reports.

    Example
    -------
    >>> from balancekit.ha import VirtualRouter
    >>> from balancekit.sim import VrrpDo, VrrpEvent, VrrpSimulation
    >>> first = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.11", priority=150, interval=0.5)
    >>> second = first.replace(source="192.0.2.12", priority=100)
    >>> simulation = VrrpSimulation({"r1": first, "r2": second}, [VrrpEvent(at=5.0, do=VrrpDo.KILL, nodes=("r1",))])
    >>> report = simulation.run(10.0)
    >>> report.holders(4.0), report.holders(9.0), [round(outage.seconds, 2) for outage in report.outages(after=4.0)]
    (('r1',), ('r2',), [1.51])
    """

    @checked_arguments
    def __init__(
        self,
        routers: Mapping[str, VirtualRouter | SyncGroup | Callable[[], VrrpSpeaker]],
        events: Iterable[VrrpEvent] = (),
        *,
        latency: tuple[float, float] = (0.0005, 0.0005),
        seed: int = 1,
    ) -> None:
        if not routers:
            raise ConfigurationError("routers", routers, "one router or more")
        low = valid.number("latency", latency[0], minimum=0.0)
        self._latency = (low, valid.number("latency", latency[1], minimum=low))
        self._random = Random(valid.integer("seed", seed, minimum=0))
        self._nodes = {name: _Node(name, _maker(router)) for name, router in routers.items()}
        self._loss = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._now = 0.0
        self._changes: list[VrrpChange] = []
        self._sent: list[SentAdvert] = []
        listed = sorted(events, key=lambda event: event.at)
        started = {
            name for event in listed if event.do is VrrpDo.START for name in event.nodes or self._nodes
        }
        for name in self._nodes:
            if name not in started:
                self._at(0.0, self._happen, VrrpEvent(at=0.0, do=VrrpDo.START, nodes=(name,)))
        for event in listed:
            unknown = [name for name in event.nodes if name not in self._nodes]
            if unknown:
                raise ConfigurationError("nodes", unknown[0], f"one of {', '.join(self._nodes)}")
            self._at(event.at, self._happen, event)

    def inject(self, at: float, data: bytes, *, source: str, destination: str, hop_limit: int = 255) -> None:
        """Schedule a packet that arrives at each router at time ``at``. The source can be any address.

        Raises
        ------
        ConfigurationError
            If ``at`` is negative or no number, or ``source`` or ``destination`` is no IP address.
        """
        for parameter, address in (("source", source), ("destination", destination)):
            valid.text(parameter, address)
            try:
                ip_address(address)
            except ValueError:
                raise ConfigurationError(parameter, address, "an IP address") from None
        at = valid.number("at", at, minimum=0.0)
        self._at(at, self._arrive_everywhere, data, source, destination, hop_limit)

    def call(self, at: float, name: str, action: Callable[[Any, float], tuple[MemberEffect, ...]]) -> None:
        """Schedule a call of ``action(speaker, now)`` at time ``at``, and apply the effects that it returns.

        Nothing is called if the router with this name does not run at that time.

        Raises
        ------
        ConfigurationError
            If ``at`` is negative or no number, ``name`` is no router, or ``action`` is not callable.
        """
        if name not in self._nodes:
            raise ConfigurationError("name", name, f"one of {', '.join(self._nodes)}")
        plain_function("action", action, "a function of a speaker and a time")
        self._at(valid.number("at", at, minimum=0.0), self._act, name, action)

    def run(self, seconds: float) -> VrrpReport:
        """Run until ``seconds``, >= 0, and return a report from the beginning. May be called again with a later time.

        Raises
        ------
        ConfigurationError
            If ``seconds`` is negative or no number, or a router is no ``VrrpSpeaker``.
        """
        seconds = valid.number("seconds", seconds, minimum=0.0)
        while self._heap and self._heap[0][0] <= seconds:
            self._now, _, action, arguments = heapq.heappop(self._heap)
            action(*arguments)
        self._now = max(self._now, seconds)
        return VrrpReport(tuple(self._changes), tuple(self._sent), self._now)

    # ------------------------------------------------------------------ inside

    def _at(self, t: float, action: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._heap, (max(t, self._now), next(self._order), action, arguments))

    def _happen(self, event: VrrpEvent) -> None:
        if event.do is VrrpDo.LOSE:
            self._loss = event.value
        elif event.do is VrrpDo.SPLIT:
            for node in self._nodes.values():
                node.cell = int(node.name in event.nodes)
        elif event.do is VrrpDo.HEAL:
            for node in self._nodes.values():
                node.cell = 0
        else:
            for name in event.nodes or self._nodes:
                self._happen_to(self._nodes[name], event)

    def _happen_to(self, node: _Node, event: VrrpEvent) -> None:
        if event.do is VrrpDo.START:
            self._start(node)
            return
        if event.do in {VrrpDo.CUT, VrrpDo.JOIN}:  # the link exists whether or not the router runs
            node.cut = event.do is VrrpDo.CUT
        if node.speaker is None:
            return
        if event.do in _SPEAKER_CALLS:
            self._carry_out(node, _SPEAKER_CALLS[event.do](node.speaker, event.value, self._now))
        if event.do is VrrpDo.STOP:
            node.speaker = None
        elif event.do is VrrpDo.KILL:
            for member in node.speaker.routers:
                self._changes.append(VrrpChange(self._now, node.name, member, None, "killed"))
            node.speaker = None
        elif event.do is VrrpDo.FREEZE:
            node.frozen = True
        elif event.do is VrrpDo.THAW:
            self._thaw(node)

    def _start(self, node: _Node) -> None:
        """Start or restart a router. If its link is cut, it has a fault from the beginning."""
        speaker = node.make()
        valid.instance("routers", speaker, "receive_packet", allowed="functions that make a VrrpSpeaker")
        node.speaker, node.frozen = speaker, False
        node.backlog.clear()
        self._carry_out(node, speaker.start(now=self._now))
        if node.cut:
            self._carry_out(node, speaker.fault("link", now=self._now))

    def _thaw(self, node: _Node) -> None:
        """Deliver the packets that arrived while a router was frozen, then process its expired timers."""
        node.frozen = False
        while node.backlog:
            self._receive(node, *node.backlog.popleft())
        self._tick(node)

    def _act(self, name: str, action: Callable[[Any, float], tuple[MemberEffect, ...]]) -> None:
        node = self._nodes[name]
        if node.speaker is not None:
            self._carry_out(node, action(node.speaker, self._now))

    def _carry_out(self, node: _Node, effects: Iterable[MemberEffect]) -> None:
        assert node.speaker is not None
        for member, effect in effects:
            if isinstance(effect, Send):
                router = node.speaker.routers[member]
                for data, destination in packets(router, effect.advert):
                    self._send(node, router.source, destination, data)
            elif isinstance(effect, Became):
                self._changes.append(VrrpChange(self._now, node.name, member, effect.role, effect.why))
        deadline = node.speaker.deadline
        if deadline is not None:
            self._at(deadline, self._due, node, node.speaker, deadline)

    def _due(self, node: _Node, speaker: VrrpSpeaker, deadline: float) -> None:
        if node.speaker is speaker and not node.frozen and speaker.deadline == deadline:
            self._tick(node)

    def _tick(self, node: _Node) -> None:
        if node.speaker is not None:
            self._carry_out(node, node.speaker.advance(now=self._now))

    def _send(self, sender: _Node, source: str, destination: str, data: bytes) -> None:
        if sender.cut:
            return
        self._sent.append(SentAdvert(self._now, sender.name, source, destination, data))
        for node in self._nodes.values():
            if node is sender or node.cell != sender.cell or self._random.random() < self._loss:
                continue
            delay = self._random.uniform(*self._latency)
            self._at(self._now + delay, self._arrive, node, sender.cell, (data, source, destination, 255))

    def _arrive_everywhere(self, data: bytes, source: str, destination: str, hop_limit: int) -> None:
        for node in self._nodes.values():
            self._arrive(node, node.cell, (data, source, destination, hop_limit))

    def _arrive(self, node: _Node, cell: int, packet: tuple[bytes, str, str, int]) -> None:
        if node.speaker is None or node.cut or node.cell != cell:
            return
        if node.frozen:
            node.backlog.append(packet)
        else:
            self._receive(node, *packet)

    def _receive(self, node: _Node, data: bytes, source: str, destination: str, hop_limit: int) -> None:
        speaker = node.speaker
        assert speaker is not None
        addressed = {router.source for router in speaker.routers.values()}
        if not destination.startswith(("224.", "ff02:")) and destination not in addressed:
            return
        try:
            effects = speaker.receive_packet(
                data, source=source, destination=destination, hop_limit=hop_limit, now=self._now
            )
        except RejectedAdvert:
            effects = ()
        self._carry_out(node, effects)


def _maker(router: VirtualRouter | SyncGroup | Callable[[], VrrpSpeaker]) -> Callable[[], VrrpSpeaker]:
    if isinstance(router, VirtualRouter):
        return SyncGroup(routers={SINGLE: router})
    if not callable(router):
        raise ConfigurationError(
            "routers", router, "VirtualRouter, SyncGroup, or a function that makes a VrrpSpeaker"
        )
    return router
