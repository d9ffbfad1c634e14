"""The answer of a parser that has not seen enough: shared by everything that reads the first bytes of a connection."""

from __future__ import annotations

from typing import final

from balancekit._support.record import Record

__all__ = ["NeedMore"]


@final
class NeedMore(Record):
    """More bytes are needed before anything can be said.

    Parameters
    ----------
    at_least
        Bytes in all, those given included, without which the answer will be the same. Read up to it, or read
        whatever comes, then call again with all bytes.
    """

    at_least: int
