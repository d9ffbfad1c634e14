"""Replay of recorded requests through another algorithm.

A log contains the arrival time of each request and its duration at the endpoint that served it. It does not contain how
long the request would have taken at another endpoint. :func:`replay` uses a model for that: each endpoint is a
first-in-first-out server with a given number of workers, and its service times are drawn from those in the log.

**Service times from durations.** A measured duration is waiting time plus service time. For a first-in-first-out server
with a known number of workers, the two can be separated: a request began when it arrived or when the first worker became
free, whichever was later. Both times follow from the log. This is exact if the endpoints are such servers and the log has
all their requests.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heapreplace
from math import inf, isfinite
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple, TypeVar

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments, checked_stream
from balancekit._support.record import Record
from balancekit.balancer import LoadBalancer
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.outcome import FAILURES, Outcome
from balancekit.protocols import LoadPolicy, Selector
from balancekit.sim._arrivals import RecordedArrivals
from balancekit.sim._context import MakeBalancer
from balancekit.sim._engine import Simulation
from balancekit.sim._faults import Partial
from balancekit.sim._queues import Server
from balancekit.sim._report import SimulationReport
from balancekit.sim._report_builder import measure
from balancekit.sim._services import Deterministic, Recorded
from balancekit.sim._trace import FIRST, Trace
from balancekit.snapshot import Key

__all__ = ["Recording", "Row", "read_recording", "replay"]

V = TypeVar("V")

REFUSED_OUTCOMES: Final = frozenset({Outcome.CONNECT_FAILED, Outcome.OVERLOADED})
"""Outcomes of requests that never occupied a worker."""
UNKNOWN_LENGTH: Final = frozenset({Outcome.CANCELLED, Outcome.IGNORED}) | REFUSED_OUTCOMES
"""Outcomes of requests whose duration is not a complete service."""


class Row(NamedTuple):
    """One request of a log."""

    time: float
    key: Key | None
    cost: float
    endpoint: str
    duration: float
    outcome: Outcome

    @property
    def failed(self) -> bool:
        """Whether the outcome is a failure of the endpoint."""
        return self.outcome in FAILURES


class Recording(Record):
    """Requests from the log of a :class:`~balancekit.sim.Recorder`, in the order of their arrival.

    Made by :func:`read_recording`.
    """

    rows: Sequence[Row]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The ids of the endpoints, sorted."""
        return tuple(sorted({row.endpoint for row in self.rows}))

    def report(self, *, workers: int | Mapping[str, int] | None = None, warm_up: int = 0) -> SimulationReport:
        """Return a report of the recorded requests, to compare with the report of a replay.

        Requests that were cancelled or ignored count as served, as they do in a replay. Their durations count as
        latencies.

        Parameters
        ----------
        workers
            Number of workers of an endpoint, >= 1, for all endpoints or by id. It is used for ``busy`` and ``overload``.
            With ``None``, no endpoint is ever overloaded.
        warm_up
            Number of requests at the beginning that are not counted, >= 0.

        Raises
        ------
        ConfigurationError
            If ``workers`` lacks an endpoint, or a number is outside its bounds.
        """
        number = {id: number for number, id in enumerate(self.endpoints)}
        trace = Trace()
        for row in self.rows:
            request = trace.arrive(row.time)
            trace.ended[request] = end = row.time + row.duration
            trace.served[request] = not row.failed
            attempt = trace.send(request, FIRST, number[row.endpoint], row.time)
            trace.left[attempt] = row.time if row.outcome in REFUSED_OUTCOMES else end
        if any(row.key is not None for row in self.rows):
            trace.keys.extend([row.key for row in self.rows])
        counts = _workers(self, workers)
        servers = {id: Server(service=Deterministic(mean=1.0), workers=counts[id]) for id in self.endpoints}
        return measure(trace, servers, valid.integer("warm_up", warm_up, minimum=0), ())


