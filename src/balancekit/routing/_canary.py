"""Canary releases: a stable share of the keys gets the new version.

A user's position on a line of length 1 is compared with the canary's share. Raising the share from 5 % to
10 % keeps the first 5 % and adds others; no key moves back and forth.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Final, final

from balancekit._selection.grouping import ChildSelectors, Grouping, Learn, MakeSelector
from balancekit._selection.pickers import NO_PICKERS, Pickers
from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.text import decimal, to_bytes
from balancekit.errors import ConfigurationError, Reason
from balancekit.hashing import hash64
from balancekit.protocols import LoadPolicy
from balancekit.selectors import ShortestExpectedDelay
from balancekit.snapshot import Key, Node, PickContext, Snapshot

__all__ = ["Canary"]

POSITIONS: Final = float(1 << 64)
"""Of a 64-bit hash: the line of length 1."""


@final
class Canary(ConstructorRepr, makers=("child",)):
    """A stable share of the keys goes to endpoints with certain labels, the rest to the others.

    Parameters
    ----------
    labels
        The labels in the metadata of canary endpoints, at least one.
    share
        The share of the keys that goes to canaries, 0 to 1. Change it with :meth:`set_share`.
    salt
        Makes the chosen users differ from those of another canary.
    child
        Makes the selector of either side. ``ShortestExpectedDelay`` if left out.

    Raises
    ------
    ConfigurationError
        If ``labels`` is empty or no mapping of strings, or ``share`` is outside [0, 1]. If ``salt`` is no
        string, or ``child`` makes no selector.

    *Guarantee.* The side of a key depends on the key, the salt and the share alone, in every process; a higher
    share only adds keys. A request without a key is assigned at random. If no endpoint of one side can serve, the
    other side does.

    *When not to use it:* to send a share of requests rather than of users; then give no key.

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer
    >>> from balancekit.routing import Canary
    >>> pool = [Endpoint("stable"), Endpoint("new", metadata={"track": "canary"})]
    >>> lb = LoadBalancer(pool, selector=Canary({"track": "canary"}, share=0.05))
    >>> sum(lb.explain(f"user-{k}").picked == "new" for k in range(2000))
    114
    """

    def __init__(
        self,
        labels: Mapping[str, str],
        *,
        share: float,
        salt: str = "",
        child: MakeSelector = ShortestExpectedDelay,
    ) -> None:
        wanted = valid.labels("labels", labels)
        if not wanted:
            raise ConfigurationError("labels", labels, 'at least one label, such as {"track": "canary"}')
        self._salt = valid.text("salt", salt, empty=True)
        self._share = valid.number("share", share, minimum=0.0, maximum=1.0)
        self._parts = Grouping(partial(_has_labels, dict(wanted)))
        self._children = ChildSelectors(child)
        self.default_load: LoadPolicy = self._children.default_load
        self.thread_safe: bool = self._children.thread_safe
        self.timed: bool = self._children.timed
        if self._children.learns:
            self.learn: Learn = self._children.learn

    @property
    def share(self) -> float:
        """The part of the keys that goes to canaries."""
        return self._share

    def set_share(self, share: float) -> None:
        """Change the part of the keys that goes to canaries, from the next request on.

        Raises
        ------
        ConfigurationError
            If it is no number from 0 to 1; nothing changes.
        """
        self._share = valid.number("share", share, minimum=0.0, maximum=1.0)

    def chosen(self, key: Key) -> bool:
        """Return whether a key goes to the canaries.

        Raises
        ------
        ConfigurationError
            If it is no str, bytes or int.
        """
        valid.key(key)
        return self._is_chosen(key)

    def _is_chosen(self, key: Key) -> bool:
        text = to_bytes(decimal(key) if isinstance(key, int) else key)
        # Compared as numbers of 64 bits: as a part of 1, the highest hashes round to 1, which is below no share.
        return hash64(f"{self._salt}\0".encode() + text) < self._share * POSITIONS

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return what the child of the key's side picks, or of the other side if none can serve there."""
        canary = ctx.rng.random() < self._share if ctx.key is None else self._is_chosen(ctx.key)
        views = self._parts.views(snapshot)
        for side in (canary, not canary):
            view = views.get(side)
            if view is not None and view.candidates(ctx):
                if ctx.trace is not None:
                    ctx.trace.note("a canary" if side else "not a canary")
                node = self._children.of(side).select(view, ctx)
                if node is not None:
                    return node
        return None

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast paths for a snapshot with eligible nodes: those of the side that is drawn."""
        views = self._parts.views(snapshot)
        found = {
            side: self._children.pickers(side, view, rng) for side, view in views.items() if view.eligible
        }
        if len(found) == 1:
            return next(iter(found.values()))
        (canary, canary_by_key), (stable, stable_by_key) = found[True], found[False]
        if canary is None or stable is None:
            return NO_PICKERS
        random, is_chosen = rng.random, self._is_chosen

        def pick(now: float = 0.0, /) -> Node | None:
            return canary(now) if random() < self._share else stable(now)

        def pick_by_key(key: Key, now: float = 0.0, /) -> Node | None:
            if is_chosen(key):
                return canary(now) if canary_by_key is None else canary_by_key(key, now)
            return stable(now) if stable_by_key is None else stable_by_key(key, now)

        return pick, pick_by_key

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the children."""
        self._children.prepare(self._parts.views(snapshot))

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return the reasons of the children."""
        return self._children.all_refusals(self._parts.views(snapshot), ctx)

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return when the first of the children would pick an endpoint."""
        return self._children.soonest(self._parts.views(snapshot), ctx)


def _has_labels(wanted: Mapping[str, str], node: Node) -> bool:
    return wanted.items() <= node.metadata.items()
