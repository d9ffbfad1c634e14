"""Driver of ``balancekit.compat.envoy`` for traces of adaptive limits.

What a server's limit is depends on latencies that only it has measured, to the microsecond. So the answer is the rule: what
gradient follows from a latency, and what limit from a limit and a gradient. The judge puts in what was recorded, both ends of
what was rounded away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from balancekit.compat import envoy

__all__ = ["candidates"]

Json = Mapping[str, Any]

GROUPS = ("concurrency_limit_params", "min_rtt_calc_params")


def candidates(trace: Json) -> Iterator[Json]:
    """Yield the rule of the configuration."""
    config = dict(trace["config"]["cluster"]["gradient_controller_config"])
    options = {name: _value(value) for group in GROUPS for name, value in config.pop(group, {}).items()}
    options |= {name: _value(value) for name, value in config.items()}
    rule = envoy.gradient_controller(**options)
    yield {
        "first": rule.min_limit,
        "gradient": lambda min_rtt, sample_rtt: rule.gradient(min_rtt=min_rtt, sample_rtt=sample_rtt),
        "limit": lambda limit, gradient: rule.next_limit(limit, gradient=gradient),
    }


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value["value"]
    return float(value.removesuffix("s")) if isinstance(value, str) else value
