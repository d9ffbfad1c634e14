"""Options of a single request: a key, a deadline, its own number of attempts.

There are two ways: :func:`request_options` around the call, in any client, and the client's own channel if it has one
(httpx: ``extensions={"balancekit": RequestOptions(...)}``). The second overrides the first.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit._support.signature import spelled
from balancekit._support.tables import one_of
from balancekit.errors import ConfigurationError
from balancekit.snapshot import Key

__all__ = ["RequestOptions", "current_options", "in_force", "request_options"]

_IN_FORCE: Final[ContextVar[tuple[RequestOptions, ...]]] = ContextVar(
    "balancekit_request_options", default=()
)
"""Of the blocks that this thread or task is in, outermost first; each is filled up with those around it."""


class RequestOptions(Record):
    """Options of one request; those left out are as the adapter was configured.

    Parameters
    ----------
    key
        What keyed selectors hash.
    deadline
        When the whole call must be over, in seconds of ``time.monotonic``. Each attempt gets the remaining time. Only the
        system's resolver cannot be interrupted: in a blocking client, the look-up of an endpoint's name may exceed it.
    attempts
        How many attempts at most, >= 1.
    idempotent
        Whether the request may be sent again although it may have been processed. Left out, its method and an
        ``Idempotency-Key`` decide.
    exclude
        Ids of endpoints not to use.
    cost
        What the request costs relative to an ordinary one, > 0 and <= 1e12.
    tenant, criticality
        The tenant of the request, and how critical it is: see :class:`~balancekit.waiting.WaitingQueue`. They have no effect
        without a waiting room in the adapter.
    attributes
        Values for selectors, as ``ctx.attributes``.
    retry_on
        Statuses that are retried like a bad gateway, in addition to the usual ones.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, or a status outside 400 to 599. If ``key``, ``exclude``, ``tenant``
        or ``attributes`` is of another class than allowed.
    """

    key: Key | None = None
    deadline: float | None = None
    attempts: int | None = None
    idempotent: bool | None = None
    exclude: frozenset[str] = frozenset()
    cost: float | None = None
    attributes: Mapping[str, object] | None = None
    retry_on: frozenset[int] = frozenset()
    tenant: str | None = None
    criticality: int | None = None

    def _check(self) -> None:
        valid.request(self.key, 1.0 if self.cost is None else self.cost, self.attributes)
        if self.deadline is not None:
            valid.number("deadline", self.deadline, infinite=True)
        if self.attempts is not None:
            valid.integer("attempts", self.attempts, minimum=1)
        if self.idempotent is not None:
            valid.flag("idempotent", self.idempotent)
        if self.tenant is not None:
            valid.text("tenant", self.tenant, empty=True)
        if self.criticality is not None:
            valid.integer("criticality", self.criticality, minimum=0)
        self.__dict__["exclude"] = valid.ids("exclude", self.exclude)
        if not isinstance(self.retry_on, Collection):
            raise ConfigurationError("retry_on", self.retry_on, "a collection of statuses")
        statuses = [valid.integer("retry_on", status, minimum=400, maximum=599) for status in self.retry_on]
        self.__dict__["retry_on"] = frozenset(statuses)

    def over(self, weaker: RequestOptions | None) -> RequestOptions:
        """Return these options, filled up with weaker ones. The earlier deadline counts."""
        if weaker is None:
            return self
        given = {name: getattr(self, name) for name in self._fields if getattr(self, name) is not None}
        joined = {"exclude": self.exclude | weaker.exclude, "retry_on": self.retry_on | weaker.retry_on}
        merged = weaker.replace(**given | joined)
        if self.deadline is not None and weaker.deadline is not None:
            merged = merged.replace(deadline=min(self.deadline, weaker.deadline))
        return merged


@spelled(RequestOptions)
def request_options(
    *, timeout: float | None = None, **options: Any
) -> AbstractContextManager[RequestOptions]:
    """Set options for every request made in a ``with`` block, by this thread or task.

    Warns if what it returns is thrown away without a block.

    Parameters
    ----------
    timeout
        Seconds for each whole call from the beginning of the block, in place of a ``deadline``.
    options
        As for :class:`RequestOptions`. Blocks may be nested: the inner one is stronger, the earlier deadline counts.

    Raises
    ------
    ConfigurationError
        If an option is unknown or refused by :class:`RequestOptions`, or ``timeout`` is not > 0.

    Example
    -------
    >>> from balancekit.adapters import request_options
    >>> with request_options(key="user-17", timeout=2.0) as options:
    ...     options.key
    'user-17'
    """
    unknown = [name for name in options if name not in RequestOptions._fields]
    if unknown:
        raise ConfigurationError(
            "option", unknown[0], one_of(unknown[0], ("timeout", *RequestOptions._fields))
        )
    if timeout is not None:
        timeout = valid.seconds("timeout", timeout, above=0.0, long=valid.LONG_TIMEOUT_S)
    return _Block(RequestOptions(**options), timeout)


def in_force(options: RequestOptions) -> AbstractContextManager[RequestOptions]:
    """Return the block in which some options are in force."""
    return _Block(options, None)


@final
class _Block:
    """A ``with`` block with options of its own. Any number of threads and tasks may be in it."""

    __slots__ = ("_entered", "_options", "_timeout")

    def __init__(self, options: RequestOptions, timeout: float | None) -> None:
        self._options = options
        self._timeout = timeout
        self._entered = False

    def __enter__(self) -> RequestOptions:
        options = self._options
        if self._timeout is not None:
            deadline = math.inf if options.deadline is None else options.deadline
            options = options.replace(deadline=min(deadline, time.monotonic() + self._timeout))
        around = _IN_FORCE.get()
        merged = options.over(around[-1] if around else None)
        self._entered = True
        _IN_FORCE.set((*around, merged))
        return merged

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _IN_FORCE.set(_IN_FORCE.get()[:-1])

    def __del__(self) -> None:
        if not self._entered:
            text = "request_options(...) has no effect without a block: write `with request_options(...):`"
            warnings.warn(text, UserWarning, stacklevel=2)


def current_options(own: object = None) -> RequestOptions | None:
    """Return the options of the present request, its client's own channel included."""
    around = _IN_FORCE.get()
    current = around[-1] if around else None
    if own is None:
        return current
    if isinstance(own, Mapping):
        own = RequestOptions(**own)
    if not isinstance(own, RequestOptions):
        raise ConfigurationError("balancekit", own, "RequestOptions, or a mapping of its fields")
    return own.over(current)
