"""Outcomes of requests and results of checks.

Loads and health machines receive the :class:`Outcome` of a finished lease. The caller decides separately whether
to retry the request elsewhere.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit._support.shortage import is_shortage
from balancekit.errors import ConfigurationError

__all__ = ["FAILURES", "CheckResult", "Completion", "LoadReport", "Outcome", "classify_exception"]


class Outcome(enum.Enum):
    """How a lease ended, as far as the endpoint is concerned."""

    SUCCESS = "success"
    """The endpoint did its part, whatever the caller thinks of the answer (a 404 is a success)."""
    FAILURE = "failure"
    """The endpoint gave a wrong answer, or the connection broke."""
    TIMEOUT = "timeout"
    """The endpoint did not answer in time; the time waited is a lower bound of its latency."""
    CONNECT_FAILED = "connect_failed"
    """Nothing was sent: name resolution, connection or handshake failed."""
    OVERLOADED = "overloaded"
    """The endpoint reported that it is overloaded (429, 503 with Retry-After)."""
    CANCELLED = "cancelled"
    """The caller gave up; says nothing about the endpoint except how long it had not answered."""
    IGNORED = "ignored"
    """The caller's own trouble (a full local pool, a bad request): hold it against no endpoint, measure nothing."""


FAILURES: Final = frozenset(
    {Outcome.FAILURE, Outcome.TIMEOUT, Outcome.CONNECT_FAILED, Outcome.OVERLOADED},
)
"""The outcomes that count against an endpoint."""


class Completion:
    """One finished lease, as loads, health machines and selectors see it.

    Parameters
    ----------
    outcome
        How it ended.
    started_at, ended_at
        Clock readings, in seconds. Both are NaN if the balancer does not measure time, the second also if the clock failed.
    cost
        The cost that the caller gave for the request (1.0 unless given).
    first_byte_at
        Clock reading of the first byte of the answer, or ``None`` if it was not reported.
    retry_after
        How long the endpoint is to cool down, in seconds, or ``None``.
    load_report
        The load that the endpoint reported with its answer, or ``None``.

    Raises
    ------
    ConfigurationError
        If ``outcome`` is no ``Outcome``.
    """

    __slots__ = ("cost", "ended_at", "first_byte_at", "load_report", "outcome", "retry_after", "started_at")

    def __init__(
        self,
        outcome: Outcome,
        *,
        started_at: float,
        ended_at: float,
        cost: float = 1.0,
        first_byte_at: float | None = None,
        retry_after: float | None = None,
        load_report: LoadReport | None = None,
    ) -> None:
        if not isinstance(outcome, Outcome):
            raise ConfigurationError("outcome", outcome, valid.members(Outcome))
        self.outcome: Outcome = outcome
        self.started_at: float = started_at
        self.ended_at: float = ended_at
        self.cost: float = cost
        self.first_byte_at: float | None = first_byte_at
        self.retry_after: float | None = retry_after
        self.load_report: LoadReport | None = load_report

    @property
    def latency(self) -> float:
        """Seconds from acquire to the first byte of the answer; to release if that was not reported."""
        reached = self.ended_at if self.first_byte_at is None else self.first_byte_at
        return reached - self.started_at

    @property
    def duration(self) -> float:
        """Seconds from acquire to release."""
        return self.ended_at - self.started_at

    def __repr__(self) -> str:
        return f"Completion({self.outcome.name}, latency={self.latency:.6g})"


MAX_REPORTED: Final = 1e12
"""The largest figure of a load report that is believed."""


