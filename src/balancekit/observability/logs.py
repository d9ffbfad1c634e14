"""Structured logging: one log record per event, with the fields of the event as attributes.

Only ``logging`` of the standard library is needed. The fields are in the record (``extra``), so a JSON formatter, or
structlog through its bridge, receives them as data. Times, such as ``balancekit_at``, are seconds of the balancer's
clock. The text of a record has seconds after the event instead, because that clock has an arbitrary start. Targets,
headers and keys are never logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from balancekit._support import validation as valid
from balancekit._support.text import figure
from balancekit.errors import ConfigurationError, printable
from balancekit.events import (
    Cooling,
    Degraded,
    Ejected,
    EjectionRefused,
    Event,
    Hedged,
    LeaseLost,
    Retried,
    RetryRefused,
    Suppressed,
)
from balancekit.protocols import ObservableBalancer, require_balancer

__all__ = ["LEVELS", "log_events"]

LEVELS: Final[Mapping[type[Event], int]] = MappingProxyType(
    {
        Cooling: logging.WARNING,
        Degraded: logging.WARNING,
        Ejected: logging.WARNING,
        EjectionRefused: logging.WARNING,
        Hedged: logging.DEBUG,
        LeaseLost: logging.WARNING,
        Retried: logging.DEBUG,
        RetryRefused: logging.WARNING,
        Suppressed: logging.WARNING,
    }
)
"""The log level by class of event. Events of other classes are logged at INFO."""
_TIMES: Final = frozenset({"until", "deadline"})
"""The fields that are times of the balancer's clock."""


def log_events(
    balancer: ObservableBalancer[Any],
    *,
    service: str = "",
    logger: logging.Logger | None = None,
    levels: Mapping[type[Event], int] = LEVELS,
) -> Callable[[], None]:
    """Log every event of a balancer. Return a function that stops this.

    Parameters
    ----------
    balancer
        The balancer whose events are logged.
    service
        The balancer's name in the records.
    logger
        The logger; by default, the logger named ``balancekit``.
    levels
        The log level by class of event. Events of other classes are logged at INFO.

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer, ``service`` is no string, ``logger`` is no ``Logger``, or ``levels``
        is no mapping.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.observability.logs import log_events
    >>> stop = log_events(LoadBalancer(["a", "b"]), service="orders")
    >>> stop()
    """
    require_balancer(balancer)
    valid.text("service", service, empty=True)
    if not isinstance(levels, Mapping):
        raise ConfigurationError("levels", levels, "a mapping from kinds of events to levels")
    to = logging.getLogger("balancekit") if logger is None else logger
    if not isinstance(to, logging.Logger):
        raise ConfigurationError("logger", logger, "a logging.Logger, or None")
    if not to.handlers:
        to.addHandler(logging.NullHandler())
    known = dict(levels)

    def log(event: Event) -> None:
        level = known.get(type(event), logging.INFO)
        if not to.isEnabledFor(level):
            return
        kind = type(event).__name__.lower()
        fields = {name: getattr(event, name) for name in event._fields if name != "at"}
        rest = ", ".join(
            [
                f"{name}={_shown(name, value, event.at)}"
                for name, value in fields.items()
                if name != "endpoint"
            ]
        )
        extra = {f"balancekit_{name}": value for name, value in fields.items()}
        extra |= {"balancekit_event": kind, "balancekit_service": service, "balancekit_at": event.at}
        shown = printable(event.endpoint)
        to.log(level, "%s %s%s", shown, kind, f" ({rest})" if rest else "", extra=extra)

    return balancer.on_event(log)


def _shown(name: str, value: object, at: float) -> object:
    """Return the text of a field. A time is shown as seconds after the event, because the clock has an arbitrary start."""
    if name in _TIMES and isinstance(value, float):
        return f"+{figure(value - at)} s"
    return printable(value) if isinstance(value, str) else value
