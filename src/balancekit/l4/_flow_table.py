"""A flow table: established connections keep their endpoint while endpoints come and go.

A consistent hash alone moves a few live connections with every change of endpoints. A table of flows moves none: the
hash decides once, at the first packet, and the table remembers. It is bounded in three ways.

*Generations.* New and used flows enter the newest generation; when it holds half of the capacity, another begins. A full
table drops its oldest generation, whose flows were not used since. So the least recently used flows go, within a
factor of two, without a linked list, which would double the memory.

*Shared stamps.* All flows of one owner and state that were seen in the same second share one object, which holds
the owner and the time at which they will be idle. A flow costs a key and a slot, no time of its own.

*A guard.* Past ``new_per_second`` insertions in one second a new flow is answered but not stored, so a flood of
SYN packets cannot wash established flows out of the table.

.. code-block:: text

    packet ─► pinned, owner alive ──────────────► "pinned"
           ├► pinned, owner not alive ─► owner() ► "moved"
           └► not pinned ─► owner() ─┬─ admitted ► "new"
                                     └─ guard, RST ► "unpinned"

Source: Eisenbud et al., "Maglev" (NSDI 2016), section 3.4 (connection tracking, its limits under SYN floods); the
insertion guard of Katran (``MAX_CONN_RATE``); idle times in the manner of Linux connection tracking.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments, refuse
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.l4._pins import LONG_AGO_S, Pin, Pins, Stamp, Steer

__all__ = ["DEFAULT_IDLE_S", "FlowTable", "FlowTableStats", "Steer"]

DEFAULT_IDLE_S: Final[Mapping[str, float]] = {"tcp": 7200.0, "syn": 60.0, "fin": 10.0, "udp": 30.0}
"""Seconds without a packet after which a flow is forgotten, by state.

