"""Publication of a state: tables and pickers are made from it, then one reference is swapped.

Preparation may call user code and may take long. It runs under no lock, except that a selector which is not
``thread_safe`` prepares under the ``serial`` lock. It changes nothing that a request reads. :meth:`Publisher.swap` then
compares and assigns under the writer lock. If another thread has published meanwhile, ``swap`` returns ``False``, and the
caller computes the change again.
"""

from __future__ import annotations

import math
from random import Random
from typing import Final, final

from balancekit._selection.pickers import NO_PICKERS, Pick, Pickers, pickers_of
from balancekit._support.log import contain_error
from balancekit.engine.capabilities import start_compared
from balancekit.engine.fast_path import Current, Published, fast_path
from balancekit.engine.guard import Guard
from balancekit.engine.hooks import SelectorHooks
from balancekit.engine.locks import EngineLocks
from balancekit.engine.slow_start import slow_start_pickers, with_slow_start
from balancekit.engine.state import PoolState
from balancekit.errors import SelectorError
from balancekit.lease import FREE_THREADED, LeaseOwner
from balancekit.node import Assignments, Node
from balancekit.protocols import Clock
from balancekit.snapshot import PickContext, Snapshot

__all__ = ["Publisher"]


_ALLOWED: Final = "an eligible node of this snapshot that is not excluded"


@final
class Publisher:
    """The publisher of the states of one balancer.

    Parameters
    ----------
    hooks
        The selector and its hooks.
    rng
        The random generator of picks.
    clock
        Read by picks if the balancer or the selector is timed, or if there is a deadline.
    current
        The reference to swap.
    locks, guard
        The locks and the guard of the balancer.
    timed
        Whether leases record when they were opened.
    key_required
        Whether requests without a key are refused. They take the slow path, which raises the error.
    lean
        Whether requests may take the fast path. On a free-threaded build they never do, because counters need a lock.
    """

    __slots__ = (
        "_clock",
        "_current",
        "_guard",
        "_key_required",
        "_lean",
        "_locks",
        "_rng",
        "_timed",
        "hooks",
    )

    def __init__(
        self,
        hooks: SelectorHooks,
        rng: Random,
        clock: Clock,
        current: Current,
        locks: EngineLocks,
        guard: Guard,
        *,
        timed: bool,
        key_required: bool,
        lean: bool,
    ) -> None:
        self.hooks: SelectorHooks = hooks
        self._rng = rng
        self._clock = clock
        self._current = current
        self._locks = locks
        self._guard = guard
        self._timed = timed
        self._key_required = key_required
        self._lean = lean and not FREE_THREADED

    # ------------------------------------------------------------------ picking

    def select(self, published: Published, ctx: PickContext) -> Node | None:
        """Call the selector. Call it again while slow start refuses the picked endpoint.

        Raises
        ------
        SelectorError
            If the selector picks an endpoint that is excluded, or one that is not in the snapshot.
        """
        if published.state.ramping:
            return with_slow_start(self._call_selector, published.state.snapshot, ctx)
        return self._call_selector(published.state.snapshot, ctx)

    def _call_selector(self, snapshot: Snapshot, ctx: PickContext) -> Node | None:
        """Call the selector and check its pick."""
        hooks = self.hooks
        if not hooks.trusted:
            return self._call_foreign(snapshot, ctx)
        try:
            if hooks.shared:
                node = hooks.selector.select(snapshot, ctx)
            else:
                with self._locks.serial:
                    node = hooks.selector.select(snapshot, ctx)
        except Exception:  # from a load or a random generator of the user
            contain_error("%s failed to select", hooks.name)
            return min(snapshot.candidates(ctx), key=_open_leases, default=None)
        if node is not None and node.id in ctx.exclude:
            raise SelectorError(hooks.name, node.id, _ALLOWED)
        return node

    def _call_foreign(self, snapshot: Snapshot, ctx: PickContext) -> Node | None:
        """Call a selector of the user."""
        hooks = self.hooks
        if hooks.shared:
            self._guard.check()
            node: object = hooks.selector.select(snapshot, ctx)
        else:
            with self._locks.serial:
                node = hooks.selector.select(snapshot, ctx)
        if node is None:
            return None
        if isinstance(node, Node) and node.id not in ctx.exclude and node in snapshot.derive(_pickable):
            return node
        raise SelectorError(hooks.name, _name(node), _ALLOWED)

    # ------------------------------------------------------------------ publishing

    def prepare(
        self,
        state: PoolState,
        base: Published,
        owner: LeaseOwner,
        due: float,
        *,
        lean: bool,
        observed: bool = False,
        last: Published | None = None,
    ) -> Published:
        """Return what requests read for a state. An exception of the selector's ``prepare`` or ``picker`` is raised.

        Parameters
        ----------
        state
            The state to publish.
        base
            The published value that the state was computed from. Its pickers are kept if the snapshot is the same.
        owner
            The owner of new leases.
        due
            The time at which loads or the outlier sweep are due.
        lean
            Whether opening a lease calls neither a load nor an observer.
        observed
            Whether there are observers of leases that are opened.
        last
            The result of the previous attempt, which could not be published. Its pickers are kept if the snapshot is the
            same.
        """
        pickers = base.pickers
        if last is not None and _same_tables(last.state, state):
            return self.combine(state, last.pickers, owner, due, lean=lean, observed=observed)
        if state.snapshot is not base.state.snapshot or not base.sound:
            pickers = self._pickers(state)
        return self.combine(state, pickers, owner, due, lean=lean, observed=observed)

    def combine(
        self,
        state: PoolState,
        pickers: Pickers,
        owner: LeaseOwner,
        due: float,
        *,
        lean: bool,
        observed: bool = False,
        sound: bool = True,
    ) -> Published:
        """Return what requests read for a state and its pickers."""
        hooks, lean = self.hooks, lean and self._lean
        if lean:
            fast = self._fast(pickers)
        elif self._lean and not observed and _compared(state):
            fast = (self._fast(pickers)[0], None)
        else:
            fast = NO_PICKERS
        deadline = min(state.deadline, due) if sound else -math.inf
        return Published(
            pickers,
            fast,
            hooks.selector.select if lean and hooks.trusted and hooks.shared and not state.ramping else None,
            self._clock,
            self._clock_until(deadline),
            deadline,
            owner,
            state,
            sound,
        )

    def postponed(self, base: Published, deadline: float) -> Published:
        """Return a copy with another deadline."""
        return base._replace(deadline=deadline, clock=self._clock_until(deadline))

    def _clock_until(self, deadline: float) -> Clock | None:
        """Return the clock that plain requests read; ``None`` if they need no time."""
        return self._clock if self._timed or self.hooks.timed or deadline < math.inf else None

    def _fast(self, pickers: Pickers) -> Pickers:
        """Return pickers for the fast path. If a key is required, the pick without a key returns ``None``."""
        return (_no_pick, pickers[1]) if self._key_required else pickers

    def swap(self, base: Published, new: Published, with_it: Assignments | None = None) -> bool:
        """Publish ``new``, unless another thread has published since ``base`` was read. Return whether it was published.

        If the other thread has only changed the deadline, ``new`` is published: at worst, a request reads the clock early.

        Parameters
        ----------
        base
            The published value that ``new`` was computed from.
        new
            The value to publish.
        with_it
            Further assignments to make in the same atomic step.
        """
        step = Assignments() if with_it is None else with_it
        step.add(self._current, "fast", fast_path(new))
        with self._locks.writer:
            present = self._current.published
            fits = present is base or present.postponed(base)
            if fits:
                step.apply()
        return fits

    def _pickers(self, state: PoolState) -> Pickers:
        hooks, snapshot = self.hooks, state.snapshot
        if hooks.shared:
            self._guard.check()
            pickers = self._make_pickers(snapshot)
        else:
            with self._locks.serial:
                pickers = self._make_pickers(snapshot)
        if pickers == NO_PICKERS:
            return pickers
        if not hooks.trusted:
            pickers = _checked(pickers, hooks.name, frozenset(snapshot.eligible))
        if state.ramping:
            return slow_start_pickers(pickers, self._call_selector, snapshot, self._rng)
        return pickers

    def _make_pickers(self, snapshot: Snapshot) -> Pickers:
        hooks = self.hooks
        if hooks.prepare is not None:
            hooks.prepare(snapshot)
        return pickers_of(hooks.selector, snapshot, self._rng) if snapshot.eligible else NO_PICKERS


