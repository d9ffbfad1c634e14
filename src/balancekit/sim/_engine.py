"""Simulations: a balancer of the library, simulated servers, virtual time.

:class:`Simulation` is the model; a run of it takes one of two loops. ``_fast_loop.py`` has the requests whose end is known
when they arrive, ``_event_loop.py`` all others; where both could, they write the same trace. ``_report_builder.py`` makes the
report of it. The same seed gives the same run, whichever loop, process or machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, Final, TypeVar

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import plain_function
from balancekit._support.signature import spelled
from balancekit.balancer import LoadBalancer
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.sim._arrivals import Arrivals, ClosedLoop, moments
from balancekit.sim._context import MakeBalancer, SimContext
from balancekit.sim._event_loop import Rules, Run
from balancekit.sim._fast_loop import play
from balancekit.sim._faults import Add, Drain, Fault, Remove, absent_at_first
from balancekit.sim._queues import Server
from balancekit.sim._report import SimulationReport
from balancekit.sim._report_builder import measure
from balancekit.sim._trace import Trace
from balancekit.snapshot import Key

__all__ = ["Simulation", "simulate"]

F = TypeVar("F")

MAX_REQUESTS: Final = 100_000_000
"""Each takes some seventy bytes while a run goes on."""


def _plain(endpoints: list[Endpoint[str]], clock: Callable[[], float], rng: Random) -> LoadBalancer[str]:
    return LoadBalancer(endpoints, clock=clock, rng=rng)


class Simulation(ConstructorRepr):
    """A model of clients, balancers and servers. Run it with :meth:`run`.

    Parameters
    ----------
    servers
        By endpoint id; at least one.
    arrivals
        When requests come; :class:`ClosedLoop` for callers who wait for their answers.
    balancer
        Makes a balancer; ``LoadBalancer`` with its defaults if left out.
    balancers
        How many there are, >= 1, each in a program of its own; a request goes through any of them, those of one of the
        ``ClosedLoop`` always through the same. Each sees only its own requests.
    attempts
        How often a request is tried, >= 1, each time elsewhere.
    timeout
        Seconds after which an attempt is given up, > 0; ``None`` for never.
    hedge
        Seconds after which a request that has not been answered is sent a second time, elsewhere, > 0; the first answer
        counts, and the other attempt is cancelled. ``None`` for never. Not one of the ``attempts``.
    faults
        What goes wrong. An endpoint whose first change is that it is added is not there until then.
    keys
        Draws the key of a request from a generator; ``None`` for requests without keys.
    costs
        Draws what a request costs relative to an ordinary one, > 0; its service takes as many times as long. ``None``
        if all are ordinary.
    seed
        Of all randomness.

    Raises
    ------
    ConfigurationError
        If ``servers`` is empty or holds something other than ``Server``, or ``arrivals`` has no ``times``
        method. If a number is outside its bounds, ``keys`` or ``costs`` cannot be called, or a fault names
        another endpoint.

    Example
    -------
    >>> from balancekit.sim import Exponential, Poisson, Server
    >>> servers = {f"s{k}": Server(service=Exponential(mean=1.0)) for k in range(10)}
    >>> report = Simulation(servers, Poisson(rate=5.0), seed=1).run(requests=2000)
    >>> report.requests, report.failures
    (2000, 0)
    """

    @checked_arguments
    def __init__(
        self,
        servers: Mapping[str, Server],
        arrivals: Arrivals,
        *,
        balancer: MakeBalancer = _plain,
        balancers: int = 1,
        attempts: int = 1,
        timeout: float | None = None,
        hedge: float | None = None,
        faults: Iterable[Fault] = (),
        keys: Callable[[Random], Key | None] | None = None,
        costs: Callable[[Random], float] | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(servers, Mapping) or not servers:
            raise ConfigurationError("servers", servers, "Servers by endpoint id, at least one")
        for server in servers.values():
            if not isinstance(server, Server):
                raise ConfigurationError("servers", server, "Server objects")
        valid.instance("arrivals", arrivals, "times", allowed="arrivals such as Poisson(rate=100.0)")
        self._servers = dict(servers)
        self._arrivals = arrivals
        self._make = balancer
        self._balancers = valid.integer("balancers", balancers, minimum=1)
        self._rules = Rules(
            attempts=valid.integer("attempts", attempts, minimum=1),
            timeout=None if timeout is None else valid.number("timeout", timeout, above=0.0),
            hedge=None if hedge is None else valid.number("hedge", hedge, above=0.0),
            keys=_callable("keys", keys),
            costs=_callable("costs", costs),
        )
        self._faults: Sequence[Fault] = tuple(faults)
        for fault in self._faults:
            if not isinstance(fault, Fault) or fault.endpoint not in self._servers:
                raise ConfigurationError("faults", fault, f"faults of {', '.join(self._servers)}")
        self._absent = absent_at_first(self._faults)
        if len(self._absent) == len(self._servers):
            raise ConfigurationError(
                "faults", self._faults, "an endpoint that is there at first: all are added later"
            )
        self._seed = valid.integer("seed", seed, minimum=0)

    def run(self, *, requests: int, warm_up: int = 0) -> SimulationReport:
        """Simulate until so many requests have been answered after the warm-up.

        Parameters
        ----------
        requests
            How many to count, 1 to a hundred million; fewer if no more arrive.
        warm_up
            How many come before, not counted, 0 to a hundred million.
        """
        requests = valid.integer("requests", requests, minimum=1, maximum=MAX_REQUESTS)
        warm_up = valid.integer("warm_up", warm_up, minimum=0, maximum=MAX_REQUESTS)
        context = self._context()
        trace = (self._undisturbed if self._nothing_can_happen() else self._in_full)(
            context, requests + warm_up
        )
        return measure(trace, self._servers, warm_up, context.events)

    def _context(self) -> SimContext:
        context = SimContext(
            self._servers,
            self._make,
            balancers=self._balancers,
            absent=self._absent,
            seed=self._seed,
        )
        for fault in self._faults:
            name = type(fault).__name__.lower()
            if isinstance(fault, Add | Drain | Remove) and not hasattr(context.balancers[0], name):
                raise ConfigurationError(
                    "balancer", context.balancers[0], f"a balancer with a method {name}, for {fault}"
                )
        return context

    def _nothing_can_happen(self) -> bool:
        """Return whether the end of every request is known when it arrives."""
        rules = self._rules
        return (
            not self._faults
            and not isinstance(self._arrivals, ClosedLoop)
            and not any([rules.timeout, rules.hedge, rules.keys, rules.costs])
            and all(server.discipline == "fifo" for server in self._servers.values())
        )

    def _undisturbed(self, context: SimContext, total: int) -> Trace:
        return play(context, moments(self._arrivals, context.chance("arrivals"), total))

    def _in_full(self, context: SimContext, total: int) -> Trace:
        return Run(context, self._rules, self._faults).play(self._arrivals, total)


@checked_arguments
@spelled(Simulation)
def simulate(
    servers: Mapping[str, Server], arrivals: Arrivals, *, requests: int, **options: Any
) -> SimulationReport:
    """Make a :class:`Simulation` and run it.

    Parameters
    ----------
    servers, arrivals
        As for :class:`Simulation`.
    requests
        As for :meth:`Simulation.run`.
    options
        ``warm_up`` is for :meth:`Simulation.run`; the others are for :class:`Simulation`.

    Raises
    ------
    ConfigurationError
        If :class:`Simulation` refuses an argument, or ``requests`` or ``warm_up`` is outside its bounds.

    Example
    -------
    >>> from balancekit.sim import Exponential, Poisson, Server
    >>> simulate({"a": Server(service=Exponential(mean=1.0))}, Poisson(rate=0.5), requests=100, warm_up=10).requests
    100
    """
    warm_up = options.pop("warm_up", 0)
    return Simulation(servers, arrivals, **options).run(requests=requests, warm_up=warm_up)


def _callable(parameter: str, value: F) -> F:
    return value if value is None else plain_function(parameter, value, "a function of a generator, or None")
