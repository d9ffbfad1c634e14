"""Queues of simulated servers: first in first out, shared processor, and no queue at all.

*First in, first out* (:class:`FifoQueue`): the end of a request is known when it comes, for it begins when the worker that
is free soonest is free. So an undisturbed request costs the simulator one event, not two. *Processor sharing*
(:class:`ProcessorSharing`): all are worked on at once, and slower the more there are; the next end is known only until a request
comes or goes. What needs no server (:class:`InfiniteServer`) ends by itself.

**A server has its own time** (:class:`ServerClock`). It runs as fast as ours, slower while the server is slow, and stands still
while it hangs; what is queued is due at a server's time, so a disturbance changes one number and the dates of the
events, not the queue.

Cost: O(log workers) to enter a queue, O(log present) to enter and to leave a shared processor, O(present) for a change of
pace.
Source: Kleinrock, Queueing Systems I (1975) and II (1976), 4.4 for processor sharing by virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush, heapreplace
from itertools import count
from math import inf
from typing import Final, Generic, Protocol, TypeAlias, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.sim._services import Service

__all__ = ["FifoQueue", "InfiniteServer", "ProcessorSharing", "Server", "ServerClock", "Station", "station"]

J = TypeVar("J")

DISCIPLINES: Final = ("fifo", "sharing")


class Server(Record):
    """A simulated endpoint.

    Parameters
    ----------
    service
        How long its requests take.
    workers
        How many it works on at once, >= 1; the others wait, or all of them get slower.
    speed
        What service times are divided by, a billionth to a billion.
    weight
        Of the endpoint, >= 0.
    discipline
        ``"fifo"``, first in, first out; or ``"sharing"``: the workers are shared by all that are present.

    Raises
    ------
    ConfigurationError
        If ``service`` has no ``sample`` method, a number is outside its bounds, or ``discipline`` is another
        word.
    """

    service: Service
    workers: int = 1
    speed: float = 1.0
    weight: float = 1.0
    discipline: str = "fifo"

    def _check(self) -> None:
        allowed = "service times such as Exponential(mean=0.05)"
        valid.instance("service", self.service, "sample", allowed=allowed)
        valid.integer("workers", self.workers, minimum=1)
        valid.number("speed", self.speed, minimum=1e-9, maximum=1e9)
        valid.number("weight", self.weight, minimum=0.0)
        if self.discipline not in DISCIPLINES:
            raise ConfigurationError("discipline", self.discipline, f"one of {', '.join(DISCIPLINES)}")


Schedule: TypeAlias = Callable[[J, float], None]
"""Called with the time at which a job will end; infinity while it is unknown. Each call replaces the one before."""


class Station(Protocol[J]):
    """The queue of a server in one run. Jobs are distinguished by identity."""

    def enter(self, now: float, job: J, length: float) -> None:
        """Take on a job of so many seconds of work at speed 1."""
        ...

    def leave(self, now: float, job: J) -> None:
        """Record that a job has ended, at the time scheduled."""
        ...

    def change_pace(self, now: float, factor: float) -> None:
        """Make everything take ``factor`` times as long as at the server's own speed; infinity stops it."""
        ...

    def clear(self, now: float) -> list[J]:
        """Lose everything; return the jobs that were there, in the order in which they came."""
        ...


@final
class ServerClock:
    """A server's own time, and its conversion to ours.

    Example
    -------
    >>> clock = ServerClock()
    >>> clock.change(10.0, 2.0)      # from 10 on, everything takes twice as long
    >>> clock.theirs(14.0), clock.ours(13.0)
    (12.0, 16.0)
    >>> clock.change(14.0, inf)      # the server stops
    >>> clock.theirs(20.0), clock.ours(13.0)
    (12.0, inf)
    """

    __slots__ = ("_factor", "_ours", "_theirs")

    def __init__(self) -> None:
        self._ours = 0.0
        self._theirs = 0.0
        self._factor = 1.0

    def theirs(self, now: float) -> float:
        """Return the server's time when it is ``now`` for us."""
        return self._theirs + (now - self._ours) / self._factor

    def ours(self, time: float) -> float:
        """Return when it will be ``time`` for the server, which is not in its past."""
        return inf if self._factor == inf else self._ours + (time - self._theirs) * self._factor

    def change(self, now: float, factor: float) -> None:
        """Go on at another pace."""
        self._theirs = self.theirs(now)
        self._ours = now
        self._factor = factor


