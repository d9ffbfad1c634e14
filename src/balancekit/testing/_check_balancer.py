"""Check of a balancer under random sequences of operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from random import Random
from typing import Any

from balancekit._support.extras import extra
from balancekit._support.functions import plain_function

with extra("testing"):
    from hypothesis import Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.testing import strategies
from balancekit.testing._check_callbacks import check_callbacks
from balancekit.testing._clock import ManualClock
from balancekit.testing._machine import SITUATIONS, BalancerMachine, MakeBalancer

__all__ = ["check_balancer"]

WANTED = "a function of endpoints, a clock and a random generator that makes a new balancer at each call"


@checked_arguments
def check_balancer(
    make: MakeBalancer,
    *,
    situations: Collection[str] = SITUATIONS,
    min_visits: int = 3,
    examples: int = 100,
    steps: int = 50,
) -> Counter[str]:
    """Check a balancer under random sequences of operations: its counts must match the leases that were opened.

    Before that, check its callbacks: they are called once for each request or event, under no lock, and not after they were
    removed. Attempts of one request are on different endpoints.

    Parameters
    ----------
    make
        Function that makes the balancer from endpoints, a clock and a random generator. The balancer must allow an empty
        pool (``allow_empty=True``). If it lacks one of the methods ``add``, ``remove``, ``set_weight``, ``update``,
        ``drain`` and ``undrain``, it is checked without it.
    situations
        Situations that must occur, a subset of ``SITUATIONS``. Leave out those that cannot occur with your balancer:
        without a health policy no endpoint is ejected; without ``remove`` and ``update`` none is removed.
    min_visits
        Number of times that each of them must occur, >= 1.
    examples, steps
        Number of sequences, and maximum number of operations in each, >= 1.

    Returns
    -------
    Counter
        The number of times that each situation occurred.

    Raises
    ------
    AssertionError
        If the counts do not match or an operation is wrong, with the shortest sequence of operations that Hypothesis
        found; or if a situation occurred less than ``min_visits`` times.
    ConfigurationError
        If a number is below 1, or ``make`` returns something other than a balancer, or the same balancer twice.

    Example
    -------
    >>> from balancekit import LoadBalancer, RoundRobin
    >>> from balancekit.testing import check_balancer
    >>> def make(endpoints, clock, rng):
    ...     return LoadBalancer(endpoints, selector=RoundRobin(), clock=clock, rng=rng, allow_empty=True)
    >>> check_balancer(make, situations=["healthy"], examples=5)["healthy"] > 0
    True
    """
    valid.integer("min_visits", min_visits, minimum=1)
    plain_function("make", make, WANTED, takes=3)
    one, another = (make([Endpoint("a")], ManualClock(), Random(0)) for _ in range(2))
    if one is another is not None:
        raise ConfigurationError("make", make, WANTED)
    check_callbacks(make)
    visits: Counter[str] = Counter()
    namespace: dict[str, Any] = {"make": staticmethod(make), "visits": visits}
    machine = type("BalancerMachine", (BalancerMachine,), namespace)
    steady = settings(
        max_examples=valid.integer("examples", examples, minimum=1),
        stateful_step_count=valid.integer("steps", steps, minimum=1),
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=strategies.SUPPRESSED_CHECKS,
    )
    run_state_machine_as_test(machine, settings=steady)
    machine().walk()  # last: of a wrong balancer, Hypothesis shows the shortest sequence
    rare = {name: visits[name] for name in situations if visits[name] < min_visits}
    if rare:
        raise AssertionError(
            f"these situations occurred less than {min_visits} times: {rare}. Those that occurred are {dict(visits)}. "
            "Does the balancer use the clock that was passed to make?"
        )
    return visits
