"""The simulator: what goes in, what goes wrong, what comes out, and the same run for the same seed."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice, pairwise
from random import Random

import numpy as np
import pytest

from balancekit import ConfigurationError, LoadBalancer, PowerOfChoices, RoundRobin
from balancekit.events import Ejected
from balancekit.loads import InFlight
from balancekit.sim import (
    Add,
    Bimodal,
    Bursty,
    ClosedLoop,
    Crash,
    Deterministic,
    Diurnal,
    Drain,
    Exponential,
    FailFast,
    FailSlow,
    Flap,
    Hang,
    Lognormal,
    Pareto,
    Partial,
    Poisson,
    Recorded,
    RecordedArrivals,
    Recorder,
    Remove,
    Server,
    Simulation,
    Slow,
    jain_index,
    simulate,
    sweep,
)

SERVICES = [
    Deterministic(mean=0.2),
    Exponential(mean=0.2),
    Lognormal(mean=0.2, sigma=0.7),
    Pareto(mean=0.2, shape=4.0),
    Bimodal(fast=0.1, slow=1.1),
    Recorded(seconds=(0.1, 0.2, 0.3)),
]


class Words:
    """Service times that are no numbers."""

    def sample(self, rng):
        """Return a word."""
        return "long"


class Times:
    """Arrivals at given times."""

    def __init__(self, times):
        self._times = times

    def times(self, rng):
        """Return the times."""
        return self._times


def servers(count, mean=0.01, **options):
    """Return alike servers."""
    return {f"s{k}": Server(service=Exponential(mean=mean), **options) for k in range(count)}


@pytest.mark.parametrize("service", SERVICES, ids=repr)
def test_expected_delays_have_the_mean_they_state(service):
    """Expected delays have the mean that they state, within five standard errors of 40 000 draws."""
    rng = Random(3)
    drawn = np.array([service.sample(rng) for _ in range(40_000)])
    assert abs(drawn.mean() - service.mean) <= 5.0 * drawn.std() / math.sqrt(len(drawn)) + 1e-12
    assert drawn.min() >= 0.0


@pytest.mark.parametrize(
    "arrivals",
    [
        Poisson(rate=50.0),
        Bursty(quiet=10.0, busy=210.0, quiet_length=0.4, busy_length=0.1),
        Diurnal(rate=50.0, swing=0.9, period=10.0),
    ],
    ids=repr,
)
def test_arrivals_come_at_the_rate_they_state(arrivals):
    """Arrivals come in ascending order at the rate that they state, over 20 000 of them."""
    times = list(islice(arrivals.times(Random(4)), 20_000))
    assert all(before <= after for before, after in pairwise(times))
    assert len(times) / times[-1] == pytest.approx(50.0, rel=0.1)
    assert arrivals.rate == 50.0


def test_recorded_arrivals_end_the_run():
    """Recorded arrivals end the run: there are no more requests than were recorded."""
    report = simulate(servers(2), RecordedArrivals(seconds=(0.0, 1.0, 1.0, 2.0)), requests=4)
    assert (report.requests, len(report.latency)) == (4, 4)


def run_case(seed, n):
    """One case of a sweep."""
    report = simulate(servers(n), Poisson(rate=50.0 * n), requests=500, seed=seed)
    return pickle.dumps((report.latency.tobytes(), sorted(report.picks.items()), report.in_system))


def test_the_same_seed_is_the_same_run_wherever_it_runs():
    """The same seed gives equal bytes serially, in threads, in processes, and in any order."""
    cases = [{"seed": seed, "n": n} for seed in range(8) for n in (2, 5)]
    serial = [run_case(**case) for case in cases]
    with ProcessPoolExecutor(2) as processes, ThreadPoolExecutor(4) as threads:
        assert sweep(run_case, cases, executor=processes) == serial
        assert sweep(run_case, reversed(cases), executor=threads) == serial[::-1]
    assert len(set(serial)) == len(serial)


def make(selector=PowerOfChoices, **options):
    """Return a maker of balancers."""
    return lambda endpoints, clock, rng: LoadBalancer(
        endpoints, selector=selector(), clock=clock, rng=rng, **options
    )


class TestFaults:
    """What goes wrong."""

    def test_a_crash_costs_nothing_if_attempts_go_elsewhere(self):
        """If attempts go elsewhere, a crash fails no request. The endpoint is ejected and comes back."""
        options = {"requests": 8_000, "seed": 2, "faults": [Crash(endpoint="s0", at=1.0, seconds=3.0)]}
        alone = simulate(servers(5), Poisson(rate=200.0), **options)
        report = simulate(servers(5), Poisson(rate=200.0), attempts=3, **options)
        assert alone.failures > 0
        assert (alone.retries, alone.attempts) == (0, 1.0)
        assert report.failures == 0
        assert report.retries > 0
        assert any(isinstance(event, Ejected) and event.endpoint == "s0" for event in report.events)
        assert report.shares["s0"] > 0.1

    def test_a_hang_runs_into_the_timeout(self):
        """An attempt on a hanging server times out, and another attempt answers the caller."""
        report = simulate(
            servers(4),
            Poisson(rate=100.0),
            requests=4_000,
            attempts=2,
            timeout=0.5,
            faults=[Hang(endpoint="s1", at=2.0, seconds=5.0)],
            seed=3,
        )
        assert report.failures == 0
        assert report.latency.max() >= 0.5

    def test_failing_fast_does_not_attract(self):
        """Failing fast attracts no traffic with the default, and does with in-flight counts alone."""
        fault = [FailFast(endpoint="s0", at=0.0, seconds=1e6)]
        options = {"requests": 6_000, "faults": fault, "seed": 4}
        default = simulate(servers(10, mean=0.05), Poisson(rate=100.0), **options)
        fooled = simulate(
            servers(10, mean=0.05),
            Poisson(rate=100.0),
            balancer=make(load=InFlight(), health=None),
            **options,
        )
        assert default.shares["s0"] < 0.02
        assert fooled.shares["s0"] > 0.1

    def test_slowness_flaps_and_operators(self):
        """Faults and operators move traffic.

        A slow endpoint gets less, a flap is ejected, and additions, drains and removals count.
        """
        faults = [
            Slow(endpoint="s0", at=0.0, seconds=1e6, factor=5.0),
            Flap(endpoint="s1", at=1.0, seconds=5.0, down=0.5, up=0.5),
            Add(endpoint="s5", at=2.0),
            Drain(endpoint="s2", at=3.0),
            Remove(endpoint="s3", at=4.0),
        ]
        report = simulate(servers(6), Poisson(rate=300.0), requests=6_000, attempts=3, faults=faults, seed=5)
        assert report.failures == 0
        assert report.shares["s0"] < report.shares["s4"]
        assert report.shares["s5"] > 0.0
        assert report.shares["s2"] < report.shares["s4"]
        kinds = {type(event).__name__ for event in report.events}
        assert {"Added", "Removed", "Draining", "Drained", "Ejected"} <= kinds


def test_round_robin_feeds_a_slow_server_and_least_load_does_not():
    """Round robin makes an unequal queue at a slow server, and least load does not."""
    pool = servers(4, mean=0.02)
    pool["s0"] = Server(service=Exponential(mean=0.02), speed=0.3)
    options = {"requests": 20_000, "seed": 6}
    turns = simulate(pool, Poisson(rate=80.0), balancer=make(RoundRobin), **options)
    two = simulate(pool, Poisson(rate=80.0), balancer=make(load=InFlight()), **options)
    assert turns.shares["s0"] == pytest.approx(0.25, abs=0.01)
    assert two.shares["s0"] < 0.15
    assert two.quantile(0.99) < turns.quantile(0.99) / 2


def test_many_balancers_see_a_part_each():
    """Twenty balancers with a twentieth of the traffic do worse than one that sees it all."""
    options = {"balancer": make(load=InFlight()), "requests": 30_000, "warm_up": 3_000, "seed": 7}
    one = simulate(servers(10, mean=1.0), Poisson(rate=9.0), **options)
    many = simulate(servers(10, mean=1.0), Poisson(rate=9.0), balancers=20, **options)
    assert one.mean < many.mean


class Drawn:
    """Times of the user's own making."""

    def __init__(self, *drawn):
        self.drawn = drawn

    def sample(self, rng):
        """Draw a service time."""
        return rng.choice(self.drawn)

    def times(self, rng):
        """Yield arrival times."""
        yield from self.drawn