class LoadReport(Record):
    """A server's report of its own load, as in ORCA.

    Parameters
    ----------
    cpu_utilization, memory_utilization, application_utilization
        Shares of what there is, >= 0; the application's own may exceed 1. Zero means not reported.
    rps, eps
        Requests and errors per second, >= 0.
    named_metrics, utilization, request_cost
        Any other figures by name: of the application, shares of resources, costs of this request.

    Raises
    ------
    ConfigurationError
        If a figure is negative, not finite or larger than any real one (1e12).

    Source: ``xds.data.orca.v3.OrcaLoadReport``.

    Example
    -------
    >>> from balancekit.outcome import LoadReport
    >>> LoadReport(application_utilization=0.4, rps=120.0).rps
    120.0
    """

    cpu_utilization: float = 0.0
    memory_utilization: float = 0.0
    application_utilization: float = 0.0
    rps: float = 0.0
    eps: float = 0.0
    named_metrics: Mapping[str, float] = MappingProxyType({})
    utilization: Mapping[str, float] = MappingProxyType({})
    request_cost: Mapping[str, float] = MappingProxyType({})

    def _check(self) -> None:
        for name in ("cpu_utilization", "memory_utilization", "application_utilization", "rps", "eps"):
            valid.number(name, getattr(self, name), minimum=0.0, maximum=MAX_REPORTED)
        for figures in ("named_metrics", "utilization", "request_cost"):
            for name, value in getattr(self, figures).items():
                valid.number(f"{figures}[{name}]", value, minimum=-MAX_REPORTED, maximum=MAX_REPORTED)


class CheckResult(Record):
    """The result of one check of one endpoint.

    Parameters
    ----------
    passed
        Whether the endpoint is healthy.
    detail
        The reason in words, for people.
    degraded
        Dependencies that fail here and on most other endpoints: the pool is degraded, this endpoint is not to
        blame.
    holds_for
        Seconds, > 0, for which an endpoint stays ejected because of this result, unless the next check
        passes. So endpoints return on trial when checks stop, even without notice.

    Raises
    ------
    ConfigurationError
        If ``passed`` is no bool, ``detail`` no string, ``degraded`` no tuple of strings, or ``holds_for`` not
        > 0.

    Example
    -------
    >>> from balancekit.outcome import CheckResult
    >>> CheckResult(passed=False, detail="connection refused", holds_for=12.0).passed
    False
    """

    passed: bool
    detail: str = ""
    degraded: tuple[str, ...] = ()
    holds_for: float = 60.0

    def _check(self) -> None:
        valid.flag("passed", self.passed)
        valid.text("detail", self.detail, empty=True, any_text=True)
        if not isinstance(self.degraded, tuple) or not all(isinstance(name, str) for name in self.degraded):
            raise ConfigurationError("degraded", self.degraded, "a tuple of strings")
        valid.number("holds_for", self.holds_for, above=0.0)


_OWN_POOLS: Final = frozenset(
    {"EmptyPoolError", "MaxConnectionsError", "PoolTimeout", "WaitQueueTimeoutError"}
)
"""Errors of urllib3, redis, httpx and psycopg, and pymongo for a pool of the client's own that is full."""
_STATUS_ERRORS: Final = frozenset({"APIStatusError", "ClientResponseError", "HTTPError", "HTTPStatusError"})
"""Errors of the SDKs of model servers, aiohttp, requests and urllib, and httpx for the status of an answer."""
_DATABASE_ANSWERS: Final = frozenset({"DataError", "IntegrityError", "NotSupportedError", "ProgrammingError"})
"""Errors of database drivers for statements that a healthy server rejects (PEP 249)."""
_BY_CODE: Final[Mapping[str, Outcome]] = {
    "UNAVAILABLE": Outcome.CONNECT_FAILED,
    "DEADLINE_EXCEEDED": Outcome.TIMEOUT,
    "RESOURCE_EXHAUSTED": Outcome.OVERLOADED,
    "CANCELLED": Outcome.CANCELLED,
    "UNKNOWN": Outcome.FAILURE,
    "INTERNAL": Outcome.FAILURE,
    "DATA_LOSS": Outcome.FAILURE,
}
"""Status codes of gRPC that are no answers."""


