"""Topics and their results, with the machine and the versions they were measured with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from balancekit._support import validation as valid
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
"""The topics, in the order in which they are measured, and the title of each."""
PACKAGES: Final = ("balancekit", "numpy", "mmh3", "sortedcontainers")


class Results(Record):
    """What was measured.

    Parameters
    ----------
    topics
        Findings by topic.
    seed
        Of all randomness.
    quick
        Whether samples were small.
    machine
        Interpreter, system, processors.
    versions
        Of the packages that were measured.
    """

    topics: Mapping[str, Findings]
    seed: int
    quick: bool
    machine: Mapping[str, str | int | bool]
    versions: Mapping[str, str]

    @property
    def holds(self) -> bool:
        """Whether every claim of every topic does."""
        return all(findings.holds for findings in self.topics.values())

    def data(self) -> dict[str, object]:
        """Return everything as plain data for JSON."""
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


def steps(topic: str, *, seed: int = 1, quick: bool = False, executor: Executor) -> Iterator[Step]:
    """Yield the parts of a topic, so that progress can be shown.

    Raises
    ------
    ConfigurationError
        If there is no such topic, or the seed is no whole number >= 0.
    """
    valid.integer("seed", seed, minimum=0)
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


def measure(
    topics: Sequence[str] = tuple(TITLES),
    *,
    seed: int = 1,
    quick: bool = False,
    executor: Executor | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Results:
    """Measure topics; all of them take about a minute.

    Parameters
    ----------
    topics
        ``distribution``, ``disruption``, ``speed``, ``latency``, each measured once; all of them if left out.
    seed
        Of all randomness, >= 0. The same seed gives the same figures, but for those of speed.
    quick
        Small samples: seconds instead of a minute, and wider tolerances.
    executor
        Where simulations run; in this thread's place if left out. Speed is always measured here, alone.
    progress
        Called before each part with its label, how many parts are done, and how many there are.

    Raises
    ------
    ConfigurationError
        If there is no such topic, or the seed is no whole number >= 0.

    Example
    -------
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
    """Return the versions of the packages that are measured."""
    return {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