def changed(*kinds):
    """Simulate one server of two, changed so."""
    faults = [kind(endpoint="s0", at=float(at)) for at, kind in enumerate(kinds)]
    return Simulation(servers(2), Poisson(rate=1.0), faults=faults)


@pytest.mark.parametrize(
    "options", [{}, {"timeout": 1.0}, {"keys": lambda rng: "key"}], ids=["alone", "timeout", "keys"]
)
@pytest.mark.parametrize("wrong", [math.inf, math.nan, -1.0])
def test_no_time_is_endless(wrong, options):
    """An infinite, negative or NaN service time, arrival or pause is refused when it is drawn.

    This holds in both loops and disciplines.
    """
    for discipline in ("fifo", "sharing"):
        pool = {"a": Server(service=Drawn(0.1, wrong), discipline=discipline)}
        with pytest.raises(ConfigurationError, match="service"):
            simulate(pool, Poisson(rate=10.0), requests=50, **options)
    for times in ([0.0, wrong], [wrong], [2.0, 1.0]):
        with pytest.raises(ConfigurationError, match="arrivals"):
            simulate(servers(1), Drawn(*times), requests=50, **options)
    with pytest.raises(ConfigurationError, match="pause"):
        simulate(servers(1), ClosedLoop(count=2, pause=Drawn(0.1, wrong)), requests=50, **options)


