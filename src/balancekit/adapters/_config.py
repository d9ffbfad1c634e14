"""Configuration of an adapter: the options that all clients share.

They are documented here once: each adapter takes them as keyword arguments and documents only its own options.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, Final, TypedDict, TypeVar, Unpack, final
from weakref import WeakSet

from balancekit._support import validation as valid
from balancekit._support.functions import plain_function
from balancekit._support.log import log_change
from balancekit._support.tables import one_of
from balancekit._support.text import plain
from balancekit.adapters._cookies import Jars
from balancekit.adapters._keys import KeySource
from balancekit.adapters._matching import ServiceMatcher
from balancekit.adapters._target import HEADER_NAME, address_of
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.protocols import Clock, ObservableBalancer, require_balancer
from balancekit.reported import HeaderReports
from balancekit.retry import RetryBudget
from balancekit.waiting import WaitingRoom

__all__ = ["AdapterConfig", "AdapterOptions", "CallOptions"]

COOKIES: Final = ("service", "per-endpoint")


class CallOptions(TypedDict, total=False):
    """The keyword arguments of every adapter."""

    attempts: int
    """How often a request is sent at most, each time elsewhere, >= 1. 2 if left out."""
    budget: RetryBudget
    """What retries and hedges take from; share one between the adapters of a service. Left out: a tenth of the
    requests of the last ten seconds, and one a second besides."""
    key: KeySource
    """Finds a request's key: ``from_header("X-User")``, ``from_cookie``, ``from_query``, or any function of the request. If it
    raises, or returns what is no key, that is logged, and the request has no key."""
    cost: Callable[[Any], float]
    """Finds what a request costs, > 0. If it raises, or returns another value, that is logged, and the request costs 1."""
    cookies: str
    """Whose cookies are: ``"service"``, the client's jar keeps them and all endpoints get them; or ``"per-endpoint"``, what
    an endpoint sets is kept by the adapter and goes to that endpoint only. For endpoints of different vendors."""
    authority: str
    """What ``Host`` says: ``"auto"``, ``"logical"`` or ``"endpoint"``. See ``HttpTarget``."""
    max_retry_after: float
    """The longest ``Retry-After`` that is obeyed, in seconds, >= 0. 300 if left out."""
    min_attempt_time: float
    """Seconds that must be left of a deadline for another attempt, >= 0. 0.05 if left out."""
    wait_for_capacity: float
    """Seconds to wait at most for the first endpoint to come back when all are out, >= 0. 0 if left out: fail at once.
    A limit on requests in flight knows no time for that: give ``waiting``."""
    waiting: WaitingRoom[Any] | None
    """Where requests wait for their first lease, in order, while the balancer is full; one room of this balancer, for all of its
    adapters. ``request_options`` says the tenant and the criticality of a request. Further attempts do not wait."""
    buffer_body: int
    """How many bytes of a body that can be read only once are read before it is sent, >= 0, so that it can be sent again if it
    is no longer than that. 0 if left out: such a body goes elsewhere only if nothing was sent."""
    rewrite_location: bool
    """Whether a ``Location`` at an endpoint's own address leads back through the balancer: of a redirect, or of what was created."""
    propagate_deadline: str | None
    """The header that carries the remaining milliseconds to the server, such as ``"x-request-timeout-ms"``."""
    innocent: tuple[int, ...]
    """Statuses of 500 and above that say nothing against an endpoint. ``(501,)`` if left out."""
    clock: Clock
    """Read for deadlines and the budget: the same one as the balancer's, if that was given one. ``time.monotonic`` if left out."""


class AdapterOptions(CallOptions, total=False):
    """Those and the service, for adapters that take it by keyword."""

    service: str | None
    """The host of the URLs to balance, ``"orders"`` or ``"orders:8080"``; all others pass untouched. Left out: all are."""


MEANT: Final = {
    "max_attempts": "did you mean 'attempts'?",
    "max_retries": "did you mean 'attempts'? One more than retries",
    "retries": "did you mean 'attempts'? One more than retries",
    "queue": "did you mean 'waiting'?",
    "timeout": "set the client's own timeout, or write `with request_options(timeout=...)` around a request",
}
"""What other libraries call options."""

_NAMES: Final = frozenset(CallOptions.__annotations__) | frozenset(AdapterOptions.__annotations__)


