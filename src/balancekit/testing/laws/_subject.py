"""The selector under test, and the search for examples that break a law."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from balancekit._support.display import ConstructorRepr
from balancekit._support.extras import extra

with extra("testing"):
    from hypothesis import Phase, given, settings
    from hypothesis import strategies as st

from balancekit.protocols import LoadPolicy, Selector
from balancekit.snapshot import Node
from balancekit.testing._factories import make_nodes
from balancekit.testing.strategies import SUPPRESSED_CHECKS

__all__ = ["Law", "Subject"]


class Subject(ConstructorRepr):
    """A selector under test. The argument of each law.

    Parameters
    ----------
    make
        Function that returns a new selector.
    load
        Load policy of the nodes; ``None`` for the selector's default.
    held
        Number of requests kept in flight per unit of weight in laws 9 and 10. Least-loaded selectors follow weights only
        under load.
    examples
        Number of random examples that a law tries.

    Example
    -------
    >>> from balancekit import RoundRobin
    >>> from balancekit.testing.laws import Subject, picks_candidates
    >>> picks_candidates(Subject(RoundRobin, examples=5))
    """

    def __init__(
        self,
        make: Callable[[], Selector],
        *,
        load: LoadPolicy | None = None,
        held: int = 0,
        examples: int = 50,
    ) -> None:
        self.make = make
        self.load = load
        self.held = held
        self.examples = examples

    def search(self, **strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
        """Return a decorator that runs a function on random examples, the same in each run, and shrinks a failing one."""

        def run(body: Callable[..., None]) -> None:
            steady = settings(
                max_examples=self.examples,
                derandomize=True,
                database=None,
                deadline=None,
                print_blob=False,
                report_multiple_bugs=False,
                phases=(Phase.explicit, Phase.generate, Phase.shrink),
                suppress_health_check=SUPPRESSED_CHECKS,
            )
            steady(given(**strategies)(body))()

        return run

    def nodes(self, shares: Mapping[str, float]) -> tuple[Node, ...]:
        """Return nodes with these weights by id, and with the loads of this subject."""
        return make_nodes(shares, load=self.load or getattr(self.make(), "default_load", None))


Law: TypeAlias = Callable[[Subject], None]
"""A function that raises :class:`LawBroken` if the subject breaks the law."""
