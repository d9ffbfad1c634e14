"""One-time resolution of a source of endpoints, for commands that do not watch it."""

from __future__ import annotations

import time
from typing import Any, Final

from balancekit._support.headers import without_secrets
from balancekit.cli._status import SourceUnavailableError
from balancekit.config import load
from balancekit.discovery import ThreadDiscovery
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, brief

__all__ = ["first_list"]

FIRST_LIST_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.05
FILE_SCHEME: Final = "file:"
"""The beginning of a source that is a file: if it has no list, the argument is wrong."""


def first_list(source: str) -> list[Endpoint[Any]]:
    """Return the current endpoints of a source. Blocks for at most ten seconds.

    Parameters
    ----------
    source
        The source, as in the ``[discovery]`` table: ``"dns:orders.svc:8080"``.

    Raises
    ------
    SourceUnavailableError
        If the first answer is an error or an empty list, or there is no answer within ten seconds.
    ConfigurationError
        If the source is a file and has no list, or is none of those that exist.
    """
    configuration = load({"discovery": {"source": source}})
    until = time.monotonic() + FIRST_LIST_TIMEOUT_S
    error: object = None
    with ThreadDiscovery(configuration.balancer, source) as discovery:
        while error is None and time.monotonic() < until:
            if discovery.wait_ready(POLL_S):
                return list(configuration.balancer.endpoints)
            error = discovery.stats().error
    why = error or f"no answer within {FIRST_LIST_TIMEOUT_S:g} s"
    shown = without_secrets(source)
    if source.startswith(FILE_SCHEME):
        raise ConfigurationError("source", shown, f"a source with a list of endpoints ({why})")
    raise SourceUnavailableError(f"the source {brief(shown)} has no list of endpoints: {why}")
