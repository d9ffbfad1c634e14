"""Views of the tiers demo: a live table by tier in a terminal, plain lines elsewhere, nothing with ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from balancekit.cli._plain_output import PlainOutput
from balancekit.cli._report import Note
from balancekit.cli._tiers_fleet import Node

__all__ = ["LiveTiers", "PlainTiers", "SilentTiers", "TiersView", "traffic_of"]

TIERS = {"l4": "L4 proxies", "l7": "L7 edges", "server": "HTTP servers"}
MAX_NOTES_SHOWN = 10


class TiersView(Protocol):
    """A view that shows a run of the tiers demo."""

    def opened(self) -> AbstractContextManager[object]:
        """Return a context manager. Call the other methods only within its block."""
        ...

    def show(self, elapsed: float, top: str, nodes: Mapping[str, Node], notes: Sequence[Note]) -> None:
        """Show the state of the run. ``top`` is a line about callers and DNS."""

    def record(self, note: Note) -> None:
        """Show an event."""


def traffic_of(node: Node, nodes: Mapping[str, Node]) -> tuple[int, int]:
    """Return the number of requests (L4: connections) that a node has in flight and has served, as proxies report."""
    if node.tier == "server":
        rows = [one.behind[node.name] for one in nodes.values() if node.name in one.behind]
    else:
        rows = list(node.behind.values())
    return sum(row[1] for row in rows), sum(row[2] for row in rows)


def _of_tier(tier: str, nodes: Mapping[str, Node]) -> list[Node]:
    return sorted([node for node in nodes.values() if node.tier == tier], key=lambda node: node.name)


def states_of(node: Node, nodes: Mapping[str, Node]) -> str:
    """Return the state of a node: killed, its VRRP role, or its state in the reports of the proxies before it."""
    if not node.alive:
        return "killed"
    if node.tier == "l4":
        return node.role or "listens"
    seen = {one.behind[node.name][0] for one in nodes.values() if one.alive and node.name in one.behind}
    return ", ".join(sorted(seen)) or "listens"


class SilentTiers:
    """A view that shows nothing."""

    def opened(self) -> AbstractContextManager[object]:
        """Return a context that does nothing."""
        return nullcontext()

    def show(self, elapsed: float, top: str, nodes: Mapping[str, Node], notes: Sequence[Note]) -> None: ...

    def record(self, note: Note) -> None: ...


class PlainTiers(SilentTiers):
    """A view that prints a line for each event, and a status line every two seconds."""

    def __init__(self) -> None:
        self._output = PlainOutput()

    def show(self, elapsed: float, top: str, nodes: Mapping[str, Node], notes: Sequence[Note]) -> None:
        if not self._output.due(elapsed):
            return
        alive = ", ".join(
            f"{title} {sum(node.alive for node in nodes.values() if node.tier == tier)}"
            for tier, title in TIERS.items()
        )
        self._output.write(elapsed, f"{top}; {alive}")

    def record(self, note: Note) -> None:
        self._output.record(note)


class LiveTiers(SilentTiers):
    """A view with a table of nodes by tier that is redrawn, and the latest events below it."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def opened(self) -> AbstractContextManager[object]:
        """Return the live display."""
        return self._live

    def show(self, elapsed: float, top: str, nodes: Mapping[str, Node], notes: Sequence[Note]) -> None:
        table = Table(title=f"balancekit demo --tiers, {elapsed:.1f} s: {top}", title_justify="left")
        for column in ("tier", "node", "state", "in flight", "served"):
            table.add_column(column, justify="right" if column in {"in flight", "served"} else "left")
        for tier, title in TIERS.items():
            for place, node in enumerate(_of_tier(tier, nodes)):
                inflight, served = traffic_of(node, nodes)
                state = states_of(node, nodes)
                style = "red" if state in {"killed", "ejected"} else "cyan" if state == "backup" else "green"
                table.add_row(
                    "" if place else title,
                    node.name,
                    Text(state, style=style),
                    str(inflight) if node.alive else "-",
                    str(served),
                )
            table.add_section()
        lines = [Text(f"{note.time:5.1f} s  {note}") for note in notes[-MAX_NOTES_SHOWN:]]
        self._live.update(Group(table, *lines))
