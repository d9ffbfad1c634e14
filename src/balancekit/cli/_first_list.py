"""The list that a source of endpoints has now: asked once, for commands that follow nothing."""

from __future__ import annotations

from typing import Any, Final

from balancekit.config import load
from balancekit.discovery import ThreadDiscovery
from balancekit.endpoint import Endpoint

__all__ = ["first_list"]

FIRST_LIST_TIMEOUT_S: Final = 10.0


def first_list(source: str) -> list[Endpoint[Any]]:
    """Return what a source lists now.

    Parameters
    ----------
    source
        As in the ``[discovery]`` table: ``"dns:orders.svc:8080"``.

    Raises
    ------
    TimeoutError
        If it gives no list within ten seconds.
    """
    configuration = load({"discovery": {"source": source}})
    with ThreadDiscovery(configuration.balancer, source) as discovery:
        if not discovery.wait_ready(FIRST_LIST_TIMEOUT_S):
            error = discovery.stats().error
            raise TimeoutError(
                f"{source} has given no list within {FIRST_LIST_TIMEOUT_S:g} s: {error or 'no answer'}"
            )
        return list(configuration.balancer.endpoints)
