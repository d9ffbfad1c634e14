"""Detection of errors that are caused by a shortage of the process itself, and not by the endpoint.

A process without a free file descriptor cannot connect to any endpoint. It cannot resolve names either; the C library
then reports that the name does not exist.

Cost: O(causes of the error); for an error of name resolution, also one attempt to open a file.
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
    """Return whether an error or one of its causes reports that descriptors, buffers or memory are exhausted.

    Parameters
    ----------
    error
        The error.
    handled
        The ``id()`` of the exception that was being handled before the failed call, which is no cause; 0 if there was
        none.

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
    if sockets is not None and isinstance(error, sockets.gaierror):  # has other numbers
        return error.errno == sockets.EAI_MEMORY or _no_descriptor_is_free()
    return error.errno in _SHORTAGES


def _no_descriptor_is_free() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in _NO_DESCRIPTOR
    return False
