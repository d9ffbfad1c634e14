"""Parts of a pool and their child selectors: each part is a pool of its own to its child.

Routing selectors *narrow*, then *delegate*: they divide the members into parts, and each part has a child of its
own, so that the turns of one part never mix with those of another. The members are divided once per membership, and
the parts of a snapshot are found once per snapshot; both are memoised on what they were made from. A child that builds
tables on its members therefore keeps them while health flips.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from random import Random
from typing import Final, Self, TypeAlias, final

from balancekit._selection.pickers import NO_PICKERS, Pickers, pickers_of
from balancekit._support.functions import has_methods
from balancekit.errors import ConfigurationError, Reason
from balancekit.loads import ExpectedDelay
from balancekit.outcome import Completion
from balancekit.protocols import (
    LoadPolicy,
    Selector,
    SupportsFeedback,
    SupportsPrepare,
)
from balancekit.snapshot import Members, Node, PickContext, Snapshot

__all__ = ["WHOLE_POOL", "ChildSelectors", "Grouping", "Learn", "MakeSelector"]

MakeSelector: TypeAlias = Callable[[], Selector]
"""Makes a child, once per part: a selector class, or a function that returns one."""

Learn: TypeAlias = Callable[[Node, Completion], None]
"""What a selector has that learns from how requests end."""

Views: TypeAlias = Mapping[Hashable, Snapshot]
"""The parts of a snapshot, each as a snapshot of its own."""

WHOLE_POOL: Final = "whole pool"
"""The part of routers that do not divide the pool."""


@final
class Grouping:
    """The members divided by a function of the node, each part with its view of a snapshot.

    Parameters
    ----------
    part_of
        Says to which part a node belongs; called once per node and membership.
    """

    __slots__ = ("_assign", "_divide", "_part_of", "_view")

    def __init__(self, part_of: Callable[[Node], Hashable]) -> None:
        self._part_of = part_of
        self._assign: Callable[[Members], Callable[[Node], Hashable]] | None = None
        self._divide = self._divided  # one object each, so that memos find what was made
        self._view = self._viewed

    @classmethod
    def by_membership(cls, assign: Callable[[Members], Callable[[Node], Hashable]]) -> Self:
        """Return one whose parts depend on all members: ``assign`` is called once per membership, and returns ``part_of``."""
        made = cls(_no_part)
        made._assign = assign
        return made

    def views(self, snapshot: Snapshot) -> Views:
        """Return the parts of a snapshot that have members. O(n) once, then one dictionary access."""
        return snapshot.derive(self._view)

    def _divided(self, members: Members) -> Mapping[Hashable, Members]:
        part_of = self._part_of if self._assign is None else self._assign(members)
        parts = dict[Hashable, list[Node]]()
        for node in members.nodes:
            parts.setdefault(part_of(node), []).append(node)
        return {part: Members(tuple(nodes), version=members.version) for part, nodes in parts.items()}

    def _viewed(self, snapshot: Snapshot) -> Views:
        eligible, draining = set(snapshot.eligible), set(snapshot.draining)
        return {
            part: Snapshot(
                members,
                tuple([node for node in members.nodes if node in eligible]),
                draining=tuple([node for node in members.nodes if node in draining]),
                version=snapshot.version,
                panic=snapshot.panic,
            )
            for part, members in snapshot.members.derive(self._divide).items()
        }


@final
class ChildSelectors:
    """One selector per part, made when the part is first seen.

    Parameters
    ----------
    make
        Makes a child.

    Raises
    ------
    ConfigurationError
        If ``make`` does not make selectors.
    """

    __slots__ = ("_children", "_make", "default_load", "learns", "thread_safe", "timed")

    def __init__(self, make: MakeSelector) -> None:
        if not callable(make):
            raise ConfigurationError("child", make, "a selector class, or a function that makes selectors")
        first = make()
        if not has_methods(first, "select"):
            raise ConfigurationError("child", make, "a selector class, or a function that makes selectors")
        self._make = make
        self._children: dict[Hashable, Selector] = {}
        self.default_load: LoadPolicy = getattr(first, "default_load", ExpectedDelay())
        """What the children would choose by."""
        self.learns: bool = isinstance(first, SupportsFeedback)
        """Whether children learn from how requests end."""
        self.thread_safe: bool = bool(getattr(first, "thread_safe", False))
        """Whether threads may call children at the same time."""
        self.timed: bool = bool(getattr(first, "timed", False))
        """Whether plain picks of children need the time."""

    def of(self, part: Hashable) -> Selector:
        """Return the child of a part."""
        child = self._children.get(part)
        if child is None:
            child = self._children.setdefault(part, self._make())
        return child

    def prepare(self, views: Views) -> None:
        """Let children build their tables, and forget those whose part is gone."""
        for part in [part for part in list(self._children) if part not in views]:
            self._children.pop(part, None)
        for part, view in views.items():
            child = self.of(part)
            if isinstance(child, SupportsPrepare):
                child.prepare(view)

    def pickers(self, part: Hashable, view: Snapshot, rng: Random) -> Pickers:
        """Return the fast paths of a part's child; none if it has none, or if threads must take turns at it."""
        child = self.of(part)
        if not view.eligible or not getattr(child, "thread_safe", False):
            return NO_PICKERS
        return pickers_of(child, view, rng)

    def refusals(self, part: Hashable, view: Snapshot, ctx: PickContext) -> Mapping[str, Reason]:
        """Return the reasons of a part's child for the endpoints it passes over."""
        child = self.of(part)
        refusals = getattr(child, "refusals", None)  # isinstance() with a protocol takes 20 microseconds
        found: Mapping[str, Reason] = {} if refusals is None else refusals(view, ctx)
        return found

    def refusals_at_limit(
        self, view: Snapshot, ctx: PickContext, full: Collection[str]
    ) -> Mapping[str, Reason]:
        """Return the reasons of a limit around the only child, which refuses the endpoints of ``full``.

        If the child refuses such an endpoint as well, its reason counts: an endpoint that does not match the request will
        not match when it has room.
        """
        return {**dict.fromkeys(full, Reason.SATURATED), **self.refusals(WHOLE_POOL, view, ctx)}

    def matching(self, view: Snapshot, ctx: PickContext) -> list[Node]:
        """Return the candidates that the only child may pick sooner or later: those that match the request."""
        refusals = self.refusals(WHOLE_POOL, view, ctx)
        return [node for node in view.candidates(ctx) if refusals.get(node.id) is not Reason.UNMATCHED]

    def retry_at(self, part: Hashable, view: Snapshot, ctx: PickContext) -> float | None:
        """Return when the child of a part would pick an endpoint, if it knows."""
        child = self.of(part)
        retry_at = getattr(child, "retry_at", None)
        time: float | None = None if retry_at is None else retry_at(view, ctx)
        return time

    def all_refusals(self, views: Views, ctx: PickContext) -> Mapping[str, Reason]:
        """Return the reasons of every part's child, by endpoint."""
        found: dict[str, Reason] = {}
        for part, view in views.items():
            if view.candidates(ctx):
                found.update(self.refusals(part, view, ctx))
        return found

    def soonest(self, views: Views, ctx: PickContext) -> float | None:
        """Return when the first of the children would pick an endpoint, if one knows."""
        times = [self.retry_at(part, view, ctx) for part, view in views.items() if view.candidates(ctx)]
        return min([time for time in times if time is not None], default=None)

    def learn(self, node: Node, completion: Completion) -> None:
        """Report to every child how a request ended."""
        for child in list(self._children.values()):
            child.learn(node, completion)  # type: ignore[attr-defined]  # `learns` says that they have it


def _no_part(_node: Node) -> None:
    """Stand where the parts depend on all members."""