def classify_exception(error: BaseException | None) -> Outcome:
    """Return the outcome that an exception means.

    The first of these that fits:

    - ``None`` is a success.
    - A group has the outcome that its members share; it is a failure if they differ.
    - Anything that is not an :class:`Exception` (task cancellation in any framework, an interrupt, a closed
      generator) is the caller giving up.
    - An error that was raised because this process has no file descriptor or memory left is ignored.
    - A :class:`TimeoutError` is a timeout, a :class:`ConnectionError` a failed connection.
    - An error for a full pool of the client's own is ignored: of httpx, urllib3, redis, psycopg, pymongo and SQLAlchemy.
    - What ``urllib`` and ``raise_for_status`` of a client raise has the outcome of its status, as in the adapters: 429 is
      overloaded, 408 and 5xx except 501 are failures, the others successes.
    - A statement that a database rejects, by the classes of PEP 249, is a success.
    - What gRPC raises has the outcome of its code; an answer such as NOT_FOUND is a success.
    - A class that has ``Timeout`` in its name, or in that of a base, is a timeout, because not all clients derive theirs
      from ``TimeoutError``. So is ``trio.TooSlowError``.
    - The rest is a failure.

    Example
    -------
    >>> from balancekit import classify_exception
    >>> classify_exception(ConnectionRefusedError())
    <Outcome.CONNECT_FAILED: 'connect_failed'>
    >>> classify_exception(KeyboardInterrupt())
    <Outcome.CANCELLED: 'cancelled'>
    >>> from urllib.error import HTTPError
    >>> classify_exception(HTTPError("http://10.0.0.1/x", 404, "Not Found", {}, None))
    <Outcome.SUCCESS: 'success'>
    """
    if error is None:
        return Outcome.SUCCESS
    if isinstance(error, BaseExceptionGroup):
        outcomes = {classify_exception(member) for member in error.exceptions}
        return outcomes.pop() if len(outcomes) == 1 else Outcome.FAILURE
    if not isinstance(error, Exception):
        return Outcome.CANCELLED
    if is_shortage(error):
        return Outcome.IGNORED
    if isinstance(error, TimeoutError):
        return Outcome.TIMEOUT
    if isinstance(error, ConnectionError):
        return Outcome.CONNECT_FAILED
    names = {kind.__name__ for kind in type(error).__mro__}
    for rule in _BY_NAMES:
        outcome = rule(error, names)
        if outcome is not None:
            return outcome
    return Outcome.FAILURE


def _of_full_pool(error: Exception, names: AbstractSet[str]) -> Outcome | None:
    if not _OWN_POOLS.isdisjoint(names):
        return Outcome.IGNORED
    of_sqlalchemy = "TimeoutError" in names and any(
        kind.__name__ == "TimeoutError" and kind.__module__ == "sqlalchemy.exc"
        for kind in type(error).__mro__
    )
    return Outcome.IGNORED if of_sqlalchemy else None


def _of_status(error: Exception, names: AbstractSet[str]) -> Outcome | None:
    status = None if _STATUS_ERRORS.isdisjoint(names) else _status_of(error)
    return None if status is None else _outcome_of(status)


def _of_statement(_error: Exception, names: AbstractSet[str]) -> Outcome | None:
    rejected = "DatabaseError" in names and not _DATABASE_ANSWERS.isdisjoint(names)
    return Outcome.SUCCESS if rejected else None


def _of_code(error: Exception, names: AbstractSet[str]) -> Outcome | None:
    code = _code_of(error) if "RpcError" in names else None
    return None if code is None else _BY_CODE.get(code, Outcome.SUCCESS)


def _of_timeout(_error: Exception, names: AbstractSet[str]) -> Outcome | None:
    late = "TooSlowError" in names or any("Timeout" in name for name in names)
    return Outcome.TIMEOUT if late else None


_BY_NAMES: Final = (_of_full_pool, _of_status, _of_statement, _of_code, _of_timeout)
"""What an error is by the names of its classes, in the order in which they are tried: no client is imported."""


def _outcome_of(status: int) -> Outcome:
    """Return the outcome that the status of an HTTP answer means, whatever its headers say."""
    if status == 429:
        return Outcome.OVERLOADED
    return Outcome.FAILURE if status == 408 or (status >= 500 and status != 501) else Outcome.SUCCESS


def _status_of(error: Exception) -> int | None:
    """Return the status of the answer for which a client raised an error; ``None`` if it raised it for something else."""
    if error.__cause__ is not None:  # of aiohttp, for an answer that it cannot read
        return None
    answer = getattr(error, "response", None)
    status = getattr(error, "status", None) if answer is None else getattr(answer, "status_code", None)
    return status if isinstance(status, int) and status >= 300 else None


def _code_of(error: Exception) -> str | None:
    """Return the name of the gRPC status code of an error; ``None`` if it has none."""
    code = getattr(error, "code", None)
    name = getattr(code() if callable(code) else None, "name", None)
    return name if isinstance(name, str) else None
