"""Laws of selectors, each with a number to cite.

==  ===================================  ======================================================================
1   :func:`picks_candidates`             a pick ends, and is one of the snapshot's candidates, or ``None``
2   :func:`honours_exclusion`            a pick is never an excluded endpoint
3   :func:`none_iff_no_candidate`        a pick is ``None`` if and only if there is no candidate
4   :func:`uses_only_its_generator`      picks do not depend on module-level randomness, generators of the
                                         selector, clocks, ``hash()`` of text, or the order of sets
5   :func:`same_seed_same_picks`         two equal selectors with equal generators make equal picks
6   :func:`writes_nothing`               a pick does not change the snapshot, its nodes and the context
7   :func:`survives_changes`             law 1 holds after any change of membership or health, for the new
                                         snapshot and the one before
8   :func:`fast_path_agrees`             a picker picks eligible endpoints; a keyed one makes the same picks as
                                         ``select``
9   :func:`in_proportion`                shares are in proportion to weights among the endpoints that may be
                                         picked, after any change; weight 0 is picked only if no other may be
10  :func:`evenly`                       shares are equal among the endpoints that may be picked
11  :func:`independent_of_order`         (keyed) the owner of a key does not depend on the order of endpoints
12  :func:`disrupts_little`              (keyed) only keys of a changed endpoint change their owner, and owners
                                         do not depend on earlier endpoints
13  :func:`starves_none`                 (adaptive) each of several equal endpoints is picked regularly, also
                                         after one very slow response
14  :func:`keeps_queues_finite`          (adaptive) queues of unequal servers stay finite without weights
15  :func:`avoids_failing`               (adaptive) an endpoint that fails fast gets few requests while it fails,
                                         and more after that
16  :func:`learns_nothing_from_ignored`  (adaptive) requests that end ignored or cancelled attract no others
17  :func:`overlaps_safely`              picks by pickers, and by ``select`` if it is ``thread_safe``, are
                                         candidates when they overlap
18  :func:`forgets_what_left`            memory does not grow with picks, snapshots, and endpoints that have left
19  :func:`hooks_raise_nothing`          ``learn``, ``refusals`` and ``retry_at`` raise nothing
==  ===================================  ======================================================================

Choose the set of laws by the kind of algorithm:

- ``ALL``, laws 1 to 9 and 17 to 19, for a selector that follows weights;
- ``ALL - {WEIGHTED}`` for one that ignores weights;
- ``ALL - {WEIGHTED} | {EVEN}`` for one that ignores weights and gives all endpoints equal shares;
- ``ALL - {WEIGHTED} | HASHED`` for a consistent hash;
- ``ALL | ADAPTIVE`` for one that learns from responses and must be safe with any endpoints. Of the selectors of this
  library, only the default keeps all of these.

Laws 9, 10 and 14 are statistical, with a fixed seed and a limit of 4.5 standard deviations. So a selector that has passed
once always passes.

The balancer keeps in-flight counts, not the selector. ``balancekit.testing.check_balancer`` checks them.
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
from balancekit.testing.laws._hooks import hooks_raise_nothing
from balancekit.testing.laws._keys import disrupts_little, independent_of_order
from balancekit.testing.laws._memory import forgets_what_left
from balancekit.testing.laws._picks import (
    fast_path_agrees,
    honours_exclusion,
    none_iff_no_candidate,
    picks_candidates,
    survives_changes,
)
from balancekit.testing.laws._shares import evenly, in_proportion
from balancekit.testing.laws._subject import Law, Subject
from balancekit.testing.laws._threads import overlaps_safely

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
    "forgets_what_left",
    "honours_exclusion",
    "hooks_raise_nothing",
    "in_proportion",
    "independent_of_order",
    "keeps_queues_finite",
    "learns_nothing_from_ignored",
    "none_iff_no_candidate",
    "overlaps_safely",
    "picks_candidates",
    "same_seed_same_picks",
    "starves_none",
    "survives_changes",
    "uses_only_its_generator",
    "writes_nothing",
]

WEIGHTED: Final[Law] = in_proportion
"""Law 9. For an algorithm that ignores weights, check ``ALL - {WEIGHTED}``."""
EVEN: Final[Law] = evenly
"""Law 10, for algorithms that give all endpoints equal shares."""
HASHED: Final[frozenset[Law]] = frozenset({independent_of_order, disrupts_little})
"""Laws 11 and 12, for consistent hashing."""
ADAPTIVE: Final[frozenset[Law]] = frozenset(
    {starves_none, keeps_queues_finite, avoids_failing, learns_nothing_from_ignored}
)
"""Laws 13 to 16, for selectors that learn from responses. They run a balancer without a health policy in virtual time."""
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
        overlaps_safely,
        forgets_what_left,
        hooks_raise_nothing,
    },
)
"""Laws 1 to 9 and 17 to 19."""
