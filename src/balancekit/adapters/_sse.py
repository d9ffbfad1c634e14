"""Server-sent events of model providers: the event that ends a stream of completions."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ends_stream"]

_DONE: Final = re.compile(rb"^data: ?\[DONE\]\s*\Z", re.MULTILINE)
MAX_EVENT_BYTES: Final = 32
"""The last event is no longer than this."""


def ends_stream(last: bytes) -> bool:
    r"""Return whether the last piece of a body ends with ``data: [DONE]``.

    Example
    -------
    >>> ends_stream(b"data: {}\n\ndata: [DONE]\n\n"), ends_stream(b"data: {}\n\n")
    (True, False)
    """
    return _DONE.search(last, max(0, len(last) - MAX_EVENT_BYTES)) is not None
