"""Simulations: real balancers and simulated servers in virtual time.

:class:`Simulation` is the model. A run uses one of two loops. ``_fast_loop.py`` handles simulations in which the end of
each request is known when it arrives; ``_event_loop.py`` handles all others. Where both apply, they write the same trace.
``_report_builder.py`` makes the report from the trace. The same seed gives the same run in each loop, process and machine.
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
from balancekit.sim._arrivals import Arrivals, ClosedLoop, arrival_times
from balancekit.sim._context import MakeBalancer, SimContext, maker
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
"""Maximum number of requests of a run. Each needs about 70 bytes of memory during the run."""


def _default_balancer(
    endpoints: list[Endpoint[str]], clock: Callable[[], float], rng: Random
) -> LoadBalancer[str]:
    return LoadBalancer(endpoints, clock=clock, rng=rng)


class Simulation(ConstructorRepr):
    """A model of clients, balancers and servers. Run it with :meth:`run`.

    Parameters
    ----------
    servers
        Servers by endpoint id; at least one.
    arrivals
        The arrival process. :class:`ClosedLoop` is for callers that wait for their responses.
    balancer
        Function that makes a balancer from endpoints, a clock and a random generator, and passes the last two on: a
        balancer with another clock measures real seconds. The default makes a ``LoadBalancer`` with default options.
    balancers
        Number of balancers, >= 1. They model separate client processes: each sees only its own requests. Each request
        goes through a random one; requests of one caller of a ``ClosedLoop`` always go through the same one.
    attempts
        Maximum attempts per request, >= 1, each at another endpoint. Hedges are not counted.
    timeout
        Seconds after which the caller gives up an attempt, > 0; ``None`` for no limit.
    hedge
        Seconds after which a request without a response is sent to a second endpoint as well, > 0. The first response
        is used, and the other attempt is cancelled. ``None`` for no hedging.
    faults
        Faults of endpoints. An endpoint whose first change is an ``Add`` is not in the pool until then.
    keys
        Function that draws the key of a request from a random generator; ``None`` for requests without keys.
    costs
        Function that draws the cost of a request from a random generator, > 0. The service time is multiplied by it.
        ``None`` for a cost of 1.
    seed
        Seed of all randomness, >= 0.

    Raises
    ------
    ConfigurationError
        If ``servers`` is empty or holds something other than ``Server``, or ``arrivals`` has no method
        ``times``. If ``balancer`` is no function of three arguments, a number is outside its bounds, ``keys`` or
        ``costs`` is not callable, a fault names an unknown endpoint, or faults add all endpoints later.

    Notes
    -----
    *Guarantee.* Equal arguments give equal reports, in any process and on any machine, if ``balancer`` passes the clock and
    the generator on.

    *When not to use it:* for several tiers of balancers, use :class:`TierSimulation`; for DNS caches, use
    :class:`DnsSimulation`.

    Example
    -------
    >>> from balancekit.sim import Exponential, Poisson, Server, Simulation
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
        balancer: MakeBalancer = _default_balancer,
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
        self._make = maker(balancer)
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
                "faults", self._faults, "at least one endpoint that is in the pool at the beginning"
            )
        self._seed = valid.integer("seed", seed, minimum=0)

    def run(self, *, requests: int, warm_up: int = 0) -> SimulationReport:
        """Simulate ``warm_up`` requests that are not counted and ``requests`` that are, until each has ended.

        Parameters
        ----------
        requests
            Number of requests to count, 1 to a hundred million. Fewer are counted if the arrival process ends earlier.
        warm_up
            Number of requests before them that are not counted, 0 to a hundred million.

        Raises
        ------
        ConfigurationError
            If a number is outside its bounds. If ``balancer`` returns something other than a balancer of the servers,
            or one without a method that a fault needs. If arrivals, service times, keys or costs have wrong values.
        """
        requests = valid.integer("requests", requests, minimum=1, maximum=MAX_REQUESTS)
        warm_up = valid.integer("warm_up", warm_up, minimum=0, maximum=MAX_REQUESTS)
        context = self._context()
        trace = (self._run_fast if self._fast_loop_suffices() else self._run_events)(
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

    def _fast_loop_suffices(self) -> bool:
        """Return whether the fast loop can run this: the end of each request is known when it arrives."""
        rules = self._rules
        return (
            not self._faults
            and not isinstance(self._arrivals, ClosedLoop)
            and not any([rules.timeout, rules.hedge, rules.keys, rules.costs])
            and all(server.discipline == "fifo" for server in self._servers.values())
        )

    def _run_fast(self, context: SimContext, total: int) -> Trace:
        return play(context, arrival_times(self._arrivals, context.generator("arrivals"), total))

    def _run_events(self, context: SimContext, total: int) -> Trace:
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
        See :class:`Simulation`.
    requests
        See :meth:`Simulation.run`.
    options
        ``warm_up`` of :meth:`Simulation.run`, and the keyword arguments of :class:`Simulation`.

    Raises
    ------
    ConfigurationError
        If :class:`Simulation` or :meth:`Simulation.run` refuses an argument.

    Example
    -------
    >>> from balancekit.sim import Exponential, Poisson, Server, simulate
    >>> simulate({"a": Server(service=Exponential(mean=1.0))}, Poisson(rate=0.5), requests=100, warm_up=10).requests
    100
    """
    warm_up = options.pop("warm_up", 0)
    return Simulation(servers, arrivals, **options).run(requests=requests, warm_up=warm_up)


def _callable(parameter: str, value: F) -> F:
    return value if value is None else plain_function(parameter, value, "a function of a generator, or None")
