"""Chains of exceptions, which may be rings: an exception object that is raised twice can be its own cause's cause."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["chain"]


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, then what it was raised from, or was handled when it was raised; each once.

    Example
    -------
    >>> ring = [ValueError("first"), KeyError("second")]
    >>> ring[0].__cause__, ring[1].__cause__ = ring[1], ring[0]
    >>> [type(each).__name__ for each in chain(ring[0])]
    ['ValueError', 'KeyError']
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__
