"""Leases: a request's claim on an endpoint, which ends exactly once however the request ends.

A balancer opens a lease, which counts in its node's ``inflight`` until it is released: by ``with``, or by
:meth:`Lease.release`. If it is lost, the balancer releases it after garbage collection. A lease carries its
*node*, not an id, so a late release cannot touch an endpoint that was removed and added again.

**Exactly once, without a lock.** Under the interpreter lock, no other thread can run between reading ``_open``
and setting it to ``None``, nor within ``inflight -= 1``. On a free-threaded build both happen under the node's
lock (see ``docs/decisions``).

**The finalizer rule.** ``__del__`` may run in the middle of any allocation, also while this very thread
holds a lock of the balancer. So it appends to a deque and does nothing else; the next acquire ends the lost
lease as cancelled and, holding no lock, warns. Only an open lease has a finalizer: :class:`OpenLease` becomes a ``Lease``
when it ends. An interrupt that arrives as a finalizer begins is lost, for Python only prints it.

Overhead beyond the two counter updates: about half the cost of an uncontended lock.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, NoReturn, Protocol, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.elsewhere import Elsewhere
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, LeaseError
from balancekit.node import Node
from balancekit.outcome import MAX_REPORTED, LoadReport, Outcome, classify_exception

__all__ = ["Lease"]

T_co = TypeVar("T_co", covariant=True)

FREE_THREADED: Final = not getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether this interpreter runs threads in parallel, so that ``n += 1`` needs a lock."""


class LeaseOwner(Protocol):
    """What a lease needs of the balancer that opened it."""

    lost: deque[Lease[object]]

    def succeeded(self, lease: Lease[object], node: Node) -> None:
        """Record a plain success, already counted, on a node that needs a callback."""

    def ended(self, lease: Lease[object], node: Node, outcome: Outcome, retry_after: float | None) -> None:
        """Count and record any other end."""

    def reached(self, lease: Lease[object]) -> None:
        """Note that the first byte of the answer has arrived."""

    def reported(self, lease: Lease[object]) -> None:
        """Note that the answer carries a load report."""

    def counted(self, lease: Lease[object], tokens: int) -> None:
        """Note how many tokens the answer had."""


class LeaseExtras:
    """Properties that few leases have: made when one is first set or read."""

    # Defaults of the class: what a lease does not have costs nothing.
    cost: float = 1.0
    first_byte_at: float | None = None
    load_report: LoadReport | None = None
    site: str | None = None
    tokens: int | None = None