@final
class AdapterConfig:
    """What every adapter is made of: a balancer and the rules for its requests."""

    __slots__ = (
        "attempts",
        "balancer",
        "budget",
        "buffer_body",
        "clock",
        "cost",
        "innocent",
        "jars",
        "key",
        "load_reports",
        "matcher",
        "max_retry_after",
        "min_attempt_time",
        "plain",
        "propagate_deadline",
        "refused_keys",
        "rewrite_location",
        "unusable",
        "wait_for_capacity",
        "waiting",
    )

    def __init__(self, balancer: ObservableBalancer[Any], **options: Unpack[AdapterOptions]) -> None:
        unknown = [name for name in options if name not in _NAMES]
        if unknown:
            raise TypeError(f"no option {unknown[0]!r}: expected {_meant(unknown[0])}")
        require_balancer(balancer)
        self.balancer: ObservableBalancer[Any] = balancer
        self.attempts: int = valid.integer("attempts", options.get("attempts", 2), minimum=1)
        self.budget: RetryBudget = options.get("budget", RetryBudget(ratio=0.1, reserve=1.0))
        if not isinstance(self.budget, RetryBudget):
            raise ConfigurationError("budget", self.budget, "a RetryBudget")
        self.key: KeySource | None = _function("key", options.get("key"))
        self.cost: Callable[[Any], float] | None = _function("cost", options.get("cost"))
        self.plain: bool = self.key is None and self.cost is None
        self.matcher: ServiceMatcher = ServiceMatcher(
            options.get("service"), options.get("authority", "auto"), balancer
        )
        cookies = options.get("cookies", "service")
        if not isinstance(cookies, str) or plain(cookies) not in COOKIES:
            raise ConfigurationError("cookies", cookies, f"one of {', '.join(COOKIES)}")
        self.jars: Jars | None = Jars() if cookies == "per-endpoint" else None
        self.max_retry_after: float = _seconds("max_retry_after", options.get("max_retry_after", 300.0))
        self.min_attempt_time: float = _seconds("min_attempt_time", options.get("min_attempt_time", 0.05))
        self.wait_for_capacity: float = valid.seconds(
            "wait_for_capacity", options.get("wait_for_capacity", 0.0), long=valid.LONG_TIMEOUT_S
        )
        self.waiting: WaitingRoom[Any] | None = options.get("waiting")
        if self.waiting is not None:
            self._check_room(self.waiting)
        self.buffer_body: int = valid.integer("buffer_body", options.get("buffer_body", 0), minimum=0)
        self.rewrite_location: bool = valid.flag("rewrite_location", options.get("rewrite_location", False))
        self.propagate_deadline: str | None = _header("propagate_deadline", options.get("propagate_deadline"))
        self.innocent: frozenset[int] = _statuses("innocent", options.get("innocent", (501,)))
        self.clock: Clock = options.get("clock", time.monotonic)
        valid.clock("clock", self.clock)
        self.refused_keys: WeakSet[Endpoint[Any]] = WeakSet()
        """Endpoints whose refusal of their credentials has been logged."""
        self.unusable: WeakSet[Endpoint[Any]] = WeakSet()
        """Endpoints that cannot be used and have been logged."""
        self.load_reports: HeaderReports = HeaderReports()
        """Reads what servers report of their load, and counts what is no report."""
        self.check(address_of)

    def _check_room(self, room: object) -> None:
        if not isinstance(room, WaitingRoom) or room.balancer is not self.balancer:
            raise ConfigurationError("waiting", room, "a WaitingRoom of the same balancer")
        if self.wait_for_capacity:
            raise ConfigurationError(
                "wait_for_capacity",
                self.wait_for_capacity,
                "0 with a waiting room, which has a timeout of its own",
            )

    def check(self, usable: Callable[[object], object]) -> None:
        """Refuse a pool in which no endpoint can be used; log those that cannot.

        Raises
        ------
        ConfigurationError
            The first endpoint's, if none can be used.
        """
        errors: list[tuple[Endpoint[Any], ConfigurationError]] = []
        endpoints = self.balancer.endpoints
        for endpoint in endpoints:
            try:
                usable(endpoint.target)
            except ConfigurationError as error:
                errors.append((endpoint, error))
        if errors and len(errors) == len(endpoints):
            raise errors[0][1]
        for endpoint, reason in errors:
            if endpoint not in self.unusable:
                self.unusable.add(endpoint)
                log_change("endpoint %r cannot be used: %s", endpoint.id, reason, bad=True)


def _meant(name: str) -> str:
    """Return the options that exist, and what was probably meant."""
    known = sorted(_NAMES)
    return f"one of {', '.join(known)}; {MEANT[name]}" if name in MEANT else one_of(name, known)


def _seconds(name: str, value: object) -> float:
    return valid.number(name, value, minimum=0.0)


def _header(name: str, value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and HEADER_NAME.fullmatch(value)):
        raise ConfigurationError(name, value, "the name of a header")
    return value


def _statuses(name: str, value: object) -> frozenset[int]:
    if not isinstance(value, Collection) or isinstance(value, str | bytes):
        raise ConfigurationError(name, value, "statuses of 500 and above, such as (501, 505)")
    return frozenset(valid.integer(name, status, minimum=500) for status in value)


F = TypeVar("F", bound=Callable[[Any], object])


def _function(name: str, value: F | None) -> F | None:
    return None if value is None else plain_function(name, value, "a function of the request", takes=1)
