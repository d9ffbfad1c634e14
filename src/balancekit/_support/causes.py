"""Chains of exceptions. A chain may be a cycle: an exception object that is raised twice may be a cause of its cause."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["chain", "handled_now"]


def handled_now() -> int:
    """Return the ``id()`` of the exception that is being handled, 0 if none is. An argument for :func:`chain`."""
    error = sys.exception()
    return 0 if error is None else id(error)


def chain(error: BaseException, handled: int = 0) -> Iterator[BaseException]:
    """Yield an error and, recursively, its ``__cause__`` and ``__context__``. Each exception is yielded once.

    Parameters
    ----------
    error
        The error.
    handled
        The result of :func:`handled_now` before the call that failed. The exception that the caller was handling at
        that time is a context of the error, but no cause of it; it is not yielded.

    Example
    -------
    >>> ring = [ValueError("first"), KeyError("second")]
    >>> ring[0].__cause__, ring[1].__cause__ = ring[1], ring[0]
    >>> [type(each).__name__ for each in chain(ring[0])]
    ['ValueError', 'KeyError']
    """
    seen, found = {handled}, [error]
    while found:
        one = found.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        found += [each for each in (one.__context__, one.__cause__) if each is not None]
