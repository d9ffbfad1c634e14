"""Buffering of short request bodies, so that they can be sent again.

A body that is produced while it is sent can be read once. A short one is read ahead, up to a limit that the caller chooses,
and can then be sent again. A longer one is sent once, its beginning from memory and the rest as it arrives.

Cost: the limit in memory for each request under way, and the first byte is not sent before the buffer is full or the body
ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import chain

__all__ = ["buffer_body", "buffer_body_async"]


def buffer_body(pieces: Iterable[bytes], limit: int) -> bytes | Iterator[bytes]:
    """Return a whole body, if it has at most ``limit`` bytes; else an iterator over all of it.

    Example
    -------
    >>> buffer_body(iter([b"one", b"two"]), 6)
    b'onetwo'
    >>> list(buffer_body(iter([b"one", b"two", b"three"]), 5))
    [b'one', b'two', b'three']
    """
    rest, head, size = iter(pieces), list[bytes](), 0
    for piece in rest:
        head.append(piece)
        size += len(piece)
        if size > limit:
            return chain(head, rest)
    return b"".join(head)


async def buffer_body_async(pieces: AsyncIterable[bytes], limit: int) -> bytes | AsyncIterator[bytes]:
    """Do the same with an asynchronous body."""
    rest, head, size = aiter(pieces), list[bytes](), 0
    async for piece in rest:
        head.append(piece)
        size += len(piece)
        if size > limit:
            return _chained(head, rest)
    return b"".join(head)


async def _chained(head: Iterable[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in head:
        yield piece
    async for piece in rest:
        yield piece
