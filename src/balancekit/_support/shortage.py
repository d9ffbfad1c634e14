"""Shortages of the process itself: errors that say nothing about the endpoint at which they occurred.

A process without a free file descriptor connects to no endpoint. It resolves no name either, and the C library then says that
the name does not exist.

Cost: a walk over the causes of an error; of an error in resolving a name, also one attempt to open a descriptor.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, Final

__all__ = ["is_shortage"]

_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})
_SHORTAGES: Final = _NO_DESCRIPTOR | {errno.ENOBUFS, errno.ENOMEM}


def is_shortage(error: BaseException, handled: int = 0) -> bool:
    """Return whether an error, or one that it was raised from, says that descriptors, buffers or memory have run out.

    ``handled`` is the identity of what was being handled before, which does not count; 0 if nothing was.

    Example
    -------
    >>> is_shortage(OSError(errno.EMFILE, "Too many open files")), is_shortage(ConnectionRefusedError())
    (True, False)
    """
    found, seen = [error], {handled}
    while found:
        one = found.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and _is_one(one):
            return True
        found += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        cause = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        found += () if cause is None else (cause,)
    return False


def _is_one(error: OSError) -> bool:
    sockets: Any = sys.modules.get("socket")  # if it was not imported, no name was resolved
    if sockets is not None and isinstance(error, sockets.gaierror):  # whose numbers are no errnos
        return error.errno == sockets.EAI_MEMORY or _no_descriptor_is_free()
    return error.errno in _SHORTAGES


def _no_descriptor_is_free() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in _NO_DESCRIPTOR
    return False
