"""When will this endpoint have served a request? A first-in first-out queue before some workers.

Because the discipline is first in, first out, the end of a request is known when it arrives: it begins when
the worker that is free soonest is free. So the simulator needs one event per request, not two.

Cost: O(log workers) per request.
"""

from __future__ import annotations

from heapq import heapreplace
from random import Random
from typing import final

from balancekit import _validation as valid
from balancekit._record import Record
from balancekit.errors import ConfigurationError
from balancekit.sim._times import Service

__all__ = ["Server", "Station"]


class Server(Record):
    """A simulated endpoint.

    Parameters
    ----------
    service
        How long its requests take.
    workers
        How many it works on at once, >= 1; the others wait in line.
    speed
        What service times are divided by, > 0.
    weight
        Of the endpoint, >= 0.
    """

    service: Service
    workers: int = 1
    speed: float = 1.0
    weight: float = 1.0

    def _check(self) -> None:
        if not callable(getattr(self.service, "sample", None)):
            raise ConfigurationError("service", self.service, "service times such as Exponential(mean=0.05)")
        valid.integer("workers", self.workers, minimum=1)
        valid.number("speed", self.speed, above=0.0)
        valid.number("weight", self.weight, minimum=0.0)


@final
class Station:
    """The state of a server in one run."""

    __slots__ = ("busy", "down", "epoch", "fail", "fail_after", "free", "present", "sample", "scale", "speed")

    def __init__(self, server: Server) -> None:
        self.sample = server.service.sample
        self.speed: float = 1.0 / server.speed
        self.scale: float = self.speed
        """What a drawn time is multiplied by."""
        self.free: list[float] = [0.0] * server.workers
        """When each worker is free; a heap."""
        self.busy: float = 0.0
        """Seconds of work taken on."""
        self.down: bool = False
        self.fail: float = 0.0
        self.fail_after: float = 0.0
        self.epoch: int = 0
        """Grows with every crash: what began before it is lost."""
        self.present: bool = True

    def serve(self, now: float, rng: Random) -> float:
        """Take on a request; return when it will be answered."""
        length = self.sample(rng) * self.scale
        self.busy += length
        free = self.free
        end = (max(free[0], now)) + length
        if len(free) == 1:
            free[0] = end
        else:
            heapreplace(free, end)
        return end

    def crash(self) -> None:
        """Lose everything and refuse what comes."""
        self.down = True
        self.epoch += 1
        self.free = [0.0] * len(self.free)

    def hang(self, until: float) -> None:
        """Do nothing until then."""
        self.free = [max(free, until) for free in self.free]
        self.free.sort()
