"""Envoy's rules beside the policies, for ``drive_envoy.py``: subsets, zones, rates of outliers, limits.

Each function makes a part of the configuration into what :mod:`balancekit.compat.envoy` takes, or answers a whole
trace that needs no requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice, permutations
from typing import Any

from balancekit.compat import envoy
from balancekit.events import EjectionRefused

Json = Mapping[str, Any]

ORDERS = 720
"""How many orders of the hosts are tried where Envoy's own is that of a hash table."""
BRANCHES = 4_096
"""How many answers there are at most where requests come together with a token."""
TOGETHER_S = 0.005
"""Seconds around a token's arrival within which a request may get it or not."""


def subsets(fields: Json) -> envoy.Subsets:
    """Read ``lb_subset_config``."""
    known = {"subset_selectors", "fallback_policy", "default_subset", "panic_mode_any", "list_as_any"}
    if not set(fields) <= known:
        raise ValueError(f"fields of subsets we do not have: {sorted(set(fields) - known)}")
    selectors = [
        envoy.SubsetSelector(
            **{
                name: frozenset(value) if name in {"keys", "fallback_keys_subset"} else value
                for name, value in selector.items()
            }
        )
        for selector in fields.get("subset_selectors", ())
    ]
    return envoy.Subsets(**{**fields, "subset_selectors": selectors})


def zones(config: Json, number: Callable[[Any], Any]) -> dict[str, Any]:
    """Read what is said of localities and of the proxy's own zone."""
    common = config["cluster"].get("common_lb_config", {})
    if "locality_weighted_lb_config" in common:
        return {"locality_weights": config["locality_weights"]}
    if "zone_aware_lb_config" not in common:
        return {}
    fields = common["zone_aware_lb_config"]
    settings = {
        name: value if isinstance(value, bool) else round(number(value)) for name, value in fields.items()
    }
    if "local_zone" not in config:  # without a cluster of its own a proxy routes by no zone
        settings |= {"routing_enabled": 0}
    local_zone = config.get("local_zone", "local")
    return {
        "zone_aware": envoy.ZoneAware(
            local_zone=local_zone,
            local_zones=tuple(config.get("local_cluster_zones", [local_zone])),
            **settings,
        )
    }


def rates(trace: Json, settings: envoy.OutlierDetection) -> Iterator[list[Json]]:
    """Judge one interval of answers; if the cap forbids an ejection, the order of the hosts decides which."""
    answers = trace["inputs"]["answers"]
    for order in islice(permutations(answers), ORDERS):
        detector = envoy.OutlierDetector(order, settings)
        for host, counted in answers.items():
            for status, count in ((200, counted["ok"]), (503, counted["failed"])):
                for _ in range(count):
                    detector.observe(host, status, now=0.0)
        refused = [
            event for event in detector.advance(now=settings.interval) if isinstance(event, EjectionRefused)
        ]
        yield _shown(detector, answers, sum(event.cause.startswith("success rate") for event in refused))
        if not refused:
            return


def _shown(detector: envoy.OutlierDetector, hosts: Json, refused: int) -> list[Json]:
    """Return what Envoy's admin pages show: a rate of 0 is not shown, nor a threshold that is not above 0.

    ``ejections_total`` counts those by success rate that the cap allowed; ``refused`` of them it did not.
    """
    found = detector.rates
    if not found.success_rates and not detector.ejected:
        return [{"nobody_and_no_rates": True}]
    counters = {f"ejections_{name}": count for name, count in detector.counters.items()}
    enforced = [name for name in counters if name.startswith("ejections_enforced_")]
    if enforced:
        counters["ejections_active"] = sum(counters[name] for name in enforced)
        counters["ejections_enforced_total"] = counters["ejections_active"]
    if "ejections_detected_success_rate" in counters:
        counters["ejections_success_rate"] = counters["ejections_detected_success_rate"]
        counters["ejections_total"] = counters["ejections_success_rate"] - refused
    threshold = found.threshold
    return [
        {
            "success_rate_threshold": threshold if threshold is not None and threshold > 0 else None,
            "servers": {
                host: {
                    "ejected": host in detector.ejected,
                    "success_rate": found.success_rates.get(host) or None,
                }
                for host in hosts
            },
            "counters": {name: count for name, count in counters.items() if count},
        }
    ]


def retries(trace: Json, number: Callable[[Any], Any]) -> list[Json]:
    """Let requests fail one after the other beside those that are held; their retries are held too."""
    fields = trace["config"]["cluster"]["circuit_breakers"]["thresholds"][0]["retry_budget"]
    budget = envoy.RetryBudget(**{name: number(value) for name, value in fields.items()})
    inputs = trace["inputs"]
    outputs: list[Json] = []
    for request in range(inputs["failing_one_after_the_other_their_retries_held"]):
        active = inputs["held"] + budget.retries + 1
        outputs.append({"request": request, "retried": budget.begin_retry(active=active)})
    refused = sum(not row["retried"] for row in outputs)
    counters = {
        "upstream_rq_retry": budget.retries,
        "upstream_rq_retry_backoff_exponential": budget.retries,
        "upstream_rq_retry_overflow": refused,
    }
    return [*outputs, {"counters": {name: count for name, count in counters.items() if count}}]


def limited(trace: Json, seconds: Callable[[str], float]) -> Iterator[list[Json]]:
    """Send requests with the gaps stated; one that comes together with a token gets it in some answers."""
    fields = trace["config"]["cluster"]["token_bucket"]
    options = {
        "max_tokens": fields["max_tokens"],
        "tokens_per_fill": fields.get("tokens_per_fill", 1),
        "fill_interval": seconds(fields["fill_interval"]),
    }
    rate = options["tokens_per_fill"] / options["fill_interval"]
    pending: list[tuple[bool, ...]] = [()]
    for _ in range(BRANCHES):
        if not pending:
            return
        delayed = pending.pop()
        bucket = envoy.TokenBucket(**options)
        now, outputs, choices = 0.0, [], 0
        for gap in trace["inputs"]["gaps"]:
            now += gap
            missing = (1.0 - bucket.tokens(now=now)) / rate
            late = 0.0
            if abs(missing) <= TOGETHER_S and bucket.tokens(now=now - TOGETHER_S) < 1.0:
                if choices == len(delayed):
                    pending.append((*delayed, missing <= 0))
                    delayed = (*delayed, missing > 0)
                late = TOGETHER_S if delayed[choices] else -TOGETHER_S
                choices += 1
            outputs.append({"t": now, "allowed": bucket.allow(now=max(0.0, now + late))})
        yield outputs
