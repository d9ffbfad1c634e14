"""Queues of simulated servers: first in first out, processor sharing, and infinitely many workers.

- *First in, first out* (:class:`FifoQueue`). A request begins when the first worker becomes free. So its end is known when
  it arrives, and a request without faults costs the simulator one event.
- *Processor sharing* (:class:`ProcessorSharing`). All requests are served at once. The more there are, the slower each is
  served. So the next end changes whenever a request arrives or leaves.
- *Infinite server* (:class:`InfiniteServer`). No request waits for another.

**Server time** (:class:`ServerClock`). Each server has a clock of its own. It is slower than the simulation's clock while
the server is slow, and it stops while the server hangs. The ends of requests are stored in server time. So a change of
speed leaves the queue as it is; only the events are scheduled again.

Cost: O(log workers) to enter a first-in-first-out queue. O(log n) to enter and to leave processor sharing with n requests.
O(n) for a change of speed.
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

__all__ = [
    "FifoQueue",
    "InfiniteServer",
    "JobQueue",
    "ProcessorSharing",
    "Server",
    "ServerClock",
    "make_queue",
]

J = TypeVar("J")

DISCIPLINES: Final = ("fifo", "sharing")


class Server(Record):
    """A simulated endpoint.

    Parameters
    ----------
    service
        Distribution of the service times.
    workers
        Number of workers, >= 1. Each serves one request at a time. With more requests than workers, requests wait
        (``"fifo"``) or all are served more slowly (``"sharing"``).
    speed
        Service times are divided by this, a billionth to a billion.
    weight
        Weight of the endpoint, >= 0.
    discipline
        ``"fifo"`` for first in, first out, or ``"sharing"`` for processor sharing.

    Raises
    ------
    ConfigurationError
        If ``service`` has no method ``sample``, a number is outside its bounds, or ``discipline`` is unknown.

    Example
    -------
    >>> from balancekit.sim import Exponential, Server
    >>> Server(service=Exponential(mean=0.05), workers=4).speed
    1.0
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
"""Called with a job and the time at which it will end; infinity while that is unknown. A later call for a job replaces
earlier ones."""


class JobQueue(Protocol[J]):
    """The queue of a server in one run. Jobs are distinguished by identity."""

    def enter(self, now: float, job: J, length: float) -> None:
        """Add a job with ``length`` seconds of work at speed 1."""
        ...

    def leave(self, now: float, job: J) -> None:
        """Remove a job at its scheduled end."""
        ...

    def change_pace(self, now: float, factor: float) -> None:
        """Multiply all service times by ``factor``, relative to the server's own speed. Infinity stops the server."""
        ...

    def clear(self, now: float) -> list[J]:
        """Remove all jobs; return them in the order of their arrival."""
        ...


@final
class ServerClock:
    """Conversion between the time of the simulation and the time of one server.

    Example
    -------
    >>> clock = ServerClock()
    >>> clock.change(10.0, 2.0)      # from 10 s on, all work takes twice as long
    >>> clock.server_time(14.0), clock.simulation_time(13.0)
    (12.0, 16.0)
    >>> clock.change(14.0, inf)      # the server stops
    >>> clock.server_time(20.0), clock.simulation_time(13.0)
    (12.0, inf)
    """

    __slots__ = ("_factor", "_server_time", "_simulation_time")

    def __init__(self) -> None:
        self._simulation_time = 0.0
        self._server_time = 0.0
        self._factor = 1.0

    def server_time(self, now: float) -> float:
        """Return the server time at the simulation time ``now``."""
        return self._server_time + (now - self._simulation_time) / self._factor

    def simulation_time(self, time: float) -> float:
        """Return the simulation time of a server time that is not in the past; infinity while the server is stopped."""
        return (
            inf if self._factor == inf else self._simulation_time + (time - self._server_time) * self._factor
        )

    def change(self, now: float, factor: float) -> None:
        """Let server time run ``factor`` times as slowly as simulation time from now on."""
        self._server_time = self.server_time(now)
        self._simulation_time = now
        self._factor = factor


