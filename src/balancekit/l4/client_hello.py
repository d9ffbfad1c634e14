"""The first message of a TLS client, read without TLS: server name, application protocols, versions.

:func:`peek` looks at the bytes that a client sends first and consumes none, so a balancer can route a connection that it
cannot decrypt. It reads a ClientHello over any number of TLS records, also when a record ends within the name.

*What is refused* as :class:`NotTls`: everything that nginx and Envoy both do not read as a ClientHello, and beyond that
SSL 2 and 3, names that are empty, longer than 255 bytes or contain NUL, and more than one name.

Source: RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3 (server name), RFC 7301 (ALPN), RFC 8701 (GREASE); differences
between parsers observed on nginx 1.22.1, HAProxy 2.6.12 and Envoy 1.40.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.l4._results import NeedMore

__all__ = ["MAX_SIZE", "ClientHello", "NeedMore", "NotTls", "peek"]

MAX_SIZE: Final = 16_384
"""Bytes of the first flight that are looked at, record headers included. Hellos have 200 to 2,000."""

HANDSHAKE: Final = 22
CLIENT_HELLO: Final = 1
RECORD_HEAD: Final = 5
MESSAGE_HEAD: Final = 4
MAX_RECORD: Final = 16_384
MAX_EMPTY_RECORDS: Final = 32
"""Records without a byte that may follow each other (``kMaxEmptyRecords`` of BoringSSL)."""
SSL_MAJOR: Final = 3
RANDOM_SIZE: Final = 32
MAX_SESSION_ID: Final = 32
MAX_NAME: Final = 255
"""Bytes of a host name (RFC 1035 section 2.3.4)."""
HOST_NAME: Final = 0

SERVER_NAME: Final = 0
ALPN: Final = 16
SUPPORTED_VERSIONS: Final = 43
VERSIONS: Final = {0x0301: "TLSv1.0", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}

Extensions: TypeAlias = dict[int, bytes]


@final
class ClientHello(Record):
    """The server name that a client requests, and the protocols and versions that it offers.

    Parameters
    ----------
    sni
        The server name as sent (latin-1), ``None`` if there is none. Compare it without regard to case.
    alpn
        Application protocols in the client's order (latin-1), such as ``"h2"``.
    versions
        TLS versions in the client's order, such as ``"TLSv1.3"``; those without a name are left out, and so is a malformed list.
    """

    sni: str | None
    alpn: tuple[str, ...]
    versions: tuple[str, ...]


@final
class NotTls(Record):
    """No ClientHello that can be read, whatever follows.

    Parameters
    ----------
    reason
        What is wrong, for a log. It contains nothing that was received.
    """

    reason: str


class _MalformedError(Exception):
    """A ClientHello that breaks its own format; the argument says where."""


class _Reader:
    """Fields of a message, one after the other."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int, what: str) -> bytes:
        if size > self.left:
            raise _MalformedError(f"{what} longer than what holds it")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what), "big")

    def vector(self, size: int, what: str) -> bytes:
        """Return a field that begins with its length in ``size`` bytes."""
        return self.take(self.number(size, what), what)


@checked_arguments
def peek(buf: bytes | bytearray | memoryview, /) -> NeedMore | ClientHello | NotTls:
    """Read the ClientHello at the beginning of a connection. Nothing is consumed.

    Parameters
    ----------
    buf
        All bytes received so far.

    Returns
    -------
    NeedMore
        For every proper prefix of a good ClientHello; never for :data:`MAX_SIZE` bytes or more.
    ClientHello
        The message is complete, and so is the record that ends it. Bytes behind it are not looked at.
    NotTls
        The connection is not TLS, or the message is malformed.

    Raises
    ------
    ConfigurationError
        If ``buf`` is not bytes. Never because of what it contains.

    Notes
    -----
    Cost: O(records) until the message is complete, then O(message): about 350 empty method calls. Read up to
    ``NeedMore.at_least`` before the next call, so that a client that sends byte by byte costs no more.

    *When not to use it:* with Encrypted Client Hello the name is that of the client-facing server (RFC 9849); the name is
    not authenticated: use it to choose a pool, never to grant access.

    Example
    -------
    >>> from balancekit.l4.client_hello import peek
    >>> peek(bytes.fromhex("1603010052"))
    NeedMore(at_least=87)
    >>> peek(b"GET / HTTP/1.1")
    NotTls(reason='not a handshake record')
    """
    if not isinstance(buf, bytes | bytearray | memoryview):
        raise ConfigurationError("buf", buf, "bytes")
    message = _message(bytes(buf[:MAX_SIZE]))
    if not isinstance(message, bytes):
        return message
    try:
        return _hello(_Reader(message))
    except _MalformedError as error:
        return NotTls(reason=str(error))


