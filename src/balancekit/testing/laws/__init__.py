"""Laws that every selector keeps, each with a number to cite.

==  ===================================  =====================================================================
1   :func:`picks_candidates`             a pick is one of the snapshot's candidates, or ``None``
2   :func:`honours_exclusion`            never an excluded endpoint
3   :func:`none_iff_no_candidate`        ``None`` if and only if there is no candidate
4   :func:`uses_only_its_generator`      module-level randomness, clocks and ``hash()`` of text change nothing
5   :func:`same_seed_same_picks`         two alike selectors with alike generators pick alike
6   :func:`writes_nothing`               snapshot and nodes look the same after a pick
7   :func:`survives_changes`             after any change of membership or health, law 1 holds, for the snapshot
                                         before it too
8   :func:`fast_path_agrees`             the picker picks eligible endpoints, keyed ones what ``select`` does
9   :func:`in_proportion`                survivors' shares are in proportion to their weights, whichever are
                                         down, removed, excluded, new or reweighted; weight zero is never picked
                                         beside others
10  :func:`evenly`                       survivors' shares are equal, whichever are down, removed or excluded
11  :func:`independent_of_order`         (keyed) the owner of a key does not depend on the order of endpoints
12  :func:`disrupts_little`              (keyed) only keys of a changed endpoint change their owner, and owners
                                         do not depend on the endpoints before
13  :func:`starves_none`                 (adaptive) none of equal endpoints waits for long, whatever one answer did
14  :func:`keeps_queues_finite`          (adaptive) queues of unequal servers stay finite without weights
15  :func:`avoids_failing`               (adaptive) an endpoint that fails fast gets little, and is used again
16  :func:`learns_nothing_from_ignored`  (adaptive) requests that end ignored or cancelled attract no others
==  ===================================  =====================================================================

``ALL`` are the laws every weighted selector keeps: 1 to 9. An algorithm that ignores weights is checked with
``ALL - {WEIGHTED}``, one that should treat all alike with ``ALL - {WEIGHTED} | {EVEN}``, a consistent hash
with ``ALL - {WEIGHTED} | HASHED``, one that learns from answers and is to be safe with any endpoints
with ``ALL | ADAPTIVE``: of the shipped selectors only the default keeps all of these. Laws 9 and 10 are statistical,
with a fixed seed and a gate of 4.5 standard deviations: a correct selector that has passed once always passes.

In-flight counts (never negative, their sum the open leases) are the balancer's to keep: see
``balancekit.testing.check_balancer``.
"""

from __future__ import annotations

from typing import Final

from balancekit.testing._broken import LawBroken
from balancekit.testing.laws._dependence import same_seed_same_picks, uses_only_its_generator, writes_nothing
from balancekit.testing.laws._feedback import (
    avoids_failing,
    keeps_queues_finite,
    learns_nothing_from_ignored,
    starves_none,
)
from balancekit.testing.laws._keys import disrupts_little, independent_of_order
from balancekit.testing.laws._picks import (
    fast_path_agrees,
    honours_exclusion,
    none_iff_no_candidate,
    picks_candidates,
    survives_changes,
)
from balancekit.testing.laws._shares import evenly, in_proportion
from balancekit.testing.laws._subject import Law, Subject

__all__ = [
    "ADAPTIVE",
    "ALL",
    "EVEN",
    "HASHED",
    "WEIGHTED",
    "Law",
    "LawBroken",
    "Subject",
    "avoids_failing",
    "disrupts_little",
    "evenly",
    "fast_path_agrees",
    "honours_exclusion",
    "in_proportion",
    "independent_of_order",
    "keeps_queues_finite",
    "learns_nothing_from_ignored",
    "none_iff_no_candidate",
    "picks_candidates",
    "same_seed_same_picks",
    "starves_none",
    "survives_changes",
    "uses_only_its_generator",
    "writes_nothing",
]

WEIGHTED: Final[Law] = in_proportion
"""Law 9, which an algorithm that ignores weights does not keep: ``ALL - {WEIGHTED}``."""
EVEN: Final[Law] = evenly
"""Law 10, for algorithms that treat all endpoints alike."""
HASHED: Final[frozenset[Law]] = frozenset({independent_of_order, disrupts_little})
"""Laws 11 and 12, for consistent hashing."""
ADAPTIVE: Final[frozenset[Law]] = frozenset(
    {starves_none, keeps_queues_finite, avoids_failing, learns_nothing_from_ignored}
)
"""Laws 13 to 16, for selectors that learn from answers: over a balancer without a health policy, in virtual time."""
ALL: Final[frozenset[Law]] = frozenset(
    {
        picks_candidates,
        honours_exclusion,
        none_iff_no_candidate,
        uses_only_its_generator,
        same_seed_same_picks,
        writes_nothing,
        survives_changes,
        fast_path_agrees,
        in_proportion,
    },
)
"""Laws 1 to 9."""
