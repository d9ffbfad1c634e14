"""The selector on trial, and how a law searches for a case that breaks it."""

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
    """A selector on trial.

    Parameters
    ----------
    make
        Makes a fresh one.
    load
        The loads of the nodes it sees; ``None`` for its own default.
    held
        Requests kept in flight per unit of weight during statistical laws. Selectors that look for the
        least loaded are in proportion only under load.
    examples
        How many cases each searching law tries.
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
        """Decorate a law's body: run it on examples, always the same ones, and shrink what fails."""

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
        """Make nodes with the subject's loads."""
        return make_nodes(shares, load=self.load or getattr(self.make(), "default_load", None))


Law: TypeAlias = Callable[[Subject], None]
"""A law raises :class:`LawBroken` if the subject does not keep it."""
