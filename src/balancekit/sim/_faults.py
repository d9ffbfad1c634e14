"""Faults of simulated endpoints.

=================  ============================================================================
:class:`Crash`     requests in progress fail; new ones are refused at once
:class:`Hang`      no request is answered while it lasts; callers run into their timeout
:class:`FailFast`  requests fail at once (a black hole for least-request selection)
:class:`FailSlow`  requests fail after a delay, as when a database is unreachable
:class:`Partial`   a share of the requests fails after normal service
:class:`Slow`      all requests take several times as long
:class:`Flap`      the endpoint goes down and comes back repeatedly
=================  ============================================================================

:class:`Add`, :class:`Remove` and :class:`Drain` are changes that operators make.

If several ``Slow`` faults of one endpoint overlap, their factors multiply. If other faults of the same kind overlap, the
latest step takes effect. If one fault ends when another one begins, the end comes first.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from math import inf
from typing import Final, NamedTuple

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = [
    "Add",
    "Crash",
    "Drain",
    "FailFast",
    "FailSlow",
    "Fault",
    "FaultAction",
    "Flap",
    "Hang",
    "Partial",
    "Remove",
    "Slow",
    "Step",
    "absent_at_first",
]

MAX_CYCLES: Final = 1_000_000
"""Maximum number of crashes of one ``Flap``."""


class FaultAction(enum.Enum):
    """Action of one step of a fault."""

    CRASH = "crash"
    RECOVER = "recover"
    SLOW = "slow"
    SLOW_NO_MORE = "slow no more"
    FAIL = "fail"
    ADD = "add"
    REMOVE = "remove"
    DRAIN = "drain"


class Step(NamedTuple):
    """One step of a fault: an action at a time."""

    at: float
    """Time in seconds."""
    action: FaultAction
    factor: float = 1.0
    """Factor by which service times are multiplied; infinity stops the server (SLOW and SLOW_NO_MORE)."""
    share: float = 0.0
    """The share of requests that fails (FAIL)."""
    after: float | None = None
    """Seconds until such a request fails; ``None`` if it fails after its normal service (FAIL)."""


class Fault(Record, ABC):
    """A fault or a change of one endpoint. Base class; use one of its subclasses.

    Parameters
    ----------
    endpoint
        Id of the endpoint.
    at
        Time at which it begins, in seconds, >= 0.

    Raises
    ------
    ConfigurationError
        If ``endpoint`` is empty, or ``at`` is negative.
    """

    endpoint: str
    at: float

    def _check(self) -> None:
        valid.text("endpoint", self.endpoint)
        valid.number("at", self.at, minimum=0.0)

    @abstractmethod
    def steps(self) -> Iterator[Step]:
        """Yield the steps of the fault."""


class _TemporaryFault(Fault):
    """A fault that ends after ``seconds``, > 0."""

    seconds: float

    def _check(self) -> None:
        super()._check()
        valid.number("seconds", self.seconds, above=0.0)
        if not self.at < self.at + self.seconds < inf:
            raise ConfigurationError(
                "seconds",
                self.seconds,
                f"a finite length that is not lost to rounding when added to at={self.at!r}",
            )


class Crash(_TemporaryFault):
    """The server process dies and is started again after ``seconds``.

    Requests in progress fail at once. New requests are refused until the end of the fault.
    """

    def steps(self) -> Iterator[Step]:
        """Yield the beginning and the end."""
        yield Step(self.at, FaultAction.CRASH)
        yield Step(self.at + self.seconds, FaultAction.RECOVER)


class Hang(_TemporaryFault):
    """The server process is stopped for ``seconds``. Requests wait, and are served when it continues."""

    def steps(self) -> Iterator[Step]:
        """Yield the beginning and the end."""
        yield Step(self.at, FaultAction.SLOW, factor=inf)
        yield Step(self.at + self.seconds, FaultAction.SLOW_NO_MORE, factor=inf)


class FailFast(_TemporaryFault):
    """A share of the requests fails after a short delay, without occupying a worker.

    Parameters
    ----------
    endpoint
        Id of the endpoint.
    at
        Time at which the fault begins, in seconds, >= 0.
    seconds
        Length of the fault, > 0.
    share
        The share of requests that fails, 0 to 1.
    after
        Seconds until a failing request fails, >= 0. They are multiplied by the factors of ``Slow`` faults.

    Raises
    ------
    ConfigurationError
        If ``endpoint`` is empty, ``share`` is outside [0, 1], ``seconds`` is not > 0, or another time is
        negative.
    """

    share: float = 1.0
    after: float = 0.001

    def _check(self) -> None:
        super()._check()
        valid.number("share", self.share, minimum=0.0, maximum=1.0)
        valid.number("after", self.after, minimum=0.0)

    def steps(self) -> Iterator[Step]:
        """Yield the beginning and the end."""
        yield Step(self.at, FaultAction.FAIL, share=self.share, after=self.after)
        yield Step(self.at + self.seconds, FaultAction.FAIL)


class FailSlow(FailFast):
    """A share of the requests fails after a long delay: :class:`FailFast` with ``after`` of 5 seconds by default."""

    after: float = 5.0


class Partial(_TemporaryFault):
    """A share of the requests fails after normal service.

    Parameters
    ----------
    endpoint
        Id of the endpoint.
    at
        Time at which the fault begins, in seconds, >= 0.
    seconds
        Length of the fault, > 0.
    share
        The share of requests that fails, 0 to 1.

    Raises
    ------
    ConfigurationError
        If ``endpoint`` is empty, ``at`` is negative, ``seconds`` is not > 0, or ``share`` is outside [0, 1].
    """

    share: float = 0.3

    def _check(self) -> None:
        super()._check()
        valid.number("share", self.share, minimum=0.0, maximum=1.0)

    def steps(self) -> Iterator[Step]:
        """Yield the beginning and the end."""
        yield Step(self.at, FaultAction.FAIL, share=self.share)
        yield Step(self.at + self.seconds, FaultAction.FAIL)


class Slow(_TemporaryFault):
    """All requests take ``factor`` times as long, including those already in the queue.

    Parameters
    ----------
    endpoint
        Id of the endpoint.
    at
        Time at which the fault begins, in seconds, >= 0.
    seconds
        Length of the fault, > 0.
    factor
        Factor by which service times are multiplied, a billionth to a billion.

    Raises
    ------
    ConfigurationError
        If ``endpoint`` is empty, ``at`` is negative, ``seconds`` is not > 0, or ``factor`` is outside its
        bounds.
    """

    factor: float = 3.0

    def _check(self) -> None:
        super()._check()
        valid.number("factor", self.factor, minimum=1e-9, maximum=1e9)

    def steps(self) -> Iterator[Step]:
        """Yield the beginning and the end."""
        yield Step(self.at, FaultAction.SLOW, factor=self.factor)
        yield Step(self.at + self.seconds, FaultAction.SLOW_NO_MORE, factor=self.factor)


class Flap(_TemporaryFault):
    """The server crashes and recovers repeatedly until ``seconds`` have passed.

    Parameters
    ----------
    endpoint
        Id of the endpoint.
    at
        Time of the first crash, in seconds, >= 0.
    seconds
        Length of the fault, > 0, at most a million times ``down + up``.
    down
        Seconds from a crash to its recovery, > 0.
    up
        Seconds from a recovery to the next crash, > 0.

    Raises
    ------
    ConfigurationError
        If ``endpoint`` is empty, ``at`` is negative, or another time is not > 0. If ``seconds`` is more than
        a million times ``down + up``.
    """

    down: float = 1.0
    up: float = 1.0

    def _check(self) -> None:
        super()._check()
        valid.number("down", self.down, above=0.0)
        valid.number("up", self.up, above=0.0)
        if self.seconds > MAX_CYCLES * (self.down + self.up):
            raise ConfigurationError("seconds", self.seconds, f"at most {MAX_CYCLES} times down + up")

    def steps(self) -> Iterator[Step]:
        """Yield each crash and recovery."""
        period = self.down + self.up
        for number in range(math.ceil(self.seconds / period)):
            begin = number * period
            yield Step(self.at + begin, FaultAction.CRASH)
            yield Step(self.at + min(begin + self.down, self.seconds), FaultAction.RECOVER)


class Add(Fault):
    """The endpoint is added to the pool. If this is its first change, it is not in the pool before."""

    def steps(self) -> Iterator[Step]:
        """Yield the one step."""
        yield Step(self.at, FaultAction.ADD)


class Remove(Fault):
    """The endpoint is removed from the pool. Its requests in progress are completed."""

    def steps(self) -> Iterator[Step]:
        """Yield the one step."""
        yield Step(self.at, FaultAction.REMOVE)


class Drain(Fault):
    """The endpoint is drained: it receives no new requests, and those in progress are completed."""

    def steps(self) -> Iterator[Step]:
        """Yield the one step."""
        yield Step(self.at, FaultAction.DRAIN)


def absent_at_first(faults: Iterable[Fault]) -> frozenset[str]:
    """Return the ids of endpoints that are not in the pool at the beginning: those whose first change is an ``Add``.

    Raises
    ------
    ConfigurationError
        If an endpoint is added while it is in the pool, or removed or drained while it is not.
    """
    there: dict[str, bool] = {}
    absent = set[str]()
    for fault in sorted(faults, key=lambda fault: fault.at):
        if not isinstance(fault, Add | Remove | Drain):
            continue
        id, adds = fault.endpoint, isinstance(fault, Add)
        if adds and id not in there:
            absent.add(id)
        elif there.get(id, True) is adds:
            raise ConfigurationError(
                "faults", fault, f"an endpoint that is {'not ' * adds}in the pool at that time"
            )
        there[id] = not isinstance(fault, Remove)
    return frozenset(absent)
