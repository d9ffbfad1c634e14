"""Resolvers of a fixed list and of a function of the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Self, final

from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import is_coroutine_function
from balancekit.discovery._resolution import Resolution, resolution
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

__all__ = ["AsyncFunctionResolver", "FunctionResolver", "StaticResolver"]


@final
class StaticResolver(ConstructorRepr):
    """A resolver of a fixed list of endpoints.

    Parameters
    ----------
    endpoints
        Strings, Endpoints, or a mapping from id to target.

    Example
    -------
    >>> from balancekit.discovery import StaticResolver
    >>> [endpoint.id for endpoint in StaticResolver(["b:80", "a:80"]).resolve().endpoints]
    ['a:80', 'b:80']
    """

    def __init__(self, endpoints: Iterable[str | Endpoint[Any]] | Mapping[str, Any]) -> None:
        self._resolution = resolution(endpoints)

    @classmethod
    def parse(cls, address: str) -> Self:
        """Return a resolver for ``"host:port,host:port"``."""
        names = [name.strip() for name in address.split(",")]
        if not all(names):
            raise ConfigurationError("source", address, "addresses with commas between them")
        return cls(names)

    def resolve(self) -> Resolution:
        """Return the endpoints."""
        return self._resolution


@final
class FunctionResolver(ConstructorRepr):
    """A resolver that calls a function.

    Parameters
    ----------
    function
        Called without arguments; returns a Resolution or anything a balancer accepts as endpoints. It may block.

    Raises
    ------
    ConfigurationError
        If ``function`` is no function, or a coroutine function.

    Example
    -------
    >>> from balancekit.discovery import FunctionResolver
    >>> FunctionResolver(lambda: {"eu": "10.0.0.1:80"}).resolve().endpoints[0].target
    '10.0.0.1:80'
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        if not callable(function) or is_coroutine_function(function):
            raise ConfigurationError(
                "function", function, "a function; AsyncFunctionResolver takes coroutine functions"
            )
        self._function = function

    def resolve(self) -> Resolution:
        """Call the function."""
        return resolution(self._function())


@final
class AsyncFunctionResolver(ConstructorRepr):
    """A resolver that calls a coroutine function, for :class:`AsyncDiscovery`.

    Parameters
    ----------
    function
        As for :class:`FunctionResolver`.

    Raises
    ------
    ConfigurationError
        If ``function`` is no coroutine function.
    """

    def __init__(self, function: Callable[[], Awaitable[Any]]) -> None:
        if not is_coroutine_function(function):
            raise ConfigurationError("function", function, "a coroutine function")
        self._function = function

    async def resolve(self) -> Resolution:
        """Call the function."""
        return resolution(await self._function())
