"""What do readers see, and how is it replaced?

Tables and picker are made from a snapshot outside the writer lock (that may be the user's code, and slow),
one at a time and in the order of versions; then two references are swapped.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from typing import NamedTuple, TypeAlias, final

from balancekit._ledger import Ledger
from balancekit._support.log import log_error
from balancekit.lease import FREE_THREADED, Keeper, Lease
from balancekit.protocols import Clock, Selector, SupportsPicker, SupportsPrepare
from balancekit.selectors._slow_start import any_ramping, slow_start_picker, with_slow_start
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["Hot", "Publisher"]

Hot: TypeAlias = tuple[Callable[..., Node] | None, Clock | None, float, deque[Lease[object]], Keeper]
"""All that an undisturbed acquire needs, in one reference: the picker or ``None``, the clock or ``None``,
the time from which on something is due, the lost leases, and the keeper of the new one. A free-threaded
build never gets a picker here: there the counters need a lock, which the general way takes."""


class Published(NamedTuple):
    """A snapshot and the picker made from it, if there is one."""

    snapshot: Snapshot
    picker: Callable[..., Node] | None
    keyed: bool
    thin: bool
    """Whether some endpoint takes less than its share."""


@final
class Publisher:
    """The published picture of one balancer.

    Parameters
    ----------
    selector
        Whose tables and picker are to be made.
    rng
        What its picks draw from.
    clock
        Read by picks if the balancer is timed or something is due.
    ledger
        Keeps the leases.
    deadline
        Answers when something is due next.
    lean
        Whether requests may take the short way at all.
    """

    __slots__ = (
        "_clock",
        "_due",
        "_lean",
        "_ledger",
        "_published",
        "_rng",
        "_serial",
        "_swapping",
        "_user",
        "deadline",
        "selector",
        "show",
    )

    def __init__(
        self,
        selector: Selector,
        rng: Random,
        clock: Clock,
        ledger: Ledger,
        snapshot: Snapshot,
        *,
        deadline: Callable[[], float],
        lean: bool,
    ) -> None:
        self.selector = selector
        self._rng = rng
        self._clock = clock
        self._ledger = ledger
        self._due = deadline
        self._lean = lean and not FREE_THREADED
        self._user = not getattr(selector, "thread_safe", False)
        self._published = Published(snapshot, None, keyed=False, thin=any_ramping(snapshot))
        self._swapping: AbstractContextManager[object]
        self._serial: AbstractContextManager[object]
        self.show: Callable[[Hot, Hot], None] = _nobody_looks
        """Called with what an undisturbed acquire is to read, without a key and with one."""
        self.deadline = -math.inf
        """When something is due: what the last hot tuple says."""

    def use_locks(
        self,
        swapping: AbstractContextManager[object],
        serial: AbstractContextManager[object],
    ) -> None:
        """Take new locks: at the start, and in a forked child."""
        self._swapping = swapping
        self._serial = serial

    @property
    def snapshot(self) -> Snapshot:
        """The published snapshot."""
        return self._published.snapshot

    def choose(self, ctx: PickContext) -> Node | None:
        """Pick: by the picker if the request is plain, else by the selector."""
        snapshot, picker, keyed, _ = self._published
        if picker is not None and ctx.plain:
            if not keyed:
                return picker(ctx.now)
            if ctx.key is not None:
                return picker(ctx.key, ctx.now)
        return self.select(snapshot, ctx)

    def select(self, snapshot: Snapshot, ctx: PickContext) -> Node | None:
        """Ask the selector, for somebody else while its answer is held back."""
        if self._published.thin:
            return with_slow_start(self._ask, snapshot, ctx)
        return self._ask(snapshot, ctx)

    def _ask(self, snapshot: Snapshot, ctx: PickContext) -> Node | None:
        """Ask the selector, one thread at a time unless it says it is thread-safe."""
        if not self._user:
            return self.selector.select(snapshot, ctx)
        with self._serial:
            found: object = self.selector.select(snapshot, ctx)
        if found is None or isinstance(found, Node):
            return found
        raise TypeError(f"{type(self.selector).__name__}.select must return a Node or None, not {found!r}")

    def publish(self, snapshot: Snapshot) -> None:
        """Make tables and picker and show them. Raises what the selector raises, and shows nothing.

        One at a time and in the order of versions: selectors may rely on it.
        """
        with self._serial:
            if snapshot.version <= self._published.snapshot.version:
                self._swap(self._published)
                return
            if isinstance(self.selector, SupportsPrepare):
                self.selector.prepare(snapshot)
            picker = None
            keyed = False
            if isinstance(self.selector, SupportsPicker) and snapshot.eligible:
                keyed = self.selector.keyed
                picker = self.selector.picker(snapshot, rng=self._rng)
            thin = any_ramping(snapshot)
            if thin and picker is not None:
                picker = slow_start_picker(picker, self._ask, snapshot, self._rng, keyed=keyed)
            self._swap(Published(snapshot, picker, keyed, thin))

    def publish_anyway(self, snapshot: Snapshot) -> None:
        """Show a snapshot even if the selector cannot prepare for it: it will see it unprepared."""
        try:
            self.publish(snapshot)
        except Exception:
            log_error("%s could not prepare for a new snapshot", type(self.selector).__name__)
            self._swap(Published(snapshot, None, keyed=False, thin=any_ramping(snapshot)))

    def cool(self) -> None:
        """Send every request the general way, until something is published."""
        self.deadline = -math.inf
        cold: Hot = (None, None, -math.inf, self._ledger.lost, self._ledger.keeper)
        self.show(cold, cold)

    def _swap(self, published: Published) -> None:
        with self._swapping:
            if published.snapshot.version > self._published.snapshot.version:
                self._published = published
            ledger = self._ledger
            lean = self._lean and not ledger.hears_start
            picker = self._published.picker if lean else None
            self.deadline = deadline = self._due()
            clock = self._clock if ledger.timed or deadline < math.inf else None
            hot: Hot = (picker, clock, deadline, ledger.lost, ledger.keeper)
            none: Hot = (None, clock, deadline, ledger.lost, ledger.keeper)
            if self._published.keyed:
                self.show(none, hot)
            else:
                self.show(hot, none)


def _nobody_looks(_hot: Hot, _keyed: Hot) -> None:
    """Stand where the balancer has not yet said where it looks."""
