"""State of one balanced request: its attempts, its lease and its retry decisions, without I/O.

The adapters send, in the steps of ``_exchange.py``; this module decides. A retry goes to an endpoint that has not been tried.
It needs the permission of ``_classification.py`` for this request, an attempt, time, an endpoint, and a retry in the
budget. The next lease is taken *before* the present answer is discarded; without a lease, that answer is returned.

Cost: one lease, one entry in the budget; nothing is computed for retries that do not happen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, final

from balancekit._support.causes import handled_now
from balancekit._support.log import contain_error, log_change
from balancekit._support.shortage import is_shortage
from balancekit._support.validation import MAX_WAIT_S
from balancekit.adapters._call_info import CallInfo
from balancekit.adapters._classification import (
    CANCELLED,
    CUT_OFF,
    FINE,
    IDEMPOTENT_METHODS,
    Classification,
    RetryScope,
    classify_status,
)
from balancekit.adapters._config import AdapterConfig
from balancekit.adapters._keys import found_in
from balancekit.adapters._released import ReleasedOnError
from balancekit.adapters._request_options import RequestOptions, current_options
from balancekit.adapters._retry_after import quota_reset, retry_after
from balancekit.adapters._sse import ends_stream
from balancekit.adapters._target import Address
from balancekit.adapters._transports import Opening
from balancekit.errors import UnavailableError, brief_error
from balancekit.events import Retried, RetryRefused
from balancekit.lease import Lease
from balancekit.outcome import Outcome
from balancekit.snapshot import Key
from balancekit.waiting import WaitingRoom

__all__ = ["Call", "begin_call"]


MIN_TIMEOUT_S: Final = 0.001
"""Seconds that an attempt is given when none are left."""
MAX_UNUSABLE: Final = 3
"""Unusable endpoints that a request skips before each counts as an attempt."""
_IN_TIME: Final = (Outcome.TIMEOUT, Outcome.CONNECT_FAILED)


@final
class Call:
    """The state of one request."""

    lease: Lease[Any]
    """Of the present attempt."""
    # What few requests have is the class's until it is set.
    deadline: float = math.inf
    """When the call must be over, by the config's clock."""
    pause: float = 0.0
    """Seconds to wait for an endpoint before the next look."""
    opening: Opening | None = None
    """The opening of the transports that send it; ``None`` where the client tells of its closing by its errors."""
    body_raised: bool = False
    """Whether the body of the request raised while the present attempt sent it: the caller's code did."""
    _ending: Classification = FINE
    _cool_down: float | None = None
    _unusable: int = 0
    _upgraded: bool = False

    def __init__(
        self, config: AdapterConfig, options: RequestOptions | None, key: Key | None, cost: float
    ) -> None:
        self._config = config
        self._options = options
        self._cost = cost
        self.key: Key | None = key
        """What keyed selectors hash."""
        self.handled: int = handled_now()
        """What the caller was handling when it sent the request; what was raised before is not this request's."""
        self.tried: list[str] = []
        """Ids, the present one last."""
        if options is not None and options.deadline is not None:
            self.deadline = options.deadline

    # ------------------------------------------------------------------ attempts

    def begin(self) -> Lease[Any]:
        """Take the first lease.

        Raises
        ------
        UnavailableError
            If no endpoint is eligible.
        """
        config, options = self._config, self._options
        plain = options is None and config.plain and not self.tried
        lease = config.balancer.acquire() if plain else self._acquire()
        self.begun_with(lease)
        return lease

    def begun_with(self, lease: Lease[Any]) -> None:
        """Record the first lease."""
        config = self._config
        self.lease = lease
        self.tried.append(lease.endpoint.id)
        try:
            config.budget.deposit(now=config.clock())
        except BaseException:  # ReleasedOnError, written out: each request comes here
            lease.release(Outcome.IGNORED)
            raise

    @property
    def room(self) -> WaitingRoom[Any] | None:
        """Where to wait for the first lease."""
        return self._config.waiting

    def waiting_options(self, room: WaitingRoom[Any]) -> dict[str, Any]:
        """Return the options with which the request enters a waiting room, besides its key."""
        own = self._options
        options: dict[str, Any] = {"cost": self._cost, "timeout": min(room.timeout, self.left())}
        if own is not None:
            options |= {"exclude": own.exclude, "attributes": own.attributes}
            options |= {"tenant": own.tenant or "", "criticality": own.criticality or 0}
        return options

    def queue(self, room: WaitingRoom[Any]) -> UnavailableError | None:
        """Wait in this thread for the first lease; return the error if there is none."""
        try:
            self.begun_with(room.acquire(self.key, **self.waiting_options(room)))
        except UnavailableError as error:
            return error
        return None

    async def queue_async(self, room: WaitingRoom[Any]) -> UnavailableError | None:
        """Wait in this task for the first lease; return the error if there is none."""
        try:
            self.begun_with(await room.acquire_async(self.key, **self.waiting_options(room)))
        except UnavailableError as error:
            return error
        return None

    def pause_for(self, error: UnavailableError, *, waited: float) -> float | None:
        """Return the seconds to wait for an endpoint to return, ``None`` not to wait."""
        seconds = error.retry_in
        if seconds is None:
            return None
        wait = max(MIN_TIMEOUT_S, seconds)
        if wait + waited > self._config.wait_for_capacity or self._config.clock() + wait >= self.deadline:
            return None
        return min(wait, MAX_WAIT_S)

    def left(self) -> float:
        """Return the seconds that are left, above 0: a time-out of zero means "do not wait" to a socket."""
        return (
            math.inf
            if self.deadline == math.inf
            else min(MAX_WAIT_S, max(MIN_TIMEOUT_S, self.deadline - self._config.clock()))
        )

    @property
    def over(self) -> bool:
        """Whether the time of the call is up."""
        return self.deadline != math.inf and self.left() <= MIN_TIMEOUT_S

    def failed(
        self, classification: Classification, request: Any, *, replayable: Callable[[Any], bool]
    ) -> bool:
        """Record that an attempt ended in an error; return whether there is another, by ``lease``."""
        if classification.outcome in _IN_TIME and self.left() <= MIN_TIMEOUT_S:
            classification = CANCELLED  # it was our time that was up, and not the endpoint's
        self.lease.release(classification.outcome)
        following = self._elsewhere(classification, request, replayable)
        if following is None:
            return False
        self._go_on(following)
        return True

    def unusable(self, error: Exception) -> str:
        """Return why the endpoint of the attempt cannot be used at all; log it once, unless this process lacks something."""
        endpoint = self.lease.endpoint
        known = self._config.unusable
        if endpoint not in known and not is_shortage(error):
            known.add(endpoint)
            log_change("endpoint %r cannot be used: %s", endpoint.id, brief_error(error), bad=True)
        return f"endpoint {endpoint.id!r} cannot be used: {brief_error(error)}"

    def answered(
        self,
        status: int,
        headers: Mapping[str, str],
        address: Address,
        request: Any,
        *,
        replayable: Callable[[Any], bool],
    ) -> bool:
        """Record that an attempt was answered; return whether to discard the answer for another attempt, by ``lease``."""
        if status == 101:
            self._upgraded = True
        report = self._config.load_reports.read(headers)
        if report is not None:
            self.lease.report_load(report)
        if status < 400 and not address.headers:
            return False
        config = self._config
        cool_down = retry_after(headers, wall=time.time()) if status in (429, 503) else None
        classification = classify_status(status, retry_after=cool_down, own_credentials=bool(address.headers))
        if status in config.innocent:
            classification = FINE
        options = self._options
        if options is not None and status in options.retry_on:
            classification = classification.widened()
        if classification.reason == "credentials":
            cool_down = config.max_retry_after
            self._report_key(status)
        elif classification is FINE and address.headers:
            cool_down = quota_reset(headers)
        self._ending = classification
        self._cool_down = None if cool_down is None else min(cool_down, config.max_retry_after)
        following = self._elsewhere(classification, request, replayable)
        if following is None:
            return False
        self.whole()
        self._ending, self._cool_down = FINE, None
        self._go_on(following)
        return True

    def _elsewhere(
        self,
        classification: Classification,
        request: Any,
        replayable: Callable[[Any], bool],
    ) -> Lease[Any] | None:
        """Take a lease on another endpoint, if everything allows it; what came of the attempt is never lost on the way."""
        try:
            return self._another(classification, request, replayable)
        except (
            Exception
        ):  # of a selector, a clock or a listener: the caller gets the answer, or the error, in hand
            contain_error("a further attempt could not be begun")
            return None

    def _another(
        self,
        classification: Classification,
        request: Any,
        replayable: Callable[[Any], bool],
    ) -> Lease[Any] | None:
        config = self._config
        if not self._allows(classification, request, replayable):
            return None
        now, id = config.clock(), self.tried[-1]
        refused = RetryRefused(endpoint=id, at=now, reason=classification.reason)
        free = classification.retry_scope is RetryScope.UNUSABLE and self._unusable < MAX_UNUSABLE
        if not free and config.budget.balance(now=now) < 1.0:
            config.balancer.emit(refused)
            return None
        try:
            lease = self._acquire()
        except UnavailableError:
            return None
        with ReleasedOnError(lease):
            if free:
                self._unusable += 1
            elif not config.budget.withdraw(now=now):  # another thread has taken the last one meanwhile
                lease.release(Outcome.IGNORED)
                config.balancer.emit(refused)
                return None
            config.balancer.emit(Retried(endpoint=id, at=now, reason=classification.reason))
        return lease

    def _allows(
        self, classification: Classification, request: Any, replayable: Callable[[Any], bool]
    ) -> bool:
        scope, options = classification.retry_scope, self._options
        limit = self._config.attempts if options is None or options.attempts is None else options.attempts
        if scope is RetryScope.UNUSABLE and self._unusable < MAX_UNUSABLE:
            return True
        if scope is RetryScope.NEVER or len(self.tried) - self._unusable >= limit:
            return False
        if self.left() < max(self._config.min_attempt_time, 2.0 * MIN_TIMEOUT_S):
            return False
        if scope is RetryScope.UNSENT or scope is RetryScope.UNUSABLE:
            return True
        if not replayable(request):
            return False
        return scope is RetryScope.REFUSED or self.may_repeat(request)

    def may_repeat(self, request: Any) -> bool:
        """Return whether the request may be sent again although it may have been carried out."""
        options = self._options
        if options is not None and options.idempotent is not None:
            return options.idempotent
        return str(request.method).upper() in IDEMPOTENT_METHODS or "Idempotency-Key" in request.headers

    def _acquire(self) -> Lease[Any]:
        options = self._options
        exclude = frozenset(self.tried) if options is None else options.exclude.union(self.tried)
        return self._config.balancer.acquire(
            self.key,
            cost=self._cost,
            exclude=exclude,
            attributes=None if options is None else options.attributes,
        )

    def _go_on(self, lease: Lease[Any]) -> None:
        self.lease = lease
        self.tried.append(lease.endpoint.id)

    def _report_key(self, status: int) -> None:
        endpoint, known = self.lease.endpoint, self._config.refused_keys
        if endpoint not in known:
            known.add(endpoint)
            log_change(
                "endpoint %r refuses its credentials with status %d; it cools down",
                endpoint.id,
                status,
                bad=True,
            )

    # ------------------------------------------------------------------ the body

    def begun(self) -> CallInfo:
        """Record that the body is still to come: latency is measured to here. Return the call's information."""
        self.lease.first_byte()
        return CallInfo(self.lease, tuple(self.tried))

    def whole(self) -> None:
        """Record that the answer has been read to its end."""
        if self._ending is FINE and self._cool_down is None:
            self.lease.__exit__(None, None, None)
        else:
            self.lease.release(self._ending.outcome, retry_after=self._cool_down)

    def closed(self, last: bytes = b"") -> None:
        """End the lease without reading on: no success, unless the end has been seen. A WebSocket has no other end.

        ``last`` was read last: streams of model providers end with an event that says so, at which SDKs hang up.
        """
        if ends_stream(last):
            self.whole()
        elif self.lease.active:
            outcome = self._ending.outcome
            if outcome is Outcome.SUCCESS and not self._upgraded:
                outcome = Outcome.CANCELLED
            self.lease.release(outcome, retry_after=self._cool_down)

    def broke(self, classification: Classification) -> None:
        """Record that reading the answer failed."""
        if classification.outcome in _IN_TIME and self.over:
            classification = CANCELLED  # it was our time that was up, and not the endpoint's
        if self.cut_off:
            classification = CUT_OFF
        self.lease.release(classification.outcome, retry_after=self._cool_down)

    @property
    def cut_off(self) -> bool:
        """Whether the transports that send it were closed under it."""
        return self.opening is not None and self.opening.closed

    def info(self) -> CallInfo:
        """Return how the request was answered."""
        return CallInfo(self.lease, tuple(self.tried))

    def annotate(self, error: BaseException) -> None:
        """Add a note with the endpoints tried to an error."""
        error.add_note(f"balancekit: attempt {len(self.tried)}, at endpoint {self.tried[-1]!r}")


def begin_call(config: AdapterConfig, request: Any, own: object = None) -> Call:
    """Return the call of a request: its own options come before those of the adapter."""
    options = current_options(own)
    if options is None and config.plain:
        return Call(config, None, None, 1.0)
    key = options.key if options is not None else None
    cost = options.cost if options is not None else None
    if key is None and config.key is not None:
        key = found_in(request, "key", config.key, None)
    if cost is None:
        cost = 1.0 if config.cost is None else found_in(request, "cost", config.cost, 1.0)
    return Call(config, options, key, cost)
