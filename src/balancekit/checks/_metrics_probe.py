"""Load from a page of metrics: the gauges of inference servers, or any Prometheus gauges.

=========  =====================================================================================
vLLM       ``vllm:num_requests_running`` + ``vllm:num_requests_waiting``; ``vllm:kv_cache_usage_perc``
SGLang     ``sglang:num_running_reqs`` + ``sglang:num_queue_reqs``; ``sglang:token_usage``
Triton     ``nv_trt_llm_request_metrics`` with ``request_type`` ``scheduled`` or ``waiting``;
           ``nv_trt_llm_kv_cache_block_metrics`` with ``kv_cache_block_type`` ``fraction``
=========  =====================================================================================

Source: the servers' documentation of metrics, 2026; the text format by ``prometheus_client.parser``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from inspect import isawaitable
from types import MappingProxyType
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import is_coroutine_function, plain_function
from balancekit._support.record import Record, field
from balancekit._support.text import plain
from balancekit.checks._adapter_figures import ADAPTER_GAUGE, adapter_figures
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.reported import ProbedLoad

__all__ = [
    "INFERENCE_ATTRIBUTES",
    "INFERENCE_METRICS",
    "Gauges",
    "MetricsPage",
    "MetricsProbe",
    "read_gauges",
]

MAX_PAGE_CHARACTERS: Final = 4_000_000
MAX_SAMPLE_CHARACTERS: Final = 200_000
"""The most characters of the lines that are parsed.

Usual lines of this length take a tenth of a second; within one line, time grows with the square of its labels.
"""


class Gauges(Record):
    """The rule by which one figure is read from a page of metrics.

    Parameters
    ----------
    names
        Names of gauges; ``name{label="value"}`` takes samples with that label only.
    largest
        Whether the figure is the largest sample that is present, as for a utilization. Otherwise it is the sum of all
        the gauges over their other labels, and each gauge must be present.

    Raises
    ------
    ConfigurationError
        If ``names`` is empty or no tuple of non-empty strings, or ``largest`` is no bool.

    Example
    -------
    >>> from balancekit.checks import Gauges
    >>> Gauges(("requests_running", "requests_waiting")).largest
    False
    """

    names: tuple[str, ...] = field(kw_only=False)
    largest: bool = False

    def _check(self) -> None:
        if (
            not isinstance(self.names, tuple)
            or not self.names
            or not all(isinstance(name, str) and name for name in self.names)
        ):
            raise ConfigurationError("names", self.names, "a tuple of gauge names")
        valid.flag("largest", self.largest)


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

KV_UTILIZATION: Final = {
    "vllm": Gauges(("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"), largest=True),
    "sglang": Gauges(("sglang:token_usage",), largest=True),
    "triton": Gauges(('nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}',), largest=True),
}

INFERENCE_ATTRIBUTES: Final[Mapping[str, Mapping[str, Gauges]]] = MappingProxyType(
    {
        kind: MappingProxyType(
            {
                "requests": Gauges((running, waiting)),
                "waiting": Gauges((waiting,)),
                "kv_utilization": KV_UTILIZATION[kind],
            }
        )
        for kind, (running, waiting) in INFERENCE_METRICS.items()
    }
)
"""The figures read from the pages of inference servers, by kind: requests, waiting requests, cache utilization."""


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
        If a gauge is missing, a sum is not a number >= 0, or the lines of the gauges cannot be parsed (see
        :meth:`MetricsPage.read`).

    Example
    -------
    >>> from balancekit.checks import INFERENCE_METRICS, read_gauges
    >>> page = '''
    ... vllm:num_requests_running{model="a"} 3.0
    ... vllm:num_requests_running{model="b"} 1.0
    ... vllm:num_requests_waiting{model="a"} 2.0
    ... '''
    >>> read_gauges(page, INFERENCE_METRICS["vllm"])
    6.0
    """
    samples = _samples(page, [_parsed(gauge)[0] for gauge in gauges])
    for gauge in gauges:
        if _figure(samples, Gauges((gauge,))) is None:
            raise ValueError(f"the page has no gauge {gauge}")
    total = _figure(samples, Gauges(gauges))
    if total is None or not 0.0 <= total < math.inf:
        raise ValueError(f"{total} requests in flight")
    return total


