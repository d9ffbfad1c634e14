"""Decoders of bodies that notify a call when a body contradicts its ``Content-Encoding``.

Cost: one call a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from balancekit.adapters._call import Call
from balancekit.adapters._classification import UNDECODABLE

__all__ = ["WatchedDecoder"]


@final
class WatchedDecoder:
    """The decoder of a body, of httpx or httpx2. It finds out what the stream does not.

    Parameters
    ----------
    decoder
        Of the client.
    call
        Whose lease ends as a failure if the body cannot be decoded.
    error
        What the decoder raises then.
    """

    def __init__(self, decoder: Any, call: Call, error: type[Exception]) -> None:
        self._decoder = decoder
        self._call = call
        self._error = error

    def decode(self, data: bytes) -> Any:
        """Decode a piece."""
        return self._watched(self._decoder.decode, data)

    def flush(self) -> Any:
        """Return what is left."""
        return self._watched(self._decoder.flush)

    def _watched(self, work: Callable[..., Any], *data: bytes) -> Any:
        try:
            pieces = work(*data)
        except self._error:
            self._call.broke(UNDECODABLE)
            raise
        return pieces if isinstance(pieces, bytes) else self._pieces(pieces)

    def _pieces(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        except self._error:
            self._call.broke(UNDECODABLE)
            raise
