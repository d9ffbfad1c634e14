"""Middleware for servers that adds a load report to every response.

Cost: one report per response. Needs no extra: ASGI and WSGI are calling conventions.

Source: ORCA headers as Envoy 1.40.0 reads them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, Final, Generic, TypeAlias, TypeVar, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.errors import ConfigurationError
from balancekit.reported._meter import LoadMeter
from balancekit.reported._orca import LOAD_HEADER

__all__ = ["AsgiLoadReports", "WsgiLoadReports"]

A = TypeVar("A", bound=Callable[..., Any])

SERVER_ERROR: Final = 500
"""The lowest status that is an error of the server."""

Asgi: TypeAlias = Callable[
    [MutableMapping[str, Any], Callable[..., Any], Callable[..., Any]], Awaitable[None]
]
Wsgi: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _LoadReports(ConstructorRepr, Generic[A]):
    """An application whose load is measured, for one calling convention."""

    @checked_arguments
    def __init__(self, app: A, meter: LoadMeter | None = None) -> None:
        if not callable(app):
            raise ConfigurationError("app", app, "an application, which is called")
        self._app = app
        self.meter: LoadMeter = LoadMeter() if meter is None else meter


@final
class AsgiLoadReports(_LoadReports[Asgi]):
    """ASGI middleware that adds a load report to every response.

    Parameters
    ----------
    app
        The application.
    meter
        The meter of the server; one without a capacity if left out.

    Raises
    ------
    ConfigurationError
        If ``app`` cannot be called.

    *When not to use it:* where responses leave your network, because the header reveals the load of the server. Remove it
    at the edge.

    Example
    -------
    >>> from balancekit.reported import AsgiLoadReports, LoadMeter
    >>> async def app(scope, receive, send): ...
    >>> reporting = AsgiLoadReports(app, LoadMeter(capacity=100))
    """

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[..., Any],
        send: Callable[..., Any],
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        failed, answered = True, False
        arrival = self.meter.started()

        async def reporting(message: MutableMapping[str, Any]) -> None:
            nonlocal failed, answered
            if message["type"] == "http.response.start":
                answered = True
                failed = message["status"] >= SERVER_ERROR
                reported = [
                    (LOAD_HEADER.encode(), text.encode("latin-1", "replace"))
                    for text in self.meter.report_texts()
                ]
                message = {**message, "headers": [*message.get("headers", ()), *reported]}
            await send(message)

        try:
            await self._app(scope, receive, reporting)
        except Exception:
            failed = True
            raise
        except BaseException:  # the server cancels when the client has disconnected
            failed = failed and answered
            raise
        finally:
            self.meter.finished(arrival, failed=failed)


@final
class WsgiLoadReports(_LoadReports[Wsgi]):
    """WSGI middleware that adds a load report to every response; see :class:`AsgiLoadReports`.

    Raises
    ------
    ConfigurationError
        If ``app`` cannot be called.

    Example
    -------
    >>> from balancekit.reported import LoadMeter, WsgiLoadReports
    >>> def app(environ, start_response):
    ...     start_response("200 OK", [])
    ...     return [b"well"]
    >>> headers = []
    >>> reporting = WsgiLoadReports(app, LoadMeter(capacity=100))
    >>> b"".join(reporting({}, lambda status, given: headers.extend(given)))
    b'well'
    >>> headers[0][0]
    'endpoint-load-metrics'
    """

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        failed = True
        arrival = self.meter.started()

        def reporting(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            nonlocal failed
            failed = int(status[:3]) >= SERVER_ERROR
            reported = [(LOAD_HEADER, text) for text in self.meter.report_texts()]
            return start_response(status, [*headers, *reported], *error)

        parts: Iterable[bytes] = ()
        try:
            parts = self._app(environ, reporting)
            yield from parts
        except BaseException as error:
            failed = failed or not isinstance(error, GeneratorExit)
            raise
        finally:
            try:
                close = getattr(parts, "close", None)
                if close is not None:
                    close()
            finally:
                self.meter.finished(arrival, failed=failed)
