"""Requirements on a runner's arguments: its check, probe or page, and the balancer it reports to.

A function that cannot be called, or that a thread cannot await, fails for every endpoint alike. A running runner would
take that for failing endpoints and eject all but one, so the function is refused when the runner is constructed.
"""

from __future__ import annotations

from typing import Any

from balancekit._support.functions import is_coroutine_function, require_arguments
from balancekit.checks._result import NetworkCheck
from balancekit.errors import ConfigurationError
from balancekit.protocols import require_takes_checks

__all__ = ["refuse_coroutine", "require_check", "require_checked", "require_coroutine", "require_function"]


def require_check(check: object, *, coroutine: bool) -> None:
    """Refuse a value that cannot check an endpoint.

    Parameters
    ----------
    check
        A network check, or a function of an endpoint and a timeout.
    coroutine
        Whether a function must be a coroutine function; if false, it must not be one.

    Raises
    ------
    ConfigurationError
        Naming ``check``.
    """
    if isinstance(check, type):
        raise ConfigurationError("check", check, f"an instance: {check.__name__}()")
    if isinstance(check, NetworkCheck):
        return
    wanted = "a coroutine function" if coroutine else "a function"
    if not callable(check) or (coroutine and not is_coroutine_function(check)):
        raise ConfigurationError("check", check, f"TcpCheck(), HttpCheck(), DeepCheck() or {wanted}")
    if not coroutine:
        refuse_coroutine("check", check, "AsyncChecks")
    require_function("check", check, 2, f"{wanted} of an endpoint and a timeout in seconds")


def require_checked(balancer: object) -> None:
    """Refuse a balancer that has no endpoints to check or takes no results.

    Raises
    ------
    ConfigurationError
        Naming ``balancer``, or its ``health``.
    """
    used = ("endpoints", "on_event", "report_check")
    if isinstance(balancer, type) or not all(hasattr(balancer, name) for name in used):
        raise ConfigurationError("balancer", balancer, "a LoadBalancer, or another ObservableBalancer")
    require_takes_checks(balancer)


def refuse_coroutine(name: str, function: object, runner: str) -> None:
    """Refuse a coroutine function, which a runner in threads cannot await."""
    if is_coroutine_function(function):
        raise ConfigurationError(name, function, f"a function that is no coroutine; {runner} runs those")


def require_coroutine(name: str, function: object, runner: str) -> None:
    """Refuse a plain function, whose result no task can await; it would fail for every endpoint alike."""
    if not is_coroutine_function(function):
        raise ConfigurationError(name, function, f"a coroutine function; {runner} calls plain ones")


def require_function(name: str, function: Any, count: int, wanted: str) -> None:
    """Refuse a value that cannot be called with this number of arguments.

    Raises
    ------
    ConfigurationError
        Naming the function.
    """
    if not callable(function):
        raise ConfigurationError(name, function, wanted)
    require_arguments(name, function, count, wanted)
