"""Context of a running simulation: balancers, a clock, and streams of random numbers.

Each use of randomness has its own generator. Its seed is made from the seed of the run and the name of the use. So the
arrivals of a run do not depend on its servers, and the service times of a server do not depend on other servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Any, TypeAlias

from balancekit._support.functions import plain_function
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.events import Event
from balancekit.protocols import ObservableBalancer, require_balancer
from balancekit.sim._queues import FifoQueue, Server
from balancekit.sim._services import draws

__all__ = ["Clock", "MakeBalancer", "SimContext", "fresh", "maker"]

MakeBalancer: TypeAlias = Callable[
    [list[Endpoint[str]], Callable[[], float], Random], ObservableBalancer[str]
]
"""Function that makes a balancer from endpoints, a clock and a random generator."""


class Clock:
    """Virtual clock of a run. Calling it returns the current time in seconds."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: float = 0.0

    def __call__(self) -> float:
        return self.now


class SimContext:
    """State that the loops of one run share.

    Parameters
    ----------
    servers
        Servers by endpoint id.
    make
        Function that makes a balancer.
    balancers
        Number of balancers.
    absent
        Ids of endpoints that are not in the pool at the beginning.
    seed
        Seed of all randomness.

    Raises
    ------
    ConfigurationError
        If ``make`` returns something other than a balancer, or a balancer with other endpoints.
    """

    def __init__(
        self,
        servers: Mapping[str, Server],
        make: MakeBalancer,
        *,
        balancers: int,
        absent: Iterable[str],
        seed: int,
    ) -> None:
        self.servers = servers
        self.clock = Clock()
        self.events: list[Event] = []
        self._seed = seed
        later = set(absent)
        pool = [Endpoint(id, weight=one.weight) for id, one in servers.items() if id not in later]
        make = fresh(make)
        self.balancers: list[Any] = [  # they may have more methods than those of the protocol, for faults
            make(list(pool), self.clock, self.generator(f"balancer {number}")) for number in range(balancers)
        ]
        for balancer in self.balancers:
            unknown = [each.id for each in balancer.endpoints if each.id not in servers]
            if unknown:
                raise ConfigurationError(
                    "balancer", unknown[0], f"a balancer of the endpoints {', '.join(servers)}"
                )
            balancer.on_event(self.events.append)
        self.spread = self.generator("spread")
        """Draws the balancer that handles a request."""

    def generator(self, name: str) -> Random:
        """Return a new random generator for the use with this name."""
        return Random(f"{self._seed} {name}")

    def lengths(self, id: str) -> Iterator[float]:
        """Return an endless iterator of the service times of a server, from the first one on."""
        return draws(self.servers[id].service, self.generator(f"service {id}"))

    def queues(self) -> Iterator[tuple[str, FifoQueue[object], Iterator[float]]]:
        """Yield id, queue and service times of each server, in the order of ``servers``."""
        for id, server in self.servers.items():
            yield id, FifoQueue(server, _ignore), self.lengths(id)


def maker(value: MakeBalancer) -> MakeBalancer:
    """Return a function that makes balancers after checking that it takes endpoints, a clock and a generator."""
    return plain_function(
        "balancer",
        value,
        "a function that makes a balancer, such as "
        "lambda endpoints, clock, rng: LoadBalancer(endpoints, clock=clock, rng=rng)",
        takes=3,
    )


def fresh(make: MakeBalancer) -> MakeBalancer:
    """Return a function that calls ``make`` and returns its balancer. It refuses a repeated balancer and other objects.

    Clients that share a balancer see each other's requests: a simulation of that is one of a single client.
    """
    known: list[ObservableBalancer[str]] = []

    def checked(
        endpoints: list[Endpoint[str]], clock: Callable[[], float], rng: Random
    ) -> ObservableBalancer[str]:
        made = make(endpoints, clock, rng)
        require_balancer(made)
        if any(made is other for other in known):
            raise ConfigurationError("balancer", make, "a function that makes a fresh balancer at each call")
        known.append(made)
        return made

    return checked


def _ignore(job: object, end: float) -> None:
    """Schedule nothing: the fast loop computes ends from ``free`` alone."""