def _parsed(gauge: str) -> tuple[str, dict[str, str]]:
    name, brace, rest = gauge.partition("{")
    if not brace:
        return name, {}
    pairs = [pair.partition("=") for pair in rest.removesuffix("}").split(",")]
    return name, {label.strip(): value.strip().strip('"') for label, _, value in pairs}


class _MetricsReader(ConstructorRepr):
    """The fetcher of an endpoint's page."""

    def __init__(self, fetch: Callable[[str], Any], path: str) -> None:
        if not callable(fetch):
            raise ConfigurationError("fetch", fetch, "a function from a URL to the text of a page")
        self._fetch = fetch
        self._path = valid.text("path", path)
        if not self._path.startswith("/"):
            raise ConfigurationError("path", path, "a path that begins with /")

    def _page(self, endpoint: Endpoint[Any]) -> Any:
        """Return the page of an endpoint, or an awaitable of it; the target is ``host:port``, a URL or has a URL."""
        target = str(getattr(endpoint.target, "url", endpoint.target)).rstrip("/")
        return self._fetch((target if "://" in target else f"http://{target}") + self._path)


@final
class MetricsProbe(_MetricsReader):
    """A probe that reads requests in flight from a page of metrics.

    Parameters
    ----------
    gauges
        ``"vllm"``, ``"sglang"`` or ``"triton"``, or the names of gauges that add up to the requests in flight.
    fetch
        Takes a URL and returns the text of the page. It needs a time-out of its own, and must raise for an HTTP error.
        ``lambda url: client.get(url).raise_for_status().text`` of an httpx2 client with a time-out.
    path
        Of the page.

    Raises
    ------
    ConfigurationError
        If ``gauges`` is an unknown name or no tuple of names, ``fetch`` is no plain function, or ``path``
        does not begin with ``/``.

    Pages give no latency by number of requests, so ``Prequal`` picks the endpoint with the fewest requests.

    *When not to use it:* if servers send their load with each answer; :class:`~balancekit.reported.HeaderReports` reads it
    without further requests.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> from balancekit.checks import MetricsProbe
    >>> probe = MetricsProbe(("requests_in_flight",), fetch=lambda url: "requests_in_flight 4 ")
    >>> probe(Endpoint("10.0.0.1:8000"))
    ProbedLoad(in_flight=4.0, latency=0.0)
    """

    def __init__(
        self, gauges: str | tuple[str, ...], *, fetch: Callable[[str], str], path: str = "/metrics"
    ) -> None:
        known = INFERENCE_METRICS.get(plain(gauges)) if isinstance(gauges, str) else gauges
        if (
            not isinstance(known, tuple)
            or not known
            or not all(isinstance(name, str) and plain(name) for name in known)
        ):
            raise ConfigurationError(
                "gauges", gauges, f"one of {', '.join(INFERENCE_METRICS)}, or a tuple of names"
            )
        self._gauges: tuple[str, ...] = tuple(map(plain, known))
        wanted = "a function from a URL to the text of a page"
        super().__init__(plain_function("fetch", fetch, wanted), path)

    def __call__(self, endpoint: Endpoint[Any]) -> ProbedLoad:
        """Probe one endpoint, whose target is ``host:port`` or a URL.

        Raises
        ------
        ValueError
            If the page cannot be used.
        """
        return ProbedLoad(read_gauges(self._page(endpoint), self._gauges))


