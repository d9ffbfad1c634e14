"""One check of every endpoint, without a balancer; for commands, deployments and start-up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from balancekit._support import validation as valid
from balancekit.checks._asyncio import run_check
from balancekit.checks._requirements import require_check
from balancekit.checks._result import NetworkCheck, ProbeResult
from balancekit.endpoint import Endpoint, endpoints
from balancekit.errors import ConfigurationError
from balancekit.outcome import CheckResult

__all__ = ["check_once"]


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
        The most checks at a time, >= 1.

    Raises
    ------
    ConfigurationError
        If ``targets`` is empty or has a malformed endpoint, ``check`` is of the wrong kind, or a number is
        outside its bounds. If the check returns something other than a result.
    Exception
        The check's own error, if this process has run out of file descriptors or memory.

    Notes
    -----
    *When not to use it:* to keep a balancer informed; use :class:`AsyncChecks` or :class:`ThreadChecks`.

    Example
    -------
    >>> import asyncio
    >>> from balancekit.checks import HttpCheck, check_once
    >>> from balancekit.testing.server import ToyServers
    >>> with ToyServers(["a", "b"]) as servers:
    ...     servers["b"].behave(status=503)
    ...     found = asyncio.run(check_once(servers.addresses, HttpCheck("/healthz")))
    >>> [result.passed for result in found.values()]
    [True, False]
    """
    try:
        listed = endpoints(targets)
    except ConfigurationError as error:
        name = "targets" if error.parameter == "endpoints" else error.parameter
        raise ConfigurationError(name, error.value, error.allowed) from None
    if not listed:
        raise ConfigurationError("targets", listed, "at least one endpoint")
    require_check(check, coroutine=True)
    seconds = valid.seconds("timeout", timeout, above=0.0, long=valid.LONG_TIMEOUT_S)
    turns = asyncio.Semaphore(valid.integer("concurrency", concurrency, minimum=1))

    async def one(endpoint: Endpoint[Any]) -> ProbeResult | Exception:
        async with turns:
            return await run_check(check, endpoint, seconds)

    async with asyncio.TaskGroup() as group:
        started = {endpoint.id: group.create_task(one(endpoint)) for endpoint in listed}
    results: dict[str, CheckResult] = {}
    for id, task in started.items():
        found = task.result()
        if isinstance(found, Exception):
            raise found
        results[id] = CheckResult(passed=found.passed and found.answered, detail=found.detail)
    return results
