"""One HTTP exchange of a check, without I/O: the bytes of a GET, and a parser of the response.

Both use ``h11``, from the extra ``checks``. A body longer than its limit is cut, not refused, because a check needs only
its beginning. ``h11`` passes on each chunk as it arrives, so nothing is buffered beyond the limits.

Source: RFC 9112, by ``h11``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final, final

from balancekit._support.extras import install_command
from balancekit.errors import ConfigurationError

__all__ = ["BadAnswerError", "Response", "get"]

HEAD_LIMIT: Final = 65_536
"""The most bytes of a response's header; a longer one is refused."""
BODY_LIMIT: Final = 65_536
"""The most bytes of a body that are read."""
MAX_PIECES: Final = 4_096
"""The most chunks or interim responses of one response; each blocks the event loop for some microseconds."""


class BadAnswerError(Exception):
    """The bytes received are not an HTTP response."""


def get(host: str, path: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return the bytes of a GET request with ``Connection: close``.

    Raises
    ------
    ConfigurationError
        If HTTP does not allow a header, or ``h11`` is not installed.
    """
    h11 = _h11()
    fields = [("Host", host), ("Connection", "close"), ("Accept", "*/*"), *headers]
    connection = h11.Connection(our_role=h11.CLIENT)
    try:
        request = h11.Request(method="GET", target=path, headers=fields)
        head: bytes = connection.send(request)
        return head + bytes(connection.send(h11.EndOfMessage()))
    except (h11.LocalProtocolError, ValueError) as error:
        if headers:  # shown without their values, which may be keys
            shown = dict.fromkeys([name for name, _ in headers], "***")
            raise ConfigurationError(
                "headers", shown, "headers that HTTP allows, without line ends"
            ) from None
        raise ConfigurationError("host", host, f"a host that HTTP allows ({error})") from error


@final
class Response:
    """The answer so far."""

    __slots__ = ("_connection", "_h11", "_pieces", "body", "ended", "status")

    def __init__(self) -> None:
        self._h11 = h11 = _h11()
        self._connection = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        request = h11.Request(method="GET", target="/", headers=[("Host", "-"), ("Connection", "close")])
        self._connection.send(request)
        self._connection.send(h11.EndOfMessage())
        self._pieces = 0
        self.status: int = 0
        """0 until the header is complete."""
        self.body: bytes = b""
        self.ended: bool = False
        """Whether the body is complete or has reached its limit."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes; empty bytes mark the end of the connection.

        Raises
        ------
        BadAnswerError
            If they are not an HTTP response, or the connection ended in the middle of one.
        """
        if self.ended:
            return
        h11 = self._h11
        try:
            self._connection.receive_data(data)
            while not self.ended:
                event = self._connection.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._pieces += 1
                if self._pieces > MAX_PIECES and not self.status:
                    raise BadAnswerError(f"no HTTP answer after {MAX_PIECES:,} interim ones")
                if isinstance(event, h11.Response):
                    self.status = event.status_code
                elif isinstance(event, h11.Data):
                    self.body = (self.body + bytes(event.data))[:BODY_LIMIT]
                    self.ended = len(self.body) == BODY_LIMIT or self._pieces > MAX_PIECES
                elif not isinstance(event, h11.InformationalResponse):
                    self.ended = True  # the end of the message
        except (h11.ProtocolError, ValueError) as error:
            raise BadAnswerError(f"no HTTP answer: {error}") from error


def _h11() -> ModuleType:
    try:
        import h11  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        allowed = f"the extra: {install_command('checks')}"
        raise ConfigurationError("check", "an HTTP check", allowed) from None
    return h11
