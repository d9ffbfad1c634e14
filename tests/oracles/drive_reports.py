"""Driver of ``balancekit.compat.envoy`` and ``balancekit.compat.grpc`` for traces of load reports.

:func:`candidates` plays steady traffic through a ``LoadBalancer`` in virtual time; every answer carries the
report that its server sends at that time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from balancekit import LoadBalancer
from balancekit.compat import envoy, grpc
from balancekit.outcome import LoadReport
from balancekit.reported import InvalidLoadReportError, ReportedRoundRobin, parse_orca
from balancekit.testing import ManualClock

__all__ = ["candidates"]

Json = Mapping[str, Any]

PICKS_PER_S = 100
SAMPLE = 300
WITHOUT_EFFECT = ("enable_oob_load_report", "oob_reporting_period", "slow_start_config")
"""Fields that change no share here: Envoy takes reports from answers alone, and all hosts begin together."""
SETTLED_S = 2.8
"""When the recorder of gRPC began to count."""


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    names = [server["name"] for server in trace["config"]["servers"]]
    if trace["kind"] == "timeline":
        selector = _envoy(trace["config"]["cluster"])
        phases = [
            (phase["t"], {name: _read(text) for name, text in phase["reports"].items()})
            for phase in trace["inputs"]["phases"]
        ]
        world = World(names, selector, phases)
        world.run(trace["inputs"]["seconds"])
        weights = {name: int(weight) for name, weight in selector.weights.items()}
        picks = world.count(SAMPLE)
        yield {"outputs": [{"weights": weights}, {"picks": picks, "of": SAMPLE}]}
    else:
        selector = _grpc(trace["config"]["cluster"])
        world = World(names, selector, [(0.0, trace["inputs"]["reports"])])
        world.run(SETTLED_S)
        yield {"outputs": {"counts": world.count(trace["inputs"]["requests"])}}


class World:
    """A balancer, a clock, and servers that report."""

    def __init__(
        self, names: list[str], selector: ReportedRoundRobin, phases: list[tuple[float, Json]]
    ) -> None:
        self.clock = ManualClock()
        self.balancer = LoadBalancer(names, selector=selector, clock=self.clock, rng=Random(1))
        self.phases = phases
        self.names = names
        self.begun = self.clock()

    def pick(self) -> str:
        """Send one request, and take note of the report that comes with its answer."""
        t = self.clock() - self.begun
        reports = [reports for at, reports in self.phases if at <= t][-1]
        with self.balancer.acquire() as lease:
            report = reports.get(lease.target)
            if report is not None:
                lease.report_load(report if isinstance(report, LoadReport) else _report(report))
            return lease.target

    def run(self, seconds: float) -> None:
        """Send requests for a time."""
        for _ in range(round(seconds * PICKS_PER_S)):
            self.pick()
            self.clock.advance(1.0 / PICKS_PER_S)

    def count(self, requests: int) -> dict[str, int]:
        """Send some requests at once and count where they go."""
        counts = Counter(self.pick() for _ in range(requests))
        return {name: counts[name] for name in self.names}


def _read(text: str | None) -> LoadReport | None:
    """Read the header of an answer; one that is no report is passed over."""
    try:
        return None if text is None else parse_orca(text)
    except InvalidLoadReportError:
        return None


def _report(facts: Json) -> LoadReport:
    words = {"rps_fractional": "rps", "mem_utilization": "memory_utilization"}
    return LoadReport(**{words.get(name, name): value for name, value in facts.items()})


def _envoy(cluster: Json) -> ReportedRoundRobin:
    (policy,) = cluster["load_balancing_policy"]["policies"]
    options = dict(policy["typed_extension_config"]["typed_config"])
    for name in ("@type", *WITHOUT_EFFECT):
        options.pop(name, None)
    return envoy.client_side_weighted_round_robin(**{name: _value(value) for name, value in options.items()})


def _grpc(cluster: Json) -> ReportedRoundRobin:
    words = {
        "blackoutPeriod": "blackout_period",
        "weightUpdatePeriod": "weight_update_period",
        "weightExpirationPeriod": "weight_expiration_period",
        "errorUtilizationPenalty": "error_utilization_penalty",
        "metricNamesForComputingUtilization": "metric_names_for_computing_utilization",
    }
    options = cluster["weighted_round_robin"]
    return grpc.weighted_round_robin(**{words[name]: _value(value) for name, value in options.items()})


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return float(value.removesuffix("s"))
    return tuple(value) if isinstance(value, list) else value
