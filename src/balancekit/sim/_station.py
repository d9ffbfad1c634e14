"""When will this endpoint have served a request? Workers behind a line, or a processor that all share.

*First in, first out* (:class:`Line`): the end of a request is known when it comes, for it begins when the worker that
is free soonest is free. So an undisturbed request costs the simulator one event, not two. *Processor sharing*
(:class:`Sharing`): all are worked on at once, and slower the more there are; an event per end, and the next one is
known only until somebody comes or goes.

A server that gets slower does so for what is in line, too: the time that is left is stretched. One that hangs is
one that is a million million times slower (a double still tells a microsecond of the rest apart).

Cost: O(log workers) to enter a line, O(log present) to enter and to leave a shared processor.
Source: Kleinrock, Queueing Systems I (1975) and II (1976), 4.4 for processor sharing by virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import Final, Generic, Protocol, TypeAlias, TypeVar, final

from balancekit import _validation as valid
from balancekit._record import Record
from balancekit.errors import ConfigurationError
from balancekit.sim._services import Service

__all__ = ["HUNG", "Line", "Server", "Sharing", "Station", "station"]

J = TypeVar("J")

HUNG: Final = 1e12
"""How many times slower a stopped process is."""

DISCIPLINES: Final = ("fifo", "sharing")


class Server(Record):
    """A simulated endpoint.

    Parameters
    ----------
    service
        How long its requests take.
    workers
        How many it works on at once, >= 1; the others wait in line, or all of them get slower.
    speed
        What service times are divided by, > 0.
    weight
        Of the endpoint, >= 0.
    discipline
        ``"fifo"``, first in, first out; or ``"sharing"``: the workers are shared by all that are present.
    """

    service: Service
    workers: int = 1
    speed: float = 1.0
    weight: float = 1.0
    discipline: str = "fifo"

    def _check(self) -> None:
        if not callable(getattr(self.service, "sample", None)):
            raise ConfigurationError("service", self.service, "service times such as Exponential(mean=0.05)")
        valid.integer("workers", self.workers, minimum=1)
        valid.number("speed", self.speed, above=0.0)
        valid.number("weight", self.weight, minimum=0.0)
        if self.discipline not in DISCIPLINES:
            raise ConfigurationError("discipline", self.discipline, f"one of {', '.join(DISCIPLINES)}")


Schedule: TypeAlias = Callable[[J, float], None]
"""Told that a job ends at a time. What it was told of the job before is void."""


class Station(Protocol[J]):
    """The queue of a server in one run."""

    def enter(self, now: float, job: J, length: float) -> None:
        """Take on a job of so many seconds of work at speed 1."""
        ...

    def leave(self, now: float, job: J) -> None:
        """Hear that a job has ended, at the time scheduled."""
        ...

    def slow_down(self, now: float, factor: float) -> None:
        """Make everything take ``factor`` times as long as at the server's own speed, also what is in line."""
        ...

    def clear(self) -> list[J]:
        """Lose everything; return the jobs that were there."""
        ...


@final
class Line(Generic[J]):
    """First in, first out."""

    __slots__ = ("_own", "_schedule", "due", "free", "scale")

    def __init__(self, server: Server, schedule: Schedule[J]) -> None:
        self._own: float = 1.0 / server.speed
        self.scale: float = self._own
        """Seconds that a second of work takes."""
        self.free: list[float] = [0.0] * server.workers
        """When each worker is free; a heap."""
        self.due: dict[J, float] = {}
        """When those present will have been served."""
        self._schedule = schedule

    def end(self, now: float, length: float) -> float:
        """Take on work without keeping account of it; return when it will be done."""
        free = self.free
        begin = free[0]
        end = (begin if begin > now else now) + length * self.scale
        if len(free) == 1:
            free[0] = end
        else:
            heapreplace(free, end)
        return end

    def enter(self, now: float, job: J, length: float) -> None:
        """Put a job in line."""
        self.due[job] = end = self.end(now, length)
        self._schedule(job, end)

    def leave(self, now: float, job: J) -> None:
        """Forget a job that has been served."""
        del self.due[job]

    def slow_down(self, now: float, factor: float) -> None:
        """Stretch what is left."""
        before, self.scale = self.scale, self._own * factor
        stretch = self.scale / before
        self.free = [now + max(0.0, free - now) * stretch for free in self.free]
        for job, due in self.due.items():
            self.due[job] = end = now + (due - now) * stretch
            self._schedule(job, end)

    def clear(self) -> list[J]:
        """Lose everything."""
        self.free = [0.0] * len(self.free)
        lost = list(self.due)
        self.due.clear()
        return lost


@final
class Sharing(Generic[J]):
    """All are worked on at once.

    ``_done`` is the work that a job present since the beginning would have been given; a job that comes when it is
    ``d`` and needs ``l`` ends when it is ``d + l``. It grows by ``min(1, workers / present)`` a second.
    """

    __slots__ = ("_at", "_done", "_own", "_present", "_schedule", "_serial", "_workers", "scale")

    def __init__(self, server: Server, schedule: Schedule[J]) -> None:
        self._own: float = 1.0 / server.speed
        self.scale: float = self._own
        """Seconds that a second of work takes a worker."""
        self._workers = server.workers
        self._present: list[tuple[float, int, J]] = []
        self._serial: Iterator[int] = count()
        self._done = 0.0
        self._at = 0.0
        self._schedule = schedule

    def enter(self, now: float, job: J, length: float) -> None:
        """Begin with a job, at the cost of the others."""
        self._move_to(now)
        heappush(self._present, (self._done + length, next(self._serial), job))
        self._tell(now)

    def leave(self, now: float, job: J) -> None:
        """Let the others have what it leaves."""
        self._move_to(now)
        self._done = max(self._done, heappop(self._present)[0])
        self._tell(now)

    def slow_down(self, now: float, factor: float) -> None:
        """Work on everything at another pace."""
        self._move_to(now)
        self.scale = self._own * factor
        self._tell(now)

    def clear(self) -> list[J]:
        """Lose everything."""
        lost = [job for _, _, job in sorted(self._present)]
        self._present.clear()
        return lost

    def _pace(self) -> float:
        """Return the work each job gets in a second."""
        return min(1.0, self._workers / len(self._present)) / self.scale

    def _move_to(self, now: float) -> None:
        if self._present:
            self._done += (now - self._at) * self._pace()
        self._at = now

    def _tell(self, now: float) -> None:
        """Schedule whoever ends first, if nobody comes or goes until then."""
        if self._present:
            end, _, job = self._present[0]
            self._schedule(job, now + max(0.0, end - self._done) / self._pace())


def station(server: Server, schedule: Schedule[J]) -> Line[J] | Sharing[J]:
    """Return the queue of a server."""
    return Line(server, schedule) if server.discipline == "fifo" else Sharing(server, schedule)
