"""Parser of one HTTP response, without I/O.

Enough of RFC 9112 for an answer to one GET with ``Connection: close``: interim answers, a length, chunks or
the end of the connection. Whatever is longer than the limit is cut, not refused: a check needs the beginning.
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["BadAnswerError", "Response", "get"]

HEAD_LIMIT: Final = 65_536
"""Bytes of header after which an answer is no answer."""
BODY_LIMIT: Final = 65_536
"""Bytes of body that are read."""


class BadAnswerError(Exception):
    """What came is no HTTP response."""


def get(host: str, path: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return the bytes of a GET request that asks for the connection to be closed."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", "Accept: */*"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@final
class Response:
    """The answer so far."""

    __slots__ = ("_buffer", "_chunked", "_left", "body", "ended", "status")

    def __init__(self) -> None:
        self.status: int = 0
        """0 until the header is complete."""
        self.body: bytes = b""
        self.ended: bool = False
        """Whether the body is complete, or as long as we read it."""
        self._buffer = b""
        self._chunked = False
        self._left: int | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes, none at the end of the connection."""
        if self.ended:
            return
        self._buffer += data
        if not self.status:
            self._read_head()
        if self.status:
            self._read_body()
        if not data and not self.ended:
            if not self.status or self._chunked or self._left:
                raise BadAnswerError("the connection was closed in the middle of the answer")
            self.ended = True

    def _read_head(self) -> None:
        while not self.status:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                if len(self._buffer) > HEAD_LIMIT:
                    raise BadAnswerError("the header does not end")
                return
            self._buffer = rest
            status, fields = _head(head)
            if status >= 200:
                self.status = status
                self._chunked = "chunked" in fields.get("transfer-encoding", "").lower()
                self._left = _length(fields, status)

    def _read_body(self) -> None:
        if self._chunked:
            self._read_chunks()
        else:
            self.body += self._buffer if self._left is None else self._buffer[: self._left]
            if self._left is not None:
                self._left -= min(self._left, len(self._buffer))
                self.ended = not self._left
            self._buffer = b""
        if len(self.body) >= BODY_LIMIT:
            self.body = self.body[:BODY_LIMIT]
            self.ended = True

    def _read_chunks(self) -> None:
        while not self.ended:
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                return
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                raise BadAnswerError("a chunk has no size") from None
            if size <= 0:
                self.ended = True
            elif len(rest) < size + 2:
                return
            self.body += rest[:size]
            self._buffer = rest[size + 2 :]


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/") or not parts[1].isdecimal() or len(parts[1]) != 3:
        raise BadAnswerError(f"no HTTP status line: {lines[0][:40]!r}")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    return int(parts[1]), fields


def _length(fields: dict[str, str], status: int) -> int | None:
    if status in {204, 304}:
        return 0
    length = fields.get("content-length", "")
    if not length:
        return None
    if not length.isdecimal():
        raise BadAnswerError(f"no content length: {length[:40]!r}")
    return int(length)
