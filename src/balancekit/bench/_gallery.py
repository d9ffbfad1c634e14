"""The card of an algorithm, drawn."""

from __future__ import annotations

from balancekit.bench._cards import STRUCTURE_CARDS, SelectorCard, figures_of

__all__ = ["card"]


def card(name: str, *, seed: int = 1) -> str:
    """Return a small picture of an algorithm as SVG text; the same seed gives the same text.

    Parameters
    ----------
    name
        One of :data:`CARDS`, such as ``"LeastRequest"`` or ``"HashRing"``.
    seed
        Of all randomness.

    Raises
    ------
    ConfigurationError
        If there is no such algorithm, or the seed is no whole number >= 0.
    ModuleNotFoundError
        If matplotlib is not installed; the extra ``plots`` brings it.
    """
    figures = figures_of(name, seed=seed)
    from balancekit.bench._plot_cards import card_of_selector, card_of_structure  # noqa: PLC0415 - an extra
    from balancekit.bench._style import styled, svg  # noqa: PLC0415 - the same

    with styled(name):
        drawn = (
            card_of_selector(name, figures)
            if isinstance(figures, SelectorCard)
            else card_of_structure(STRUCTURE_CARDS[name], figures)
        )
    return svg(drawn, name)
