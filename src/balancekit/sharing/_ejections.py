"""Ejections shared by the processes of a fleet.

A process that ejects an endpoint because of its own failures writes a hint to the store. Another process ejects the
endpoint too if it has had a failure there itself, or if a quorum of processes has written hints. It writes no hint for
such an ejection, so hints cannot amplify themselves. Hints never eject more than a given share of the endpoints.
"""

from __future__ import annotations

from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.calls import checked_call
from balancekit._support.display import StateRepr
from balancekit._support.weak import weakly
from balancekit._support.whole import begin_all
from balancekit.endpoint import Endpoint
from balancekit.errors import UnknownEndpointError
from balancekit.events import Ejected, Event, Removed
from balancekit.outcome import FAILURES, CheckResult, Completion
from balancekit.protocols import ObservableBalancer, require_balancer, require_takes_checks
from balancekit.sharing._redis import AsyncRedisStore, RedisStore
from balancekit.sharing._store import Hint, require_store

__all__ = ["SharedEjections"]

MAX_CHECKS: Final = 10
"""Failed checks that are reported for one hint. Fewer are reported if the health policy ejects the endpoint earlier."""
_EJECTED: Final = "ejected"


@final
class SharedEjections(StateRepr):
    """The exchange of ejections of one balancer with other processes, through a store.

    Parameters
    ----------
    balancer
        The balancer; its health policy must take check results (``Lifecycle`` does).
    store
        The store; hints arrive up to one of its periods late.
    quorum
        The number of other processes that must have written a hint for an endpoint, >= 1; those that have left the
        store do not count. One is enough if this process has had a failure there recently.
    suspicion
        The number of requests to an endpoint, >= 1, for which a failure in this process counts as recent.
    max_ejected
        The share of endpoints, 0 to 1. If at least this share is ejected, for any reason, hints eject no endpoint.

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer or takes no results of checks, ``store`` is no store, or a number is outside its
        bounds.

    *Guarantee.* Hints alone never leave fewer endpoints than ``1 - max_ejected`` of all.

    *When not to use it:* if failures may be caused by the caller, for example by an expired credential. One bad
    deployment of a caller would then eject servers for all callers. A larger quorum reduces the risk.

    Cost: O(hints) per exchange.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.sharing import Hint, RedisStore, SharedEjections
    >>> from redis import Redis
    >>> lb = LoadBalancer(["a", "b", "c"])
    >>> hints = SharedEjections(lb, RedisStore(Redis(port=1, retry=None), name="checkout"))
    >>> hints.receive([Hint("p1", "a", 30.0), Hint("p2", "a", 20.0), Hint("p1", "b", 30.0)])
    >>> lb.stats()["a"].state, lb.stats()["b"].state
    ('ejected', 'healthy')
    >>> hints.stop()
    """

    @checked_call
    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        store: RedisStore | AsyncRedisStore,
        *,
        quorum: int = 2,
        suspicion: int = 20,
        max_ejected: float = 0.5,
    ) -> None:
        require_balancer(balancer)
        require_takes_checks(balancer)
        # Weak, because the store holds this object and may outlive the balancer.
        self._balancer = weakly(balancer)
        self._core = require_store(store).core
        self._quorum = valid.integer("quorum", quorum, minimum=1)
        self._suspicion = valid.integer("suspicion", suspicion, minimum=1)
        self._max_ejected = valid.number("max_ejected", max_ejected, minimum=0.0, maximum=1.0)
        self._suspected: dict[str, int] = {}
        self._joining: set[str] = set()
        self._ends = begin_all(
            lambda: balancer.on_event(self._on_event),
            lambda: balancer.on_completion(self._on_completion),
        )
        self._core.listeners = (*self._core.listeners, self.receive)

    def stop(self) -> None:
        """Stop exchanging hints."""
        self._core.listeners = tuple([one for one in self._core.listeners if one != self.receive])
        for end in self._ends:  # each may be called again after an interrupt
            end()

    def receive(self, hints: list[Hint]) -> None:
        """Eject endpoints according to the hints that are in force. The store calls this after each exchange."""
        balancer = self._balancer()
        if balancer is None:
            self.stop()
            return
        sources: dict[str, dict[str, float]] = {}
        for member, endpoint, seconds in hints:
            sources.setdefault(endpoint, {})[member] = seconds
        wanted = [
            (endpoint, by)
            for endpoint, by in sources.items()
            if len(by) >= (1 if self._suspected.get(endpoint) else self._quorum)
        ]
        if not wanted:
            return
        states = {found.id: found.state for found in balancer.stats().endpoints}
        room = int(self._max_ejected * len(states)) - list(states.values()).count(_EJECTED)
        for endpoint, by in wanted:
            if room > 0 and states.get(endpoint, _EJECTED) != _EJECTED:
                self._join(balancer, endpoint, len(by), max(by.values()))
                room -= 1

    def _join(self, balancer: ObservableBalancer[Any], endpoint: str, others: int, seconds: float) -> None:
        """Eject an endpoint because of hints."""
        detail = f"ejected by {others} other processes"
        result = CheckResult(passed=False, detail=detail, holds_for=max(seconds, 1e-3))
        try:
            self._joining.add(endpoint)
            _fail(balancer, endpoint, result)
        except UnknownEndpointError:
            pass
        finally:
            self._joining.discard(endpoint)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Ejected) and event.endpoint not in self._joining:
            self._core.hint(event.endpoint, max(event.until - event.at, 1e-3))
        elif isinstance(event, Removed):
            balancer = self._balancer()
            there = () if balancer is None else {endpoint.id for endpoint in balancer.endpoints}
            for gone in [id for id in list(self._suspected) if id not in there]:
                self._suspected.pop(gone, None)

    def _on_completion(self, endpoint: Endpoint[Any], completion: Completion) -> None:
        if completion.outcome in FAILURES:
            self._suspected[endpoint.id] = self._suspicion
        elif (left := self._suspected.get(endpoint.id)) is not None:  # another thread may drop it meanwhile
            if left > 1:
                self._suspected[endpoint.id] = left - 1
            else:
                self._suspected.pop(endpoint.id, None)


def _fail(balancer: ObservableBalancer[Any], endpoint: str, result: CheckResult) -> None:
    """Report failed checks until the health policy needs no further one."""
    for _ in range(MAX_CHECKS):
        if not balancer.report_check(endpoint, result):
            return
