"""The end of leases that no attempt has yet."""

from __future__ import annotations

from types import TracebackType
from typing import Any, final

from balancekit.lease import Lease
from balancekit.outcome import Outcome

__all__ = ["ReleasedOnError"]


@final
class ReleasedOnError:
    """End a lease as ignored if the block raises: a clock, a budget or a listener of the user."""

    __slots__ = ("_lease",)

    def __init__(self, lease: Lease[Any]) -> None:
        self._lease = lease

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._lease.release(Outcome.IGNORED)