@checked_stream
def read_recording(source: str | Path | Iterable[str]) -> Recording:
    """Read the log of a :class:`~balancekit.sim.Recorder`.

    Parameters
    ----------
    source
        The path of a file, or its lines.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or is not UTF-8, if a line is not one that a recorder writes, or if there are no
        lines.
    """
    if isinstance(source, str | Path):
        try:
            lines: Iterable[str] = Path(source).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigurationError("log", str(source), f"a readable file ({error.strerror})") from None
        except UnicodeDecodeError:
            raise ConfigurationError("log", str(source), "a text in UTF-8") from None
    else:
        lines = source
    rows = [_row(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ConfigurationError("log", "nothing", "at least one request")
    rows.sort(key=lambda row: row.time)
    return Recording(rows=tuple(rows))


@checked_arguments
def replay(
    log: str | Path | Iterable[str] | Recording,
    *,
    workers: int | Mapping[str, int] | None,
    selector: Selector | None = None,
    load: LoadPolicy | None = None,
    balancer: MakeBalancer | None = None,
    attempts: int = 1,
    warm_up: int = 0,
    seed: int = 0,
) -> SimulationReport:
    """Simulate the requests of a log with another algorithm.

    Parameters
    ----------
    log
        The path of a file, its lines, or a :class:`Recording`.
    workers
        Number of requests that an endpoint serves at once, >= 1, for all endpoints or by id. ``None`` for no limit:
        durations in the log are taken as service times, and no request waits for another.
    selector, load
        Selector and load of the balancer; the defaults of ``LoadBalancer`` if left out.
    balancer
        Function that makes the balancer from endpoints, a clock and a random generator. It replaces ``selector`` and
        ``load``.
    attempts
        Maximum attempts per request, >= 1, each at another endpoint.
    warm_up
        Number of requests at the beginning that are not counted, >= 0.
    seed
        Seed of all randomness, >= 0.

    Raises
    ------
    ConfigurationError
        If the log cannot be read, ``balancer`` is given with ``selector`` or ``load``, ``workers`` lacks an endpoint,
        or a number is outside its bounds.

    Notes
    -----
    *Assumptions.*

    - The service time of a request is drawn at random from those of its endpoint. A request that was long in the log is
      not long in the replay, unless its length is expressed by its ``cost``: service times are drawn per unit of cost. So
      pass a ``cost`` to ``acquire`` if you know it.
    - An endpoint with more requests than in the log gets a longer queue; its service does not become slower.
    - The failures of an endpoint are spread evenly over the log.
    - One balancer handles all requests, even if several wrote the log.
    - Requests arrive at the times in the log, whatever the latencies of the replay. Each retry in the log is a request
      of its own.

    Trust the ranking and large differences; ignore the third digit.

    Example
    -------
    >>> from balancekit import PowerOfChoices
    >>> from balancekit.sim import replay
    >>> line = '{{"time": {}, "key": null, "cost": 1.0, "endpoint": "{}", "duration": 0.3, "outcome": "success"}}'
    >>> log = [line.format(k / 10, "ab"[k % 2]) for k in range(100)]
    >>> replay(log, selector=PowerOfChoices(), workers=4).failures
    0
    """
    if balancer is not None and (selector is not None or load is not None):
        raise ConfigurationError("balancer", balancer, "either a balancer, or a selector and a load")
    recording = log if isinstance(log, Recording) else read_recording(log)
    rows = recording.rows
    counts = _workers(recording, workers)
    lengths = _lengths(rows, counts)
    everywhere = [length for found in lengths.values() for length in found] or [0.0]
    keys = [row.key for row in rows]
    simulation = Simulation(
        {
            id: Server(service=Recorded(seconds=lengths.get(id) or everywhere), workers=counts[id])
            for id in recording.endpoints
        },
        RecordedArrivals(seconds=[row.time - rows[0].time for row in rows]),
        balancer=_maker(selector, load) if balancer is None else balancer,
        attempts=attempts,
        faults=_faults(rows),
        keys=_one_by_one(keys) if any(key is not None for key in keys) else None,
        costs=_one_by_one([row.cost for row in rows]),
        seed=seed,
    )
    warm_up = valid.integer("warm_up", warm_up, minimum=0)
    return simulation.run(requests=max(1, len(rows) - warm_up), warm_up=warm_up)


def _workers(recording: Recording, workers: int | Mapping[str, int] | None) -> dict[str, int]:
    """Return the number of workers of each endpoint."""
    ids = recording.endpoints
    if workers is None:
        return dict.fromkeys(ids, len(recording.rows))
    if not isinstance(workers, Mapping):
        return dict.fromkeys(ids, valid.integer("workers", workers, minimum=1))
    for id in ids:
        if id not in workers:
            raise ConfigurationError("workers", id, f"a number for each of {', '.join(ids)}")
    return {id: valid.integer("workers", workers[id], minimum=1) for id in ids}


def _lengths(rows: Iterable[Row], workers: Mapping[str, int]) -> dict[str, list[float]]:
    """Return the service times of each endpoint per unit of cost, without waiting times."""
    free = {id: [-inf] * count for id, count in workers.items()}
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.outcome in REFUSED_OUTCOMES:
            continue
        end = row.time + row.duration
        begin = max(row.time, free[row.endpoint][0])
        heapreplace(free[row.endpoint], max(begin, end))
        if row.outcome not in UNKNOWN_LENGTH:
            found[row.endpoint].append(max(0.0, end - begin) / row.cost)
    return found


def _faults(rows: Sequence[Row]) -> list[Partial]:
    """Return a fault for each endpoint with failures: their share, for the whole length of the log."""
    ended: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        ended[row.endpoint].append(row.failed)
    forever = rows[-1].time - rows[0].time + 1.0
    return [
        Partial(endpoint=id, at=0.0, seconds=forever, share=sum(failed) / len(failed))
        for id, failed in sorted(ended.items())
        if any(failed)
    ]


def _maker(selector: Selector | None, load: LoadPolicy | None) -> MakeBalancer:
    def make(endpoints: list[Endpoint[str]], clock: Callable[[], float], rng: Random) -> LoadBalancer[str]:
        return LoadBalancer(endpoints, selector=selector, load=load, clock=clock, rng=rng)

    return make


def _one_by_one(values: Sequence[V]) -> Callable[[Random], V]:
    """Return a function that returns the values one after the other and ignores its generator."""
    following: Iterator[V] = iter(values)
    return lambda _: next(following)


def _row(number: int, line: str) -> Row:
    try:
        facts: dict[str, Any] = json.loads(line)
        key = facts["key"]
        if isinstance(key, dict):
            key = bytes.fromhex(key["hex"])
        if key is not None:
            valid.key(key)
        row = Row(
            float(facts["time"]),
            key,
            float(facts["cost"]),
            valid.text("endpoint", facts["endpoint"]),
            float(facts["duration"]),
            Outcome(facts["outcome"]),
        )
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ConfigurationError("log", f"line {number}", f"a line of a Recorder: {error!r}") from None
    if not (isfinite(row.time) and 0.0 <= row.duration < inf and 0.0 < row.cost < inf):
        raise ConfigurationError("log", f"line {number}", "finite times, a duration >= 0, a cost > 0")
    return row
