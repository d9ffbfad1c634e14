"""Rules that weigh the cached part of a prompt against the load of an endpoint.

======================  =====================================================================================
:class:`Product`        uncached x (load + this request); nothing to set; the default
:class:`RelativeLoad`   cached part of the prompt minus the load relative to the mean
:class:`StickyMatch`    an endpoint that has most of the prompt, unless it is too much busier than the others
======================  =====================================================================================

A rule gives each candidate a score; the lowest wins. With the same number of cached blocks, more load never improves the
score; with the same load, more cached blocks never worsen it. So only candidates that can win are scored.

Source: SGLang ``lmetric``; production-stack ``loadaware``; llm-d prefix filter with a gate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from balancekit._support import validation as valid
from balancekit._support.record import Policy

__all__ = ["PrefixRule", "Product", "PromptView", "RelativeLoad", "StickyMatch"]

MIN_UNCACHED: Final = 0.125
"""The fewest uncached blocks, because the last token of a prompt and the answer are always computed."""


class PromptView(NamedTuple):
    """The data of one pick for a rule; lists have one entry per candidate."""

    length: float
    """The length of the prompt in blocks."""
    cached: Sequence[float]
    """The leading blocks of the candidate."""
    loads: Sequence[float]
    """How busy it is."""
    added: Sequence[float]
    """The increase of the candidate's load by this request."""
    mean: float
    """The mean load of all candidates; the lists may leave out candidates that cannot win."""


class PrefixRule(Protocol):
    """A rule of :class:`~balancekit.inference.PrefixAffinity`."""

    def scores(self, prompt: PromptView, /) -> Sequence[float]:
        """Return a score for each candidate; the lowest wins.

        Called in the thread of the request, once or twice per pick with several contenders, under the lock of the selector,
        for which other picks wait. It must only read the view, keep no state, not block, and not call a balancer.
        """
        ...


class Product(Policy):
    """Score of uncached blocks x the load with this request.

    *When to use it:* as the first choice; there is nothing to set. *When not:* if the slowest answers matter more than the mean,
    and the speed of the servers is known; see :class:`StickyMatch`.

    Source: SGLang ``lmetric`` (acaa759).

    Example
    -------
    >>> from balancekit.inference import Product, PromptView
    >>> Product().scores(PromptView(10.0, [9.0, 0.0], [4.0, 0.0], [1.0, 1.0], 2.0))
    [5.0, 10.0]
    """

    def scores(self, prompt: PromptView, /) -> Sequence[float]:
        """Return ``uncached * (load + added)``."""
        length, most = prompt.length, prompt.length - MIN_UNCACHED
        return [
            (length - cached if cached < most else MIN_UNCACHED) * (load + added)
            for cached, load, added in zip(prompt.cached, prompt.loads, prompt.added)  # noqa: B905 - dear
        ]


class RelativeLoad(Policy):
    """Score of the cached part of the prompt minus ``beta`` x the load relative to the mean.

    Parameters
    ----------
    beta
        The weight of a load of twice the mean, in units of completely cached prompts, >= 0.

    Raises
    ------
    ConfigurationError
        If ``beta`` is negative or not finite.

    *When to use it:* for prompts of very different length, which have equal weight here. *When not:* if you will not tune
    ``beta``.

    Source: production-stack ``loadaware``.

    Example
    -------
    >>> from balancekit.inference import PromptView, RelativeLoad
    >>> RelativeLoad().scores(PromptView(10.0, [5.0, 0.0], [4.0, 0.0], [1.0, 1.0], 2.0))
    [0.5, -1.0]
    """

    beta: float = 1.0

    def _check(self) -> None:
        valid.number("beta", self.beta, minimum=0.0)

    def scores(self, prompt: PromptView, /) -> Sequence[float]:
        """Return ``beta * (load - mean) / max(1, mean) - cached / length``."""
        mean, length = prompt.mean, prompt.length
        scale = self.beta / max(1.0, mean)
        return [
            scale * (load - mean) - min(cached / length, 1.0)
            for cached, load in zip(prompt.cached, prompt.loads, strict=True)
        ]


class StickyMatch(Policy):
    """Preference for endpoints that have most of the prompt, unless they are too much busier than the others.

    Parameters
    ----------
    match
        The smallest cached part of the prompt that counts as most of it, 0 to 1.
    gate
        The largest tolerated excess of load, in the unit of the load. With ``WaitingCost()`` and ``cost=`` in tokens, the unit
        is waiting prompt tokens; a second of waiting is the number of tokens that a server computes per second.

    Raises
    ------
    ConfigurationError
        If ``match`` is outside [0, 1], or ``gate`` is negative.

    Among the endpoints that have most of the prompt, or otherwise among all, the least ``load + uncached`` wins. Here uncached
    is the part of this request's cost that must be computed.

    *When to use it:* if the slowest answers matter, and you have tested the gate in a simulation. *When not:* if traffic exceeds
    the capacity of the servers; :class:`Product` then computes less.

    Source: llm-d's prefix filter and token load (ebab687); its gate is 18 s.

    Example
    -------
    >>> from balancekit.inference import PromptView, StickyMatch
    >>> StickyMatch(gate=5.0).scores(PromptView(10.0, [9.0, 0.0], [4.0, 0.0], [1.0, 1.0], 2.0))
    [4.1, inf]
    """

    match: float = 0.8
    gate: float = 16_000.0

    def _check(self) -> None:
        valid.number("match", self.match, minimum=0.0, maximum=1.0)
        valid.number("gate", self.gate, minimum=0.0)

    def scores(self, prompt: PromptView, /) -> Sequence[float]:
        """Return ``load + added * uncached / length``; infinite for candidates excluded by the gate."""
        length = prompt.length
        shares = [min(cached / length, 1.0) for cached in prompt.cached]
        sticky = [share >= self.match for share in shares]
        if any(sticky) and not all(sticky):
            least = min(load for load, here in zip(prompt.loads, sticky, strict=True) if here)
            if least - min(prompt.loads) > self.gate:
                sticky = [True] * len(shares)
        elif not any(sticky):
            sticky = [True] * len(shares)
        return [
            load + added * (1.0 - share) if here else math.inf
            for share, load, added, here in zip(shares, prompt.loads, prompt.added, sticky, strict=True)
        ]