class Lease(Generic[T_co]):
    """One request's claim on one endpoint. Made by ``Balancer.acquire``, never by hand.

    Use it in a ``with`` statement, in coroutines too (nothing in it waits), or call :meth:`release`
    from a callback. A lease is entered once; code called in the block uses it without ``with``. The end of the block
    classifies the outcome: no exception is a success, a ``TimeoutError`` a timeout, a cancellation counts against no
    endpoint (see ``classify_exception``).

    Example
    -------
    >>> from balancekit import LoadBalancer, Outcome
    >>> lb = LoadBalancer(["10.0.0.1:8080"])
    >>> with lb.acquire() as lease:
    ...     lease.target
    '10.0.0.1:8080'
    >>> lease.release(Outcome.FAILURE)      # it has ended already, as a success
    False
    """

    __slots__ = ("_extras", "_open", "_owner", "_started_at", "node")

    if not TYPE_CHECKING:  # type checkers know that there is nothing
        address = host = url = Elsewhere("lease.target is what the endpoint was given as its target")
        close = done = success = Elsewhere("the end of its `with` block reports success; or lease.release()")
        fail = failure = Elsewhere("write lease.release(Outcome.FAILURE), or raise in its `with` block")

    # Set by the balancer right after construction, the time only if it is measured. There is no __init__
    # because calling one would cost as much as the rest of acquire, and few slots because each costs
    # something when the lease dies.
    _started_at: float
    _owner: LeaseOwner
    node: Node
    """The runtime record of the endpoint."""
    _open: Node | bool | None
    """The node until the lease is entered, ``True`` in a ``with`` block, ``None`` when it has ended."""
    _extras: LeaseExtras

    def __dir__(self) -> list[str]:
        return [name for name in object.__dir__(self) if hasattr(self, name)]

    @property
    def endpoint(self) -> Endpoint[T_co]:
        """The endpoint to use."""
        return self.node.endpoint  # type: ignore[return-value]  # nodes are not generic; cast() would be a call

    @property
    def target(self) -> T_co:
        """The endpoint's target."""
        return self.node.endpoint.target  # type: ignore[return-value]  # nodes are not generic

    @property
    def started_at(self) -> float:
        """The balancer's clock, in seconds, when the lease was opened.

        NaN if the balancer does not measure time (``timed=False``).
        """
        return getattr(self, "_started_at", math.nan)

    @property
    def active(self) -> bool:
        """Whether the lease still counts as in flight."""
        return self._open is not None

    @property
    def cost(self) -> float:
        """What the request was said to cost."""
        return self.extras.cost

    @property
    def extras(self) -> LeaseExtras:
        """What few leases have; made when first used."""
        try:
            return self._extras
        except AttributeError:
            self._extras = extras = LeaseExtras()
            return extras

    def first_byte(self) -> None:
        """Record that the answer has begun: latency is measured to here, not to the end of the body.

        Only the first call counts. The lease stays open.
        """
        if self._open is not None and self.extras.first_byte_at is None:
            self._owner.reached(self)

    def report_load(self, report: LoadReport) -> None:
        """Record the load that the endpoint reported; loads, selectors and observers receive it when the lease ends.

        The last call counts. After the lease has ended, nothing happens.

        Raises
        ------
        ConfigurationError
            If it is no LoadReport; the lease stays open.
        """
        if not isinstance(report, LoadReport):
            raise ConfigurationError("report", report, "a LoadReport")
        if self._open is not None:
            self.extras.load_report = report
            self._owner.reported(self)

    def report_tokens(self, count: int) -> None:
        """Record how many tokens the answer of a language model had, 0 to 1e12. Call it when the last one has arrived.

        They count for the endpoint, even after the lease has ended. If the lease is open, and after :meth:`first_byte`, the
        speed of the tokens after the first one counts too. Only the first call counts.

        Raises
        ------
        ConfigurationError
            If it is no whole number from 0 to 1e12, as a server may say anything.
        """
        count = valid.integer("count", count, minimum=0, maximum=MAX_REPORTED)
        if self.extras.tokens is None:
            self.extras.tokens = count
            self._owner.counted(self, count)

    def release(self, outcome: Outcome = Outcome.SUCCESS, *, retry_after: float | None = None) -> bool:
        """End the lease.

        Parameters
        ----------
        outcome
            How the request ended.
        retry_after
            How long the endpoint is to cool down, in seconds, >= 0, whatever the outcome: nothing new goes to it
            until then, unless no other is eligible and ``exhaustion`` allows it.

        Returns
        -------
        bool
            True if this call ended the lease, False if it had ended before; then nothing happens.

        Raises
        ------
        ConfigurationError
            If ``outcome`` is not an Outcome or ``retry_after`` no number; the lease stays open.
        """
        if not isinstance(outcome, Outcome):
            raise ConfigurationError("outcome", outcome, valid.members(Outcome))
        if retry_after is not None:
            retry_after = valid.number("retry_after", retry_after, minimum=0.0)
        node = self._close()
        if node is None:
            return False
        if node.inflight < node.low_water:
            node.on_low_water(node)
        self._owner.ended(self, node, outcome, retry_after)
        return True

    def __enter__(self) -> Lease[T_co]:
        if FREE_THREADED:
            self._enter_locked()
            return self
        if self._open is not self.node:
            self._refuse()
        self._open = True  # no signal and no other thread comes between the test and this
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None or FREE_THREADED:
            self.release(classify_exception(error))
            return
        # What follows is release(Outcome.SUCCESS), written out: a call would be a third of it.
        if self._open is not None:
            node = self.node
            self._open = None
            self.__class__ = Lease  # pyright: ignore[reportAttributeAccessIssue]  # without a finalizer
            node.successes += 1  # first: a reader that sees nothing in flight sees everything counted
            node.inflight -= 1
            if node.callbacks:
                self._owner.succeeded(self, node)

    async def __aenter__(self) -> Lease[T_co]:
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
            raise TypeError("acquire() never waits: write `with lb.acquire() as lease:`, in coroutines too")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a lease cannot be copied or pickled: it ends once; acquire one for each request")

    def __repr__(self) -> str:
        state = "open" if self._open is not None else "ended"
        return f"<Lease of {self.node.id!r}, {state}>"

    def _enter_locked(self) -> None:
        with self.node.lock:
            if self._open is self.node:
                self._open = True
                return
        self._refuse()

    def _refuse(self) -> NoReturn:
        if self._open is None:
            raise LeaseError("this lease has ended; acquire a new one for each request")
        raise LeaseError(
            "this lease is in a with block already, whose end is its own; inside it, use the lease without another with"
        )

    def _close(self) -> Node | None:
        """Claim the end of the lease: the node for the one caller who may end it, None for the others."""
        node = self.node
        if FREE_THREADED:
            with node.lock:
                if self._open is None:
                    return None
                self._open = None
                node.inflight -= 1
            return node
        if self._open is None:
            return None
        self._open = None
        self.__class__ = Lease  # pyright: ignore[reportAttributeAccessIssue]  # without a finalizer
        node.inflight -= 1
        return node


class OpenLease(Lease[T_co]):
    """A lease that has not ended, as ``acquire`` makes it. It becomes a ``Lease`` as it ends.

    On a free-threaded build it stays what it is: there a change of class stops all threads.
    """

    __slots__ = ()

    def __del__(self) -> None:
        try:
            if self._open is not None:
                self._owner.lost.append(self)
        except AttributeError:  # interrupted before it was opened
            pass


@final
class OpenCostLease(OpenLease[T_co]):
    """An open lease of a request that was given a cost: its node adds that up, in the step that counts the lease."""

    __slots__ = ()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None or FREE_THREADED:
            self.release(classify_exception(error))
            return
        # As in Lease.__exit__, with the cost; written out too, for no signal and no other thread may come between the counts.
        if self._open is not None:
            node = self.node
            cost = self._extras.cost
            self._open = None
            self.__class__ = Lease  # type: ignore[assignment]  # without a finalizer
            node.successes += 1
            node.inflight -= 1
            node.costed -= 1
            node.open_cost = node.open_cost - cost if node.costed else 0.0
            if node.callbacks:
                self._owner.succeeded(self, node)

    def _close(self) -> Node | None:
        if FREE_THREADED:
            with self.node.lock:
                return self._close_costed()
        return self._close_costed()

    def _close_costed(self) -> Node | None:
        if self._open is None:
            return None
        node, cost = self.node, self._extras.cost
        self._open = None
        if not FREE_THREADED:
            self.__class__ = Lease  # type: ignore[assignment]  # without a finalizer
        node.inflight -= 1
        node.costed -= 1
        node.open_cost = node.open_cost - cost if node.costed else 0.0
        return node
