"""Events of traces of proxies: what their clients and servers do, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["events_of"]

Json = Mapping[str, Any]


def events_of(trace: Json) -> list[Json]:
    """Return what a sequence of requests, a list of keys or a script does.

    Raises
    ------
    ValueError
        If the trace is of another kind.
    """
    inputs = trace["inputs"]
    match trace["kind"]:
        case "sequence":
            return [{"op": "get", "n": inputs["requests"]}]
        case "keys":
            return [{"op": "get", "key": key} for key in inputs["keys"]]
        case "script":
            return list(inputs["events"])
    raise ValueError(f"a kind we do not have: {trace['kind']}")
