"""Plans: the exact share of keys that a change of endpoints moves, before the change.

The selector builds its structure for the endpoints before and after the change. The two are compared arc by arc, slot by
slot or, for rendezvous, in closed form. No keys are sampled. Health is ignored: a plan is about the owners of keys, not
about the present health.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, final, runtime_checkable

from balancekit._support.html import bar, html_table
from balancekit.errors import ConfigurationError

__all__ = ["Plan", "SupportsStructure"]


@runtime_checkable
class SupportsStructure(Protocol):
    """A selector whose owners follow from ids and weights alone."""

    def structure(self, weights: Mapping[str, float]) -> Any:
        """Return what answers ``shares()`` and ``moved(other)`` for these ids and weights."""
        ...


@final
class Plan:
    """The effect of an update before it is made. Made by ``LoadBalancer.plan``.

    Example
    -------
    >>> from balancekit import LoadBalancer, RendezvousHash
    >>> lb = LoadBalancer(["a", "b", "c"], selector=RendezvousHash())
    >>> plan = lb.plan(["a", "b", "c", "d"])
    >>> plan.moved, plan.added, plan.after["d"]
    (0.25, ('d',), 0.25)
    >>> plan.apply()
    >>> len(lb.endpoints)
    4
    """

    __slots__ = ("_apply", "added", "after", "before", "moved", "removed", "reweighted")

    def __init__(
        self,
        *,
        moved: float | None,
        before: Mapping[str, float],
        after: Mapping[str, float],
        added: tuple[str, ...],
        removed: tuple[str, ...],
        reweighted: tuple[str, ...],
        apply: Callable[[], None],
    ) -> None:
        self.moved: float | None = moved
        """The part of the key space, 0 to 1, that would change its owner; ``None`` if the selector hashes no keys."""
        self.before: Mapping[str, float] = before
        """Each endpoint's share now; by weight if the selector hashes no keys."""
        self.after: Mapping[str, float] = after
        """Each endpoint's share then."""
        self.added: tuple[str, ...] = added
        """The ids that are new."""
        self.removed: tuple[str, ...] = removed
        """The ids that would go."""
        self.reweighted: tuple[str, ...] = reweighted
        """The ids that stay, with another weight."""
        self._apply: Callable[[], None] = apply

    def _repr_html_(self) -> str:
        ids = dict.fromkeys((*self.before, *self.after))
        rows = [
            [id, *[bar(shares[id]) if id in shares else "" for shares in (self.before, self.after)]]
            for id in ids
        ]
        moved = "keys do not decide" if self.moved is None else f"{self.moved:.2%} of all keys move"
        return html_table(moved, ("endpoint", "before", "after"), rows)

    def apply(self) -> None:
        """Make the change, whole or not at all.

        Raises
        ------
        ConfigurationError
            If the endpoints are no longer those the plan was made for. Nothing changes.
        """
        self._apply()

    def __reduce__(self) -> tuple[object, ...]:
        facts = (self.moved, dict(self.before), dict(self.after), self.added, self.removed, self.reweighted)
        return _read_elsewhere, facts

    def __repr__(self) -> str:
        part = "no keys" if self.moved is None else f"{self.moved:.2%} of all keys"
        return f"<Plan: {part} move, {len(self.added)} added, {len(self.removed)} removed>"


def _read_elsewhere(
    moved: float | None,
    before: Mapping[str, float],
    after: Mapping[str, float],
    added: tuple[str, ...],
    removed: tuple[str, ...],
    reweighted: tuple[str, ...],
) -> Plan:
    """Make a plan again that was pickled or copied: it can be read, and no longer applied."""
    return Plan(
        moved=moved,
        before=before,
        after=after,
        added=added,
        removed=removed,
        reweighted=reweighted,
        apply=_refuse,
    )


def _refuse() -> None:
    raise ConfigurationError("plan", "a copy", "the plan that the balancer itself returned")