def test_a_cost_beyond_all_bounds_is_refused():
    """A cost so large that its request never ends is refused rather than waited for."""
    with pytest.raises(ConfigurationError, match="costs"):
        simulate(
            {"a": Server(service=Deterministic(mean=1e10))},
            Poisson(rate=1.0),
            requests=9,
            costs=lambda rng: 1e300,
        )


def test_measured_times_may_come_from_a_generator():
    """Measured times may come from a generator, which is read once and kept."""
    arrivals = RecordedArrivals(seconds=(k / 10 for k in range(50)))
    lengths = Recorded(seconds=(k / 100 for k in range(1, 3)))
    report = simulate({"a": Server(service=lengths)}, arrivals, requests=50)
    assert (report.requests, lengths.mean) == (50, pytest.approx(0.015))


def test_evenness():
    """Evenness is Jain's index: 1 for equal numbers, 0.5 for one of two, and 1 for none."""
    assert jain_index([]) == jain_index([0.0]) == 1.0
    assert jain_index([1, 0]) == 0.5


@pytest.mark.parametrize(
    ("parameter", "build"),
    [
        ("mean", lambda: Exponential(mean=0.0)),
        ("sigma", lambda: Lognormal(mean=1.0, sigma=float("nan"))),
        ("shape", lambda: Pareto(mean=1.0, shape=1.0)),
        ("slow_share", lambda: Bimodal(fast=1.0, slow=2.0, slow_share=2.0)),
        ("seconds", lambda: Recorded(seconds=())),
        ("seconds", lambda: RecordedArrivals(seconds=(2.0, 1.0))),
        ("rate", lambda: Poisson(rate=-1.0)),
        ("workers", lambda: Server(service=Deterministic(mean=1.0), workers=0)),
        ("weight", lambda: Server(service=Deterministic(mean=1.0), weight=-0.5)),
        ("service", lambda: Server(service=1.0)),
        ("servers", lambda: Simulation({}, Poisson(rate=1.0))),
        ("arrivals", lambda: Simulation(servers(1), 5.0)),
        (
            "faults",
            lambda: Simulation(servers(1), Poisson(rate=1.0), faults=[Crash(endpoint="x", at=0, seconds=1)]),
        ),
        ("servers", lambda: Simulation({"a": 3}, Poisson(rate=1.0))),
        ("attempts", lambda: Simulation(servers(1), Poisson(rate=1.0), attempts=0)),
        ("timeout", lambda: Simulation(servers(1), Poisson(rate=1.0), timeout=0.0)),
        ("hedge", lambda: Simulation(servers(1), Poisson(rate=1.0), hedge=-1.0)),
        ("keys", lambda: Simulation(servers(1), Poisson(rate=1.0), keys="user")),
        ("costs", lambda: Simulation(servers(1), Poisson(rate=1.0), costs=2.0)),
        ("balancers", lambda: Simulation(servers(1), Poisson(rate=1.0), balancers=0)),
        ("discipline", lambda: Server(service=Deterministic(mean=1.0), discipline="lifo")),
        ("count", lambda: ClosedLoop(count=0)),
        ("pause", lambda: ClosedLoop(count=1, pause=3.0)),
        ("share", lambda: Partial(endpoint="a", at=0.0, seconds=1.0, share=1.5)),
        ("after", lambda: FailSlow(endpoint="a", at=0.0, seconds=1.0, after=-1.0)),
        ("factor", lambda: Slow(endpoint="a", at=0.0, seconds=1.0, factor=0.0)),
        ("at", lambda: Hang(endpoint="a", at=-1.0, seconds=1.0)),
        ("factor", lambda: Slow(endpoint="a", at=0.0, seconds=1.0, factor=1e-320)),
        ("speed", lambda: Server(service=Deterministic(mean=1.0), speed=1e-320)),
        ("seconds", lambda: Flap(endpoint="a", at=1.0, seconds=1.0, down=1e-17, up=1e-17)),
        ("faults", lambda: changed(Remove, Remove)),
        ("faults", lambda: changed(Remove, Drain)),
        ("faults", lambda: changed(Drain, Add)),
        ("faults", lambda: changed(Add, Add)),
        ("requests", lambda: simulate(servers(1), Poisson(rate=1.0), requests=0)),
        ("requests", lambda: simulate(servers(1), Poisson(rate=1.0), requests=10**12)),
        ("warm_up", lambda: simulate(servers(1), Poisson(rate=1.0), requests=1, warm_up=10**12)),
        ("arrivals", lambda: simulate(servers(1), Times(["soon"]), requests=1)),
        ("arrivals", lambda: simulate(servers(1), Times(None), requests=1)),
        ("faults", lambda: Simulation(servers(1), Poisson(rate=1.0), faults=[Add(endpoint="s0", at=1.0)])),
        ("seconds", lambda: RecordedArrivals([1.7e12, 1.7e12 + 1.0])),  # an epoch in milliseconds
        ("seconds", lambda: RecordedArrivals([1e300])),
        ("arrivals", lambda: simulate(servers(1), Poisson(rate=1e-300), requests=5)),
        ("arrivals", lambda: simulate(servers(1), Poisson(rate=1e-300), requests=5, timeout=1.0)),
        ("arrivals", lambda: simulate(servers(1), Times([1e18, 1e18 + 1e6]), requests=2)),
        ("seconds", lambda: Hang(endpoint="a", at=1e308, seconds=1.7e308)),
        ("seconds", lambda: Crash(endpoint="a", at=1e17, seconds=1.0)),
        ("busy_length", lambda: Bursty(quiet=0.0, busy=1.0, quiet_length=1e-18, busy_length=1e-18)),
        ("values", lambda: jain_index([1.0, -1.0])),
        ("values", lambda: jain_index([math.inf, 1.0])),
        ("run", lambda: sweep("f", [])),
    ],
)
def test_wrong_values_are_refused(parameter, build):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        build()
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("service", "options"),
    [
        (Lognormal(mean=1e308), {}),
        (Lognormal(mean=1e308), {"timeout": 1.0}),
        (Words(), {}),
        (Words(), {"timeout": 1.0}),
    ],
)
def test_service_times_that_no_float_can_hold_are_refused(service, options):
    """A draw that overflows, or that is no number, raises ConfigurationError, which names the service."""
    with pytest.raises(ConfigurationError, match=r"^service="):
        simulate({"a": Server(service=service)}, Poisson(rate=1.0), requests=5_000, **options)


