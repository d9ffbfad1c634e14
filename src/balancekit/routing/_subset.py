"""Subsets by metadata: the endpoints that match the labels of a request.

A request names labels in its attributes, ``acquire(attributes={"version": "v2"})``; endpoints carry them in
their metadata. Each combination of values is a subset with a child of its own.

Source: Envoy 1.40, subset load balancing, with its fallbacks: none, any endpoint, default subset.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from random import Random
from typing import NamedTuple, final

from balancekit._selection.grouping import WHOLE_POOL, ChildSelectors, Grouping, Learn, MakeSelector
from balancekit._selection.pickers import Pickers
from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit.errors import ConfigurationError, Reason
from balancekit.protocols import LoadPolicy, Selector
from balancekit.selectors import ShortestExpectedDelay
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["Subset"]


@final
class Subset(ConstructorRepr, makers=("child",)):
    """Only endpoints whose metadata match the labels of a request.

    Parameters
    ----------
    keys
        The labels that count, at least one. A request that names none of them may go anywhere.
    fallback
        If no endpoint matches: ``"any"`` endpoint, ``"none"`` (the request fails), or the labels of a default
        subset, which has no fallback.
    child
        Makes the selector of a subset. ``ShortestExpectedDelay`` if left out.

    Raises
    ------
    ConfigurationError
        If ``keys`` is empty, no sequence of names, or has a name twice. If ``fallback`` is neither ``"any"``
        nor ``"none"`` nor labels among ``keys``. If ``child`` makes no selector.

    *When not to use it:* for a preference rather than a requirement; use :class:`Locality` or :class:`Priority`.

    Cost: O(1) plus the child's for requests that name all keys, O(n) for those that name some.

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer
    >>> from balancekit.routing import Subset
    >>> pool = [Endpoint("old", metadata={"version": "v1"}), Endpoint("new", metadata={"version": "v2"})]
    >>> lb = LoadBalancer(pool, selector=Subset(["version"]))
    >>> lb.explain(attributes={"version": "v2"}).picked
    'new'
    """

    def __init__(
        self,
        keys: Sequence[str],
        *,
        fallback: str | Mapping[str, str] = "any",
        child: MakeSelector = ShortestExpectedDelay,
    ) -> None:
        if isinstance(keys, str) or not isinstance(keys, Sequence) or not keys:
            raise ConfigurationError("keys", keys, "a list of names of labels, at least one")
        self._keys = tuple([valid.text("keys", key) for key in keys])
        if len(set(self._keys)) < len(self._keys):
            raise ConfigurationError("keys", keys, "each name once")
        self._default: Mapping[str, str] | None = None
        if isinstance(fallback, Mapping):
            self._default = valid.labels("fallback", fallback)
            unknown = [key for key in self._default if key not in self._keys]
            if unknown or not self._default:
                raise ConfigurationError("fallback", fallback, f"labels of {', '.join(self._keys)}")
        elif not isinstance(fallback, str) or fallback not in {"any", "none"}:
            raise ConfigurationError("fallback", fallback, "'any', 'none' or the labels of a default subset")
        self._any_endpoint = fallback == "any"
        self._parts = Grouping(partial(_values, self._keys))
        self._children = ChildSelectors(child)
        self.default_load: LoadPolicy = self._children.default_load
        self.thread_safe: bool = self._children.thread_safe
        self.timed: bool = self._children.timed
        if self._children.learns:
            self.learn: Learn = self._children.learn

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return what the child of the subset picks; by the fallback if none matches."""
        delegate = self._delegate(snapshot, ctx)
        return None if delegate is None else delegate.child.select(delegate.view, delegate.ctx)

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the children."""
        self._children.prepare({WHOLE_POOL: snapshot, **self._parts.views(snapshot)})

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast paths of the whole pool's child, for a snapshot with eligible nodes.

        Plain requests name no labels.
        """
        return self._children.pickers(WHOLE_POOL, snapshot, rng)

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return the reason for each endpoint that does not match, and the child's reasons for those that do."""
        delegate = self._delegate(snapshot, ctx)
        found = {node.id: Reason.UNMATCHED for node in snapshot.candidates(ctx)}
        if delegate is None:
            return found
        for node in delegate.view.candidates(delegate.ctx):
            found.pop(node.id, None)
        return found | dict(self._children.refusals(delegate.part, delegate.view, delegate.ctx))

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return when the child of the subset would pick an endpoint."""
        delegate = self._delegate(snapshot, ctx)
        return (
            None if delegate is None else self._children.retry_at(delegate.part, delegate.view, delegate.ctx)
        )

    def _delegate(self, snapshot: Snapshot, ctx: PickContext) -> _Delegate | None:
        """Return the child that serves a request and what it is shown; ``None`` if no endpoint matches."""
        wanted = {key: ctx.attributes[key] for key in self._keys if key in ctx.attributes}
        if not wanted:
            return self._whole(snapshot, ctx)
        for labels in (wanted, self._default):
            delegate = None if labels is None else self._within(snapshot, ctx, labels)
            if delegate is not None:
                return delegate
        if not self._any_endpoint:
            return None
        if ctx.trace is not None:
            ctx.trace.note(f"no endpoint matches {wanted}")
        return self._whole(snapshot, ctx)

    def _whole(self, snapshot: Snapshot, ctx: PickContext) -> _Delegate:
        return _Delegate(WHOLE_POOL, self._children.of(WHOLE_POOL), snapshot, ctx)

    def _within(self, snapshot: Snapshot, ctx: PickContext, wanted: Mapping[str, object]) -> _Delegate | None:
        """Return the child for the eligible endpoints with these labels, unless there are none.

        One that is excluded counts: neither a retry nor a limit around this selector may leave the subset.
        """
        whole = tuple([wanted.get(key) for key in self._keys])
        if len(wanted) == len(self._keys):
            try:
                view = self._parts.views(snapshot).get(whole)
            except TypeError:  # what cannot be hashed is no label
                return None
            if view is None or not view.eligible:
                return None
            return _Delegate(whole, self._children.of(whole), view, ctx)
        matching = {
            node.id
            for node in snapshot.eligible
            if all(node.metadata.get(key) == value for key, value in wanted.items())
        }
        if not matching:
            return None
        others = {node.id for node in snapshot.eligible if node.id not in matching}
        return self._whole(snapshot, ctx.excluding(others))


class _Delegate(NamedTuple):
    """The child that serves a request, and what it is shown."""

    part: Hashable
    child: Selector
    view: Snapshot
    ctx: PickContext


def _values(keys: Sequence[str], node: Node) -> tuple[str | None, ...]:
    return tuple([node.metadata.get(key) for key in keys])
