"""Chains of exceptions, which may be rings: an exception object that is raised twice can be its own cause's cause."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["chain", "handled_now"]


def handled_now() -> int:
    """Return what :func:`chain` is to stop at: the identity of the exception that is being handled, 0 if none is."""
    error = sys.exception()
    return 0 if error is None else id(error)


def chain(error: BaseException, handled: int = 0) -> Iterator[BaseException]:
    """Yield an error, what it was raised from, and what was handled when it was raised, and so on; each once.

    Parameters
    ----------
    error
        The error.
    handled
        What :func:`handled_now` returned before the work that failed: what the caller was handling then is not the error's.

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
