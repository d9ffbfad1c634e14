"""Load from a page of metrics: the gauges of inference servers, or any of Prometheus.

=========  =====================================================================================
vLLM       ``vllm:num_requests_running`` + ``vllm:num_requests_waiting``
SGLang     ``sglang:num_running_reqs`` + ``sglang:num_queue_reqs``
Triton     ``nv_trt_llm_request_metrics`` with ``request_type`` ``scheduled`` or ``waiting``
=========  =====================================================================================

Source: the servers' documentation of metrics, 2026; the text format by ``prometheus_client.parser``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.checks._load_probes import ProbedLoad
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

__all__ = ["INFERENCE_METRICS", "MetricsProbe", "read_gauges"]

MAX_PAGE_BYTES: Final = 4_000_000

INFERENCE_METRICS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting"),
        "sglang": ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
        "triton": (
            'nv_trt_llm_request_metrics{request_type="scheduled"}',
            'nv_trt_llm_request_metrics{request_type="waiting"}',
        ),
    }
)
"""The gauges that add up to the requests of a server, by its kind."""


@checked_arguments
def read_gauges(page: str, gauges: tuple[str, ...]) -> float:
    """Return the sum of some gauges of a page, over all their other labels.

    Parameters
    ----------
    page
        In the text format of Prometheus.
    gauges
        Names; ``name{label="value"}`` takes samples with that label only.

    Raises
    ------
    ValueError
        If one is not there, a sum is no number >= 0, or the page cannot be read.

    Example
    -------
    >>> page = '''
    ... vllm:num_requests_running{model="a"} 3.0
    ... vllm:num_requests_running{model="b"} 1.0
    ... vllm:num_requests_waiting{model="a"} 2.0
    ... '''
    >>> read_gauges(page, INFERENCE_METRICS["vllm"])
    6.0
    """
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - an extra

    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    total = 0.0
    for gauge in gauges:
        name, wanted = _parsed(gauge)
        values = [
            value
            for labels, value in samples.get(name, ())
            if all(labels.get(label) == wish for label, wish in wanted.items())
        ]
        if not values:
            raise ValueError(f"the page has no gauge {gauge}")
        total += sum(values)
    if not 0.0 <= total < math.inf:
        raise ValueError(f"{total} requests in flight")
    return total


def _parsed(gauge: str) -> tuple[str, dict[str, str]]:
    name, brace, rest = gauge.partition("{")
    if not brace:
        return name, {}
    pairs = [pair.partition("=") for pair in rest.removesuffix("}").split(",")]
    return name, {label.strip(): value.strip().strip('"') for label, _, value in pairs}


@final
class MetricsProbe:
    """A probe that reads requests in flight from a page of metrics.

    Parameters
    ----------
    gauges
        ``"vllm"``, ``"sglang"`` or ``"triton"``, or the names of gauges that add up to the requests in flight.
    fetch
        Takes a URL and returns the text of the page; it must give up in good time, and raise for an answer that is none.
        ``lambda url: client.get(url).raise_for_status().text`` of an httpx2 client with a time-out.
    path
        Of the page.

    Pages give no latency for a number of requests, so ``Prequal`` takes the endpoint with the fewest. ``latest`` keeps the
    last value of each endpoint, for selectors of your own.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> probe = MetricsProbe(("requests_in_flight",), fetch=lambda url: "requests_in_flight 4 ")
    >>> probe(Endpoint("10.0.0.1:8000"))
    ProbedLoad(in_flight=4.0, latency=0.0)
    >>> dict(probe.latest)
    {'10.0.0.1:8000': 4.0}
    """

    def __init__(
        self, gauges: str | tuple[str, ...], *, fetch: Callable[[str], str], path: str = "/metrics"
    ) -> None:
        known = INFERENCE_METRICS.get(gauges) if isinstance(gauges, str) else gauges
        if (
            not isinstance(known, tuple)
            or not known
            or not all(isinstance(name, str) and name for name in known)
        ):
            raise ConfigurationError(
                "gauges", gauges, f"one of {', '.join(INFERENCE_METRICS)}, or a tuple of names"
            )
        if not callable(fetch):
            raise ConfigurationError("fetch", fetch, "a function from a URL to the text of a page")
        self._gauges: tuple[str, ...] = known
        self._fetch = fetch
        self._path = valid.text("path", path)
        self._latest: dict[str, float] = {}

    @property
    def latest(self) -> Mapping[str, float]:
        """The last value of each endpoint."""
        return MappingProxyType(self._latest)

    def __call__(self, endpoint: Endpoint[Any]) -> ProbedLoad:
        """Ask one endpoint, whose target is ``host:port`` or a URL.

        Raises
        ------
        ValueError
            If the page cannot be used.
        """
        target = str(endpoint.target).rstrip("/")
        page = self._fetch((target if "://" in target else f"http://{target}") + self._path)
        if len(page) > MAX_PAGE_BYTES:
            raise ValueError(f"a page of {len(page)} characters, more than {MAX_PAGE_BYTES}")
        self._latest[endpoint.id] = found = read_gauges(page, self._gauges)
        return ProbedLoad(found)
