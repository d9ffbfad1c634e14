"""Balancing of language-model servers by the prompt prefixes that each server has cached.

=========================  ==============================================================================
:class:`PrefixAffinity`    the selector: the uncached part of a prompt, times the load of an endpoint
:class:`Product`           its default rule; :class:`RelativeLoad` and :class:`StickyMatch` are others
:class:`PrefixTable`       a table of the endpoints that have each leading block; usable alone
:class:`LoadedAdapters`    a scorer: adapters that must be loaded; :class:`CacheUtilization` is another
:func:`prompt_key`         the key of a prompt for a model and an adapter; :func:`token_key` of token ids
=========================  ==============================================================================
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.inference._blocks import prompt_blocks, prompt_key, token_key
    from balancekit.inference._prefix_affinity import PrefixAffinity
    from balancekit.inference._prefix_match import PrefixMatch
    from balancekit.inference._prefix_table import PrefixTable
    from balancekit.inference._scorers import (
        ADAPTER_PREFIX,
        FREE_ADAPTERS,
        CacheUtilization,
        LoadedAdapters,
        NodeFigures,
        NodeScorer,
    )
    from balancekit.inference._scoring import PrefixRule, Product, PromptView, RelativeLoad, StickyMatch

__all__ = [
    "ADAPTER_PREFIX",
    "FREE_ADAPTERS",
    "CacheUtilization",
    "LoadedAdapters",
    "NodeFigures",
    "NodeScorer",
    "PrefixAffinity",
    "PrefixMatch",
    "PrefixRule",
    "PrefixTable",
    "Product",
    "PromptView",
    "RelativeLoad",
    "StickyMatch",
    "prompt_blocks",
    "prompt_key",
    "token_key",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_blocks": ("prompt_blocks", "prompt_key", "token_key"),
            "_prefix_affinity": ("PrefixAffinity",),
            "_prefix_match": ("PrefixMatch",),
            "_prefix_table": ("PrefixTable",),
            "_scorers": (
                "ADAPTER_PREFIX",
                "FREE_ADAPTERS",
                "CacheUtilization",
                "LoadedAdapters",
                "NodeFigures",
                "NodeScorer",
            ),
            "_scoring": ("PrefixRule", "Product", "PromptView", "RelativeLoad", "StickyMatch"),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
