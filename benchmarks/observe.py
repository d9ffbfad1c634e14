"""The cost of a request with metrics and without, in empty method calls, measured alternately.

uv run python -m benchmarks.observe [--check]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from benchmarks._harness import Group, add_save, machine, save
from prometheus_client import CollectorRegistry

from balancekit import LoadBalancer
from balancekit.observability.prometheus import BalancerCollector

MAX_RATIO: Final = 6.0
"""The largest accepted cost of a request with Prometheus metrics, relative to one without.

The histogram of prometheus_client is most of the cost.
"""


def ignore(_endpoint: object, _completion: object) -> None:
    """Receive a completion, and do nothing."""


def main() -> int:
    """Print the table. With ``--check``, fail if the ratio is over its bound."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    add_save(parser)
    options = parser.parse_args()
    print(machine())
    endpoints = [f"10.0.0.{n}:80" for n in range(10)]
    plain, observed, collected = (LoadBalancer(endpoints) for _ in range(3))
    observed.on_completion(ignore)
    collector = BalancerCollector(collected, service="orders", registry=CollectorRegistry())
    group = Group()
    balancers: dict[str, LoadBalancer[Any]] = {
        "no observer": plain,
        "an observer": observed,
        "Prometheus": collected,
    }
    for label, balancer in balancers.items():
        group.add(label, "with acquire():\n    pass", acquire=balancer.acquire)
    ratios = {label: result.ratio for label, result in group.run().items()}
    for label in balancers:
        print(f"{label:14} {ratios[label]:7.1f}   {ratios[label] / ratios['no observer']:.2f} x")
    save("observe", ratios, options.save)
    collector.close()
    missed = ratios["Prometheus"] > MAX_RATIO * ratios["no observer"]
    return int(options.check and missed)


if __name__ == "__main__":
    sys.exit(main())