@final
class MetricsPage(_MetricsReader):
    """A page of metrics, read into figures by name: a scrape for ``ThreadScrapes`` and ``AsyncScrapes``.

    Parameters
    ----------
    gauges
        ``"vllm"``, ``"sglang"`` or ``"triton"``, which give ``"requests"``, ``"waiting"`` and ``"kv_utilization"``, and for vLLM
        the adapters that are loaded, for :class:`~balancekit.inference.LoadedAdapters`; or how each figure is read, by its name.
    fetch
        Takes a URL and returns the text of the page, or an awaitable of it; see :class:`MetricsProbe`.
    path
        Of the page.

    Raises
    ------
    ConfigurationError
        If ``gauges`` is an unknown name or no mapping to ``Gauges``, ``fetch`` cannot be called, or ``path``
        does not begin with ``/``.

    A gauge that is missing from a page, or whose value is not a number, is left out. A page without any of the gauges is an
    error.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> from balancekit.checks import Gauges, MetricsPage
    >>> page = MetricsPage({"busy": Gauges(("requests_in_flight",))}, fetch=lambda url: "requests_in_flight 4 ")
    >>> page(Endpoint("10.0.0.1:8000"))
    {'busy': 4.0}
    """

    def __init__(
        self, gauges: str | Mapping[str, Gauges], *, fetch: Callable[[str], Any], path: str = "/metrics"
    ) -> None:
        known = INFERENCE_ATTRIBUTES.get(plain(gauges)) if isinstance(gauges, str) else gauges
        if (
            not isinstance(known, Mapping)
            or not known
            or not all(isinstance(name, str) and isinstance(gauge, Gauges) for name, gauge in known.items())
        ):
            raise ConfigurationError(
                "gauges", gauges, f"one of {', '.join(INFERENCE_ATTRIBUTES)}, or a mapping of names to Gauges"
            )
        self._gauges: Mapping[str, Gauges] = dict(known)
        self._with_adapters = isinstance(gauges, str)
        self._names = [_parsed(name)[0] for gauge in self._gauges.values() for name in gauge.names]
        if self._with_adapters:
            self._names.append(ADAPTER_GAUGE)
        super().__init__(fetch, path)

    @property
    def awaited(self) -> bool:
        """Whether ``fetch`` is a coroutine function, so that only :class:`AsyncScrapes` can use the page."""
        return is_coroutine_function(self._fetch)

    def __call__(self, endpoint: Endpoint[Any]) -> Any:
        """Scrape one endpoint, whose target is ``host:port`` or a URL; a coroutine if ``fetch`` is one.

        Raises
        ------
        ValueError
            If the page cannot be used.
        """
        page = self._page(endpoint)
        return self._awaited(page) if isawaitable(page) else self.read(page)

    @checked_arguments
    def read(self, page: str) -> dict[str, float]:
        """Return the figures of a fetched page.

        Raises
        ------
        ValueError
            If the page has none of the gauges or is longer than 4,000,000 characters, or if the lines of the gauges are
            longer than 200,000 characters or not in the text format of Prometheus.
        """
        samples = _samples(page, self._names)
        figures = {}
        for name, gauges in self._gauges.items():
            figure = _figure(samples, gauges)
            if figure is not None and 0.0 <= figure < math.inf:
                figures[name] = figure
        if not figures:
            raise ValueError(f"the page has none of: {', '.join(self._gauges)}")
        return figures | (adapter_figures(samples) if self._with_adapters else {})

    async def _awaited(self, page: Any) -> dict[str, float]:
        return self.read(await page)


def _samples(page: str, names: Iterable[str]) -> dict[str, list[tuple[Mapping[str, str], float]]]:
    """Return the samples of some gauges of a page, by name.

    Other lines are not parsed, so any page takes some ten milliseconds for each million characters.
    """
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - an extra

    if len(page) > MAX_PAGE_CHARACTERS:
        raise ValueError(f"a page of {len(page)} characters, more than {MAX_PAGE_CHARACTERS}")
    one = "|".join([re.escape(name) for name in dict.fromkeys(names)])
    line = re.compile(rf"""^[^\S\n]*+(?:(?:{one})(?=[\s{{])|\{{[^\S\n]*+"(?:{one})").*""", re.MULTILINE)
    lines: list[str] = []
    room = MAX_SAMPLE_CHARACTERS
    for found in line.finditer(page):
        lines.append(found[0])
        room -= len(found[0])
        if room < 0:
            raise ValueError(f"more than {MAX_SAMPLE_CHARACTERS} characters of samples")
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families("\n".join(lines)):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
    return samples


def _figure(samples: Mapping[str, list[tuple[Mapping[str, str], float]]], gauges: Gauges) -> float | None:
    """Return a figure; ``None`` if a gauge that it needs is missing."""
    found: list[float] = []
    for gauge in gauges.names:
        name, wanted = _parsed(gauge)
        values = [
            value
            for labels, value in samples.get(name, ())
            if all(labels.get(label) == wish for label, wish in wanted.items())
        ]
        if not values and not gauges.largest:
            return None
        found += values
    if not found:
        return None
    return max(found) if gauges.largest else sum(found)
