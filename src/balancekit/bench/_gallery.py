"""Drawing of the cards of algorithms."""

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
        Seed of all randomness, >= 0.

    Raises
    ------
    ConfigurationError
        If there is no such algorithm, or the seed is no whole number >= 0.
    ModuleNotFoundError
        If matplotlib is not installed. It is in the extra ``plots``.

    Cost: about a second, for a simulation of 20,000 requests or the look-ups of 200,000 keys.
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