def _same_tables(old: PoolState, new: PoolState) -> bool:
    """Return whether tables made for one state are valid for another."""
    return (
        old.ramping == new.ramping
        and old.snapshot.eligible == new.snapshot.eligible
        and old.snapshot.draining == new.snapshot.draining
        and old.nodes.nodes == new.nodes.nodes
        and [id(member.endpoint) for member in old.members.values()]
        == [id(member.endpoint) for member in new.members.values()]
    )


def _compared(state: PoolState) -> bool:
    """Return whether plain picks of a state notify the loads, so that ``started`` need not be called."""
    eligible = state.snapshot.eligible
    return len(eligible) > 1 and not state.ramping and start_compared(eligible[0].load)


def _pickable(snapshot: Snapshot) -> frozenset[Node]:
    return frozenset((*snapshot.eligible, *snapshot.draining))


def _checked(pickers: Pickers, selector: str, eligible: frozenset[Node]) -> Pickers:
    """Return pickers that call those of the user and check what they return."""

    def checked(pick: Pick) -> Pick:
        def picked(*arguments: object) -> Node | None:
            node = pick(*arguments)
            if node is None or (isinstance(node, Node) and node in eligible):
                return node
            raise SelectorError(selector, _name(node), "an eligible node of the snapshot it was made for")

        return picked

    pick, pick_by_key = pickers
    return None if pick is None else checked(pick), None if pick_by_key is None else checked(pick_by_key)


def _no_pick(_now: float = 0.0, /) -> None:
    """Return ``None``: the request takes the slow path, which refuses it."""


def _name(node: object) -> object:
    return node.id if isinstance(node, Node) else node


def _open_leases(node: Node) -> int:
    return node.inflight