class InfiniteServer(Generic[J]):
    """As many workers as there are jobs: none waits for another."""

    __slots__ = ("_clock", "_due", "_schedule")

    def __init__(self, schedule: Schedule[J]) -> None:
        self._due: dict[J, float] = {}
        self._clock = ServerClock()
        self._schedule = schedule

    def end(self, now: float, length: float) -> float:
        """Take on work without keeping account of it; return when it will be done, both in the server's time."""
        return now + length

    def enter(self, now: float, job: J, length: float) -> None:
        """Begin with a job, or queue it."""
        clock = self._clock
        self._due[job] = end = self.end(clock.theirs(now), length)
        self._schedule(job, clock.ours(end))

    def leave(self, now: float, job: J) -> None:
        """Forget a job that is over."""
        del self._due[job]

    def change_pace(self, now: float, factor: float) -> None:
        """Go on at another pace."""
        self._clock.change(now, factor)
        for job, due in self._due.items():
            self._schedule(job, self._clock.ours(due))

    def clear(self, now: float) -> list[J]:
        """Lose everything."""
        lost = list(self._due)
        self._due.clear()
        return lost


@final
class FifoQueue(InfiniteServer[J]):
    """First in, first out."""

    __slots__ = ("free", "scale")

    def __init__(self, server: Server, schedule: Schedule[J]) -> None:
        super().__init__(schedule)
        self.scale: float = 1.0 / server.speed
        """Seconds that a second of work takes."""
        self.free: list[float] = [0.0] * server.workers
        """When each worker is free, in the server's time; a heap."""

    def end(self, now: float, length: float) -> float:
        """Have the worker take it on that is free soonest."""
        end = max(now, self.free[0]) + length * self.scale
        heapreplace(self.free, end)
        return end

    def clear(self, now: float) -> list[J]:
        """Lose everything."""
        self.free = [0.0] * len(self.free)
        return super().clear(now)


@final
class ProcessorSharing(Generic[J]):
    """All are worked on at once.

    ``_done`` is the work that a job present since the beginning would have been given; a job that comes when it is
    ``d`` and needs ``l`` ends when it is ``d + l``. It grows by ``min(1, workers / present)`` in a second of the server's
    time.
    """

    __slots__ = ("_at", "_clock", "_done", "_present", "_schedule", "_serial", "_workers", "scale")

    def __init__(self, server: Server, schedule: Schedule[J]) -> None:
        self.scale: float = 1.0 / server.speed
        """Seconds that a second of work takes a worker."""
        self._workers = server.workers
        self._present: list[tuple[float, int, J]] = []
        self._serial: Iterator[int] = count()
        self._done = 0.0
        self._at = 0.0
        self._clock = ServerClock()
        self._schedule = schedule

    def enter(self, now: float, job: J, length: float) -> None:
        """Begin with a job, at the cost of the others."""
        self._move_to(now)
        if self._present:
            self._schedule(self._present[0][2], inf)
        heappush(self._present, (self._done + length * self.scale, next(self._serial), job))
        self._schedule_end()

    def leave(self, now: float, job: J) -> None:
        """Let the others have what it leaves."""
        self._move_to(now)
        self._done = heappop(self._present)[0]  # what it was but for rounding
        self._schedule_end()

    def change_pace(self, now: float, factor: float) -> None:
        """Work on everything at another pace."""
        self._move_to(now)
        self._clock.change(now, factor)
        self._schedule_end()

    def clear(self, now: float) -> list[J]:
        """Lose everything."""
        self._move_to(now)
        lost = [job for _, _, job in sorted(self._present, key=lambda entry: entry[1])]
        self._present.clear()
        return lost

    def _rate(self) -> float:
        """Return the work each job gets in a second of the server's time."""
        return min(1.0, self._workers / len(self._present))

    def _move_to(self, now: float) -> None:
        time = self._clock.theirs(now)
        if self._present:
            self._done += (time - self._at) * self._rate()
        self._at = time

    def _schedule_end(self) -> None:
        """Schedule the first end, if none comes or goes until then."""
        if self._present:
            end, _, job = self._present[0]
            self._schedule(job, self._clock.ours(self._at + max(0.0, end - self._done) / self._rate()))


def station(server: Server, schedule: Schedule[J]) -> FifoQueue[J] | ProcessorSharing[J]:
    """Return the queue of a server."""
    return FifoQueue(server, schedule) if server.discipline == "fifo" else ProcessorSharing(server, schedule)
