"""Measurements of the algorithms on your machine, compared with theory.

:func:`measure` runs up to four topics: ``distribution``, ``disruption``, ``speed`` and ``latency``. It returns
:class:`Results` with claims (:class:`Claim`) and tables. :func:`draw` makes pictures of them, and :func:`write` writes a
folder with a report. :func:`card` makes a small picture of one algorithm. :func:`write_scenario` writes a folder with a
report about a scenario of :mod:`balancekit.sim`. Drawing needs matplotlib, from the extra ``plots``; measuring does not.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.bench._cards import CARDS
    from balancekit.bench._claims import Claim, Column, Findings, Step, Table
    from balancekit.bench._gallery import card
    from balancekit.bench._report import draw, write, write_scenario
    from balancekit.bench._results import TITLES, Results, measure, steps
    from balancekit.bench._timing import Timer, Timing, machine

__all__ = [
    "CARDS",
    "TITLES",
    "Claim",
    "Column",
    "Findings",
    "Results",
    "Step",
    "Table",
    "Timer",
    "Timing",
    "card",
    "draw",
    "machine",
    "measure",
    "steps",
    "write",
    "write_scenario",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_cards": ("CARDS",),
            "_gallery": ("card",),
            "_claims": ("Claim", "Column", "Findings", "Step", "Table"),
            "_report": ("draw", "write", "write_scenario"),
            "_results": ("TITLES", "Results", "measure", "steps"),
            "_timing": ("Timer", "Timing", "machine"),
        },
        extra="plots",
    )


def __dir__() -> list[str]:
    return list(__all__)
