"""Topics of the bench and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.bench._claims import Findings, Step, joined
from balancekit.bench._disruption import disruption_steps
from balancekit.bench._distribution import distribution_steps
from balancekit.bench._latency import latency_steps
from balancekit.bench._speed import speed_steps
from balancekit.bench._timing import machine
from balancekit.errors import ConfigurationError

__all__ = ["TITLES", "Results", "measure", "steps", "versions"]

TITLES: Final[Mapping[str, str]] = {
    "distribution": "Traffic shares",
    "disruption": "Keys that move when a server joins or leaves",
    "speed": "Cost of a pick and of a request",
    "latency": "Latency of requests",
}
"""Titles of the topics, by name, in the order of measurement."""
PACKAGES: Final = ("balancekit", "numpy", "mmh3", "sortedcontainers")


class Results(Record):
    """Results of all measured topics. Made by :func:`measure`.

    Parameters
    ----------
    topics
        Claims and tables by topic.
    seed
        Seed of all randomness.
    quick
        Whether samples were small.
    machine
        Interpreter, system and number of processors; see :func:`machine`.
    versions
        Versions of the measured packages.
    """

    topics: Mapping[str, Findings]
    seed: int
    quick: bool
    machine: Mapping[str, str | int | bool]
    versions: Mapping[str, str]

    @property
    def holds(self) -> bool:
        """Whether all claims of all topics hold."""
        return all(findings.holds for findings in self.topics.values())

    def data(self) -> dict[str, object]:
        """Return the results as plain values for JSON."""
        return {
            "seed": self.seed,
            "quick": self.quick,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "holds": self.holds,
            "topics": {
                name: {
                    "title": TITLES[name],
                    "holds": findings.holds,
                    "claims": [claim.data() for claim in findings.claims],
                    "tables": [table.data() for table in findings.tables],
                }
                for name, findings in self.topics.items()
            },
        }


@checked_arguments
def steps(topic: str, *, seed: int = 1, quick: bool = False, executor: Executor) -> Iterator[Step]:
    """Yield the parts of a topic. Call ``run`` of each to measure it, for example to show progress in between.

    Parameters
    ----------
    topic
        ``distribution``, ``disruption``, ``speed`` or ``latency``.
    seed
        Seed of all randomness, >= 0.
    quick
        Whether to use small samples.
    executor
        Executor that runs simulations.

    Raises
    ------
    ConfigurationError
        If there is no such topic, the seed is no whole number >= 0, or ``quick`` is neither true nor false.
    """
    valid.integer("seed", seed, minimum=0)
    valid.flag("quick", quick)
    match topic:
        case "distribution":
            return distribution_steps(seed=seed, quick=quick)
        case "disruption":
            return disruption_steps(seed=seed, quick=quick)
        case "speed":
            return speed_steps(seed=seed, quick=quick)
        case "latency":
            return latency_steps(seed=seed, quick=quick, executor=executor)
        case _:
            raise ConfigurationError("topic", topic, f"one of {', '.join(TITLES)}")


@checked_arguments
def measure(
    topics: Sequence[str] = tuple(TITLES),
    *,
    seed: int = 1,
    quick: bool = False,
    executor: Executor | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Results:
    """Measure topics and compare the values with theory. All topics take about a minute.

    Parameters
    ----------
    topics
        Names of topics: ``distribution``, ``disruption``, ``speed`` and ``latency``; all of them if left out.
    seed
        Seed of all randomness, >= 0. The same seed gives the same values, except those of speed.
    quick
        Whether to use small samples. They take seconds instead of a minute, and have wider tolerances.
    executor
        Executor that runs the simulations of ``latency``; one background thread if left out. All other parts run in the
        calling thread.
    progress
        Called before each part with its label, the number of parts that are done, and the number of all parts.

    Raises
    ------
    ConfigurationError
        If there is no such topic, the seed is no whole number >= 0, or ``quick`` is neither true nor false.

    Example
    -------
    >>> from balancekit.bench import measure
    >>> results = measure(["disruption"], quick=True)
    >>> results.holds
    True
    """
    if isinstance(topics, str):
        raise ConfigurationError("topics", topics, f"a list of some of {', '.join(TITLES)}")
    topics = list(dict.fromkeys(topics))
    with ExitStack() as open_ones:
        runs_on = executor or open_ones.enter_context(ThreadPoolExecutor(1))
        parts = [
            (topic, step)
            for topic in topics
            for step in steps(topic, seed=seed, quick=quick, executor=runs_on)
        ]
        found: dict[str, list[Findings]] = {topic: [] for topic in topics}
        for number, (topic, step) in enumerate(parts):
            if progress is not None:
                progress(step.label, number, len(parts))
            found[topic].append(step.run())
    return Results(
        topics={topic: joined(ones) for topic, ones in found.items()},
        seed=seed,
        quick=quick,
        machine=machine(),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
