"""Recorder of production traffic: one line of JSON per request, for :func:`~balancekit.sim.replay`.

.. code-block:: json

    {"time":1795478400.25,"key":"user 7","cost":1.0,"endpoint":"10.0.0.1:8080","duration":0.031,"outcome":"success"}

``time`` is when the lease was opened, in seconds since 1970, so the logs of several runs and programs can be merged.
``duration`` is the time in seconds until the lease ended. A key is a string, a number, ``null``, or for bytes
``{"hex": "00ff"}``.

Cost: about six times that of acquiring and releasing a lease without a recorder, or about 70 empty method calls (10 µs where
the balancer takes 1.7 µs). Most of it is formatting. Each request takes about 110 bytes on disk.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, NoReturn, Self, TypeVar, cast, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr, StateRepr
from balancekit.endpoint import Endpoint
from balancekit.events import Event, EventSink
from balancekit.lease import Lease, LeaseExtras
from balancekit.node import Node
from balancekit.outcome import CheckResult, Completion, LoadReport, Outcome, classify_exception
from balancekit.protocols import (
    Clock,
    ObservableBalancer,
    SupportsRefusalObservers,
    UpdatableBalancer,
    require_balancer,
)
from balancekit.sim._jsonl_writer import LineWriter
from balancekit.snapshot import DEFAULT_COST, Key
from balancekit.statistics_view import BalancerStats

__all__ = ["RecordedLease", "Recorder"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

QUOTE: Final = json.JSONEncoder().encode
"""Encodes a string as JSON."""


@final
class Recorder(ConstructorRepr, Generic[T]):
    """A balancer that writes one line per request to a file. Use it in place of the balancer that it wraps.

    Parameters
    ----------
    balancer
        The balancer that picks endpoints.
    file
        Path of the file. Lines are appended; existing content is kept.
    clock
        Function that returns a time in seconds and never goes back. Its values are written as ``time``. If left out,
        ``time`` is in seconds since 1970.

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer, ``file`` is no path, or ``clock`` is not callable.
    OSError
        If the file cannot be opened.

    Notes
    -----
    *Guarantee.* Safe to share between threads and with a forked child. An error of the file never fails a request: lines
    that could not be written are counted in ``dropped``.

    Lines are written in batches of 64. The rest is written by :meth:`close`, at the end of the outermost ``with`` block,
    or at the end of the program. Lines that are not written when the program is killed are lost. A lease that is never
    released is not in the log.

    *When not to use it:* if keys contain personal data that must not be stored. Keys are written unchanged.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from balancekit import LoadBalancer
    >>> from balancekit.sim import Recorder
    >>> path = Path(tempfile.mkdtemp()) / "requests.jsonl"
    >>> with Recorder(LoadBalancer(["a", "b"]), path) as balancer:
    ...     with balancer.acquire("user 7") as lease:
    ...         pass
    >>> path.read_text().count("user 7")
    1
    """

    @checked_arguments
    def __init__(
        self, balancer: ObservableBalancer[T], file: str | Path, *, clock: Clock | None = None
    ) -> None:
        require_balancer(balancer)
        if clock is not None:
            valid.clock("clock", clock)
        self.balancer: ObservableBalancer[T] = balancer
        self._clock: Clock = time.monotonic if clock is None else clock
        self._log = _RequestLog(file, self._clock, time.time() - time.monotonic() if clock is None else 0.0)
        self._blocks = 0
        """Number of ``with`` blocks that have been entered and not left."""
        weakref.finalize(self, self._log.writer.close)

    @property
    def dropped(self) -> int:
        """Number of lines that could not be written."""
        return self._log.writer.dropped

    def acquire(
        self,
        key: Key | None = None,
        /,
        *,
        cost: float = DEFAULT_COST,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Lease[T]:
        """Pick an endpoint and open a lease on it, as :meth:`balancekit.LoadBalancer.acquire` does."""
        lease = self.balancer.acquire(key, cost=cost, exclude=exclude, attributes=attributes)
        return cast("Lease[T]", RecordedLease(self._log, lease, key, cost, self._clock()))

    def attempts(
        self,
        limit: int,
        key: Key | None = None,
        /,
        *,
        cost: float = DEFAULT_COST,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Iterator[Lease[T]]:
        """Yield leases for one request, as :meth:`balancekit.LoadBalancer.attempts` does; each has a line of its own."""
        leases = self.balancer.attempts(limit, key, cost=cost, exclude=exclude, attributes=attributes)
        return self._attempts(leases, key, cost)

    @property
    def endpoints(self) -> tuple[Endpoint[T], ...]:
        """See :attr:`balancekit.LoadBalancer.endpoints`."""
        return self.balancer.endpoints

    def update(
        self,
        endpoints: Iterable[str | Endpoint[T]] | Mapping[str, T],
        /,
        *,
        keep_history: bool = False,
    ) -> None:
        """See :meth:`balancekit.LoadBalancer.update`."""
        require_balancer(self.balancer, UpdatableBalancer)
        cast("UpdatableBalancer[T]", self.balancer).update(endpoints, keep_history=keep_history)

    def on_event(self, listener: EventSink, /) -> Callable[[], None]:
        """See :meth:`balancekit.LoadBalancer.on_event`."""
        return self.balancer.on_event(listener)

    def on_completion(self, observer: Callable[[Endpoint[T], Completion], None], /) -> Callable[[], None]:
        """See :meth:`balancekit.LoadBalancer.on_completion`."""
        return self.balancer.on_completion(observer)

    def on_start(self, observer: Callable[[Endpoint[T]], None], /) -> Callable[[], None]:
        """See :meth:`balancekit.LoadBalancer.on_start`."""
        return self.balancer.on_start(observer)

    def on_refusal(self, observer: Callable[[str], object], /) -> Callable[[], None]:
        """See :meth:`balancekit.LoadBalancer.on_refusal`; a balancer that does not report refusals never calls it."""
        if isinstance(self.balancer, SupportsRefusalObservers):
            return self.balancer.on_refusal(observer)
        return _nothing

    def emit(self, event: Event, /) -> None:
        """See :meth:`balancekit.LoadBalancer.emit`."""
        self.balancer.emit(event)

    @property
    def takes_checks(self) -> bool:
        """See :attr:`balancekit.LoadBalancer.takes_checks`."""
        return bool(getattr(self.balancer, "takes_checks", True))

    def report_check(self, id: str, result: CheckResult, /) -> bool:
        """See :meth:`balancekit.LoadBalancer.report_check`."""
        return self.balancer.report_check(id, result)

    def stats(self) -> BalancerStats:
        """See :meth:`balancekit.LoadBalancer.stats`."""
        return self.balancer.stats()

    def close(self) -> None:
        """Write the lines that have not been written, and close the file. Leases that end later are counted as dropped."""
        self._log.writer.close()

    def __enter__(self) -> Self:
        self._blocks += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._blocks -= 1
        if not self._blocks:
            self.close()

    def _attempts(self, leases: Iterable[Lease[T]], key: Key | None, cost: float) -> Iterator[Lease[T]]:
        for lease in leases:
            recorded = RecordedLease(self._log, lease, key, cost, self._clock())
            yield cast("Lease[T]", recorded)
            recorded.release(Outcome.FAILURE)


@final
class _RequestLog:
    """The log of a recorder, which its leases share.

    Parameters
    ----------
    file
        Path of the file to which lines are appended.
    clock
        Function that returns a time in seconds.
    epoch
        Number that is added to a time for the log, so that it counts from 1970.
    """

    __slots__ = ("_clock", "_epoch", "writer")

    def __init__(self, file: str | Path, clock: Clock, epoch: float) -> None:
        self.writer: LineWriter = LineWriter(file)
        self._clock = clock
        self._epoch = epoch

    def write(self, endpoint: str, key: Key | None, cost: float, began: float, outcome: Outcome) -> None:
        """Write the line of a request that ends now."""
        duration = self._clock() - began
        try:
            written = _in_json(key)
        except ValueError:  # an integer with more digits than Python converts to text
            self.writer.drop()
            return
        # Formatted by hand: json.dumps of a dictionary would take three times as long as the rest of this method.
        self.writer.add(
            f'{{"time":{began + self._epoch!r},"key":{written},"cost":{float(cost)!r},"endpoint":{QUOTE(endpoint)},'
            f'"duration":{duration!r},"outcome":"{outcome.value}"}}'
        )


@final
class RecordedLease(StateRepr, Generic[T_co], prints=("endpoint", "cost", "active")):
    """A lease whose end is recorded. Made by :meth:`Recorder.acquire`; used like a :class:`~balancekit.Lease`."""

    __slots__ = ("_began", "_cost", "_key", "_lease", "_log")

    @checked_arguments
    def __init__(
        self, log: _RequestLog, lease: Lease[T_co], key: Key | None, cost: float, began: float
    ) -> None:
        self._log = log
        self._lease = lease
        self._key = key
        self._cost = cost
        self._began = began

    @property
    def endpoint(self) -> Endpoint[T_co]:
        """The endpoint to use."""
        return self._lease.endpoint

    @property
    def target(self) -> T_co:
        """The endpoint's target."""
        return self._lease.target

    @property
    def node(self) -> Node:
        """The runtime record of the endpoint."""
        return self._lease.node

    @property
    def cost(self) -> float:
        """See :attr:`balancekit.Lease.cost`."""
        return self._lease.cost

    @property
    def extras(self) -> LeaseExtras:
        """See :attr:`balancekit.Lease.extras`."""
        return self._lease.extras

    @property
    def started_at(self) -> float:
        """See :attr:`balancekit.Lease.started_at`."""
        return self._lease.started_at

    @property
    def active(self) -> bool:
        """Whether the lease still counts as in flight."""
        return self._lease.active

    def first_byte(self) -> None:
        """Record that the response has begun; see :meth:`balancekit.Lease.first_byte`."""
        self._lease.first_byte()

    def report_load(self, report: LoadReport) -> None:
        """Pass on the load that the endpoint reported; see :meth:`balancekit.Lease.report_load`."""
        self._lease.report_load(report)

    def report_tokens(self, count: int) -> None:
        """Record the number of tokens of the response; see :meth:`balancekit.Lease.report_tokens`."""
        self._lease.report_tokens(count)

    def release(self, outcome: Outcome = Outcome.SUCCESS, *, retry_after: float | None = None) -> bool:
        """End the lease and record it; see :meth:`balancekit.Lease.release`."""
        ended = self._lease.release(outcome, retry_after=retry_after)
        if ended:
            self._log.write(self._lease.endpoint.id, self._key, self._cost, self._began, outcome)
        return ended

    def __enter__(self) -> Self:
        self._lease.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release(classify_exception(error))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    if not TYPE_CHECKING:  # type checkers say so themselves

        def __await__(self) -> NoReturn:
            self.release(Outcome.CANCELLED)
            self._lease.__await__()

    def __reduce__(self) -> NoReturn:
        self._lease.__reduce__()


def _in_json(key: Key | None) -> str:
    if key is None:
        return "null"
    if isinstance(key, bytes):
        return f'{{"hex":"{key.hex()}"}}'
    return QUOTE(key) if isinstance(key, str) else str(int(key))


def _nothing() -> None:
    """Do nothing: no observer was registered."""
