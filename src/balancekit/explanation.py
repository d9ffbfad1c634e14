"""Explanations: one decision, with the state of each endpoint and the reasons."""

from __future__ import annotations

from balancekit._support.html import html_table
from balancekit._support.record import Record
from balancekit.errors import brief, printable
from balancekit.snapshot import Key

__all__ = ["Candidate", "Explanation"]


class Candidate(Record):
    """One endpoint as a pick saw it.

    Parameters
    ----------
    id
        The endpoint's id.
    status
        ``"picked"``, ``"eligible"``, or why it could not be picked.
    state
        Its health or membership state.
    weight, inflight
        As configured; as of now.
    load
        What its load answers now; less is better. Units depend on the load.
    """

    id: str
    status: str
    state: str
    weight: float
    inflight: int
    load: float


class Explanation(Record):
    """One decision, as it would be taken now.

    Parameters
    ----------
    picked
        Id of the endpoint, ``None`` if no endpoint could be picked.
    key
        The key that was given.
    selector
        The selector, as it calls itself.
    candidates
        Every endpoint of the pool.
    notes
        What the selector said about its reasons.
    panic
        True if health was ignored.
    """

    picked: str | None
    key: Key | None
    selector: str
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...]
    panic: bool

    def _repr_html_(self) -> str:
        rows = [
            (each.id, each.status, each.state, f"{each.weight:g}", each.inflight, f"{each.load:.4g}")
            for each in self.candidates
        ]
        picked = "no endpoint" if self.picked is None else self.picked
        columns = ("endpoint", "status", "state", "weight", "in flight", "load")
        return html_table(f"{self.selector} picks {picked}. {' '.join(self.notes)}".strip(), columns, rows)

    def __str__(self) -> str:
        selector = self.selector if self.key is None else f"{self.selector}, key {brief(self.key)}"
        lines = [f"{printable(self.picked or 'no endpoint')} by {selector}"]
        lines += [f"  {printable(note)}" for note in self.notes]
        ids = [printable(candidate.id) for candidate in self.candidates]
        width = max(map(len, ids), default=0)
        lines += [
            f"  {id:{width}}  {c.status:15}  weight {c.weight:g}  inflight {c.inflight}  load {c.load:.4g}"
            for id, c in zip(ids, self.candidates, strict=True)
        ]
        return "\n".join(lines)
