"""One check of every endpoint, without a balancer: for commands, deployments and start-up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, cast, final

from balancekit._support import validation as valid
from balancekit.checks._asyncio import AsyncChecks
from balancekit.checks._result import NetworkCheck, ProbeResult
from balancekit.checks._schedule import Schedule
from balancekit.endpoint import Endpoint, endpoints
from balancekit.errors import ConfigurationError
from balancekit.outcome import CheckResult

__all__ = ["check_once"]

ONE_ROUND_S: Final = 3600.0
"""An interval within which every first check has ended."""


async def check_once(
    targets: Iterable[str | Endpoint[Any]],
    check: NetworkCheck | Callable[[Endpoint[Any], float], Awaitable[bool | ProbeResult]],
    *,
    timeout: float = 2.0,  # noqa: ASYNC109 - of each check, not of the call
    concurrency: int = 64,
) -> dict[str, CheckResult]:
    """Check every endpoint once and return the results by id, in the order given.

    Parameters
    ----------
    targets
        Endpoints, or strings that are their own ids and targets.
    check
        As for :class:`AsyncChecks`.
    timeout
        Seconds a check may take, > 0.
    concurrency
        Checks at a time, >= 1.

    Raises
    ------
    ConfigurationError
        For a wrong value of any of these.

    Notes
    -----
    *When not to use it:* to keep a balancer informed; use :class:`AsyncChecks` or :class:`ThreadChecks`.

    Example
    -------
    >>> import asyncio
    >>> from balancekit.checks import HttpCheck
    >>> from balancekit.testing.server import ToyServers
    >>> with ToyServers(["a", "b"]) as servers:
    ...     servers["b"].behave(status=503)
    ...     found = asyncio.run(check_once(servers.addresses, HttpCheck("/healthz")))
    >>> [result.passed for result in found.values()]
    [True, False]
    """
    listed = endpoints(targets)
    if not listed:
        raise ConfigurationError("targets", listed, "at least one endpoint")
    seconds = valid.number("timeout", timeout, above=0.0)
    collector = _Collector(listed)
    schedule = Schedule(max(ONE_ROUND_S, seconds), timeout=seconds, jitter=0.0)
    async with AsyncChecks(
        cast("Any", collector), check, schedule=schedule, concurrency=concurrency, shared=1.0
    ):
        await collector.complete.wait()
    return {endpoint.id: collector.results[endpoint.id] for endpoint in listed}


@final
class _Collector:
    """What a runner needs of a balancer: it keeps the first result of each endpoint."""

    def __init__(self, listed: tuple[Endpoint[Any], ...]) -> None:
        self.endpoints = listed
        self.results: dict[str, CheckResult] = {}
        self.complete = asyncio.Event()

    def on_event(self, _listener: Callable[..., object]) -> Callable[[], None]:
        """Take a listener; nothing ever happens to the list."""
        return lambda: None

    def report_check(self, id: str, result: CheckResult) -> bool:
        """Keep a result."""
        self.results[id] = result
        if len(self.results) == len(self.endpoints):
            self.complete.set()
        return False