def _message(data: bytes) -> bytes | NeedMore | NotTls:
    """Return the handshake message that the records carry, without its head."""
    at, parts, size, wanted, empty = 0, [], 0, MESSAGE_HEAD, 0
    while size < wanted:
        head = data[at : at + RECORD_HEAD]
        if head and head[0] != HANDSHAKE:
            return NotTls(reason="not a handshake record")
        if len(head) > 1 and head[1] != SSL_MAJOR:
            return NotTls(reason="a record of an unknown version")
        length = int.from_bytes(head[3:], "big")
        if len(head) == RECORD_HEAD:
            empty = 0 if length else empty + 1
            if length > MAX_RECORD or empty > MAX_EMPTY_RECORDS:
                return NotTls(reason="a record of an impossible length")
        begin = at + RECORD_HEAD
        part = data[begin : begin + length] if len(head) == RECORD_HEAD else b""
        parts.append(part)
        size += len(part)
        if wanted == MESSAGE_HEAD and size:
            start = b"".join(parts)[:MESSAGE_HEAD]
            if start[0] != CLIENT_HELLO:
                return NotTls(reason="a handshake message that is no ClientHello")
            if len(start) == MESSAGE_HEAD:
                wanted += int.from_bytes(start[1:], "big")
        missing = begin + length if len(head) == RECORD_HEAD else at + RECORD_HEAD
        if max(missing, at + RECORD_HEAD + wanted - (size - len(part))) > MAX_SIZE:
            return NotTls(reason=f"more than {MAX_SIZE} bytes")
        if len(data) < missing:
            return NeedMore(at_least=missing)
        at = missing
    return b"".join(parts)[MESSAGE_HEAD:wanted]


def _hello(reader: _Reader) -> ClientHello:
    version = reader.number(2, "version")
    if version not in VERSIONS:
        raise _MalformedError("a protocol version before TLS 1.0 or unknown")
    reader.take(RANDOM_SIZE, "random")
    if len(reader.vector(1, "session id")) > MAX_SESSION_ID:
        raise _MalformedError("session id longer than 32 bytes")
    ciphers = reader.vector(2, "cipher suites")
    if not ciphers or len(ciphers) % 2 or not reader.vector(1, "compression methods"):
        raise _MalformedError("cipher suites or compression methods that cannot be")
    extensions = _extensions(reader.vector(2, "extensions")) if reader.left else {}
    if reader.left:
        raise _MalformedError("bytes behind the extensions")
    return ClientHello(
        sni=_name(extensions[SERVER_NAME]) if SERVER_NAME in extensions else None,
        alpn=tuple(_protocols(extensions[ALPN])) if ALPN in extensions else (),
        versions=tuple(_versions(extensions.get(SUPPORTED_VERSIONS), version)),
    )


def _extensions(data: bytes) -> Extensions:
    reader, found = _Reader(data), Extensions()
    while reader.left:
        kind = reader.number(2, "extension")
        if kind in found:
            raise _MalformedError("the same extension twice")
        found[kind] = reader.vector(2, "extension")
    return found


def _name(data: bytes) -> str:
    outer = _Reader(data)
    names = _Reader(outer.vector(2, "server name list"))
    kind = names.number(1, "server name")
    name = names.vector(2, "server name")
    if outer.left or names.left:
        raise _MalformedError("more than one server name")
    if kind != HOST_NAME or not 0 < len(name) <= MAX_NAME or b"\0" in name:
        raise _MalformedError("a server name that is no host name")
    return name.decode("latin-1")


def _protocols(data: bytes) -> Iterator[str]:
    outer = _Reader(data)
    names = _Reader(outer.vector(2, "protocol list"))
    if outer.left or not names.left:
        raise _MalformedError("a protocol list of the wrong length")
    while names.left:
        name = names.vector(1, "protocol")
        if not name:
            raise _MalformedError("an empty protocol name")
        yield name.decode("latin-1")


def _versions(data: bytes | None, version: int) -> Iterator[str]:
    if data is None:
        yield VERSIONS[version]
        return
    # Servers answer a malformed list with an alert, after they chose a pool.
    if len(data) % 2 == 0 or data[0] != len(data) - 1:
        return
    for at in range(1, len(data), 2):
        name = VERSIONS.get(int.from_bytes(data[at : at + 2], "big"))
        if name is not None:
            yield name