``tcp`` is above the two hours after which TCP keep-alive probes an idle connection by default (RFC 9293, 3.8.4);
``udp`` is Katran's.
"""

MAX_TICK_S: Final = 1.0
TICKS_PER_IDLE_TIME: Final = 4.0
"""Stamps are at most a quarter of the shortest idle time apart."""
GUARD_WINDOW_S: Final = 1.0
UDP_NUMBER: Final = 17
GENERATIONS_PER_CAPACITY: Final = 2
MAX_CLOSED_GENERATIONS: Final = 4
"""Of five closed generations, two neighbours hold at most half of the capacity, and are merged."""


@final
class FlowTableStats(Record):
    """Counts of a flow table.

    Parameters
    ----------
    pinned
        Flows stored now, idle ones included until :meth:`FlowTable.expire` or their generation removes them.
    evicted
        Flows dropped with their generation so far, because the table was full.
    refused
        New flows that the guard did not store so far.
    oldest
        Every flow seen since this time is still stored, unless idle or forgotten. ``None`` if nothing was ever
        evicted.
    """

    pinned: int
    evicted: int
    refused: int
    oldest: float | None


@final
class FlowTable:
    """Flows pinned to endpoints: bounded, idle times by state, an insertion guard.

    Parameters
    ----------
    capacity
        Flows at most, >= 2.
    idle
        Seconds without a packet after which a flow is forgotten, > 0, for any of the states ``"tcp"`` (established),
        ``"syn"`` (only SYN packets seen), ``"fin"`` (FIN or RST seen) and ``"udp"``; the others keep
        :data:`DEFAULT_IDLE_S`. A flow is kept at least that long after its last packet, and at most a second
        (or a quarter of the shortest idle time) longer.
    new_per_second
        New flows stored in one second at most, >= 1; no limit if left out.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, or ``idle`` has an unknown state.

    *Guarantee.* A flow that is not idle stays pinned while fewer than half of ``capacity`` other flows were seen since its
    last packet, and while the table is not full. So with the guard, a flow with a packet every
    ``capacity / (2 * new_per_second)`` seconds stays whatever is flooding, if live flows fill less than half of the
    table. Pins are to ids, not to positions. An exception from ``owner`` changes nothing.

    *When to use it:* connections through a balancer that forwards packets or bytes, endpoints that come and go.
    *When not:* where requests are independent; where several machines must agree without sharing state beyond the
    hash, a table only helps flows that stay on their machine.

    Notes
    -----
    Cost: a hit about 7 empty method calls, a new flow about 32 plus ``owner``; 98 bytes a flow with 13-byte keys.
    Dropping a generation frees a part of the table in one call, about 50 ns a flow. Not thread-safe: give every worker
    its own table, as Maglev does; equal hashes make them agree on new flows.

    Example
    -------
    >>> from balancekit.hashing import MaglevTable
    >>> from balancekit.l4 import FlowTable, flow_key
    >>> table, alive = FlowTable(capacity=100_000), {"a", "b"}
    >>> flow = flow_key("192.0.2.1", 12345, "198.51.100.2", 443)
    >>> table.steer(flow, now=0.0, owner=MaglevTable(alive, size=251).lookup, alive=alive, syn=True)
    Steer(owner='b', how='new')
    >>> alive.add("c")
    >>> table.steer(flow, now=1.0, owner=MaglevTable(alive, size=251).lookup, alive=alive)
    Steer(owner='b', how='pinned')
    """

    __slots__ = (
        "_capacity",
        "_closed",
        "_closed_since",
        "_evicted",
        "_idle",
        "_inserted",
        "_limit",
        "_newest",
        "_newest_since",
        "_oldest",
        "_part",
        "_pins",
        "_refused",
        "_size",
        "_tick",
        "_window_ends",
    )

    @checked_arguments
    def __init__(
        self,
        *,
        capacity: int,
        idle: Mapping[str, float] | None = None,
        new_per_second: int | None = None,
    ) -> None:
        self._capacity = valid.integer("capacity", capacity, minimum=2)
        self._part = max(1, self._capacity // GENERATIONS_PER_CAPACITY)
        self._idle = dict(DEFAULT_IDLE_S) | _idle_times(idle)
        self._limit = (
            None if new_per_second is None else valid.integer("new_per_second", new_per_second, minimum=1)
        )
        self._tick = min(MAX_TICK_S, min(self._idle.values()) / TICKS_PER_IDLE_TIME)
        self._newest: dict[bytes, Stamp] = {}
        self._newest_since = LONG_AGO_S
        self._closed: list[dict[bytes, Stamp]] = []
        self._closed_since: list[float] = []
        self._size = 0
        self._oldest: float | None = None
        self._pins = Pins()
        self._window_ends = LONG_AGO_S
        self._inserted = 0
        self._evicted = 0
        self._refused = 0

    def steer(
        self,
        flow: bytes,
        *,
        now: float,
        owner: Callable[[bytes], str],
        alive: Container[str],
        syn: bool = False,
        fin: bool = False,
        rst: bool = False,
    ) -> Steer:
        """Return the endpoint of a packet's flow, and remember it.

        Parameters
        ----------
        flow
            What :func:`flow_key` returns, or any bytes whose last one is the protocol number (17 is UDP, all
            others are treated as TCP).
        now
            Seconds from any fixed point; never goes back.
        owner
            Decides about flows that are not pinned: ``MaglevTable.lookup``, ``Ecmp.pick`` over a hash. It is called
            for a new flow and for one whose owner is not alive, and should return one that is.
        alive
            The endpoints that may serve, draining ones included. A flow of any other is moved.
        syn, fin, rst
            The packet's TCP flags. A SYN on a closing flow opens a new one; on an established flow it changes
            nothing, because any sender can forge one. An RST is never the reason to store a flow.
        """
        try:
            stamp = self._newest.get(flow)
            if stamp is None:
                for flows in self._closed:
                    if flow in flows:
                        break
                else:
                    return self._open(flow, now, owner, syn, fin, rst)
            elif now < stamp.fresh_until and stamp.owner in alive and not (syn or fin or rst):
                return stamp.pinned
            return self._look_closely(flow, now, owner, alive, syn, fin, rst)
        except Exception as error:
            if not (isinstance(flow, bytes) and flow):
                raise ConfigurationError("flow", flow, "bytes, not empty") from error
            refuse(
                error,
                FlowTable.steer,
                self,
                flow,
                now=now,
                owner=owner,
                alive=alive,
                syn=syn,
                fin=fin,
                rst=rst,
            )

    @checked_arguments
    def lookup(self, flow: bytes, *, now: float) -> str | None:
        """Return the endpoint a flow is pinned to, ``None`` if it is not. Changes nothing."""
        home = self._home(flow)
        stamp = None if home is None else home[flow]
        return stamp.owner if stamp is not None and stamp.alive_at(now) else None

    @checked_arguments
    def forget(self, owner: str) -> None:
        """Unpin all flows of an endpoint, in O(1): their next packet is that of a new flow."""
        pin = self._pins.get(owner)
        if pin is not None:
            for stamp in pin.stamps.values():
                stamp.fresh_until = LONG_AGO_S
            # Nothing is called between these two, so no interrupt comes in between.
            pin.forgotten = True
            del self._pins[owner]

    @checked_arguments
    def expire(self, now: float) -> int:
        """Remove idle and forgotten flows; return how many. O(n): for a quiet moment, or never.

        Idle flows are never used whether or not this is called; it only returns their memory.
        """
        before = self._size
        newest, closed = _kept(self._newest, now), [_kept(flows, now) for flows in self._closed]
        size = len(newest) + sum(map(len, closed))
        self._newest, self._closed, self._size = newest, closed, size
        self._pins.let_go(now)
        return before - self._size

    def stats(self) -> FlowTableStats:
        """Return what the table holds and what it had to give up. O(1)."""
        return FlowTableStats(
            pinned=self._size, evicted=self._evicted, refused=self._refused, oldest=self._oldest
        )

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<FlowTable of {len(self)} flows, {self._capacity} at most>"

    def _open(
        self,
        flow: bytes,
        now: float,
        owner: Callable[[bytes], str],
        syn: bool,  # noqa: FBT001 - the flags of one packet, on the way of every new one
        fin: bool,  # noqa: FBT001 - the same
        rst: bool,  # noqa: FBT001 - the same
        home: dict[bytes, Stamp] | None = None,
    ) -> Steer:
        """Let the hash decide about a flow; with a home it takes the place of an old one."""
        state = "udp" if flow[-1] == UDP_NUMBER else "fin" if fin else "syn" if syn else "tcp"
        id = owner(flow)
        pin = self._pins.get(id) or self._pins.of(id, now)
        if rst:
            return pin.unpinned
        if self._limit is not None and home is None:
            if now >= self._window_ends:
                self._window_ends, self._inserted = now + GUARD_WINDOW_S, 0
            if self._inserted >= self._limit:
                self._refused += 1
                return pin.unpinned
            self._inserted += 1
        stamp = pin.stamps.get(state)
        if stamp is None or now >= stamp.tick_ends:
            stamp = self._stamp(pin, state, now)
        if home is not None:
            self._store(flow, stamp, now, home)
            return pin.new
        if self._size >= self._capacity:
            self._evict(now)
        newest = self._newest
        if len(newest) >= self._part:
            newest = self._begin_generation(now)
        newest[flow] = stamp
        self._size += 1  # nothing is called between these two, so no interrupt comes in between
        return pin.new

    def _look_closely(
        self,
        flow: bytes,
        now: float,
        owner: Callable[[bytes], str],
        alive: Container[str],
        syn: bool,  # noqa: FBT001 - the same
        fin: bool,  # noqa: FBT001 - the same
        rst: bool,  # noqa: FBT001 - the same
    ) -> Steer:
        """Decide about a flow that is stored and not plainly pinned."""
        home = self._home(flow) or self._newest
        stamp = home[flow]
        if not stamp.alive_at(now) or (syn and stamp.state == "fin"):
            return self._open(flow, now, owner, syn, fin, rst, home)
        state = stamp.state
        if state != "udp":
            state = "fin" if fin or rst or state == "fin" else "syn" if syn and state == "syn" else "tcp"
        moves = stamp.owner not in alive
        pin = self._pins.of(owner(flow), now) if moves else stamp.pin
        self._store(flow, self._stamp(pin, state, now), now, home)
        return pin.moved if moves else pin.pinned

    def _home(self, flow: bytes) -> dict[bytes, Stamp] | None:
        """Return the generation that holds a flow, idle or not."""
        if flow in self._newest:
            return self._newest
        for flows in self._closed:
            if flow in flows:
                return flows
        return None

    def _stamp(self, pin: Pin, state: str, now: float) -> Stamp:
        stamp = pin.stamps.get(state)
        if stamp is None or now >= stamp.tick_ends:
            at = valid.number("now", now)
            stamp = pin.stamps[state] = Stamp(pin, state, at + self._tick, self._idle[state])
        return stamp

    def _store(self, flow: bytes, stamp: Stamp, now: float, home: dict[bytes, Stamp]) -> None:
        """Renew a flow that is stored: it moves to the newest generation."""
        newest = self._newest
        if home is newest:
            newest[flow] = stamp
            return
        if len(newest) >= self._part:
            newest = self._begin_generation(now)
            home = self._home(flow) or newest  # it may have been merged with a neighbour
        del home[flow]  # nothing is called between these two, so no interrupt comes in between
        newest[flow] = stamp

    def _evict(self, now: float) -> None:
        """Drop the oldest generation that holds any flow, and what belongs to owners without flows."""
        at = max([at for at, flows in enumerate(self._closed) if flows])
        count = len(self._closed[at])
        oldest = self._closed_since[at - 1] if at else self._newest_since
        # Nothing is called until all is set, so no interrupt comes in between.
        del self._closed[at:], self._closed_since[at:]
        self._evicted += count
        self._size -= count
        self._oldest = oldest
        self._pins.let_go(now)

    def _begin_generation(self, now: float) -> dict[bytes, Stamp]:
        """Close the newest generation; merge the two neighbours that hold least if there are too many."""
        closed, since = [self._newest, *self._closed], [self._newest_since, *self._closed_since]
        if len(closed) > MAX_CLOSED_GENERATIONS:
            sizes = [len(flows) for flows in closed]
            at = min(range(len(closed) - 1), key=lambda at: sizes[at] + sizes[at + 1])
            smaller, larger = sorted(closed[at : at + 2], key=len)
            closed[at : at + 2] = [larger]
            del since[at]
            larger |= smaller  # an operator, no call: no interrupt comes in until all is set
        self._closed, self._closed_since, self._newest, self._newest_since = closed, since, {}, now
        return self._newest


def _kept(flows: dict[bytes, Stamp], now: float) -> dict[bytes, Stamp]:
    return {flow: stamp for flow, stamp in flows.items() if stamp.alive_at(now)}


def _idle_times(idle: object) -> dict[str, float]:
    if idle is None:
        return {}
    if not isinstance(idle, Mapping) or not idle.keys() <= DEFAULT_IDLE_S.keys():
        raise ConfigurationError("idle", idle, f"seconds by state, of {', '.join(map(repr, DEFAULT_IDLE_S))}")
    return {state: valid.number("idle", seconds, above=0.0) for state, seconds in idle.items()}