class InfiniteServer(Generic[J]):
    """A queue with infinitely many workers: no job waits for another."""

    __slots__ = ("_clock", "_due", "_schedule")

    def __init__(self, schedule: Schedule[J]) -> None:
        self._due: dict[J, float] = {}
        self._clock = ServerClock()
        self._schedule = schedule

    def end(self, now: float, length: float) -> float:
        """Return the end of a job that arrives now, without storing the job. Both times are in server time."""
        return now + length

    def enter(self, now: float, job: J, length: float) -> None:
        """Add a job and schedule its end."""
        clock = self._clock
        self._due[job] = end = self.end(clock.server_time(now), length)
        self._schedule(job, clock.simulation_time(end))

    def leave(self, now: float, job: J) -> None:
        """Remove a job that has ended."""
        del self._due[job]

    def change_pace(self, now: float, factor: float) -> None:
        """Multiply all service times by ``factor`` and schedule the ends again."""
        self._clock.change(now, factor)
        for job, due in self._due.items():
            self._schedule(job, self._clock.simulation_time(due))

    def clear(self, now: float) -> list[J]:
        """Remove all jobs; return them in the order of their arrival."""
        lost = list(self._due)
        self._due.clear()
        return lost


@final
class FifoQueue(InfiniteServer[J]):
    """A queue whose jobs are served first in, first out, by a number of workers."""

    __slots__ = ("free", "scale")

    def __init__(self, server: Server, schedule: Schedule[J]) -> None:
        super().__init__(schedule)
        self.scale: float = 1.0 / server.speed
        """Seconds of server time for one second of work."""
        self.free: list[float] = [0.0] * server.workers
        """Server time at which each worker becomes free; a heap."""

    def end(self, now: float, length: float) -> float:
        """Assign a job to the worker that becomes free first; return the job's end in server time."""
        end = max(now, self.free[0]) + length * self.scale
        heapreplace(self.free, end)
        return end

    def clear(self, now: float) -> list[J]:
        """Remove all jobs and free all workers; return the jobs in the order of their arrival."""
        self.free = [0.0] * len(self.free)
        return super().clear(now)


@final
class ProcessorSharing(Generic[J]):
    """A queue whose jobs are all served at once and share the workers.

    ``_done`` is the work in seconds that one job would have received if it had been there since the beginning. With n jobs
    it grows by ``min(1, workers / n)`` per second of server time. A job with ``l`` seconds of work that arrives when
    ``_done`` is ``d`` ends when ``_done`` is ``d + l``.
    """

    __slots__ = ("_at", "_clock", "_done", "_present", "_schedule", "_serial", "_workers", "scale")

    def __init__(self, server: Server, schedule: Schedule[J]) -> None:
        self.scale: float = 1.0 / server.speed
        """Seconds of server time that one worker needs for one second of work."""
        self._workers = server.workers
        self._present: list[tuple[float, int, J]] = []
        self._serial: Iterator[int] = count()
        self._done = 0.0
        self._at = 0.0
        self._clock = ServerClock()
        self._schedule = schedule

    def enter(self, now: float, job: J, length: float) -> None:
        """Add a job, which slows the others down if there are more jobs than workers."""
        self._move_to(now)
        if self._present:
            self._schedule(self._present[0][2], inf)
        heappush(self._present, (self._done + length * self.scale, next(self._serial), job))
        self._schedule_end()

    def leave(self, now: float, job: J) -> None:
        """Remove the job that has ended, and schedule the next end."""
        self._move_to(now)
        self._done = heappop(self._present)[0]  # the same value, without the rounding error
        self._schedule_end()

    def change_pace(self, now: float, factor: float) -> None:
        """Multiply all service times by ``factor`` and schedule the next end again."""
        self._move_to(now)
        self._clock.change(now, factor)
        self._schedule_end()

    def clear(self, now: float) -> list[J]:
        """Remove all jobs; return them in the order of their arrival."""
        self._move_to(now)
        lost = [job for _, _, job in sorted(self._present, key=lambda entry: entry[1])]
        self._present.clear()
        return lost

    def _rate(self) -> float:
        """Return the work that each job receives per second of server time."""
        return min(1.0, self._workers / len(self._present))

    def _move_to(self, now: float) -> None:
        time = self._clock.server_time(now)
        if self._present:
            self._done += (time - self._at) * self._rate()
        self._at = time

    def _schedule_end(self) -> None:
        """Schedule the end of the job that ends first if no job arrives or leaves before."""
        if self._present:
            end, _, job = self._present[0]
            self._schedule(
                job, self._clock.simulation_time(self._at + max(0.0, end - self._done) / self._rate())
            )


def make_queue(server: Server, schedule: Schedule[J]) -> FifoQueue[J] | ProcessorSharing[J]:
    """Return a new queue for a server, by its discipline."""
    return FifoQueue(server, schedule) if server.discipline == "fifo" else ProcessorSharing(server, schedule)
