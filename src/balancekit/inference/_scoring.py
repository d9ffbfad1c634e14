"""Rules that weigh what an endpoint has cached of a prompt against how busy it is.

======================  =====================================================================================
:class:`Product`        uncached x (load + this request); nothing to set; the default
:class:`RelativeLoad`   cached part of the prompt minus how far the load is above the mean
:class:`StickyMatch`    an endpoint that has most of the prompt, unless it is too much busier than the others
======================  =====================================================================================

A rule gives each candidate a score; the least wins. With equally much cached, more load never makes it better, and with equal
load, more cached never makes it worse: only candidates that can win are scored.

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
"""Blocks: the last token of a prompt is computed in any case, and so is the answer."""


class PromptView(NamedTuple):
    """What a rule knows of one pick; lists have an entry for each candidate."""

    length: float
    """The prompt, in blocks."""
    cached: Sequence[float]
    """Leading blocks that the candidate has."""
    loads: Sequence[float]
    """How busy it is."""
    added: Sequence[float]
    """What this request would add to its load."""
    mean: float
    """Of the loads of all endpoints that may take the request; the lists may leave out those that cannot win."""


class PrefixRule(Protocol):
    """A rule of :class:`~balancekit.inference.PrefixAffinity`."""

    def scores(self, prompt: PromptView, /) -> Sequence[float]:
        """Return a score for each candidate; the least wins.

        Called in the thread of the request, once or twice a pick that candidates compete for, under the lock of the
        selector: other picks wait meanwhile. It reads the view alone, keeps nothing, and neither waits nor calls a balancer.
        """
        ...


class Product(Policy):
    """Uncached blocks x the load with this request.

    *When to use it:* first; there is nothing to set. *When not:* the slowest answers matter more than the mean, and the speed
    of the servers is known; see :class:`StickyMatch`.

    Source: SGLang ``lmetric`` (acaa759).

    Example
    -------
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
    """Cached part of the prompt minus ``beta`` x the load relative to the mean.

    Parameters
    ----------
    beta
        What a load of twice the mean counts, in prompts wholly cached; >= 0.

    *When to use it:* prompts of very different length, which count alike here. *When not:* ``beta`` will not be tuned.

    Source: production-stack ``loadaware``.

    Example
    -------
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
    """An endpoint that has most of the prompt, unless it is too much busier than the others.

    Parameters
    ----------
    match
        The part of the prompt that counts as most of it, 0 to 1.
    gate
        How much busier, in the unit of the load: with ``WaitingCost()`` and ``cost=`` in tokens, prompt tokens that wait. A
        second of waiting is as many tokens as a server computes in one.

    Among those that have most of it, or among all, the least ``load + uncached`` wins, where uncached is the part of the cost of
    this request that has to be computed.

    *When to use it:* the slowest answers matter, and the gate has been tried in a simulation. *When not:* traffic goes beyond
    what the servers can take; :class:`Product` then computes less.

    Source: llm-d's prefix filter and token load (ebab687); its gate is 18 s.

    Example
    -------
    >>> StickyMatch(gate=5.0).scores(PromptView(10.0, [9.0, 0.0], [4.0, 0.0], [1.0, 1.0], 2.0))
    [4.1, inf]
    """

    match: float = 0.8
    gate: float = 16_000.0

    def _check(self) -> None:
        valid.number("match", self.match, minimum=0.0, maximum=1.0)
        valid.number("gate", self.gate, minimum=0.0)

    def scores(self, prompt: PromptView, /) -> Sequence[float]:
        """Return ``load + added * uncached / length``, infinite for candidates that the gate keeps out."""
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