def test_a_balancer_that_cannot_carry_out_a_fault_is_refused(tmp_path):
    """A fault that a balancer has no method for raises ConfigurationError before the run, not in the middle of it."""

    def recorded(endpoints, clock, rng):
        return Recorder(LoadBalancer(endpoints, clock=clock, rng=rng), tmp_path / "log", clock=clock)

    for fault in (Add(endpoint="s0", at=1e9), Remove(endpoint="s0", at=1e9), Drain(endpoint="s0", at=1e9)):
        with pytest.raises(ConfigurationError, match=r"^balancer=.*a method (add|remove|drain)"):
            simulate(servers(2), Poisson(rate=1.0), requests=1, faults=[fault], balancer=recorded)


def test_evenness_does_not_depend_on_the_unit():
    """Jain's index of numbers whose squares overflow or vanish is that of the same numbers in another unit."""
    for unit in (1e-300, 1e-160, 1e160, 1e300):
        assert jain_index([unit, unit, 0.0, 0.0]) == pytest.approx(0.5)
        assert jain_index([3 * unit, unit]) == pytest.approx(0.8)


def test_keys_that_are_none_are_no_keys():
    """A run none of whose requests has a key has no disruption."""
    assert simulate(servers(2), Poisson(rate=1.0), requests=50, keys=lambda rng: None).disruption is None


def test_an_epoch_in_seconds_is_a_time():
    """Requests at times of this century take as long as those from zero on, to the microsecond."""
    spans = [0.0, 0.5, 0.5, 2.0]
    now = simulate(servers(2), RecordedArrivals([1.7e9 + span for span in spans]), requests=4)
    then = simulate(servers(2), RecordedArrivals(spans), requests=4)
    assert np.allclose(now.latency, then.latency, atol=1e-6)


def test_clients_that_share_a_balancer_are_refused():
    """Each of several balancers is its own: a function that returns the same one again is refused by name."""
    made = []

    def same(endpoints, clock, rng):
        made.append(LoadBalancer(endpoints, clock=clock, rng=rng))
        return made[0]

    with pytest.raises(ConfigurationError, match=r"^balancer=.*a fresh balancer at each call"):
        simulate(servers(2), Poisson(rate=1.0), requests=5, balancers=2, balancer=same)
