"""How a response came about, whatever client it is from."""

from __future__ import annotations

from balancekit.adapters._call import Call
from balancekit.adapters._call_info import CallInfo
from balancekit.errors import ConfigurationError

__all__ = ["info"]


def info(response: object) -> CallInfo:
    """Return information about the call of a response: its endpoint, the attempts, the cost.

    Parameters
    ----------
    response
        A response of httpx, httpx2, requests or aiohttp.

    Raises
    ------
    ConfigurationError
        If it is not the response of a balanced client.

    Example
    -------
    >>> import httpx
    >>> from balancekit import LoadBalancer
    >>> from balancekit.adapters import info
    >>> from balancekit.adapters.httpx import BalancedTransport
    >>> from balancekit.testing.server import ToyServers
    >>> with ToyServers(["a"]) as servers:
    ...     with httpx.Client(transport=BalancedTransport(LoadBalancer({"one": servers["a"].url}))) as client:
    ...         info(client.get("http://orders/ok")).endpoint.id
    'one'
    """
    extensions = getattr(response, "extensions", None)  # httpx, httpx2
    found = extensions.get("balancekit") if isinstance(extensions, dict) else None
    if found is None:
        found = getattr(response, "balancekit", None)  # requests
    if found is None:
        found = getattr(response, "_balancekit", None)  # aiohttp
    if isinstance(found, Call):
        found = found.info()
    if isinstance(found, CallInfo):
        return found
    raise ConfigurationError("response", response, "a response of a client that balances its requests")
