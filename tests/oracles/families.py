"""Families of recorded traces that no driver answers yet.

``replay.py`` counts their files in lines of their own: they are neither failures nor passes, and nothing of a family
that has a driver is ever left out. A new driver removes the entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["family_without_driver"]

Json = Mapping[str, Any]

UNREAD_FIELDS: Mapping[str, frozenset[str]] = {
    "envoy": frozenset({
        "gradient_controller_config",
    }),
}  # fmt: skip
"""By server, fields of a cluster that decide what happens and that its driver does not read, unless they are 0."""


def family_without_driver(trace: Json, servers: Mapping[str, str]) -> str:
    """Return the family of a trace that no driver answers: server and algorithm; empty text if one does."""
    server, unread = trace["server"], UNREAD_FIELDS.get(trace["server"], frozenset())
    if server in servers and not unread & {*_set_fields(trace["config"].get("cluster", {}))}:
        return ""
    return f"{server}, {trace['algorithm']}"


def _set_fields(value: Any) -> Iterator[str]:
    """Yield the names of all fields inside a configuration that are not 0."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if inner != 0:
                yield name
            yield from _set_fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _set_fields(inner)
